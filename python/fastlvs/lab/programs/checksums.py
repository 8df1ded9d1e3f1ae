"""Has the kernel finish transport checksums itself: ``checksums.py INTERFACE…``.

It does what ``ethtool -K INTERFACE tx off`` does, and spares the lab that program, which many machines lack.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


def main(interfaces: list[str]) -> None:
    """Switches the offload off on every interface."""
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for interface in interfaces:
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)


if __name__ == "__main__":
    main(sys.argv[1:])
