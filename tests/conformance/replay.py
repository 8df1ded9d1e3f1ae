"""Replays recordings of a Linux director through the public :class:`fastlvs.Engine`.

::

    python tests/conformance/replay.py [--kind sched|packet] [--id PREFIX] [--verbose] FILE…

Every decision and every listing of the recording is compared. A scenario that uses what fastlvs does not have
is set aside and says what that is. The recordings are described in ``vectors/README.md``.
"""

from __future__ import annotations

import argparse
import json
import lzma
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import fastlvs as lvs
from fastlvs.schedulers import NAMES
from kinds import packet
from packets import ACK, FIN, PSH, RST, SYN, TCP, Packet, mac

VECTORS = Path(__file__).parent / "vectors"

CLIENT_LEG, SERVER_LEG = "c", "s"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:01:01"
ROUTER_MAC = "02:00:00:00:00:02"

FORWARDING = {"m": "nat", "g": "dr", "i": "tun"}
STEPS = {"a": ACK, "d": PSH | ACK, "f": FIN | ACK, "r": RST}
SERVER_STEPS = {"sa": SYN | ACK, "sd": PSH | ACK, "sf": FIN | ACK, "sr": RST | ACK}
DATA = b"0123456789"
SETTINGS = {
    "expire_nodest_conn": bool,
    "conn_reuse_mode": int,
    "sloppy_tcp": bool,
    "lblc_expiration": float,
    "lblcr_expiration": float,
}
"""The sysctls that fastlvs has, and the type of their setting."""

Scenario = dict[str, Any]
Answer = int | str


