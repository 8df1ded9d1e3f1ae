"""Defects of the recorded kernel that fastlvs does not have, each as a rule.

A difference that a rule accounts for is no difference, and is counted under the rule.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from kinds.frames import (
    DONT_FRAGMENT,
    ETHERNET,
    GRE,
    ICMP,
    ICMPV6,
    IPIP,
    IPV6,
    SCTP,
    TCP,
    UDP,
    Ip,
    joined,
    with_checksum,
)

VANISHED = "ICMPv6 errors of masqueraded servers vanish: summed without the pseudo-header"
TOLD_MTU = "the MTU told about a tunnel is the one before, and less its IP header alone"
NOT_TOLD = "what is too long behind a tunnel with IPv6 goes there all the same"
FIXED_PLACE = "TCP flags and SCTP chunks behind IPv6 extension headers are read where there are none"
STRAY_FLAG = "the length of an IPv6 fragment is taken for IPv4 flags, of which one is: don't fragment"
TEMPLATE = "a packet to client port 0 is taken for a persistence template's, which changes: servers count -1"

TRANSPORTS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
TEMPLATE_STATES = ("NONE", "ASSURED", "ERR!")
TUNNELS = (IPIP, IPV6, UDP, GRE)
KEEP_DONT_FRAGMENT = 0x40
"""Linux's flag for a packet whose fragments are to bear "don't fragment"."""
Frames = list[tuple[str, bytes]]
Endpoint = tuple[Any, int]


class Unsent(NamedTuple):
    """An error that the kernel neither sent nor counted, and the rule."""

    rule: str
    protocol: str
    service: Endpoint
    server: Endpoint
    length: int

    def belongs_to(self, name: Any) -> bool:
        """Whether a listing names the service or the server so; a mark is taken to be the packet's."""
        if isinstance(name[0], tuple):
            return self.belongs_to(name[0]) and _covers(name[1], self.server)
        return name[0] == "FWM" or (name[0] == self.protocol and _covers(name[1], self.service))


