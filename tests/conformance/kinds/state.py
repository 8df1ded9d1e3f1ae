"""Replays the kind ``state``: flows of one service, packet by packet, and the state that each leaves behind.

Compared are the leg on which each packet leaves, the connection's state and remaining time, the counters of the
server; in the scenarios on expiry, once a second, which connections are left.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from kinds import packet, topology
from kinds.result import Result, Scenario, SetAside
from packets import ACK, FIN, PSH, RST, SCTP, SYN, TCP, UDP, Packet

FLAGS = {
    "S": SYN,
    "A": ACK,
    "F": FIN | ACK,
    "R": RST,
    "SA": SYN | ACK,
    "P": PSH | ACK,
    "RA": RST | ACK,
    "f": FIN,
    "0": 0,
    "SF": SYN | FIN,
}
CHUNKS = {
    "DATA": (0, b"\0\0\0\1\0\0\0\0\0\0\0\0x"),
    "INIT": (1, b"\0\0\0\5\0\1\0\0\0\5\0\5\0\0\0\1"),
    "INIT_ACK": (2, b"\0\0\0\5\0\1\0\0\0\5\0\5\0\0\0\1\0\7\0\x08abcd"),
    "SACK": (3, bytes(12)),
    "HB": (4, b"\0\1\0\4"),
    "HB_ACK": (5, b"\0\1\0\4"),
    "ABORT": (6, b""),
    "SHUTDOWN": (7, b"\0\0\0\1"),
    "SHUT_ACK": (8, b""),
    "ERROR": (9, b"\0\1\0\4"),
    "COOKIE": (10, b"abcd"),
    "COOKIE_ACK": (11, b""),
    "SHUT_COMP": (14, b""),
}
"""The chunks that the recordings name: type and value."""

Socket = tuple[str, int]


def play(scenario: Scenario) -> Result:
    """Plays a scenario."""
    result = Result()
    try:
        Replay(scenario, result).run()
    except SetAside as why:
        return Result(set_aside=str(why))
    return result


class Replay(packet.Replay):
    """One scenario, the engine that it is played to, and the engine's host."""

    def run(self) -> None:
        for number, event in enumerate(self.scenario["ev"]):
            match event[0]:
                case "seq":
                    self.sequence(number, *event[1:])
                case "flow":
                    self.flow(number, *event[1:])
                case "alive":
                    self.alive(number, *event[1:])
                case "t" | "wait":
                    self.wait(event[1])
                case kind:
                    self.result.compare(number, kind, *packet.HANDLERS[kind](self, *event[1:]))

    def sequence(self, number: int, address: str, port: int, steps: list[list[Any]]) -> None:
        """One flow from its first packet on."""
        for place, step in enumerate(steps):
            if step[0] == "t":
                self.wait(step[1])
                continue
            direction, what, out, state, counters = step
            legs = self.send(self.scenario["proto"], (address, port), direction, what)
            found = self.state(address, port)
            if state and len(state) > 2:  # time passed between the two readings
                self.wait(float(state[2].removeprefix("t")))
            got = ["".join(sorted(legs)), found, self.counters()]
            wanted = [out, state and state[:2], counters]
            self.result.compare(number, f"flow {port} step {place} {step[:2]}", wanted, got)

    def flow(self, number: int, protocol: int, port: int, steps: list[str]) -> None:
        """A flow that is then left alone. Its client is told by the next listing."""
        listings = (event[1] for event in self.scenario["ev"][number:] if event[0] == "conns")
        address = next(row[1] for row in next(listings) if row[2] == port)
        for step in steps:
            self.send(protocol, (address, port), step[0], step[1:] or "U")

    def alive(self, number: int, _second: int, rows: list[list[Any]]) -> None:
        """Which connections are left; those without a whole second wait for the kernel's timer wheel."""
        self.wait(1)
        found: list[list[Any]] = [
            [c.client.port, c.state, whole_seconds(c.expires)] for c in self.engine.connections
        ]
        wanted, got = (sorted(row for row in side if row[2] > 0) for side in (rows, found))
        self.result.compare(number, "alive", wanted, got)

    def send(self, protocol: int, client: Socket, direction: str, what: str) -> list[str]:
        """Sends a packet of a flow; the legs by which something left."""
        names = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
        service = next(s for s in self.engine.services if s.protocol == names[protocol])
        vip = str(service.address.address), service.address.port
        server = str(service.servers[0].address.address), service.servers[0].address.port
        flags, payload = 0, b""
        if protocol == TCP:
            flags = FLAGS[what]
        elif protocol == UDP:
            payload = b"q"
        else:
            kind, value = CHUNKS[what]
            payload = struct.pack("!BBH", kind, 0, 4 + len(value)) + value + bytes(-len(value) % 4)
        if direction == "c":
            frame = Packet(protocol, client, vip, flags, payload).frame(topology.MACS["c"], CLIENTS_ROUTER)
        else:
            mac = topology.server_mac(server[0])
            frame = Packet(protocol, server, client, flags, payload).frame(topology.MACS["s"], mac)
        return [leg for leg, _ in self.receive(direction, frame)]

    def state(self, address: str, port: int) -> list[Any] | None:
        """State and remaining time of the flow's connection; one that was told to go is none."""
        client = ip_address(address), port
        found = [(c.state, whole_seconds(c.expires)) for c in self.engine.connections if c.client == client]
        return next((list(row) for row in found if row[1] > 0), None)

    def counters(self) -> list[int]:
        server = self.engine.services[0].servers[0]
        return [server.active, server.inactive]


CLIENTS_ROUTER = topology.ROUTERS["10.0.0.2"]


def whole_seconds(seconds: float) -> int:
    """As the kernel shows what is left of a connection's life."""
    return int(seconds + 1e-6)
