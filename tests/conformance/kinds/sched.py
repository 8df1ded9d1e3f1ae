"""Replays the kind ``sched``: one service, its clients, its servers; who gets which connection.

Compared are every decision, every listing of the servers with their counters, and the states in which
connections are at the end.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import fastlvs as lvs
from kinds.result import Result, Scenario
from packets import ACK, FIN, PSH, RST, SYN, TCP, Packet, mac

CLIENT_LEG, SERVER_LEG = "c", "s"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:01:01"
ROUTER_MAC = "02:00:00:00:00:02"
VIPS = {0: "10.99.0.0/16", 1: "fd00:99::/64"}
"""What the recorded director marked, by address family."""

FORWARDING = {"m": "nat", "g": "dr", "i": "tun"}
STEPS = {"a": ACK, "d": PSH | ACK, "f": FIN | ACK, "r": RST}
SERVER_STEPS = {"sa": SYN | ACK, "sd": PSH | ACK, "sf": FIN | ACK, "sr": RST | ACK}
DATA = b"0123456789"

LATE = "connections outlived their time: the wheel of the kernel's timers was late"
TICK = 0.01
"""By how much, in seconds, a connection outlives what it is to outlive."""
TIMEOUTS = {"ESTABLISHED": "timeout_tcp", "FIN_WAIT": "timeout_tcp_fin", "UDP": "timeout_udp"}
"""The settings that say how long connections are kept that came to a state."""

Answer = int | str
Socket = tuple[str, int]


def play(scenario: Scenario) -> Result:
    """Plays a scenario.

    The kernel keeps timers in slots, so connections may end late: up to the length of a slot, but where in a
    slot a timer began is not recorded. Where a listing has such connections, everything is played again with
    timeouts that are so much longer, and has to come out as recorded.
    """
    late: dict[str, float] = {}
    for _ in TIMEOUTS:
        replay = Replay(scenario, late)
        try:
            replay.run()
        except Late as found:
            late = found.late
            continue
        result = replay.result
        if late and result.differences:
            return Result(set_aside=f"{LATE}, not all by the same time")
        if late:
            result.excused[LATE] += 1
        return result
    return Result(set_aside=f"{LATE}, again and again")


class Late(Exception):
    """Connections outlived their time as the kernel's timers allow: by how many seconds, by state."""

    def __init__(self, late: dict[str, float]) -> None:
        super().__init__(late)
        self.late = late


@dataclass
class Flow:
    """A client, what it asks for, and whom it reached."""

    protocol: int
    client: Socket
    asked: Socket
    server: int = -1
    """The server that its last opening packet reached."""


