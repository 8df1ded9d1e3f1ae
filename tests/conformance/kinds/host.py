"""The recorded director's own IP stack: what a Linux router without open ports makes of a packet.

It gets what the engine leaves to the host, and answers as RFC 1122, 1812, 4443 and 8200 tell a host to, in
Linux's wording. It knows nothing of virtual services.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from kinds import frames
from kinds.frames import ETHERNET, ICMP, ICMPV6, TCP, UDP, Ip, checksum, with_checksum

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TTL = 64
ECN = 3
"""The bits of a type of service by which congestion is told; what the host sends bears none."""
FIN, SYN, RST, ACK = 1, 2, 4, 16
UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM = 3, 11, 12
RECORD_ROUTE, TIMESTAMP, LOOSE_ROUTE, STRICT_ROUTE = 7, 68, 131, 137
SINGLE_OPTIONS = {RECORD_ROUTE: 0, TIMESTAMP: 1, LOOSE_ROUTE: 2, STRICT_ROUTE: 2, 134: 3}
"""Options of which a packet may have one, and which of them count as the same."""
ICMP_ERRORS = (3, 4, 5, 11, 12)
LEAST_PATH_MTU, PATH_MTU_LIFE = 552, 600
TUNNEL_HEADERS = {frames.IPIP: 0, frames.GRE: 4, UDP: 12}
"""What stands in front of the IPv4 packet in a tunnel."""
PATIENCE = {4: 30, 6: 60}
"""Seconds that fragments wait for the others, by IP version."""


class Sent(NamedTuple):
    """A frame that leaves the host."""

    leg: str
    frame: bytes
    own: bool
    """Whether the host made it itself; it was only routed otherwise."""


@dataclass(frozen=True)
class Leg:
    """A network interface of the host."""

    mac: bytes
    mtu: int
    addresses: tuple[Address, ...]

    def source(self, destination: Address) -> Address:
        """The address that a packet leaves with: IPv4's first, or the IPv6 address that has most in common with
        the destination, of several the last (RFC 6724)."""
        own = [address for address in self.addresses if address.version == destination.version]
        if destination.version == 4:
            return own[0]
        return min(reversed(own), key=lambda address: (int(address) ^ int(destination)).bit_length())


@dataclass(frozen=True)
class Hop:
    """A way out: by which leg, to whom, how long packets may be."""

    leg: str
    mac: bytes
    mtu: int
    link_mtu: int
    """Without what the route says."""


@dataclass
class Gathered:
    """What came of a datagram so far."""

    leg: str
    deadline: float
    pieces: list[Ip] = field(default_factory=list)

    def first(self) -> Ip | None:
        """What is kept of the first fragment: in IPv4 the payload is cut to a multiple of 8 bytes."""
        for piece in self.pieces:
            if piece.fragment and piece.fragment[0] == 0:
                kept = piece.transport + (len(piece.payload) & ~7) if piece.version == 4 else None
                return replace(piece, data=piece.data[:kept])
        return None


@dataclass
class Host:
    """The stack."""

    legs: Mapping[str, Leg]
    local: list[Network]
    """Networks whose addresses are all its own."""
    links: list[tuple[Network, str]]
    routes: list[tuple[Network, Address | None, int | None]]
    """Destination, router, MTU. Without router the destination is refused."""
    neighbours: Mapping[Address, bytes]
    own: list[Address] = field(default_factory=list)
    """Its addresses that are on none of the legs."""
    silent: list[Network] = field(default_factory=list)
    """Destinations refused without a word."""
    gathered: dict[tuple[Address, Address, int, int], Gathered] = field(default_factory=dict)
    """Datagrams that are not complete, by their ends, identification and, in IPv4, protocol."""
    learnt: dict[Address, tuple[int, float]] = field(default_factory=dict)
    """What routers said about the way to an IPv4 address: the longest packet, and until when it is believed."""
    now: float = 0.0

    def learn(self, frame: bytes) -> None:
        """Takes note of what a frame that comes in says about the way of a tunnel of the host's own, whoever
        answers that frame. Ports have to be quoted of the packet in the tunnel, or nobody knows it."""
        packet = Ip.parse(frame[ETHERNET:])
        if not packet or packet.protocol != ICMP or packet.payload[:2] != b"\3\4":
            return
        quoted = Ip.parse(packet.payload[8:] + bytes(65535))
        if not quoted or not self._has(quoted.source) or not self.is_local(packet.destination):
            return
        in_front = TUNNEL_HEADERS.get(quoted.protocol)
        room = len(packet.payload) - 8 - quoted.transport
        if in_front is not None and room >= in_front + 20 + 4:
            told = max(int.from_bytes(packet.payload[6:8]), LEAST_PATH_MTU)
            if told < self._told(quoted.destination, 65535):
                self.learnt[quoted.destination] = told, self.now + PATH_MTU_LIFE

    def receive(self, leg: str, frame: bytes, longest_piece: int = 0) -> list[Sent]:
        """What leaves for a frame that came in.

        If it was put together from fragments, ``longest_piece`` is the length of the longest, from the IP
        header on: what is routed is cut so that no piece is longer.
        """
        packet = Ip.parse(frame[ETHERNET:])
        if packet is None or frame[:6] != self.legs[leg].mac:
            return []
        if packet.version == 4 and checksum(packet.data[: packet.transport]):
            return []
        if self._is_for_many_or_nobody(packet.destination):
            return []
        broken = self._options(packet)
        if broken is not None:
            return self._error(packet, leg, PARAMETER_PROBLEM, 0, broken << 24) if broken else []
        if (said := self._hop_by_hop(packet, leg)) is not None:
            return said
        if self.is_local(packet.destination):
            return self._deliver(packet, leg)
        return self._route(packet, leg, longest_piece)

    def advance(self, now: float) -> list[Sent]:
        """Lets time pass; what leaves meanwhile: errors about datagrams that were not completed in time."""
        self.now = now
        late = [name for name, gathered in self.gathered.items() if gathered.deadline <= now]
        sent: list[Sent] = []
        for gathered in [self.gathered.pop(name) for name in late]:
            if first := gathered.first():
                kind = TIME_EXCEEDED if first.version == 4 else 3
                sent += self._error(first, gathered.leg, kind, 1)
        return sent

    def is_local(self, address: Address) -> bool:
        local = any(address in network for network in self.local)
        return local or address.is_loopback or self._has(address)

    def _has(self, address: Address) -> bool:
        """Whether one of its interfaces bears the address."""
        return address in self.own or any(address in leg.addresses for leg in self.legs.values())

    def _is_for_many_or_nobody(self, address: Address) -> bool:
        """Whether nothing is answered that comes for this address from outside."""
        everybody = address == ip_address("255.255.255.255") or any(
            network.version == 4 and address == network.broadcast_address for network, _ in self.links
        )
        return everybody or address.is_multicast or address.is_unspecified or address.is_loopback

    def hop(self, address: Address) -> Hop | None:
        """The way to an address."""
        found = [(net, via, mtu) for net, via, mtu in self.routes if address in net]
        direct = [(net, leg) for net, leg in self.links if address in net]
        if found and (not direct or max(n.prefixlen for n, _, _ in found) > direct[0][0].prefixlen):
            _, via, mtu = max(found, key=lambda route: route[0].prefixlen)
            if via is None:
                return None
            hop = self.hop(via)
            return hop and Hop(hop.leg, hop.mac, min(mtu or hop.mtu, hop.mtu), hop.link_mtu)
        if direct and address in self.neighbours:
            leg = direct[0][1]
            return Hop(leg, self.neighbours[address], self.legs[leg].mtu, self.legs[leg].mtu)
        return None

    def _options(self, packet: Ip) -> int | None:
        """``None`` when the packet's IPv4 options let it pass; else the place of what is wrong, 0 when the
        host says nothing about it."""
        if packet.version == 6:
            return None
        data = packet.data[20 : packet.transport]
        at, stop = 0, None
        seen: set[int] = set()
        while at < len(data) and data[at]:
            kind = data[at]
            length = 1 if kind == 1 else data[at + 1] if at + 1 < len(data) else 0
            if kind != 1 and (length < 2 or at + length > len(data)):
                return 20 + at
            if kind in SINGLE_OPTIONS and SINGLE_OPTIONS[kind] in seen:
                return 20 + at
            seen.add(SINGLE_OPTIONS.get(kind, -1))
            wrong = _wrong_in_option(data[at : at + length])
            if wrong:
                return 20 + at + wrong
            if kind in (LOOSE_ROUTE, STRICT_ROUTE):
                stop = 0
            at += length
        return stop

    def _hop_by_hop(self, packet: Ip, leg: str) -> list[Sent] | None:
        """``None`` when the packet's hop-by-hop options let it pass; else what leaves instead."""
        if packet.version == 4 or packet.data[6] != frames.HOP_BY_HOP:
            return None
        return self._options6(packet, 40, (5, 0xC2), leg)

    def _options6(self, packet: Ip, start: int, known: tuple[int, ...], leg: str) -> list[Sent] | None:
        """The same for the options of the IPv6 extension header at ``start``, of which the host knows some."""
        header = packet.data[start : start + (packet.data[start + 1] + 1) * 8]
        at, padding = 2, 0
        while at < len(header):
            kind = header[at]
            length = 1 if kind == 0 else header[at + 1] + 2
            padding = padding + length if kind in (0, 1) else 0
            if padding > 7 or (kind == 1 and any(header[at + 2 : at + length])):
                return []
            if kind not in (0, 1, *known) and kind & 0xC0:
                return self._error(packet, leg, 4, 2, start + at) if kind & 0x80 else []
            at += length
        return None

    def _deliver(self, packet: Ip, leg: str) -> list[Sent]:
        if packet.fragment and packet.fragment[:2] != (0, False):
            return self._gather(packet, packet.fragment[2], leg)
        if not packet.checksums_are_right():
            return []
        body = packet.payload
        if packet.version == 6 and packet.data[6] == frames.DESTINATION_OPTIONS:
            said = self._options6(packet, 40, (), leg)
            if said is not None:
                return said
        if packet.version == 6 and packet.data[6] == frames.ROUTING and packet.data[43]:
            # A routing header with segments left is refused (RFC 5095).
            return self._error(packet, leg, 4, 0, 42)
        if packet.protocol == TCP:
            return self._reset(packet) if len(body) >= 20 and not body[13] & RST else []
        if packet.protocol == UDP:
            return self._error(packet, leg, *((UNREACHABLE, 3) if packet.version == 4 else (1, 4)))
        if packet.protocol == ICMP and packet.version == 4:
            return self._icmp(packet)
        if packet.protocol == ICMPV6 and packet.version == 6:
            return self._icmp6(packet)
        if packet.version == 4:
            return self._error(packet, leg, UNREACHABLE, 2)
        return self._error(packet, leg, 4, 1, _next_header_field(packet))

    def _gather(self, packet: Ip, identification: int, leg: str) -> list[Sent]:
        """Keeps a fragment that nobody put together with the others before, until they are there."""
        if packet.version == 6 and (wrong := _wrong_in_fragment(packet)):
            return self._error(packet, leg, 4, *wrong)
        protocol = packet.protocol if packet.version == 4 else 0
        name = packet.source, packet.destination, identification, protocol
        gathered = self.gathered.setdefault(name, Gathered(leg, self.now + PATIENCE[packet.version]))
        gathered.pieces.append(packet)
        whole = frames.whole([piece.data for piece in gathered.pieces])
        if whole is None:
            return []
        del self.gathered[name]
        datagram = Ip.parse(whole)
        return self._deliver(datagram, leg) if datagram else []

    def _reset(self, packet: Ip) -> list[Sent]:
        """The answer to a segment of no connection (RFC 9293 §3.10.7.1)."""
        body = packet.payload
        source, destination, sequence, acknowledgement = struct.unpack("!HHII", body[:12])
        flags, header = body[13], (body[12] >> 4) * 4
        if header < 20 or header > len(body):
            return []
        if flags & ACK:
            numbers, answer = (acknowledgement, 0), RST
        else:
            length = len(body) - header + bool(flags & SYN) + bool(flags & FIN)
            numbers, answer = (0, (sequence + length) & 0xFFFFFFFF), RST | ACK
        reset = struct.pack("!HHIIBBHHH", destination, source, *numbers, 0x50, answer, 0, 0, 0)
        total = checksum(frames.pseudo_header(packet.destination, packet.source, TCP, len(reset)) + reset)
        segment = reset[:16] + struct.pack("!H", total) + b"\0\0"
        return self._say(packet.destination, packet.source, TCP, segment, packet.tos & ~ECN, True)

    def _icmp(self, packet: Ip) -> list[Sent]:
        body = packet.payload
        if len(body) < 8 or body[0] not in (8, 13) or (body[0] == 13 and len(body) < 20):
            return []
        reply = bytes([0 if body[0] == 8 else 14, 0, 0, 0]) + body[4:]
        if body[0] == 13:
            reply = reply[:12] + bytes(8)
        reply = reply[:2] + struct.pack("!H", checksum(reply)) + reply[4:]
        return self._say(packet.destination, packet.source, ICMP, reply, packet.tos, False)

    def _icmp6(self, packet: Ip) -> list[Sent]:
        body = packet.payload
        if len(body) < 8 or body[0] != 128:
            return []
        reply = bytes([129, 0, 0, 0]) + body[4:]
        ends = frames.pseudo_header(packet.destination, packet.source, ICMPV6, len(reply))
        reply = reply[:2] + struct.pack("!H", checksum(ends + reply)) + reply[4:]
        return self._say(packet.destination, packet.source, ICMPV6, reply, packet.tos, False)

    def _route(self, packet: Ip, leg: str, longest_piece: int = 0) -> list[Sent]:
        """A packet that only passes through (RFC 1812 §5)."""
        if any(packet.destination in network for network in self.silent):
            return []
        hop = self.hop(packet.destination)
        if hop is None:
            return self._error(packet, leg, *((UNREACHABLE, 1) if packet.version == 4 else (1, 0)))
        if packet.ttl <= 1:
            return self._error(packet, leg, TIME_EXCEEDED if packet.version == 4 else 3, 0)
        at = 8 if packet.version == 4 else 7
        data = packet.data[:at] + bytes([packet.ttl - 1]) + packet.data[at + 1 :]
        if len(packet.data) > hop.mtu and packet.dont_fragment:
            if packet.version == 4:
                return self._error(packet, leg, UNREACHABLE, 4, hop.mtu)
            # What the link would take, but not the route, is refused after the hop was counted.
            quoted = packet if len(packet.data) > hop.link_mtu else replace(packet, data=data)
            return self._error(quoted, leg, 2, 0, hop.mtu)
        if packet.version == 4:
            header = _recorded(data[: packet.transport], self.legs[hop.leg].source(packet.destination))
            data = with_checksum(header) + data[packet.transport :]
        room = min(longest_piece or hop.mtu, hop.mtu)
        return [Sent(hop.leg, self._frame(hop, piece), False) for piece in _cut(data, packet, room)]

    def _error(self, packet: Ip, leg: str, kind: int, code: int, rest: int = 0) -> list[Sent]:
        """Tells a packet's sender what became of it. Nobody is told about an error."""
        body = packet.payload
        if packet.source.is_unspecified or packet.source.is_multicast:
            return []
        if packet.version == 4 and packet.fragment and packet.fragment[0]:
            return []
        if packet.protocol == ICMP and (not body or body[0] in ICMP_ERRORS):
            return []
        if packet.protocol == ICMPV6 and (not body or body[0] < 128):
            return []
        source = self._speaker(packet, leg)
        if source is None:
            return []
        room = self._room(packet.source) - 28 if packet.version == 4 else 1280 - 48
        message = struct.pack("!BBHI", kind, code, 0, rest) + packet.data[:room]
        protocol, ends = ICMP, b""
        if packet.version == 6:
            protocol = ICMPV6
            ends = frames.pseudo_header(source, packet.source, ICMPV6, len(message))
        message = message[:2] + struct.pack("!H", checksum(ends + message)) + message[4:]
        tos = 0xC0 | packet.tos & 0x1E if packet.version == 4 else 0
        return self._say(source, packet.source, protocol, message, tos, False)

    def _room(self, destination: Address) -> int:
        """The length of an IPv4 error to there."""
        hop = self.hop(destination)
        return self._told(destination, min(576, hop.mtu if hop else 576))

    def _told(self, destination: Address, mtu: int) -> int:
        """``mtu``, or what a router said of the way to there if that is less."""
        told, until = self.learnt.get(destination, (mtu, 0.0))
        return min(mtu, told) if until > self.now else mtu

    def _speaker(self, packet: Ip, leg: str) -> Address | None:
        """Whose name an error bears: the packet's destination if the host can, else that of the leg by which
        the error leaves. An error to the host itself bears in IPv4 the name of who gets it, in IPv6 that of the
        leg where the packet came in."""
        if self.is_local(packet.destination) and packet.version == 4:
            return packet.destination
        if self._has(packet.destination):
            return packet.destination
        if self.is_local(packet.source):
            return packet.source if packet.version == 4 else self.legs[leg].source(packet.source)
        hop = self.hop(packet.source)
        return self.legs[hop.leg].source(packet.source) if hop else None

    def _say(
        self, source: Address, destination: Address, protocol: int, payload: bytes, tos: int, whole: bool
    ) -> list[Sent]:
        """A packet of the host's own."""
        hop = self.hop(destination)
        if hop is None:
            return []
        if source.version == 4:
            fields = (0x45, tos, 20 + len(payload), 0, 0x4000 if whole else 0, TTL, protocol, 0)
            header = struct.pack("!BBHHHBBH", *fields) + source.packed + destination.packed
            data = with_checksum(header) + payload
        else:
            header = struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), protocol, TTL)
            data = header + source.packed + destination.packed + payload
        return [Sent(hop.leg, self._frame(hop, data), True)]

    def _frame(self, hop: Hop, data: bytes) -> bytes:
        ethertype = b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd"
        return hop.mac + self.legs[hop.leg].mac + ethertype + data


