"""Frames as the replayers read them: fields by name, random fields masked, fragments joined."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

ETHERNET = 14
ICMP, IPIP, TCP, UDP, IPV6, GRE, ICMPV6, SCTP = 1, 4, 6, 17, 41, 47, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET = 0x4000, 0x2000, 0x1FFF
TIMESTAMP_OPTION = 68


@dataclass(frozen=True)
class Ip:
    """An IP packet: its bytes, from the header on, and what they say."""

    data: bytes
    version: int
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    """What it carries behind its extension headers."""
    ttl: int
    tos: int
    transport: int
    """Where that begins."""
    fragment: tuple[int, bool, int] | None
    """Offset, whether more follow, identification; ``None`` when it is whole."""
    fragment_header: int
    """Where IPv6's fragment header is; 0 when there is none."""

    @classmethod
    def parse(cls, data: bytes) -> Ip | None:
        """The packet at the beginning of ``data``, padding cut off; ``None`` when it is none."""
        if len(data) >= 20 and data[0] >> 4 == 4:
            length, ident, field = struct.unpack("!HHH", data[2:8])
            header = (data[0] & 15) * 4
            if not 20 <= header <= length <= len(data):
                return None
            offset, more = (field & OFFSET) * 8, bool(field & MORE_FRAGMENTS)
            fragment = (offset, more, ident) if offset or more else None
            ends = IPv4Address(data[12:16]), IPv4Address(data[16:20])
            return cls(data[:length], 4, *ends, data[9], data[8], data[1], header, fragment, 0)
        if len(data) >= 40 and data[0] >> 4 == 6:
            length = 40 + struct.unpack("!H", data[4:6])[0]
            if length > len(data):
                return None
            data = data[:length]
            ends6 = IPv6Address(data[8:24]), IPv6Address(data[24:40])
            tos = struct.unpack("!H", data[:2])[0] >> 4 & 255
            protocol, at, fragment, header = data[6], 40, None, 0
            while protocol in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS) and at + 8 <= length:
                if protocol == FRAGMENT:
                    field, ident = struct.unpack("!HI", data[at + 2 : at + 8])
                    fragment, header = (field & ~7, bool(field & 1), ident), at
                    size = 8
                else:
                    size = (data[at + 1] + 1) * 8
                protocol, at = data[at], at + size
                if fragment and fragment[0]:
                    break
            return cls(data, 6, *ends6, protocol, data[7], tos, at, fragment, header)
        return None

    def behind_authentication(self) -> Ip:
        """The packet as IPVS walks it, over an authentication header too, which a host does not know."""
        at, protocol = self.transport, self.protocol
        while protocol == AUTHENTICATION and at + 8 <= len(self.data):
            protocol, at = self.data[at], at + (self.data[at + 1] + 2) * 4
        return replace(self, protocol=protocol, transport=min(at, len(self.data)))

    @property
    def payload(self) -> bytes:
        return self.data[self.transport :]

    @property
    def dont_fragment(self) -> bool:
        return self.version == 6 or bool(self.data[6] & 0x40)

    def checksums_are_right(self) -> bool:
        """Whether a host would take it for undamaged."""
        if self.version == 4 and checksum(self.data[: self.transport]):
            return False
        if self.fragment and self.fragment[:2] != (0, False):
            return True
        payload = self.payload
        if self.protocol == UDP:
            if len(payload) < 8 or struct.unpack("!H", payload[4:6])[0] > len(payload):
                return False
            if payload[6:8] == b"\0\0":
                return self.version == 4
            payload = payload[: struct.unpack("!H", payload[4:6])[0]]
        if self.protocol == ICMP:
            return not checksum(payload)
        if self.protocol in (TCP, UDP, ICMPV6):
            return not checksum(self.pseudo_header(len(payload)) + payload)
        return True

    def pseudo_header(self, length: int) -> bytes:
        return pseudo_header(self.source, self.destination, self.protocol, length)


def pseudo_header(source: object, destination: object, protocol: int, length: int) -> bytes:
    """What a transport checksum covers in front of the transport header."""
    ends = ip_address(str(source)).packed + ip_address(str(destination)).packed
    return ends + struct.pack("!IHBB", length, 0, 0, protocol)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def with_checksum(header: bytes) -> bytes:
    """An IPv4 header with its checksum."""
    blank = header[:10] + b"\0\0" + header[12:]
    return blank[:10] + struct.pack("!H", checksum(blank)) + blank[12:]