@dataclass
class Replay:
    """One scenario and the engine that it is played to."""

    scenario: Scenario
    late: dict[str, float] = field(default_factory=dict)
    """How late the kernel's timers were, in seconds, by the connection's state."""
    result: Result = field(default_factory=Result)
    now: float = 0.0
    flows: dict[int, Flow] = field(default_factory=dict)
    ended: dict[int, list[tuple[float, str]]] = field(default_factory=dict)
    """The connections that ended during the last wait and that the kernel may still have: by server's number,
    how late it would be, and their state."""

    def __post_init__(self) -> None:
        self.servers = self.scenario["rs"]
        self.macs = [server_mac(server["ip"]) for server in self.servers]
        self.engine = self._engine()

    def run(self) -> None:
        """Plays all events."""
        for number, event in enumerate(self.scenario["ev"]):
            expected, got = EVENTS[event[0]](self, *event[1:])
            if event[0] == "s":
                self._look_for_late_ones(expected, got)
            self.result.compare(number, str(event), expected, got)
        rows = [*self.engine.connections, *self.engine.templates]
        got = dict(Counter(f"{row.protocol.upper()} {row.state}" for row in rows))
        self.result.compare(len(self.scenario["ev"]), "at the end", self.scenario["end"], got)

    def _open(self, flow: int, protocol: int, address: str, port: int, *rest: Any) -> tuple[Answer, Answer]:
        *asked, out = rest  # nothing, a port, or an address and a port
        service = self.scenario["svc"]
        vip = asked[0] if len(asked) == 2 else service["vip"]
        self.flows[flow] = Flow(protocol, (address, port), (vip, asked[-1] if asked else service["port"]))
        return self._again(flow, out)

    def _again(self, flow: int, out: Answer) -> tuple[Answer, Answer]:
        if isinstance(out, int) and out >= 0:
            self.flows[flow].server = out
        return out, self._from_client(self.flows[flow], SYN, b"")

    def _step(self, flow: int, step: str, out: Answer) -> tuple[Answer, Answer]:
        if step in SERVER_STEPS:
            return out, self._from_server(self.flows[flow], SERVER_STEPS[step], DATA if step == "sd" else b"")
        return out, self._from_client(self.flows[flow], STEPS[step], DATA if step == "d" else b"")

    def _edit(self, server: int, weight: int, upper: int, lower: int) -> tuple[None, None]:
        if self.key:
            self.engine.edit_server(self.key, self._real_server(server, weight, upper, lower))
        return None, None

    def _add(self, server: int, weight: int, upper: int, lower: int) -> tuple[None, None]:
        if self.key:
            self.engine.add_server(self.key, self._real_server(server, weight, upper, lower))
        return None, None

    def _delete(self, server: int) -> tuple[None, None]:
        if self.key:
            self.engine.remove_server(self.key, self._real_server(server))
        return None, None

    def _edit_service(self, scheduler: str, flags: list[str]) -> tuple[None, None]:
        if self.key:
            self.engine.edit_service(self.key, scheduler=scheduler, flags=flags)
        return None, None

    def _wait(self, seconds: float) -> tuple[None, None]:
        self.ended = {number: [] for number in range(len(self.servers))}
        for connection in self.engine.connections:
            state = connection.state
            late = seconds - (connection.expires - self.late.get(state, 0.0))
            if connection.expires <= seconds and late < self._slot(state):
                self.ended[self._number(connection.server)].append((late, state))
        self.now += seconds
        self.engine.advance(self.now)
        return None, None

    def _listing(self, rows: list[list[int]]) -> tuple[object, object]:
        servers = self.engine.services[self.key].servers if self.key else ()
        got = [[self._number(s.address), s.weight, s.active, s.inactive] for s in servers]
        return rows, got

    def _slot(self, state: str) -> float:
        """The length in seconds of the slots in which the kernel keeps the timer of a connection that came to
        that state (HZ = 100); 0 if nothing is known of it."""
        if state not in TIMEOUTS:
            return 0.0
        seconds = getattr(self.engine.settings, TIMEOUTS[state]) - self.late.get(state, 0.0)
        return 40.96 if seconds >= 322 else 5.12

    def _look_for_late_ones(self, wanted: Any, got: Any) -> None:
        """Raises `Late` if the listings differ by connections that may be late, and by nothing else."""
        if wanted == got or [row[:2] for row in wanted] != [row[:2] for row in got]:
            return
        late = dict(self.late)
        for row, other in zip(wanted, got, strict=True):
            more, ended = sum(row[2:]) - sum(other[2:]), sorted(self.ended.get(row[0], ()))
            if not 0 <= more <= len(ended):
                return
            for seconds, state in ended[:more]:
                late[state] = max(late.get(state, 0.0), seconds + TICK)
        if late != self.late:
            raise Late(late)

    def _from_client(self, flow: Flow, flags: int, payload: bytes) -> Answer:
        packet = Packet(flow.protocol, flow.client, flow.asked, flags, payload)
        outcome = self.engine.process(CLIENT_LEG, packet.frame(CLIENT_MAC, ROUTER_MAC), self.now)
        if len(outcome.frames) != 1:
            return -1
        leg, sent = outcome.frames[0]
        return self._receiver(sent) if leg == SERVER_LEG else Sent(sent).answer()

    def _from_server(self, flow: Flow, flags: int, payload: bytes) -> Answer:
        server = self.servers[flow.server]
        port = server["port"] if self.scenario["svc"].get("port") else flow.asked[1]
        packet = Packet(flow.protocol, (server["ip"], port), flow.client, flags, payload)
        frame = packet.frame(SERVER_MAC, self.macs[flow.server])
        outcome = self.engine.process(SERVER_LEG, frame, self.now)
        if outcome.verdict is lvs.Verdict.TO_HOST:
            return 2  # the recorded host forwards
        sent = [(leg, Sent(frame)) for leg, frame in outcome.frames]
        ends = [(leg, (packet.source, packet.source_port)) for leg, packet in sent]
        return 1 if ends == [(CLIENT_LEG, flow.asked)] else 0

    def _receiver(self, frame: bytes) -> Answer:
        """The server that a frame went to: by its MAC and, where NAT writes one, its port."""
        port = Sent(frame).destination_port
        for number, server in enumerate(self.servers):
            any_port = server["fwd"] != "m" or not self.scenario["svc"].get("port")
            if mac(self.macs[number]) == frame[:6] and (any_port or server["port"] == port):
                return number
        return f"a frame to an unknown server: {frame.hex()}"

    def _real_server(self, number: int, weight: int = 1, upper: int = 0, lower: int = 0) -> lvs.RealServer:
        server = self.servers[number]
        return lvs.RealServer(
            (server["ip"], server["port"]),
            weight,
            FORWARDING[server["fwd"]],
            upper_threshold=upper,
            lower_threshold=lower,
        )

    def _number(self, endpoint: lvs.Endpoint) -> int:
        """Which server has that address; one of all ports has every port of it."""
        ends = [(ip_address(server["ip"]), server["port"]) for server in self.servers]
        return next(
            n for n, (ip, port) in enumerate(ends) if ip == endpoint.address and port in (0, endpoint.port)
        )

    def _engine(self) -> lvs.Engine:
        """The recorded director.

        Its VIPs are the engine's own, so that the engine says what the recorded host says to the packets that
        IPVS leaves alone.
        """
        v6 = self.scenario["v6"]
        client, server = ("fd00:c::", "fd00:5::1/64") if v6 else ("10.0.0.", "192.168.0.1/16")
        mark = self.scenario["svc"].get("fwmark")
        engine = lvs.Engine(
            interfaces=[
                lvs.Interface(CLIENT_LEG, mac=CLIENT_MAC, addresses=[f"{client}1/{64 if v6 else 24}"]),
                lvs.Interface(SERVER_LEG, mac=SERVER_MAC, addresses=[server]),
            ],
            routes=[lvs.Route("default", via=f"{client}2")],
            neighbours={f"{client}2": ROUTER_MAC}
            | {server["ip"]: known for server, known in zip(self.servers, self.macs, strict=True)},
            owned=self._vips(),
            marks=[lvs.Mark(mark, VIPS[v6])] if mark else [],
            settings=self._settings(),
        )
        self.key: tuple[str, Any] | None = None
        try:
            service = self._service()
        except lvs.ConfigurationError:
            if "err" not in self.scenario:
                raise
        else:
            engine.apply([service])
            self.key = service.key
        return engine

    def _service(self) -> lvs.VirtualService:
        service = self.scenario["svc"]
        first = self.servers[: self.scenario["nrs"]]
        options: dict[str, Any] = {
            "scheduler": self.scenario["sched"],
            "flags": service["flags"],
            "persistence": service["persist"] or None,
            "netmask": service["mask"],
            "one_packet": bool(service["ops"]),
            "servers": [self._real_server(n, s["w"], s["x"], s["y"]) for n, s in enumerate(first)],
        }
        if service["type"] == "fwm":
            return lvs.VirtualService.of_mark(service["fwmark"], ipv6=bool(self.scenario["v6"]), **options)
        return lvs.VirtualService(service["type"], (service["vip"], service["port"]), **options)

    def _vips(self) -> set[str]:
        """Every address that clients ask for."""
        service = self.scenario["svc"]
        if "vip" in service:
            return {service["vip"]}
        return {event[5] for event in self.scenario["ev"] if event[0] == "o"}

    def _settings(self) -> lvs.Settings:
        defaults = lvs.Settings()
        sysctls = {k: type(getattr(defaults, k))(int(v)) for k, v in self.scenario["sysctl"].items()}
        names = ("timeout_tcp", "timeout_tcp_fin", "timeout_udp")
        given = zip(names, self.scenario["set"] or (), strict=False)
        settings = lvs.Settings(**sysctls, **{name: seconds for name, seconds in given if seconds})
        longer = {TIMEOUTS[state]: late for state, late in self.late.items()}
        return replace(settings, **{name: getattr(settings, name) + late for name, late in longer.items()})