def _cut(data: bytes, packet: Ip, mtu: int) -> list[bytes]:
    """A routed packet in pieces that the next link takes; only IPv4's without "don't fragment" are cut."""
    if len(data) <= mtu or packet.version == 6:
        return [data]
    header, payload = data[: packet.transport], data[packet.transport :]
    room = mtu - len(header) & ~7
    pieces = []
    for start in range(0, len(payload), room):
        part = payload[start : start + room]
        field = struct.unpack("!H", header[6:8])[0] + start // 8
        field |= frames.MORE_FRAGMENTS if start + room < len(payload) else 0
        length = struct.pack("!H", len(header) + len(part))
        pieces.append(
            with_checksum(header[:2] + length + header[4:6] + struct.pack("!H", field) + header[8:]) + part
        )
    return pieces


def _wrong_in_option(option: bytes) -> int:
    """The place of what is wrong in an IPv4 option of its full length; 0 when nothing is."""
    length, pointer = len(option), option[2] if len(option) > 2 else 0
    beyond = pointer > length
    match option[0]:
        case 7 | 131 | 137:  # record route, source routes
            if length < 3:
                return 1
            return 0 if pointer >= 4 and (beyond or pointer + 3 <= length) else 2
        case 68:  # timestamp
            if length < 4:
                return 1
            kind = option[3] & 15
            if beyond:
                return 3 if kind != 3 and option[3] >> 4 == 15 else 0
            if pointer < 5 or pointer + 3 > length:
                return 2
            if kind not in (0, 1, 3):
                return 3
            return 0 if kind == 0 or pointer + 7 <= length else 2
    return 0