def untagged(frame: bytes) -> bytes:
    """The frame without its tag, if that says a priority and no VLAN."""
    tagged = frame[12:14] in (b"\x81\0", b"\x88\xa8") and len(frame) >= ETHERNET + 4
    return frame[:12] + frame[16:] if tagged and not frame[14] & 15 and not frame[15] else frame


def random_fields(frame: bytes) -> Iterator[tuple[int, ...]]:
    """The fields of a frame in which a host puts what does not follow from what it was sent: for each the
    places of its bytes, and of the checksums that follow from it."""
    yield from _random_fields(frame, ETHERNET)


def _random_fields(frame: bytes, start: int) -> Iterator[tuple[int, ...]]:
    packet = Ip.parse(frame[start:])
    if packet is None:
        return
    if packet.version == 4:
        header_checksum = (start + 10, start + 11)
        yield (start + 4, start + 5, *header_checksum)
        yield header_checksum
        for at, length in options(packet.data[20 : packet.transport]):
            if packet.data[20 + at] == TIMESTAMP_OPTION:
                option = start + 20 + at
                yield (*range(option + 4, option + length), *header_checksum)
    else:
        yield (start + 1, start + 2, start + 3)
        if packet.fragment_header:
            identification = start + packet.fragment_header + 4
            yield tuple(range(identification, identification + 4))
    at = start + packet.transport
    if packet.fragment and packet.fragment[0]:
        return
    if packet.protocol == UDP:
        checksum_at = (at + 6, at + 7) if any(frame[at + 6 : at + 8]) else ()
        yield (at, at + 1, *checksum_at)
        if frame[at + 8 : at + 9] == b"\0":
            yield from (field + checksum_at for field in _random_fields(frame, at + 12))
    if packet.protocol == ICMP and frame[at] in (14, 18):
        yield (at + 2, at + 3, *range(at + 12, at + 20))
    if packet.protocol in (IPIP, IPV6):
        yield from _random_fields(frame, at)
    if packet.protocol == GRE:
        checksum_at = (at + 4, at + 5) if frame[at] & 0x80 else ()
        inner = at + (8 if checksum_at else 4)
        yield from (field + checksum_at for field in _random_fields(frame, inner))


def masked(frame: bytes, offsets: Iterable[int]) -> bytes:
    """The frame, every random field blank that has a byte among ``offsets``."""
    blank = bytearray(frame)
    fields = list(random_fields(frame))
    for offset in offsets:
        for field in fields:
            if offset in field:
                for place in (place for place in field if place < len(frame)):
                    if field[1:] == (place + 1, place + 2):  # a flow label, whose first byte is not its own
                        blank[place] &= 0xF0
                    else:
                        blank[place] = 0
    return bytes(blank)


def options(data: bytes) -> Iterator[tuple[int, int]]:
    """Place and length of each IPv4 option."""
    at = 0
    while at < len(data) and data[at]:
        length = 1 if data[at] == 1 else data[at + 1] if at + 1 < len(data) else 0
        if length < 1 or at + length > len(data):
            return
        yield at, length
        at += length


