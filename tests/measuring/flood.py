"""Sends frames: ``flood.py INTERFACE RATE COUNT``, started by its path inside a host of the lab.

Reads frames in hexadecimal, a line each, and sends COUNT of them, over and over from the first, RATE a second.
Prints in JSON how many were sent in how many seconds. Standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import time

BATCH = 64
"""Frames in one system call."""
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
PATIENCE = 5.0
"""Seconds that a device may take no more than all of it should take."""
NAP = 0.0005
"""Seconds between two looks whether frames are due."""


class Vector(ctypes.Structure):
    """struct iovec"""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr: a struct msghdr, and how much of it was sent."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    ]


def main(interface: str, rate: float, count: int) -> None:
    """Sends ``count`` frames."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    frames = [bytes.fromhex(line) for line in sys.stdin]
    frames *= -(-BATCH // len(frames))
    buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
    vectors = (Vector * len(frames))(*(Vector(ctypes.addressof(b), len(b)) for b in buffers))
    messages = (Message * len(frames))()
    for number, message in enumerate(messages):
        message.vectors = ctypes.pointer(vectors[number])
        message.vector_count = 1
    library = ctypes.CDLL(None, use_errno=True)
    way = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    way.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    way.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    way.bind((interface, 0))
    size = ctypes.sizeof(Message)
    start, sent, at = time.monotonic(), 0, 0
    end = start + 2 * count / rate + PATIENCE
    while sent < count:
        due = min(count, int((time.monotonic() - start) * rate) + 1) - sent
        if due <= 0:
            time.sleep(NAP)
            continue
        batch = min(due, BATCH, len(frames) - at)
        done = library.sendmmsg(way.fileno(), ctypes.byref(messages, at * size), batch, 0)
        if done < 0:
            error = ctypes.get_errno()
            if error not in (errno.ENOBUFS, errno.EAGAIN) or time.monotonic() > end:
                raise OSError(error, os.strerror(error))
            time.sleep(NAP)
            continue
        sent += done
        at = (at + done) % len(frames)
    print(json.dumps({"sent": sent, "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