EVENTS: dict[str, Callable[..., tuple[object, object]]] = {
    "o": Replay._open,
    "r": Replay._again,
    "p": Replay._step,
    "w": Replay._edit,
    "a": Replay._add,
    "d": Replay._delete,
    "E": Replay._edit_service,
    "t": Replay._wait,
    "s": Replay._listing,
}


class Sent:
    """What a frame that the engine sent says behind its addresses."""

    def __init__(self, frame: bytes) -> None:
        ipv4 = frame[12:14] == b"\x08\x00"
        self.protocol = frame[23] if ipv4 else frame[20]
        self.source = str(ip_address(frame[26:30] if ipv4 else frame[22:38]))
        self.transport = frame[34:] if ipv4 else frame[54:]
        self.source_port, self.destination_port = struct.unpack("!HH", self.transport[:4])

    def answer(self) -> str:
        """What the director told a client in its own name, as the recordings write it."""
        if self.protocol == TCP:
            return "rst" if self.transport[13] & RST else "tcp"
        return f"icmp{self.transport[0]}/{self.transport[1]}"


def server_mac(address: str) -> str:
    """The MAC that a real server of the recordings has."""
    parsed = ip_address(address)
    kind = b"\x02\x01" if parsed.version == 4 else b"\x02\x06"
    return (kind + parsed.packed[-4:]).hex(":")