def joined(frames: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The frames, trains of fragments of one datagram as the datagram that they make.

    A train with a gap or an overlap stays as it is.
    """
    trains: dict[object, list[tuple[str, bytes]]] = {}
    for number, (leg, frame) in enumerate(frames):
        packet = Ip.parse(frame[ETHERNET:])
        if packet is None or packet.fragment is None:
            trains[number] = [(leg, frame)]
        else:
            ends = (packet.source, packet.destination, packet.fragment[2])
            trains.setdefault((leg, frame[:12], ends), []).append((leg, frame))
    result: list[tuple[str, bytes]] = []
    for train in trains.values():
        whole = _join([frame for _, frame in train])
        if whole is None:
            result += train
        else:
            result.append((train[0][0], whole))
    return result


def whole(pieces: list[bytes]) -> bytes | None:
    """The datagram that fragments, from their IP headers on, make; ``None`` if they make none."""
    made = _join([bytes(ETHERNET) + piece for piece in pieces])
    if made is None:
        return None
    data = made[ETHERNET:]
    if data[0] >> 4 == 4 or data[6] != FRAGMENT:
        return data
    length = struct.pack("!H", len(data) - 40 - 8)
    return data[:4] + length + data[40:41] + data[7:40] + data[48:]


def _join(train: list[bytes]) -> bytes | None:
    packets = [Ip.parse(frame[ETHERNET:]) for frame in train]
    if len(train) < 2 or any(packet is None or packet.fragment is None for packet in packets):
        return None
    pieces = sorted((p for p in packets if p and p.fragment), key=lambda p: p.fragment or (0, False, 0))
    data, first = b"", pieces[0]
    for piece in pieces:
        offset, more, _ = piece.fragment or (0, False, 0)
        if offset != len(data) or more != (piece is not pieces[-1]):
            return None
        start = piece.fragment_header + 8 if piece.version == 6 else piece.transport
        data += piece.data[start:]
    header = first.data[: first.fragment_header + 8 if first.version == 6 else first.transport]
    if first.version == 4:
        field = struct.unpack("!H", header[6:8])[0] & DONT_FRAGMENT
        header = (
            header[:2] + struct.pack("!HHH", len(header) + len(data), *_ident(header), field) + header[8:]
        )
        header = with_checksum(header)
    else:
        at = first.fragment_header
        header = header[:4] + struct.pack("!H", len(header) - 40 + len(data)) + header[6:]
        header = header[: at + 2] + b"\0\0" + header[at + 4 :]
    return train[0][:ETHERNET] + header + data


def _ident(header: bytes) -> tuple[int]:
    return (struct.unpack("!H", header[4:6])[0],)


def show(frame: bytes) -> str:
    """A frame in a line for people."""
    if len(frame) < ETHERNET:
        return frame.hex()
    return f"{frame[6:12].hex()}>{frame[:6].hex()} {show_ip(frame[ETHERNET:])}"


def show_ip(data: bytes, depth: int = 0) -> str:
    packet = Ip.parse(data)
    if packet is None:
        return data.hex() if len(data) < 32 else f"{_fields(data)}{data[:64].hex()}…"
    text = (
        f"{packet.source}>{packet.destination} ttl {packet.ttl} tos {packet.tos:02x} len {len(packet.data)}"
    )
    if packet.version == 4:
        field = struct.unpack("!H", packet.data[6:8])[0]
        text += f" id {packet.data[4:6].hex()}{' DF' * bool(field & DONT_FRAGMENT)}"
        if packet.transport > 20:
            text += f" options {packet.data[20 : packet.transport].hex()}"
    else:
        text += f" next {packet.data[6]}"
    if packet.fragment:
        text += f" fragment {packet.fragment[0]}{'+' * packet.fragment[1]}"
    body = packet.payload
    if packet.fragment and packet.fragment[0]:
        return text
    match packet.protocol:
        case 6 if len(body) >= 20:
            flags = "".join(c for i, c in enumerate("FSRPAU") if body[13] >> i & 1)
            ports = "{}>{}".format(*struct.unpack("!HH", body[:4]))
            numbers = "{} {}".format(*struct.unpack("!II", body[4:12]))
            length = len(body) - (body[12] >> 4) * 4
            return f"{text} TCP {ports} {flags} {numbers} sum {body[16:18].hex()} +{length}"
        case 17 if len(body) >= 8:
            inner = f" [{body[8:12].hex()} {show_ip(body[12:], depth + 1)}]" if body[8:9] == b"\0" else ""
            return f"{text} UDP {{}}>{{}} length {{}} sum {body[6:8].hex()}{inner}".format(
                *struct.unpack("!HHH", body[:6])
            )
        case 1 | 58 if len(body) >= 8:
            error = body[0] in (3, 4, 5, 11, 12) if packet.protocol == 1 else body[0] < 128
            quoted = f" [{show_ip(body[8:], depth + 1)}]" if error else ""
            return f"{text} ICMP {body[0]}/{body[1]} {body[2:8].hex()}{quoted}"
        case 4 | 41:
            return f"{text} [{show_ip(body, depth + 1)}]"
        case 47:
            return f"{text} GRE {body[:4].hex()} [{show_ip(body[8 if body[0] & 0x80 else 4 :], depth + 1)}]"
    return f"{text} protocol {packet.protocol}"


def _fields(data: bytes) -> str:
    """Addresses and ports of a packet that is cut short, as in a quote."""
    if data[0] >> 4 == 4:
        ends = f"{IPv4Address(data[12:16])}>{IPv4Address(data[16:20])} ttl {data[8]} sum {data[10:12].hex()}"
        rest = data[(data[0] & 15) * 4 :]
    elif data[0] >> 4 == 6 and len(data) >= 40:
        ends, rest = f"{IPv6Address(data[8:24])}>{IPv6Address(data[24:40])} ttl {data[7]}", data[40:]
    else:
        return ""
    ports = " {}>{}".format(*struct.unpack("!HH", rest[:4])) if len(rest) >= 4 else ""
    return f"cut {ends}{ports} "
