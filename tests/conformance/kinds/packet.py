"""Replays the kind ``packet``: whole frames in, whole frames out, byte for byte.

What the engine leaves to the host goes to a model of the recorded host, and what that says in its own name goes
out through the engine, as on a director. Compared are all frames and the listings of connections, services,
statistics and templates.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import fastlvs as lvs
from kinds import frames
from kinds.excuses import Excuses
from kinds.frames import ETHERNET, Ip
from kinds.result import Result, Scenario, SetAside, first_difference
from kinds.topology import Topology

Frames = list[tuple[str, bytes]]

MEMORY = 512 << 20
PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
METHODS = {"-m": "nat", "-g": "dr", "-i": "tun"}
LISTED = {"Masq": "masquerading", "Route": "gatewaying", "Tunnel": "tunneling"}


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


class Replay:
    """One scenario, the engine that it is played to, and the engine's host."""

    def __init__(self, scenario: Scenario, result: Result) -> None:
        self.scenario = scenario
        self.result = result
        self.now = 0.0
        self.pieces: dict[object, int] = {}
        self.excuses = Excuses()
        self.random = {entry[0]: entry[1] if len(entry) > 1 else None for entry in scenario.get("nd", ())}
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
                    leg, frame = event[1], bytes.fromhex(event[2])
                    cause = leg, frames.untagged(frame)
                    self.remember_piece(*cause)
                    self.excuses.see(cause[1])
                    self.host.learn(cause[1])
                    got = self.receive(leg, frame)
                else:
                    got = self.wait(event[1])
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
                    self.result.differences.append(
                        (first - 1, f"{event[0]}: {first_difference(wanted, has)}")
                    )

    def receive(self, leg: str, frame: bytes) -> Frames:
        """All that leaves the director for a frame."""
        outcome = self.engine.process(leg, frame, self.now)
        sent = [(by, bytes(out)) for by, out in outcome.frames]
        if outcome.verdict is lvs.Verdict.TO_HOST:
            whole = frames.untagged(outcome.for_host or frame)
            for by, said, own in self.host.receive(leg, whole, outcome.longest_fragment or 0):
                sent += self.leave(by, said) if own else [(by, said)]
        return sorted(sent, key=lambda pair: pair[0] != "s")

    def leave(self, leg: str, frame: bytes) -> Frames:
        """What becomes of a frame that the host sends in its own name."""
        self.excuses.hear(frame)
        outcome = self.engine.process_output(leg, frame, self.now)
        if outcome.verdict is lvs.Verdict.TO_HOST:
            packet = Ip.parse(frame[ETHERNET:])
            # What the host tells itself (a packet had an address of its own as source) leaves it by no leg.
            return [] if packet and self.host.is_local(packet.destination) else [(leg, frame)]
        return [(by, bytes(out)) for by, out in outcome.frames]

    def compare_frames(
        self,
        event: int,
        cause: tuple[str, bytes] | None,
        expected: list[tuple[str, bytes, int]],
        got: Frames,
    ) -> None:
        self.result.compared += max(1, len(expected))
        offsets: list[Sequence[int]] = [self.random.get(number) or () for _, _, number in expected]
        if cause is None:
            # The kernel's timers of one slot end in an order of their own, which two recordings need not
            # share: all random fields are left out.
            offsets = [range(len(frame)) for _, frame, _ in expected]
        wanted = [
            (leg, frames.masked(frame, mask)) for (leg, frame, _), mask in zip(expected, offsets, strict=True)
        ]
        # Of a train of fragments that is cut otherwise, the last mask is good for those beyond.
        spare: Sequence[int] = offsets[-1] if offsets else ()
        has = [
            (leg, frames.masked(frame, offsets[n] if n < len(offsets) else spare))
            for n, (leg, frame) in enumerate(got)
        ]
        if cause is None:
            wanted, has = sorted(wanted), sorted(has)
        if wanted == has:
            return
        if self.joined(wanted) == self.joined(has) and self.cut_is_allowed(wanted, has, cause):
            return
        before = len(self.excuses.unsent)
        rule = self.excuses.frames(cause, self.longest_piece(cause), wanted, has)
        if rule:
            self.result.excused[rule] += 1
            if len(self.excuses.unsent) > before:
                self.excuses.count(self._servers())
            return
        lines = [f"expected {leg} {frames.show(frame)}" for leg, frame in wanted] or ["expected nothing"]
        lines += [f"     got {leg} {frames.show(frame)}" for leg, frame in has] or ["     got nothing"]
        head = "after a wait" if cause is None else f"after {cause[0]} {frames.show(cause[1])}"
        self.result.differences.append((event, "\n    ".join([head, *lines])))

    def _servers(self) -> Iterator[tuple[object, lvs.Endpoint]]:
        """The servers that there are, as listings name them."""
        for service in self.engine.services:
            for server in service.servers:
                yield (service.protocol.upper(), _name(service)), server.address

    def joined(self, sent: Frames) -> list[tuple[str, bytes]]:
        return frames.joined(sent)

    def cut_is_allowed(self, wanted: Frames, has: Frames, cause: tuple[str, bytes] | None) -> bool:
        """The kernel's exact cut follows its buffers; no piece may be longer than the MTU, or than the longest
        of the kernel's, which the longest received bounds."""
        longest = max([len(frame) for _, frame in wanted] + [self.longest_piece(cause)])
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
        topology = Topology(self.scenario)
        marked = [self.scenario["mark"]] if self.scenario["mark"] else []
        self.engine = lvs.Engine(
            topology.interfaces(),
            routes=topology.routes,
            neighbours=topology.neighbours,
            local=topology.local,
            marks=[lvs.Mark(number, network) for network, number in marked],
            settings=self._settings(),
        )
        self.engine.set_available_memory(MEMORY)
        self.host = topology.host()

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
            return  # refused: nothing happened
        verb, given = words[0], words[1:]
        options = _options(given)
        key = self._key(options)
        match verb:
            case "-A":
                self.engine.add_service(self._service(options))
            case "-E":
                self.engine.edit_service(key, **self._values(options))
            case "-Z":
                named = PROTOCOLS.keys() & options.keys() or "-f" in options
                self.engine.zero(key if named else None)
                self.excuses.forget(_listed(key) if named else None)
            case "-C":
                self.engine.apply([])
                self.excuses.forget()
            case "-D":
                self.engine.remove_service(key)
                self.excuses.forget(_listed(key))
            case "-a":
                self.engine.add_server(key, self._server(options))
            case "-e":
                self.engine.edit_server(key, self._server(options))
            case "-d":
                self.engine.remove_server(key, options["-r"])
            case "--set":
                for name, value in zip(("timeout_tcp", "timeout_tcp_fin", "timeout_udp"), given, strict=True):
                    self.settings.update({name: float(value)} if int(value) else {})
                self.engine.settings = self._settings()
            case _:
                raise SetAside(f"ipvsadm {verb}")

    def _key(self, options: dict[str, str]) -> tuple[str, Any]:
        for flag, protocol in PROTOCOLS.items():
            if flag in options:
                return protocol, options[flag]
        return "fwm6" if "-6" in options else "fwm", int(options.get("-f", 1))

    def _service(self, options: dict[str, str]) -> lvs.VirtualService:
        if "-f" in options:
            return lvs.VirtualService.of_mark(
                int(options["-f"]), ipv6="-6" in options, **self._values(options)
            )
        return lvs.VirtualService(*self._key(options), **self._values(options))

    def _values(self, options: dict[str, str]) -> dict[str, Any]:
        """What a command says about a service beside its name."""
        mask = options.get("-M")
        return {
            "scheduler": options.get("-s", "wlc"),
            "flags": options.get("-b", ""),
            "persistence": float(options["-p"] or 360) if "-p" in options else None,
            "netmask": int(mask) if mask and mask.isdigit() else mask,
            "one_packet": "-o" in options,
        }

    def _server(self, options: dict[str, str]) -> lvs.RealServer:
        method = next(word for flag, word in METHODS.items() if flag in options)
        wanted: dict[str, Any] = {
            "upper_threshold": int(options.get("-x", 0)),
            "lower_threshold": int(options.get("-y", 0)),
        }
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
            for c in [*self.engine.connections, *self.engine.templates]
        ]
        return sorted(wanted, key=str), sorted(has, key=str)

    def svcs(self, rows: list[list[Any]]) -> tuple[object, object]:
        wanted = {}
        for line, servers in rows:
            protocol, address, *rest = line.split()
            wanted[protocol, _hex_name(address)] = (
                rest,
                [(ip_address(a), p, LISTED[m], w, x, y) for a, p, m, w, x, y in servers],
            )
        has = {}
        for service in self.engine.services:
            servers = [
                (s.address.address, s.address.port, str(s.forwarding), s.weight, s.active, s.inactive)
                for s in service.servers
            ]
            has[service.protocol.upper(), _name(service)] = (_options_listed(service), servers)
        return wanted, has

    def stats(self, lines: list[str]) -> tuple[object, object]:
        wanted = {key: [int(n) for n in numbers] for key, numbers in _listing(lines)}
        has: dict[object, list[int]] = {}
        for s in self.engine.services:
            key = s.protocol.upper(), _name(s)
            has[key] = _counts(s)
            for server in s.servers:
                has[key, server.address] = _counts(server)
        return wanted, has

    def persistent(self, lines: list[str]) -> tuple[object, object]:
        servers = [(key, numbers) for key, numbers in _listing(lines) if isinstance(key[0], tuple)]
        wanted = {key: [int(n) for n in numbers] for key, numbers in servers}
        has = {
            ((s.protocol.upper(), _name(s)), r.address): [r.weight, r.persistent, r.active, r.inactive]
            for s in self.engine.services
            for r in s.servers
        }
        return wanted, has

    def wait(self, seconds: float) -> Frames:
        """Lets time pass; what leaves the director meanwhile."""
        self.now += seconds
        sent = [(by, bytes(out)) for by, out in self.engine.advance(self.now)]
        for by, said, _ in self.host.advance(self.now):
            sent += self.leave(by, said)
        return sent

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