class Excuses:
    """What the rules have to remember of a scenario."""

    def __init__(self) -> None:
        self.extended: set[object] = set()
        """Clients of TCP and SCTP connections with extension headers: address and port."""
        self.unsent: list[Unsent] = []
        self.narrow: dict[object, int] = {}
        """Ends of tunnels with the MTU that was told about one with IPv6 in it or around it."""
        self.said: Ip | None = None
        """What the host sent last for the frame that came in last."""
        self.to_port_0: list[tuple[str, object, int]] = []
        """Packets to client port 0, and errors about packets from it: protocol, client, length."""

    def see(self, frame: bytes) -> None:
        """Takes note of a frame that comes in."""
        self.said = None
        packet = Ip.parse(frame[ETHERNET:])
        segment = packet and packet.version == 6 and packet.behind_authentication()
        self._note_port_0(packet)
        has_state = segment and segment.protocol in (TCP, SCTP)
        if segment and has_state and segment.transport > 40 and len(segment.payload) >= 4:
            source, destination = struct.unpack("!HH", segment.payload[:4])
            self.extended.add((segment.source, source))
            self.extended.add((segment.destination, destination))
        if packet and packet.version == 6 and packet.protocol == ICMPV6 and packet.payload[:1] == b"\x02":
            quoted = _quoted(packet.payload[8:])
            if quoted and quoted.source == packet.destination and quoted.protocol in TUNNELS:
                told = int.from_bytes(packet.payload[4:8])
                self.narrow[quoted.destination] = min(told, self.narrow.get(quoted.destination, told))

    def forget(self, name: Any = None) -> None:
        """Takes note that the counters of a service begin anew, or those of all."""
        self.unsent = [error for error in self.unsent if name is not None and not error.belongs_to(name)]

    def count(self, servers: Iterable[Any]) -> None:
        """Takes note of which servers count: an error about one that is gone is counted by nobody."""
        if self.unsent and not any(self.unsent[-1].belongs_to(name) for name in servers):
            self.unsent.pop()

    def hear(self, frame: bytes) -> None:
        """Takes note of a frame that the host sends."""
        self.said = Ip.parse(frame[ETHERNET:])
        self._note_port_0(self.said)

    def frames(self, cause: tuple[str, bytes] | None, longest: int, wanted: Frames, has: Frames) -> str:
        """The rule by which other frames came than those wanted; empty if there is none.

        ``longest`` is the length of the longest fragment, as a frame, if ``cause`` is one.
        """
        error = cause and Ip.parse(cause[1][ETHERNET:])
        if not cause or not error:
            return ""
        if not wanted and len(has) == 1:
            for about in (error, self.said):
                if about and about.protocol == ICMPV6 and self._relays(about, has[0][1]):
                    return VANISHED
        if len(wanted) == len(has) == 1 and wanted[0][0] == has[0][0] and self._is_to_port_0(error):
            said = [_without_source(frame) for _, frame in (wanted[0], has[0], cause)]
            return TEMPLATE if said[0] == said[1] == said[2] else ""
        if error.version == 6 and error.fragment and longest - ETHERNET & KEEP_DONT_FRAGMENT:
            plain = [(leg, _without_dont_fragment(frame)) for leg, frame in wanted]
            no_longer = _longest(has) <= _longest(wanted)
            return STRAY_FLAG if wanted != plain and no_longer and joined(plain) == joined(has) else ""
        if len(wanted) == len(has) == 1 and self._is_refused(error, wanted[0][1], has[0][1]):
            return NOT_TOLD
        if len(wanted) == len(has) == 1 and _is_about_tunnel(error):
            same_leg = wanted[0][0] == has[0][0]
            return TOLD_MTU if same_leg and _without_mtu(wanted[0][1]) == _without_mtu(has[0][1]) else ""
        return ""

    def listing(self, kind: str, wanted: Any, has: Any) -> tuple[Any, Any, str]:
        """Two listings without what the kernel knew wrongly, and the rule by which, if they were different."""
        if wanted == has:
            return wanted, has, ""
        if kind == "conns" and self.extended:
            return self._without_states(wanted), self._without_states(has), FIXED_PLACE
        if kind == "svcs" and self.extended:
            return _without_activity(wanted), _without_activity(has), FIXED_PLACE
        if kind == "stats" and self.extended:
            # A wrong state lets a SYN begin another connection.
            return _without_connections(wanted), _without_connections(has), FIXED_PLACE
        if kind == "stats" and self.unsent:
            counted = {name: self._counted(name, numbers) for name, numbers in has.items()}
            return wanted, counted, self.unsent[-1].rule
        if self.to_port_0:
            return *self._without_templates(kind, wanted, has), TEMPLATE
        return wanted, has, ""

    def _note_port_0(self, packet: Ip | None) -> None:
        about = packet and self._is_to_port_0(packet)
        if packet and about:
            self.to_port_0.append((*about, len(packet.data)))

    def _is_to_port_0(self, packet: Ip) -> tuple[str, object] | None:
        """The protocol and the client, if the packet goes to port 0 or is an error about one from there."""
        if packet.fragment:
            return None
        about = packet.protocol in (ICMP, ICMPV6) and _quoted(packet.payload[8:])
        if about and about.protocol in TRANSPORTS and about.payload[:2] == b"\0\0":
            return TRANSPORTS[about.protocol], about.source
        if packet.protocol in TRANSPORTS and packet.payload[2:4] == b"\0\0":
            return TRANSPORTS[packet.protocol], packet.destination
        return None

    def _without_templates(self, kind: str, wanted: Any, has: Any) -> tuple[Any, Any]:
        """Two listings without what such packets change."""
        clients = {(protocol, client) for protocol, client, _ in self.to_port_0}

        def plain(rows: list[Any]) -> list[Any]:
            changed = [row[:2] in clients and row[2] == 0 and row[7] in TEMPLATE_STATES for row in rows]
            return [row[:7] if there else row for row, there in zip(rows, changed, strict=True)]

        if kind == "conns":
            return plain(wanted), plain(has)
        if kind == "svcs":
            return _without_activity(wanted), _without_activity(has)
        if kind == "stats":
            counted = {(0, 0)}
            for _, _, length in self.to_port_0:
                counted |= {(packets + 1, octets + length) for packets, octets in counted}
            more = {
                name: wanted[name]
                for name, numbers in has.items()
                if name in wanted
                and wanted[name][:2] + wanted[name][3:4] == numbers[:2] + numbers[3:4]
                and (wanted[name][2] - numbers[2], wanted[name][4] - numbers[4]) in counted
            }
            return wanted, has | more
        return wanted, has

    def _relays(self, error: Ip, frame: bytes) -> bool:
        """Whether ``frame`` is ``error``, from a server's side, as a client is to get it."""
        relayed = Ip.parse(frame[ETHERNET:])
        if relayed is None or relayed.protocol != ICMPV6 or relayed.payload[:2] != error.payload[:2]:
            return False
        quoted, translated = (_quoted(packet.payload[8:]) for packet in (error, relayed))
        if not quoted or not translated or relayed.destination != error.destination:
            return False
        quoted, translated = quoted.behind_authentication(), translated.behind_authentication()
        ports = [int.from_bytes(p.payload[2:4]) for p in (translated, quoted)]
        service, server = (translated.destination, ports[0]), (quoted.destination, ports[1])
        self._note(VANISHED, quoted.protocol, service, server, error)
        return relayed.checksums_are_right()

    def _is_refused(self, packet: Ip, sent: bytes, answer: bytes) -> bool:
        """Whether ``sent`` carries ``packet`` where there is no room for it, and ``answer`` says so."""
        tunnel, error = Ip.parse(sent[ETHERNET:]), Ip.parse(answer[ETHERNET:])
        if not tunnel or not error or len(tunnel.data) <= self.narrow.get(tunnel.destination, 65535):
            return False
        about = _quoted(error.payload[8:])
        kind = (ICMP, 3, 4) if error.version == 4 else (ICMPV6, 2, 0)
        if not (
            about
            and (error.protocol, error.payload[0], error.payload[1]) == kind
            and (about.source, about.destination) == (packet.source, packet.destination)
            and error.destination == packet.source
        ):
            return False
        port = int.from_bytes(packet.payload[2:4])
        ends = (packet.destination, port), (tunnel.destination, port)
        self._note(NOT_TOLD, packet.protocol, *ends, error)
        return error.checksums_are_right()

    def _note(self, rule: str, protocol: int, service: Endpoint, server: Endpoint, error: Ip) -> None:
        name = {TCP: "TCP", UDP: "UDP"}.get(protocol, "SCTP")
        self.unsent.append(Unsent(rule, name, service, server, len(error.data)))

    def _counted(self, name: Any, numbers: list[int]) -> list[int]:
        conns, packets_in, packets_out, bytes_in, bytes_out = numbers
        missed = [v.length for v in self.unsent if v.belongs_to(name)]
        # What was counted for a server that is gone is in no listing.
        packets, octets = max(0, packets_out - len(missed)), max(0, bytes_out - sum(missed))
        return [conns, packets_in, packets, bytes_in, octets]

    def _without_states(self, rows: list[Any]) -> list[Any]:
        return [row[:7] if (row[1], row[2]) in self.extended else row for row in rows]


