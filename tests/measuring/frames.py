"""The frames that disturb: spoofed ICMP errors, gratuitous ARP, and the first packets of many connections."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address

from fastlvs.lab.topology import CLIENT, DIRECTOR, VIPS, mac
from fastlvs.server import Forwarding
from measuring.tables import BUSY_PORT, MANY_SERVERS
from packets import ACK, SYN, TCP, Packet, checksum
from packets import mac as mac_bytes

QUOTED = {"IP in IP": 4, "IPv6 in IP": 41, "GRE": 47, "UDP": 17}
"""What the spoofed errors quote, by its protocol."""

_BROADCAST = b"\xff" * 6
_OUTSIDE = DIRECTOR.legs["outside"]


def icmp_errors(protocol: int, servers: int, count: int) -> list[bytes]:
    """Port unreachable from strangers to the director, about packets that it never sent to some of so many real
    servers and to hosts that are none."""
    chance = random.Random(protocol)
    frames = []
    for _ in range(count):
        quoted = MANY_SERVERS + chance.randrange(4 * servers + 1)
        inner = _ipv4(protocol, IPv4Address(_OUTSIDE), quoted, chance.randbytes(32))
        message = struct.pack("!BBHI", 3, 3, 0, 0) + inner
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        stranger = IPv4Address("198.18.0.0") + chance.randrange(1 << 17)
        packet = _ipv4(1, stranger, IPv4Address(_OUTSIDE), message)
        frames.append(_ethernet(_director(), 0x0800) + packet)
    return frames


def gratuitous_arp(operation: int, count: int) -> list[bytes]:
    """Hosts of many link-layer addresses say that a VIP is theirs, in requests (operation 1) or replies (2)."""
    chance = random.Random(operation)
    vip = IPv4Address(VIPS[Forwarding.NAT]).packed
    frames = []
    for _ in range(count):
        sender = b"\x02\xbb" + chance.randbytes(4)
        target = bytes(6) if operation == 1 else _BROADCAST
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + vip + target + vip
        frames.append(_ethernet(_BROADCAST, 0x0806) + arp + bytes(18))
    return frames


def openings(connections: int) -> list[bytes]:
    """SYN and ACK of so many connections of the client's to the busy service."""
    station, own = mac(_OUTSIDE), mac(CLIENT.address)
    return [
        Packet(TCP, (CLIENT.address, 1024 + number), (VIPS[Forwarding.DR], BUSY_PORT), flags).frame(
            station, own
        )
        for number in range(connections)
        for flags in (SYN, ACK)
    ]


def _director() -> bytes:
    return mac_bytes(mac(_OUTSIDE))


def _ethernet(destination: bytes, ethertype: int) -> bytes:
    # From the client's own port: no bridge learns a new place for anybody.
    return destination + mac_bytes(mac(CLIENT.address)) + struct.pack("!H", ethertype)


def _ipv4(protocol: int, source: IPv4Address, destination: IPv4Address, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    total = checksum(head + source.packed + destination.packed)
    return head[:10] + struct.pack("!H", total) + source.packed + destination.packed + payload