def _listed(key: tuple[str, Any]) -> tuple[object, object]:
    """What a service of a command is called in listings."""
    protocol, name = key
    return protocol.upper(), lvs.Endpoint.parse(name) if isinstance(name, str) else name


def _name(service: lvs.Service) -> object:
    """What names a service beside its protocol."""
    return service.address if service.mark is None else service.mark


def _hex_name(text: str) -> object:
    """What names a service in ``/proc/net/ip_vs``: an endpoint, or a mark."""
    address, colon, port = text.rpartition(":")
    if not colon:
        return int(text, 16)
    if address.startswith("["):
        return lvs.Endpoint(ip_address(address[1:-1]), int(port, 16))
    return lvs.Endpoint(ip_address(int(address, 16)), int(port, 16))


def _options_listed(service: lvs.Service) -> list[str]:
    """What ``/proc/net/ip_vs`` says behind a service's name."""
    words = [service.scheduler]
    ipv4 = service.address.address.version == 4
    if service.one_packet and (ipv4 or service.mark is not None):
        words.append("ops")
    if service.persistence is not None and service.netmask is not None:
        mask = int(service.netmask)
        # The kernel keeps an IPv6 prefix length in host order and prints the word as if it were an address.
        shown = mask if ipv4 else int.from_bytes(mask.bit_count().to_bytes(4, "little"))
        words += ["persistent", str(round(service.persistence * 100)), f"{shown:08X}"]
    return words


def _listing(lines: list[str]) -> Iterator[tuple[tuple[object, object], list[str]]]:
    """The rows of an ipvsadm listing: who, and the rest of the row."""
    service: tuple[object, object] = "", None
    for line in lines:
        first, name, *rest = line.split()
        if first == "->":
            yield (service, lvs.Endpoint.parse(name)), rest
        else:
            service = first, int(name) if first == "FWM" else lvs.Endpoint.parse(name)
            yield service, [word for word in rest if word != "IPv6"]