def _longest(frames: Frames) -> int:
    """The length of the longest frame; 0 of none."""
    return max((len(frame) for _, frame in frames), default=0)


def _covers(listed: Endpoint, endpoint: Endpoint) -> bool:
    """Whether they are the same, or ``listed`` is every port of the address."""
    return listed[0] == endpoint[0] and listed[1] in (0, endpoint[1])


def _quoted(data: bytes) -> Ip | None:
    """The packet that is quoted, which may be cut."""
    return Ip.parse(data + bytes(65535))


def _without_activity(services: dict[Any, Any]) -> dict[Any, Any]:
    """Servers with the sum of their connections."""
    return {
        name: (rest, [(*server[:4], server[4] + server[5]) for server in servers])
        for name, (rest, servers) in services.items()
    }


def _without_connections(statistics: dict[Any, list[int]]) -> dict[Any, list[int]]:
    """Statistics without the number of connections."""
    return {name: numbers[1:] for name, numbers in statistics.items()}


def _is_about_tunnel(error: Ip) -> bool:
    """Whether it says that a packet of a tunnel was too long."""
    if error.protocol != ICMP or error.payload[:2] != bytes([3, 4]):
        return False
    return error.payload[17] in TUNNELS and error.payload[20:24] == error.destination.packed


def _without_dont_fragment(frame: bytes) -> bytes:
    """A frame as it is, or that of an IPv4 fragment without the flag."""
    packet = Ip.parse(frame[ETHERNET:])
    if not packet or packet.version != 4 or not packet.fragment:
        return frame
    (field,) = struct.unpack("!H", packet.data[6:8])
    header = packet.data[:6] + struct.pack("!H", field & ~DONT_FRAGMENT) + packet.data[8 : packet.transport]
    return frame[:ETHERNET] + with_checksum(header) + frame[ETHERNET + packet.transport :]


def _without_source(frame: bytes) -> object:
    """What a packet to port 0, or an error about one from there, says beside who sent it from which port."""
    packet = Ip.parse(frame[ETHERNET:])
    if not packet:
        return frame
    if packet.protocol in TRANSPORTS:
        checksum = {TCP: 16, UDP: 6, SCTP: 8}[packet.protocol]
        rest = packet.payload[2:checksum] + packet.payload[checksum + 2 + 2 * (packet.protocol == SCTP) :]
        return packet.destination, packet.protocol, rest
    quoted = _quoted(packet.payload[8:])
    return packet.destination, packet.protocol, packet.payload[:2], quoted and quoted.payload[:2]


def _without_mtu(frame: bytes) -> bytes:
    """An ICMP error's frame without checksum and second word."""
    return frame[: ETHERNET + 22] + frame[ETHERNET + 28 :]
