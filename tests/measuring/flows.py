"""Known flows: datagrams and connections that somebody counts while a director is disturbed.

Started by its path inside a host of the lab, with the standard library alone:

``flows.py serve PORT ADDRESS…`` sends everything back that comes to these addresses. Prints ``ready``.

``flows.py ask PACE TARGET…`` sends a numbered request every PACE seconds to each target (``udp:VIP:PORT``,
``tcp:VIP:PORT``; named twice it is two flows). Prints ``ready`` when all have answered, goes on until its input
ends, then waits for the last answers and prints what came of it in JSON, times in seconds.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from itertools import pairwise

RECORD = struct.Struct("!QQ")
"""A request, and its answer: its number, when it was sent (nanoseconds)."""
PATIENCE = 10.0
"""Seconds in which every flow has to have its first answer."""
REPEAT = 0.1
"""Seconds after which a flow without any answer is asked again."""
LAST_ANSWERS = 3.0
"""Seconds that the last answers may take: by TCP, what was lost is sent again after one."""
ROOM = 1 << 20
"""Bytes of a socket's buffers."""


def main(arguments: list[str]) -> int:
    """Serves or asks."""
    with suppress(PermissionError):
        os.nice(-15)  # what is measured is the director, not how long this process waits for a processor
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    task, *rest = arguments
    if task == "serve":
        serve(int(rest[0]), rest[1:])
        return 0
    return ask(float(rest[0]), rest[1:])


