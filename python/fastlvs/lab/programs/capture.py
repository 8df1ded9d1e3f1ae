"""Writes down the IP frames of some interfaces: ``capture.py INTERFACE…``, until it is told to end (TERM).

Prints ``ready``, then a line of JSON for each frame: ``interface``, ``outgoing`` (sent by this host), ``frame``
in hexadecimal. Frames that local stacks handed over still have unfinished checksums.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys
from contextlib import suppress

ETH_P_ALL, PACKET_OUTGOING, SO_RCVBUFFORCE = 0x0003, 4, 33
BUFFER = 1 << 24
LARGEST = 1 << 17
ETHERTYPES = (b"\x08\x00", b"\x86\xdd")


def main(interfaces: list[str]) -> None:
    """Works until SIGTERM, then writes what is still queued."""
    selector = selectors.DefaultSelector()
    taps = []
    for interface in interfaces:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        tap.bind((interface, ETH_P_ALL))
        tap.setblocking(False)
        with suppress(PermissionError):  # of root alone: room for what comes while others have the processor
            tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        selector.register(tap, selectors.EVENT_READ, interface)
        taps.append((tap, interface))
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    selector.register(wake, selectors.EVENT_READ)
    print("ready", flush=True)
    ending = False
    while not ending:
        for key, _ in selector.select():
            if key.fileobj is wake:
                ending = True
            elif isinstance(key.fileobj, socket.socket):
                drain(key.fileobj, key.data)
    for tap, interface in taps:
        drain(tap, interface)


def drain(tap: socket.socket, interface: str) -> None:
    """Writes what is queued now."""
    while True:
        try:
            frame, address = tap.recvfrom(LARGEST)
        except BlockingIOError:
            return
        if frame[12:14] in ETHERTYPES:
            line = {"interface": interface, "outgoing": address[2] == PACKET_OUTGOING, "frame": frame.hex()}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