class Difference(Exception):
    """The engine did something else than the kernel."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--kind", default="sched", choices=["sched", "packet"], help="kind of the scenarios to replay"
    )
    parser.add_argument("--id", default="", metavar="PREFIX", help="replay those whose id begins so")
    parser.add_argument("--verbose", action="store_true", help="say something about each scenario")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    options = parser.parse_args()
    files = options.files or [VECTORS / f"{options.kind}.jsonl.xz"]
    asked = (s for s in read(*files) if s["kind"] == options.kind and s["id"].startswith(options.id))
    if options.kind == "packet":
        return packet.report(asked, options.verbose)
    totals: Counter[str] = Counter()
    for scenario in asked:
        result, why = judge(scenario)
        totals[result] += 1
        if options.verbose or result == "different":
            print(f"{scenario['id']}: {result}{why and f': {why}'}")
    print(", ".join(f"{totals[result]} {result}" for result in ("equal", "different", "set aside")))
    return 1 if totals["different"] or not totals["equal"] else 0


def read(*files: Path) -> Iterator[Scenario]:
    """The scenarios of some files."""
    for file in files:
        with lzma.open(file, "rt") as lines:
            yield from map(json.loads, lines)


def judge(scenario: Scenario) -> tuple[str, str]:
    """What came of a scenario: "equal", "different" or "set aside", and why."""
    if missing := needs(scenario):
        return "set aside", ", ".join(missing)
    try:
        Replay(scenario).run()
    except Difference as difference:
        return "different", str(difference)
    return "equal", ""


def needs(scenario: Scenario) -> list[str]:
    """What a scenario uses that fastlvs does not have."""
    service, events = scenario["svc"], scenario["ev"]
    edited = [event for event in events if event[0] == "E"]
    schedulers = {scenario["sched"], *(event[1] for event in edited)} - set(NAMES)
    servers = [(server.get("x", 0), server.get("y", 0)) for server in scenario["rs"]]
    thresholds = servers + [tuple(event[3:5]) for event in events if event[0] in "wa"]
    lacks = {
        "a refused command": "err" in scenario,
        "firewall marks": service["type"] == "fwm",
        "port 0": service.get("port") == 0,
        "persistence": bool(service["persist"]),
        "one-packet scheduling": bool(service["ops"]),
        "scheduler flags": bool(service["flags"]) or any(event[2] for event in edited),
        "thresholds": any(upper or lower for upper, lower in thresholds),
        **{f"scheduler {name}": True for name in schedulers},
        **{f"sysctl {name}": name not in SETTINGS for name in scenario["sysctl"]},
    }
    return sorted(name for name, lacking in lacks.items() if lacking)


@dataclass
class Replay:
    """One scenario and the engine that it is played to."""

    scenario: Scenario
    now: float = 0.0
    flows: dict[int, tuple[int, tuple[str, int]]] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)
    """The server that a flow's last opening packet reached."""

    def __post_init__(self) -> None:
        self.vip = (self.scenario["svc"]["vip"], self.scenario["svc"]["port"])
        self.key = (self.scenario["svc"]["type"], self.vip)
        self.servers = self.scenario["rs"]
        self.macs = [server_mac(server["ip"]) for server in self.servers]
        self.engine = self._engine()

    def run(self) -> None:
        """Plays all events.

        Raises:
            Difference: at the first thing that is not as recorded.
        """
        for number, event in enumerate(self.scenario["ev"]):
            expected, got = EVENTS[event[0]](self, *event[1:])
            if expected != got:
                raise Difference(f"event {number} {event}: got {got}")
        got = dict(Counter(f"{c.protocol.upper()} {c.state}" for c in self.engine.connections))
        if got != self.scenario["end"]:
            raise Difference(f"at the end {self.scenario['end']} connections: got {got}")

    def _open(self, flow: int, protocol: int, address: str, port: int, out: Answer) -> tuple[Answer, Answer]:
        self.flows[flow] = protocol, (address, port)
        return self._again(flow, out)

    def _again(self, flow: int, out: Answer) -> tuple[Answer, Answer]:
        if isinstance(out, int) and out >= 0:
            self.reached[flow] = out
        return out, self._from_client(flow, SYN, b"")

    def _step(self, flow: int, step: str, out: Answer) -> tuple[Answer, Answer]:
        if step in SERVER_STEPS:
            return out, self._from_server(flow, SERVER_STEPS[step], DATA if step == "sd" else b"")
        return out, self._from_client(flow, STEPS[step], DATA if step == "d" else b"")

    def _edit(self, server: int, weight: int, _upper: int, _lower: int) -> tuple[None, None]:
        self.engine.edit_server(self.key, self._real_server(server, weight))
        return None, None

    def _add(self, server: int, weight: int, _upper: int, _lower: int) -> tuple[None, None]:
        self.engine.add_server(self.key, self._real_server(server, weight))
        return None, None

    def _delete(self, server: int) -> tuple[None, None]:
        self.engine.remove_server(self.key, self._real_server(server, 0))
        return None, None

    def _edit_service(self, scheduler: str, _flags: list[str]) -> tuple[None, None]:
        self.engine.edit_service(self.key, scheduler=scheduler)
        return None, None

    def _wait(self, seconds: float) -> tuple[None, None]:
        self.now += seconds
        self.engine.advance(self.now)
        return None, None

    def _listing(self, rows: list[list[int]]) -> tuple[object, object]:
        servers = self.engine.services[self.key].servers
        got = [[self._number(s.address), s.weight, s.active, s.inactive] for s in servers]
        return rows, got

    def _from_client(self, flow: int, flags: int, payload: bytes) -> Answer:
        protocol, client = self.flows[flow]
        frame = Packet(protocol, client, self.vip, flags, payload).frame(CLIENT_MAC, ROUTER_MAC)
        outcome = self.engine.process(CLIENT_LEG, frame, self.now)
        if len(outcome.frames) != 1:
            return -1
        leg, sent = outcome.frames[0]
        return self._receiver(sent) if leg == SERVER_LEG else Sent(sent).answer()

    def _from_server(self, flow: int, flags: int, payload: bytes) -> Answer:
        protocol, client = self.flows[flow]
        number = self.reached[flow]
        server = self.servers[number]
        packet = Packet(protocol, (server["ip"], server["port"]), client, flags, payload)
        outcome = self.engine.process(SERVER_LEG, packet.frame(SERVER_MAC, self.macs[number]), self.now)
        if outcome.verdict is lvs.Verdict.TO_HOST:
            return 2  # the recorded host forwards
        sent = [(leg, Sent(frame)) for leg, frame in outcome.frames]
        ends = [(leg, (packet.source, packet.source_port)) for leg, packet in sent]
        return 1 if ends == [(CLIENT_LEG, self.vip)] else 0

    def _receiver(self, frame: bytes) -> int:
        """The server that a frame went to: by its MAC and, where NAT writes one, its port."""
        port = Sent(frame).destination_port
        for number, server in enumerate(self.servers):
            if mac(self.macs[number]) == frame[:6] and (server["fwd"] != "m" or server["port"] == port):
                return number
        raise Difference(f"a frame to an unknown server: {frame.hex()}")

    def _real_server(self, number: int, weight: int) -> lvs.RealServer:
        server = self.servers[number]
        return lvs.RealServer((server["ip"], server["port"]), weight, FORWARDING[server["fwd"]])

    def _number(self, endpoint: lvs.Endpoint) -> int:
        ends = [(ip_address(server["ip"]), server["port"]) for server in self.servers]
        return ends.index(endpoint)

    def _engine(self) -> lvs.Engine:
        """The recorded director.

        Its VIP is the engine's own, so that the engine says what the recorded host says to the packets that
        IPVS leaves alone.
        """
        client, server = (
            ("fd00:c::", "fd00:5::1/64") if self.scenario["v6"] else ("10.0.0.", "192.168.0.1/16")
        )
        length = 64 if self.scenario["v6"] else 24
        first = self.servers[: self.scenario["nrs"]]
        service = lvs.VirtualService(
            *self.key,
            scheduler=self.scenario["sched"],
            servers=[self._real_server(number, server["w"]) for number, server in enumerate(first)],
        )
        return lvs.Engine(
            interfaces=[
                lvs.Interface(CLIENT_LEG, mac=CLIENT_MAC, addresses=[f"{client}1/{length}"]),
                lvs.Interface(SERVER_LEG, mac=SERVER_MAC, addresses=[server]),
            ],
            routes=[lvs.Route("default", via=f"{client}2")],
            neighbours={f"{client}2": ROUTER_MAC}
            | {server["ip"]: known for server, known in zip(self.servers, self.macs, strict=True)},
            owned=[self.vip[0]],
            services=[service],
            settings=self._settings(),
        )

    def _settings(self) -> lvs.Settings:
        sysctls = {name: SETTINGS[name](int(value)) for name, value in self.scenario["sysctl"].items()}
        names = ("timeout_tcp", "timeout_tcp_fin", "timeout_udp")
        given = zip(names, self.scenario["set"] or (), strict=False)
        settings: dict[str, Any] = {**sysctls, **{name: seconds for name, seconds in given if seconds}}
        return lvs.Settings(**settings)


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


if __name__ == "__main__":
    sys.exit(main())
