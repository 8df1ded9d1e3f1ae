"""What is measured, a section each. Every section starts its own director and ends it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

from fastlvs.lab import Host, Lab, LabError
from fastlvs.lab.sandbox import first_line
from fastlvs.lab.topology import VIPS
from fastlvs.server import Forwarding
from measuring import frames, tables
from measuring.figures import Figures
from measuring.program import Program, TooLong
from measuring.tables import KNOWN_PORT, Service, text

WORKER, UPKEEP = "fastlvs-worker", "fastlvs-upkeep"
"""The director's threads that are told of by name."""
KINDS = {"toml": "TOML", "rules": "rules"}
RELOADS = 3
"""Of a start, each with one weight changed."""
UPKEEP_SECONDS = 6.0
"""How long the upkeep is looked at after many reloads."""
OPENING_RATE = 20_000
"""Frames a second that open connections."""
DIFFERENT_ERRORS = 4096
"""Of a flood with ICMP errors: they are repeated."""
SOON = 30.0
"""Seconds in which a process of ours says what it has to say."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    services: int
    servers: int
    small_services: int
    busy_servers: int
    reloads: int
    idle_seconds: float
    icmp_rate: float
    arp_rate: float
    flood_seconds: float
    settle_seconds: float
    """Of known flows before and after what disturbs them."""
    pace: float
    """Seconds between two requests of a known flow."""
    limit: float
    """The most seconds that a start, a reload, or all reloads of the busy service may take."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a program is measured, and what for."""

    lab: Lab
    sizes: Sizes
    figures: Figures
    label: str
    """The program's."""
    path: str
    say: Callable[[str], None]
    """Takes the progress."""

    def start(self, kind: str, configuration: str) -> Program:
        """A director of the program, ready."""
        return Program(self.lab, self.path, kind, configuration, self.sizes.limit)

    def add(self, group: str, row: str, figure: float | str) -> None:
        """Adds a figure of the program's."""
        self.figures.add(group, row, self.label, figure)
        self.say(f"  {row}: {figure if isinstance(figure, str) else f'{figure:.4g}'}")

    def add_too_long(self, group: str, row: str, problem: TooLong) -> None:
        """Says of a time that it was not waited for."""
        self.add(group, row, f"> {problem.seconds:g}")

    @contextmanager
    def known_flows(self, group: str) -> Iterator[None]:
        """Has the known flows going on, for the moment before and after too, and adds what came of them, except
        after a failure."""
        with known_flows(self.lab, self.sizes.pace) as told:
            self.say(group)
            time.sleep(self.sizes.settle_seconds)
            yield
            time.sleep(self.sizes.settle_seconds)
        # What came of them is told when they have ended.
        for name, part in (("median", "median"), ("99 of 100 within", "p99")):
            trip = told[part]
            self.add(group, f"round trip, {name} (ms)", "no answer" if trip is None else trip * 1e3)
        self.add(group, "longest silence (ms)", told["silence"] * 1e3)
        self.add(group, "datagrams lost of 100", 100 * told["lost"] / max(1, told["datagrams"]))
        self.add(group, f"connections broken or stuck of {told['connections']}", told["broken"])

    def flood(self, different: Sequence[bytes], rate: float, count: int) -> None:
        """Sends frames from the client, so many a second, over and over."""
        [interface] = self.lab.client.interfaces
        command = (*_python("flood.py"), interface, str(rate), str(count))
        lines = "".join(f"{frame.hex()}\n" for frame in different)
        done = json.loads(self.lab.client.run(*command, input=lines, timeout=SOON + 3 * count / rate).stdout)
        reached = done["sent"] / done["seconds"]
        if reached < 0.9 * rate:
            self.say(f"the flood came to {reached:,.0f} a second only")


@contextmanager
def known_flows(lab: Lab, pace: float) -> Iterator[dict[str, Any]]:
    """Has known flows going on: two connections and two flows of datagrams by each method. What came of them is
    in the dictionary afterwards (:mod:`measuring.flows`)."""
    targets = [f"{kind}:{vip}:{KNOWN_PORT}" for vip in VIPS.values() for kind in ("tcp", "tcp", "udp", "udp")]
    process = lab.client.start(*_python("flows.py"), "ask", str(pace), *targets, stdin=PIPE, stdout=PIPE)
    told: dict[str, Any] = {}
    try:
        if (said := first_line(process, SOON)) != "ready":
            raise LabError(f"the known flows: {said or 'ended'}")
        yield told
        said, _ = process.communicate(timeout=SOON)
        told.update(json.loads(said))
    finally:
        process.kill()
        process.wait(SOON)


def serve(lab: Lab) -> None:
    """Has the lab's real servers answer the known flows."""
    for server in lab.servers:
        virtual = (vip for method, vip in VIPS.items() if method is not Forwarding.NAT)
        _ready(server, "serve", str(KNOWN_PORT), server.address, *virtual)


def start_and_reload_toml(bench: Bench) -> None:
    """From ``director.toml``, at both sizes."""
    _start_and_reload(bench, "toml", bench.sizes.small_services)
    _start_and_reload(bench, "toml", bench.sizes.services)


def start_and_reload_rules(bench: Bench) -> None:
    """From saved rules."""
    _start_and_reload(bench, "rules", bench.sizes.services)


