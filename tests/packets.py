"""Frames for tests: a writer of plain TCP, UDP and SCTP packets in both families, fast enough for thousands."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

TCP, UDP, SCTP = 6, 17, 132
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Packet(NamedTuple):
    """A packet's addresses and contents."""

    protocol: int
    source: tuple[str, int]
    destination: tuple[str, int]
    flags: int = 0
    payload: bytes = b""
    ttl: int = 64

    def frame(self, destination_mac: str, source_mac: str) -> bytes:
        """The packet as an Ethernet frame."""
        source, destination = ip_address(self.source[0]).packed, ip_address(self.destination[0]).packed
        segment = self._segment(source, destination)
        if len(source) == 4:
            ethertype = 0x0800
            header = struct.pack(
                "!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, self.ttl, self.protocol, 0
            )
            total = checksum(header + source + destination)
            header = header[:10] + struct.pack("!H", total)
        else:
            ethertype = 0x86DD
            header = struct.pack("!IHBB", 6 << 28, len(segment), self.protocol, self.ttl)
        link = mac(destination_mac) + mac(source_mac) + struct.pack("!H", ethertype)
        return link + header + source + destination + segment

    def _segment(self, source: bytes, destination: bytes) -> bytes:
        ports = struct.pack("!HH", self.source[1], self.destination[1])
        if self.protocol == SCTP:
            return ports + struct.pack("!II", 1, 0) + self.payload  # no checksum: nobody here looks at it
        length = (20 if self.protocol == TCP else 8) + len(self.payload)
        if self.protocol == TCP:
            fields, at = struct.pack("!IIBBHHH", 1, 1, 0x50, self.flags, 64000, 0, 0), 16
        else:
            fields, at = struct.pack("!HH", length, 0), 6
        segment = ports + fields + self.payload
        total = checksum(source + destination + struct.pack("!HH", self.protocol, length) + segment)
        if self.protocol == UDP:
            total = total or 0xFFFF
        return segment[:at] + struct.pack("!H", total) + segment[at + 2 :]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    """The bytes of ``02:00:00:00:00:01``."""
    return bytes.fromhex(text.replace(":", ""))
