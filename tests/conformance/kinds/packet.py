"""Replays the kind ``packet``: whole frames in, whole frames out, byte for byte.

What the engine leaves to the host goes to a model of the recorded host, and what that says in its own name goes
out through the engine, as on a director. Compared are all frames and the listings of connections, services,
statistics and templates.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import fastlvs as lvs
from fastlvs.schedulers import NAMES
from kinds import frames
from kinds.excuses import Excuses
from kinds.frames import ETHERNET, Ip
from kinds.host import Host, Leg

Scenario = dict[str, Any]
Frames = list[tuple[str, bytes]]

LEGS = ("c", "s")
MACS = {"c": "02:00:00:00:00:01", "s": "02:00:00:00:01:01"}
ADDRESSES = {"c": ("10.0.0.1/24", "fd00:c::1/64"), "s": ("192.168.0.1/16", "fd00:5::1/64")}
ROUTERS = {
    "10.0.0.2": "02:00:00:00:00:02",
    "fd00:c::2": "02:00:00:00:00:02",
    "192.168.0.2": "02:00:00:00:01:02",
    "fd00:5::2": "02:00:00:00:01:02",
}
DEFAULT_ROUTES = {"0.0.0.0/0": "10.0.0.2", "::/0": "fd00:c::2"}
LOCAL = ("10.99.0.0/16", "fd00:99::/64")
PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
METHODS = {"-m": "nat", "-g": "dr", "-i": "tun"}
LISTED = {"Masq": "masquerading", "Route": "gatewaying", "Tunnel": "tunneling"}


class SetAside(Exception):
    """The scenario uses what the engine does not have."""


@dataclass
class Result:
    """What came of a scenario."""

    set_aside: str = ""
    compared: int = 0
    differences: list[tuple[int, str]] = field(default_factory=list)
    """Number of the event, and what was expected and what came."""
    excused: Counter[str] = field(default_factory=Counter)
    """Differences that a rule accounts for, by rule."""


def play(scenario: Scenario) -> Result:
    """Plays a scenario."""
    result = Result()
    try:
        Replay(scenario, result).run()
    except SetAside as why:
        return Result(set_aside=str(why))
    except lvs.ConfigurationError as error:
        return Result(set_aside=f"refused: {str(error).rpartition(': ')[2]}")
    return result


def report(scenarios: Iterable[Scenario], verbose: bool = False, all_differences: bool = False) -> int:
    """Plays scenarios and prints what came of them, by what their names begin with; 0 when all are equal."""
    totals: dict[str, Counter[str]] = {}
    excused: Counter[str] = Counter()
    aside: Counter[str] = Counter()
    for scenario in scenarios:
        result = play(scenario)
        outcome = "set aside" if result.set_aside else "different" if result.differences else "equal"
        total = totals.setdefault(scenario["id"].partition("-")[0], Counter())
        total.update({"scenarios": 1, outcome: 1})
        total.update({"events": result.compared, "events different": len(result.differences)})
        excused.update(result.excused)
        aside.update([result.set_aside] if result.set_aside else [])
        if verbose or result.differences:
            print(f"{scenario['id']}: {outcome}{result.set_aside and f': {result.set_aside}'}")
        for event, what in result.differences[: None if all_differences else 1]:
            print(f"  event {event}: {what}")
    columns = ("scenarios", "equal", "different", "set aside", "events", "events different")
    print(f"{'':15}" + "".join(f"{column:>18}" for column in columns))
    for name, total in sorted(totals.items()):
        print(f"{name:15}" + "".join(f"{total[column]:18}" for column in columns))
    for rule, count in sorted(excused.items()):
        print(f"excused: {rule}: {count}")
    for reason, count in sorted(aside.items()):
        print(f"set aside: {reason}: {count}")
    equal, every = (sum(total[c] for total in totals.values()) for c in ("equal", "scenarios"))
    print(f"PASS {equal}/{every} scenarios")
    return 0 if equal == every else 1


class Replay:
    """One scenario, the engine that it is played to, and the engine's host."""

    def __init__(self, scenario: Scenario, result: Result) -> None:
        self.scenario = scenario
        self.result = result
        self.now = 0.0
        self.pieces: dict[object, int] = {}
        self.excuses = Excuses()
        self.random = {entry[0]: entry[1] if len(entry) > 1 else None for entry in scenario.get("nd", ())}
        if scenario["mark"]:
            raise SetAside("marks")
        self.settings: dict[str, Any] = {}
        for name, value in scenario["sysctl"].items():
            self._set(name, value)
        self._build()
        for line in scenario["setup"]:
            self.command(line)

    def run(self) -> None:
        events = self.scenario["ev"]
        number = 0
        while number < len(events):
            event = events[number]
            first = number + 1
            number = first
            while number < len(events) and events[number][0] == "out":
                number += 1
            expected = [(events[n][1], bytes.fromhex(events[n][2]), n) for n in range(first, number)]
            if event[0] in ("in", "wait"):
                cause = None
                if event[0] == "in":
                    cause = event[1], bytes.fromhex(event[2])
                    self.remember_piece(*cause)
                    self.excuses.see(cause[1])
                    got = self.receive(*cause)
                else:
                    self.now += event[1]
                    self.engine.advance(self.now)
                    got = []
                self.compare_frames(first - 1, cause, expected, got)
            elif event[0] in HANDLERS:
                self.result.compared += 1
                if self.random.get(first - 1, ()) is None:
                    continue
                wanted, has = HANDLERS[event[0]](self, *event[1:])
                wanted, has, rule = self.excuses.listing(event[0], wanted, has)
                if rule:
                    self.result.excused[rule] += 1
                if wanted != has:
                    self.result.differences.append((first - 1, f"{event[0]}: {_first(wanted, has)}"))

    def receive(self, leg: str, frame: bytes) -> Frames:
        """All that leaves the director for a frame."""
        outcome = self.engine.process(leg, frame, self.now)
        sent = [(by, bytes(out)) for by, out in outcome.frames]
        if outcome.verdict is lvs.Verdict.TO_HOST:
            for by, said, own in self.host.receive(leg, outcome.for_host or frame):
                sent += self.leave(by, said) if own else [(by, said)]
        return sorted(sent, key=lambda pair: pair[0] != "s")

    def leave(self, leg: str, frame: bytes) -> Frames:
        """What becomes of a frame that the host sends in its own name."""
        self.excuses.hear(frame)
        outcome = self.engine.process_output(leg, frame, self.now)
        if outcome.verdict is lvs.Verdict.TO_HOST:
            return [(leg, frame)]
        return [(by, bytes(out)) for by, out in outcome.frames]

    def compare_frames(
        self,
        event: int,
        cause: tuple[str, bytes] | None,
        expected: list[tuple[str, bytes, int]],
        got: Frames,
    ) -> None:
        self.result.compared += max(1, len(expected))
        offsets = [self.random.get(number) or () for _, _, number in expected]
        wanted = [
            (leg, frames.masked(frame, mask)) for (leg, frame, _), mask in zip(expected, offsets, strict=True)
        ]
        # Of a train of fragments that is cut otherwise, the last mask is good for those beyond.
        spare = offsets[-1] if offsets else ()
        has = [
            (leg, frames.masked(frame, offsets[n] if n < len(offsets) else spare))
            for n, (leg, frame) in enumerate(got)
        ]
        if wanted == has:
            return
        if self.joined(wanted) == self.joined(has) and self.cut_is_allowed(wanted, has, cause):
            return
        rule = self.excuses.frames(cause, wanted, has)
        if rule:
            self.result.excused[rule] += 1
            return
        lines = [f"expected {leg} {frames.show(frame)}" for leg, frame in wanted] or ["expected nothing"]
        lines += [f"     got {leg} {frames.show(frame)}" for leg, frame in has] or ["     got nothing"]
        head = "after a wait" if cause is None else f"after {cause[0]} {frames.show(cause[1])}"
        self.result.differences.append((event, "\n    ".join([head, *lines])))

    def joined(self, sent: Frames) -> list[tuple[str, bytes]]:
        return frames.joined(sent)

    def cut_is_allowed(self, wanted: Frames, has: Frames, cause: tuple[str, bytes] | None) -> bool:
        """The kernel's exact cut follows its buffers; no piece may be longer than the MTU, or than the longest
        of the kernel's, which the longest received bounds."""
        longest = max(*(len(frame) for _, frame in wanted), self.longest_piece(cause))
        return all(len(frame) <= longest for _, frame in has)

    def longest_piece(self, cause: tuple[str, bytes] | None) -> int:
        """The longest fragment that came of the datagram of which ``cause`` is the last; 0 if it is none."""
        packet = cause and Ip.parse(cause[1][ETHERNET:])
        if not cause or not packet or not packet.fragment:
            return 0
        return self.pieces.get((cause[0], packet.source, packet.destination, packet.fragment[2]), 0)

    def remember_piece(self, leg: str, frame: bytes) -> None:
        packet = Ip.parse(frame[ETHERNET:])
        if packet and packet.fragment:
            key = leg, packet.source, packet.destination, packet.fragment[2]
            self.pieces[key] = max(len(frame), self.pieces.get(key, 0))

    # What is set up.

    def _build(self) -> None:
        mtu = dict(zip(LEGS, self.scenario["mtu"], strict=True))
        neighbours: dict[Any, str] = {**ROUTERS}
        neighbours.update({address: _server_mac(address) for address in self.scenario["neigh"]})
        routes = [lvs.Route(network, via=via) for network, via in DEFAULT_ROUTES.items()]
        refused = []
        links: dict[str, list[str]] = {leg: list(ADDRESSES[leg]) for leg in LEGS}
        for line in self.scenario["extra"]:
            words = line.split()
            options = dict(zip(words[2::2], words[3::2], strict=False))
            if words[:2] == ["neigh", "add"]:
                neighbours[words[2]] = words[words.index("lladdr") + 1]
            elif words[:2] == ["addr", "add"]:
                links[options["dev"]].append(words[2])
            elif words[:2] == ["route", "add"] and words[2] in ("unreachable", "blackhole", "prohibit"):
                refused.append((words[3], words[2]))
            else:
                raise SetAside(f"ip {line}")
        interfaces = [lvs.Interface(leg, mac=MACS[leg], mtu=mtu[leg], addresses=links[leg]) for leg in LEGS]
        routes += [lvs.Route(network, kind=kind) for network, kind in refused]
        self.engine = lvs.Engine(
            interfaces,
            routes=routes,
            neighbours=neighbours,
            local=LOCAL,
            settings=self._settings(),
        )
        self.host = Host(
            legs={
                i.name: Leg(
                    bytes.fromhex(i.mac.replace(":", "")),
                    i.mtu,
                    {version: next(a.ip for a in i.addresses if a.version == version) for version in (4, 6)},
                )
                for i in interfaces
            },
            local=[ip_network(network) for network in LOCAL],
            links=[(a.network, i.name) for i in interfaces for a in i.addresses],
            routes=[
                *((ip_network(n), ip_address(via), None) for n, via in DEFAULT_ROUTES.items()),
                *((ip_network(n), None, None) for n, _ in refused),
            ],
            neighbours={ip_address(a): bytes.fromhex(mac.replace(":", "")) for a, mac in neighbours.items()},
            silent=[ip_network(n) for n, kind in refused if kind == "blackhole"],
        )

    def _set(self, name: str, value: Any) -> None:
        known = lvs.Settings.__dataclass_fields__
        if name not in known:
            raise SetAside(f"sysctl {name}")
        kind = type(getattr(lvs.Settings(), name))
        self.settings[name] = kind(int(value))

    def _settings(self) -> lvs.Settings:
        return lvs.Settings(**self.settings)

    # Commands.

    def command(self, line: str, error: str = "") -> None:
        """Does what an ipvsadm command says."""
        words = shlex.split(line)
        if error:
            raise SetAside("a refused command")
        verb, given = words[0], words[1:]
        options = _options(given)
        key = self._key(options)
        match verb:
            case "-A":
                self.engine.add_service(lvs.VirtualService(*key, **self._service_options(options)))
            case "-D":
                self.engine.remove_service(key)
            case "-a":
                self.engine.add_server(key, self._server(options))
            case "-e":
                self.engine.edit_server(key, self._server(options))
            case "-d":
                self.engine.remove_server(key, options["-r"])
            case _:
                raise SetAside(f"ipvsadm {verb}")

    def _key(self, options: dict[str, str]) -> tuple[str, str]:
        for flag, protocol in PROTOCOLS.items():
            if flag in options:
                if protocol == "sctp":
                    raise SetAside("SCTP")
                return protocol, options[flag]
        raise SetAside("services of marks")

    def _service_options(self, options: dict[str, str]) -> dict[str, Any]:
        wanted: dict[str, Any] = {"scheduler": options["-s"]}
        if options["-s"] not in NAMES:
            raise SetAside(f"scheduler {options['-s']}")
        if "-p" in options:
            raise SetAside("persistence")
        if "-o" in options:
            raise SetAside("one-packet scheduling")
        return wanted

    def _server(self, options: dict[str, str]) -> lvs.RealServer:
        method = next(word for flag, word in METHODS.items() if flag in options)
        wanted: dict[str, Any] = {}
        if "--tun-type" in options:
            wanted["tunnel"] = options["--tun-type"]
            wanted["tunnel_port"] = int(options.get("--tun-port", 0))
        for flags in ("nocsum", "csum", "remcsum"):
            if f"--tun-{flags}" in options:
                wanted["tunnel_flags"] = flags
        return lvs.RealServer(options["-r"], int(options.get("-w", 1)), method, **wanted)

    # Listings.

    def sysctl(self, name: str, value: Any) -> tuple[object, object]:
        self._set(name, value)
        self.engine.settings = self._settings()
        return None, None

    def commanded(self, line: str, error: str = "") -> tuple[object, object]:
        self.command(line, error)
        return None, None

    def conns(self, rows: list[list[Any]]) -> tuple[object, object]:
        wanted = [
            (r[0], ip_address(r[1]), r[2], ip_address(r[3]), r[4], ip_address(r[5]), *r[6:9]) for r in rows
        ]
        has = [
            (
                c.protocol.upper(),
                c.client.address,
                c.client.port,
                c.destination.address,
                c.destination.port,
                c.server.address,
                c.server.port,
                c.state,
                int(c.expires + 1e-6),
            )
            for c in self.engine.connections
        ]
        return sorted(wanted, key=str), sorted(has, key=str)

    def svcs(self, rows: list[list[Any]]) -> tuple[object, object]:
        wanted = {}
        for line, servers in rows:
            protocol, address, *rest = line.split()
            wanted[protocol, _hex_endpoint(address)] = (
                rest,
                [(ip_address(a), p, LISTED[m], w, x, y) for a, p, m, w, x, y in servers],
            )
        has = {}
        for service in self.engine.services:
            servers = [
                (s.address.address, s.address.port, str(s.forwarding), s.weight, s.active, s.inactive)
                for s in service.servers
            ]
            has[service.protocol.upper(), service.address] = ([service.scheduler], servers)
        return wanted, has

    def stats(self, lines: list[str]) -> tuple[object, object]:
        wanted: dict[object, list[int]] = {}
        service: object = None
        for line in lines:
            protocol, name, *numbers = line.split()
            if protocol != "->":
                service = protocol, lvs.Endpoint.parse(name)
                wanted[service] = [int(n) for n in numbers]
            else:
                wanted[service, lvs.Endpoint.parse(name)] = [int(n) for n in numbers]
        has: dict[object, list[int]] = {}
        for s in self.engine.services:
            key = s.protocol.upper(), s.address
            has[key] = _counts(s)
            for server in s.servers:
                has[key, server.address] = _counts(server)
        return wanted, has

    def persistent(self, _lines: list[str]) -> tuple[object, object]:
        raise SetAside("persistence")

    def nothing(self, *_: object) -> tuple[object, object]:
        return None, None