def serve(port: int, addresses: list[str]) -> None:
    """Sends back what comes, until the process ends. Datagrams go back from the address that they came to."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("", port), backlog=1024)
    selector.register(listener, selectors.EVENT_READ)
    for address in addresses:
        datagrams = _socket(socket.SOCK_DGRAM)
        datagrams.bind((address, port))
        selector.register(datagrams, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
            elif key.fileobj.type == socket.SOCK_DGRAM:
                with suppress(OSError):  # an error about an earlier answer
                    data, client = key.fileobj.recvfrom(2048)
                    key.fileobj.sendto(data, client)
            elif not _echoed(key.fileobj):
                selector.unregister(key.fileobj)
                key.fileobj.close()


def _echoed(connection: socket.socket) -> bool:
    """Whether the connection goes on. An answer is a few bytes: it always finds room."""
    with suppress(OSError):
        data = connection.recv(65536)
        if data:
            connection.sendall(data)
            return True
    return False


def _socket(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    for room in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, room, ROOM)
    return made


class Flow:
    """A flow of requests and answers."""

    def __init__(self, target: str) -> None:
        kind, address, port = target.split(":")
        self.is_tcp = kind == "tcp"
        self.socket = _socket(socket.SOCK_STREAM if self.is_tcp else socket.SOCK_DGRAM)
        if self.is_tcp:
            self.socket.settimeout(PATIENCE)
        self.socket.connect((address, int(port)))
        self.socket.setblocking(False)
        if self.is_tcp:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0
        self.answered = 0
        self.broken = False
        self._number = 0
        self._expected = 0
        self._rest = b""

    @property
    def lost(self) -> int:
        """Requests without answer."""
        return max(0, self.sent - self.answered)

    def start(self) -> None:
        """Counts from here."""
        self.sent = self.answered = 0

    def request(self) -> None:
        """Sends the next request."""
        if self.broken:
            return
        record = RECORD.pack(self._number, time.monotonic_ns())
        try:
            if self.socket.send(record) != len(record):
                self.broken = True
        except BlockingIOError:
            return  # a connection whose answers do not come any more: it is late, not broken
        except OSError:
            # Of datagrams it is an ICMP error about an earlier one, which is lost.
            self.broken = self.is_tcp
        self.sent += 1
        self._number += 1

    def answers(self) -> list[int]:
        """When the requests were sent whose answers have come."""
        try:
            data = self._rest + self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            self.broken = self.is_tcp
            return []
        if self.is_tcp and not data:
            self.broken = True
        whole = len(data) - len(data) % RECORD.size
        self._rest = data[whole:] if self.is_tcp else b""
        times: list[int] = []
        for number, sent in RECORD.iter_unpack(data[:whole]):
            if self.is_tcp and number != self._expected:
                self.broken = True  # the stream is not what was sent
                return times
            self._expected += 1
            self.answered += 1
            times.append(sent)
        return times


class Asking:
    """All flows, and what came of them."""

    def __init__(self, targets: list[str]) -> None:
        self.targets = targets
        self.flows = [Flow(target) for target in targets]
        self.round_trips: list[int] = []
        """Nanoseconds."""
        self.seen: list[int] = []
        """When answers came."""
        self._selector = selectors.DefaultSelector()
        for flow in self.flows:
            self._selector.register(flow.socket, selectors.EVENT_READ, flow)

    def begin(self) -> str | None:
        """Has every flow answered once, else says which are silent."""
        deadline = time.monotonic() + PATIENCE
        repeated = False
        while silent := [flow for flow in self.flows if not flow.answered]:
            if time.monotonic() > deadline or any(flow.broken for flow in silent):
                names = (self.targets[self.flows.index(flow)] for flow in silent)
                return f"no answer from {' '.join(names)}"
            for flow in silent:
                repeated |= flow.sent > 0
                flow.request()
            until = time.monotonic() + REPEAT
            while time.monotonic() < until and not all(flow.answered for flow in silent):
                self.take(time.monotonic() + REPEAT / 20)
        if repeated:
            self.take(time.monotonic() + 2 * REPEAT)  # answers that are late
        for flow in self.flows:
            flow.start()
        self.round_trips.clear()
        self.seen = [time.monotonic_ns()]
        return None

    def go_on(self, pace: float) -> None:
        """Asks until standard input ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        start, flows = time.monotonic(), self.flows
        due = [start + pace * number / len(flows) for number in range(len(flows))]
        ended = False
        while not ended:
            now = time.monotonic()
            for number, flow in enumerate(flows):
                if due[number] <= now:
                    flow.request()
                    due[number] = max(due[number] + pace, now)  # what was late is not sent in a burst
            ended = self.take(min(due))
        self._selector.unregister(sys.stdin)

    def end(self) -> dict[str, object]:
        """Waits for the last answers, and tells."""
        end = time.monotonic_ns()
        last = time.monotonic() + LAST_ANSWERS
        while time.monotonic() < last and any(flow.lost and not flow.broken for flow in self.flows):
            self.take(time.monotonic() + 0.05)
        seen = [*(at for at in self.seen if at < end), end]
        trips = sorted(self.round_trips)
        datagrams = [flow for flow in self.flows if not flow.is_tcp]
        connections = [flow for flow in self.flows if flow.is_tcp]
        return {
            "datagrams": sum(flow.sent for flow in datagrams),
            "lost": sum(flow.lost for flow in datagrams),
            "connections": len(connections),
            "broken": sum(flow.broken or flow.lost > 0 for flow in connections),
            "median": _quantile(trips, 0.5),
            "p99": _quantile(trips, 0.99),
            "silence": max(after - before for before, after in pairwise(seen)) / 1e9,
        }

    def take(self, until: float) -> bool:
        """Takes the answers that come until then; says whether standard input ended before."""
        while True:
            events = self._selector.select(max(0.0, until - time.monotonic()))
            now = time.monotonic_ns()
            for key, _ in events:
                flow: Flow | None = key.data
                if flow is None:
                    return True
                if times := flow.answers():
                    self.seen.append(now)
                    self.round_trips.extend(now - sent for sent in times)
                if flow.broken:
                    self._selector.unregister(flow.socket)
            if time.monotonic() >= until:
                return False


def ask(pace: float, targets: list[str]) -> int:
    """Asks, and tells; the exit status says whether there ever were answers."""
    try:
        asking = Asking(targets)
        failure = asking.begin()
    except OSError as error:
        failure = str(error)
    if failure is not None:
        print(failure, flush=True)
        return 1
    print("ready", flush=True)
    asking.go_on(pace)
    print(json.dumps(asking.end()), flush=True)
    return 0


def _quantile(ordered: list[int], part: float) -> float | None:
    """In seconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1e9 if ordered else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