def _start_and_reload(bench: Bench, kind: str, count: int) -> None:
    group = f"{KINDS[kind]}, {count:,} × {bench.sizes.servers}"
    start, reload = "start (s)", "reload with one weight changed (s)"
    services = _full(bench, count)
    # Written before: making a text takes longer than reading it.
    first, changed = (text(kind, table) for table in (services, tables.with_one_weight_changed(services)))
    try:
        director = bench.start(kind, first)
    except TooLong as problem:
        bench.add_too_long(group, start, problem)
        return
    with director:
        bench.add(group, start, director.start_seconds)
        with bench.known_flows(group):
            try:
                for number in range(RELOADS):
                    bench.add(group, reload, director.reload(first if number % 2 else changed))
            except TooLong as problem:
                bench.add_too_long(group, reload, problem)


def idle(bench: Bench) -> None:
    """What a director with the whole table uses that nobody asks, and what the known flows are like beside the
    table; then the kernel forgets the servers' neighbours."""
    seconds, size = bench.sizes.idle_seconds, f"{bench.sizes.services:,} × {bench.sizes.servers}"
    with bench.start("rules", text("rules", _full(bench, bench.sizes.services))) as director:
        time.sleep(2 * bench.sizes.settle_seconds)  # whatever follows a start
        before = director.processor_seconds()
        time.sleep(seconds)
        used = {name: time - before.get(name, 0.0) for name, time in director.processor_seconds().items()}
        group = f"idle, {size}"
        bench.add(group, "processor (% of a core)", 100 * sum(used.values()) / seconds)
        for name in (WORKER, UPKEEP):
            bench.add(group, f"of it {name} (%)", 100 * used.get(name, 0.0) / seconds)
        bench.add(group, "memory (MiB)", director.resident)
        with bench.known_flows(f"known flows alone, {size}"):
            time.sleep(bench.sizes.flood_seconds)
        with bench.known_flows(f"neighbours forgotten once, {size}"):
            bench.lab.director.run("ip", "neighbour", "flush", "dev", list(bench.lab.director.interfaces)[1])
            time.sleep(bench.sizes.flood_seconds)


def reloads(bench: Bench) -> None:
    """Reloads of a busy service by DR: each server has two connections."""
    sizes = bench.sizes
    group = f"{sizes.reloads} reloads, {sizes.busy_servers:,} busy servers by DR"
    services = [*tables.known(bench.lab), tables.busy(sizes.busy_servers)]
    first, changed = (text("rules", table) for table in (services, tables.with_one_weight_changed(services)))
    with bench.start("rules", first) as director:
        opening = frames.openings(2 * sizes.busy_servers)
        bench.flood(opening, OPENING_RATE, len(opening))
        time.sleep(sizes.settle_seconds)
        memory, begin, times = director.resident, time.monotonic(), list[float]()
        with bench.known_flows(group):
            try:
                while len(times) < sizes.reloads and time.monotonic() - begin < sizes.limit:
                    times.append(director.reload(first if len(times) % 2 else changed))
            except TooLong as problem:
                bench.say(f"a reload took {problem}")
        bench.add(group, f"made within {sizes.limit:g} s", len(times))
        if times:
            bench.add(group, "the first (s)", times[0])
            bench.add(group, "the last (s)", times[-1])
        bench.add(group, "memory before (MiB)", memory)
        bench.add(group, "memory after (MiB)", director.resident)
        seconds = min(sizes.idle_seconds, UPKEEP_SECONDS)
        before = director.processor_seconds().get(UPKEEP, 0.0)
        time.sleep(seconds)
        used = director.processor_seconds().get(UPKEEP, 0.0) - before
        bench.add(group, f"{UPKEEP} after them (ms a second)", 1e3 * used / seconds)


def icmp_flood(bench: Bench) -> None:
    """Spoofed ICMP errors while the known flows go on."""
    sizes = bench.sizes
    servers = sizes.services * sizes.servers
    with bench.start("rules", text("rules", _full(bench, sizes.services))):
        for name, protocol in frames.QUOTED.items():
            errors = frames.icmp_errors(protocol, servers, DIFFERENT_ERRORS)
            with bench.known_flows(
                f"{sizes.icmp_rate:,.0f}/s ICMP errors quoting {name}, {servers:,} servers"
            ):
                bench.flood(errors, sizes.icmp_rate, int(sizes.icmp_rate * sizes.flood_seconds))


def arp_flood(bench: Bench) -> None:
    """Gratuitous ARP for a VIP while the known flows go on."""
    sizes = bench.sizes
    for name, operation in (("requests", 1), ("replies", 2)):
        group = f"{sizes.arp_rate:,.0f}/s gratuitous ARP {name} for a VIP"
        count = int(sizes.arp_rate * sizes.flood_seconds)
        flood = frames.gratuitous_arp(operation, count)
        with bench.start("rules", text("rules", tables.known(bench.lab))) as director:
            memory, length, lines = director.resident, director.log_bytes, director.log_lines
            with bench.known_flows(group):
                bench.flood(flood, sizes.arp_rate, count)
            bench.add(group, "log (bytes a second)", (director.log_bytes - length) / sizes.flood_seconds)
            bench.add(group, "log (lines)", director.log_lines - lines)
            bench.add(group, "memory before (MiB)", memory)
            bench.add(group, "memory after (MiB)", director.resident)


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "toml": start_and_reload_toml,
    "rules": start_and_reload_rules,
    "idle": idle,
    "reloads": reloads,
    "icmp": icmp_flood,
    "arp": arp_flood,
}
"""All of them, in the order of the table."""


def _full(bench: Bench, services: int) -> list[Service]:
    return [*tables.many(services, bench.sizes.servers), *tables.known(bench.lab)]


def _python(program: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", str(Path(__file__).parent / program)


def _ready(host: Host, *arguments: str) -> None:
    process = host.start(*_python("flows.py"), *arguments, stdout=PIPE)
    if (said := first_line(process, SOON)) != "ready":
        raise LabError(f"{host.name}: flows.py did not become ready: {said}")
