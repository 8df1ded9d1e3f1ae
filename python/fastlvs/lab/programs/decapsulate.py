"""Unpacks tunnels where the kernel has no module for them: ``decapsulate.py KIND…``, on a tunnel's real server.

KIND is ``4in4``, ``6in4``, ``4in6`` or ``6in6``. A raw socket receives what comes as protocol 4 or 41; the
packet inside is checked and handed to the kernel again through a raw socket that writes headers itself. Its
destination, the VIP, is an address of this host, so it is delivered here, whatever the reverse-path filter
says. Prints ``ready`` when it receives.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from socket import AF_INET, AF_INET6, IPPROTO_RAW, SO_RCVBUF, SO_SNDBUF, SOCK_RAW, SOL_SOCKET

PROTOCOLS = {"4": 4, "6": 41}
FAMILIES = {"4": AF_INET, "6": AF_INET6}
LARGEST = 65535
"""Bytes of an IP packet."""
BUFFER = 1 << 23


def main(kinds: list[str]) -> None:
    """Works until the process ends."""
    ways = {}
    selector = DefaultSelector()
    for inner, outer in (kind.split("in") for kind in kinds):
        tunnel = socket.socket(FAMILIES[outer], SOCK_RAW, PROTOCOLS[inner])
        tunnel.setsockopt(SOL_SOCKET, SO_RCVBUF, BUFFER)
        selector.register(tunnel, EVENT_READ, (inner, outer))
        if inner not in ways:
            ways[inner] = socket.socket(FAMILIES[inner], SOCK_RAW, IPPROTO_RAW)
            ways[inner].setsockopt(SOL_SOCKET, SO_SNDBUF, BUFFER)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            inner, outer = key.data
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(LARGEST)
            # The kernel has checked the outer header itself, and hands over IPv4's alone.
            packet = checked(received[(received[0] & 15) * 4 :] if outer == "4" else received, inner)
            if packet is not None:
                deliver(ways[inner], packet)


def checked(packet: bytes, version: str) -> bytes | None:
    """An IP packet, cut to its length; ``None`` if it is none of that version."""
    if not packet or packet[0] >> 4 != int(version):
        return None
    if version == "6":
        length = 40 + int.from_bytes(packet[4:6], "big")
        return packet[:length] if 40 <= length <= len(packet) else None
    header, length = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    if not 20 <= header <= length <= len(packet) or folded(packet[:header]) != 0xFFFF:
        return None
    return packet[:length]


def deliver(host: socket.socket, packet: bytes) -> None:
    """Hands ``packet`` to this host's kernel."""
    where = packet[16:20] if host.family == AF_INET else packet[24:40]
    with suppress(OSError):  # no such address here, or no room: lost, as packets are
        host.sendto(packet, (socket.inet_ntop(host.family, where), 0))


def folded(data: bytes) -> int:
    """The ones' complement sum of 16-bit words: all ones over a whole header."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


if __name__ == "__main__":
    main(sys.argv[1:])