HANDLERS: dict[str, Callable[..., tuple[object, object]]] = {
    "cmd": Replay.commanded,
    "sysctl": Replay.sysctl,
    "conns": Replay.conns,
    "svcs": Replay.svcs,
    "stats": Replay.stats,
    "persistent": Replay.persistent,
    "note": Replay.nothing,
}


def _counts(of: Any) -> list[int]:
    return [of.connections, of.in_packets, of.out_packets, of.in_bytes, of.out_bytes]


def _options(words: list[str]) -> dict[str, str]:
    """An ipvsadm command's options; those that stand alone have an empty value."""
    options: dict[str, str] = {}
    at = 0
    while at < len(words):
        flag = words[at]
        alone = at + 1 == len(words) or words[at + 1].startswith("-")
        options[flag] = "" if alone else words[at + 1]
        at += 1 if alone else 2
    return options


def _hex_endpoint(text: str) -> lvs.Endpoint:
    """An endpoint as ``/proc/net/ip_vs`` writes it."""
    address, _, port = text.rpartition(":")
    if address.startswith("["):
        return lvs.Endpoint(ip_address(address[1:-1]), int(port, 16))
    return lvs.Endpoint(ip_address(int(address, 16)), int(port, 16))


def _server_mac(address: str) -> str:
    parsed = ip_address(address)
    kind = b"\x02\x01" if parsed.version == 4 else b"\x02\x06"
    return (kind + parsed.packed[-4:]).hex(":")


def _first(wanted: object, has: object) -> str:
    """The first thing in which two listings differ."""
    if isinstance(wanted, dict) and isinstance(has, dict):
        for key in [*wanted, *(k for k in has if k not in wanted)]:
            if wanted.get(key) != has.get(key):
                return f"{key}: expected {wanted.get(key)}, got {has.get(key)}"
    if isinstance(wanted, list) and isinstance(has, list):
        missing = [row for row in wanted if row not in has]
        extra = [row for row in has if row not in wanted]
        return f"expected {missing}, got {extra}"
    return f"expected {wanted}, got {has}"