def _wrong_in_fragment(packet: Ip) -> tuple[int, int] | None:
    """Code and pointer of the parameter problem that an IPv6 fragment has, if it has one (RFC 8200 §4.5)."""
    offset, more, _ = packet.fragment or (0, False, 0)
    needed = {TCP: 20, UDP: 8, ICMPV6: 8}.get(packet.protocol, 1)
    if offset == 0 and len(packet.payload) < needed:
        return 3, 0
    uneven = (len(packet.data) - packet.fragment_header) % 8
    return (0, 4) if more and uneven else None


def _next_header_field(packet: Ip) -> int:
    """Where the byte stands that names the protocol."""
    field_at, at = 6, 40
    while at < packet.transport:
        field_at = at
        at += 8 if packet.data[at] == frames.FRAGMENT else (packet.data[at + 1] + 1) * 8
    return field_at


def _recorded(header: bytes, own: Address) -> bytes:
    """An IPv4 header with this router in its recorded route."""
    changed = bytearray(header)
    for at, length in frames.options(header[20:]):
        start = 20 + at
        pointer = changed[start + 2] if length > 2 else 0
        if changed[start] == RECORD_ROUTE and 4 <= pointer <= length - 3:
            changed[start + pointer - 1 : start + pointer + 3] = ip_address(own).packed
            changed[start + 2] += 4
        if changed[start] == TIMESTAMP and not changed[start + 3] & 15 and 5 <= pointer <= length - 3:
            changed[start + 2] += 4
    return bytes(changed)
