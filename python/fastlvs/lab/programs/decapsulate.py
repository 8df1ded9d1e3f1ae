"""Unpacks IP-in-IP where the kernel has no ipip module: ``decapsulate.py``, on a tunnel's real server.

A raw socket receives what comes as protocol 4; the packet inside is checked and handed to the kernel again
through a raw socket that writes headers itself. Its destination, the VIP, is an address of this host, so it is
delivered here, whatever the reverse-path filter says. Prints ``ready`` when it receives.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

IPPROTO_IPIP = 4
LARGEST = 65535
"""Bytes of an IP packet."""


def main() -> None:
    """Works until the process ends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_IPIP) as tunnel,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as host,
    ):
        tunnel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        host.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 23)
        print("ready", flush=True)
        while True:
            inner = payload(tunnel.recv(LARGEST))
            if inner is not None:
                deliver(host, inner)


def payload(outer: bytes) -> bytes | None:
    """The IPv4 packet inside ``outer``, cut to its length; ``None`` if it is none. The kernel has checked
    ``outer`` itself."""
    inner = outer[(outer[0] & 15) * 4 :]
    if len(inner) < 20 or inner[0] >> 4 != 4:
        return None
    header, length = (inner[0] & 15) * 4, int.from_bytes(inner[2:4], "big")
    if not 20 <= header <= length <= len(inner) or folded(inner[:header]) != 0xFFFF:
        return None
    return inner[:length]


def deliver(host: socket.socket, packet: bytes) -> None:
    """Hands ``packet`` to this host's kernel."""
    with suppress(OSError):  # no such address here, or no room: lost, as packets are
        host.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


def folded(data: bytes) -> int:
    """The ones' complement sum of 16-bit words: all ones over a whole header."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


if __name__ == "__main__":
    main()
