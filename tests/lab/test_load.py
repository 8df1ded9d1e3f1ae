"""The measuring program itself, at sizes that take seconds; and that it counts what it says it counts."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlvs.lab import Lab, director_program
from measuring import tables
from measuring.figures import Figures
from measuring.program import Program, TooLong
from measuring.sections import known_flows, serve
from waiting import PATIENCE

PROGRAM = Path(__file__).with_name("load.py")
SMALL = {
    "services": 20,
    "servers": 2,
    "small-services": 5,
    "busy-servers": 10,
    "reloads": 3,
    "idle-seconds": 0.3,
    "icmp-rate": 500,
    "arp-rate": 2000,
    "flood-seconds": 0.2,
    "settle-seconds": 0.2,
}
FLOWS = [
    "round trip, median (ms)",
    "round trip, 99 of 100 within (ms)",
    "longest silence (ms)",
    "datagrams lost of 100",
    "connections broken or stuck of 6",
]
ARP = [*FLOWS, "log (bytes a second)", "log (lines)", "memory before (MiB)", "memory after (MiB)"]


@pytest.fixture(scope="module")
def flowing(namespaces: None) -> Iterator[Lab]:
    """A lab whose servers answer the known flows."""
    with Lab() as lab:
        tables.route(lab, 1)
        serve(lab)
        yield lab


def start(lab: Lab, limit: float = PATIENCE) -> Program:
    return Program(lab, director_program(), "rules", tables.text("rules", tables.known(lab)), limit)


def test_every_section_measures(namespaces: None) -> None:
    sizes = [f"--{name}={size}" for name, size in SMALL.items()]
    command = [sys.executable, str(PROGRAM), *sizes, f"--program=one={director_program()}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in row] for row in rows]
    assert head == ["", "one"]
    groups: dict[str, dict[str, float]] = {}
    for name, figure in rows:
        if name.startswith("**"):
            groups[name.strip("*")] = {}
        else:
            groups[list(groups)[-1]][name] = float(figure.replace(",", ""))
    started = ["start (s)", "reload with one weight changed (s)", *FLOWS]
    reloads = [
        "made within 30 s",
        "the first (s)",
        "the last (s)",
        "memory before (MiB)",
        "memory after (MiB)",
    ]
    used = ["processor (% of a core)", "of it fastlvs-worker (%)", "of it fastlvs-upkeep (%)", "memory (MiB)"]
    errors = {
        f"500/s ICMP errors quoting {name}, 40 servers": FLOWS
        for name in ("IP in IP", "IPv6 in IP", "GRE", "UDP")
    }
    assert {group: list(figures) for group, figures in groups.items()} == {
        "TOML, 5 × 2": started,
        "TOML, 20 × 2": started,
        "rules, 20 × 2": started,
        "idle, 20 × 2": used,
        "known flows alone, 20 × 2": FLOWS,
        "neighbours forgotten once, 20 × 2": FLOWS,
        "3 reloads, 10 busy servers by DR": [*FLOWS, *reloads, "fastlvs-upkeep after them (ms a second)"],
        **errors,
        "2,000/s gratuitous ARP requests for a VIP": ARP,
        "2,000/s gratuitous ARP replies for a VIP": ARP,
    }
    assert groups["3 reloads, 10 busy servers by DR"]["made within 30 s"] == 3
    # The flood reached the director.
    for kind in ("requests", "replies"):
        assert groups[f"2,000/s gratuitous ARP {kind} for a VIP"]["log (lines)"] > 0
    for figures in groups.values():
        assert all(figure > 0 for name, figure in figures.items() if "round trip" in name or "memory" in name)


def test_the_known_flows_see_a_director_end(flowing: Lab) -> None:
    with start(flowing) as director, known_flows(flowing, 0.01) as told:
        time.sleep(0.5)
        director.stop()
        time.sleep(0.5)
    assert told["broken"] == told["connections"] == 6
    assert 0.2 < told["lost"] / told["datagrams"] < 0.8
    assert told["silence"] > 0.4


def test_the_known_flows_see_nothing_where_nothing_is(flowing: Lab) -> None:
    with start(flowing) as director:
        with known_flows(flowing, 0.01) as told:
            time.sleep(0.5)
        assert (told["broken"], told["lost"]) == (0, 0)
        assert 0 < told["median"] <= told["p99"]
        used = director.processor_seconds()
        assert used["fastlvs-worker"] > 0


def test_what_takes_too_long_is_told_so(flowing: Lab) -> None:
    with pytest.raises(TooLong, match=re.escape("longer than 0.001 s")):
        start(flowing, limit=0.001)


def test_a_table_of_figures() -> None:
    figures = Figures(["before", "after"])
    for figure in (4.0, 1000.0, 5.0):
        figures.add("start", "seconds", "before", figure)
    figures.add("start", "seconds", "after", 0.25)
    figures.add("start", "late", "before", "> 30")
    figures.add("start", "late", "after", 12345.0)
    figures.add("end", "lost", "after", 0.0)
    assert figures.table().splitlines() == [
        "|           | before |  after | before/after |",
        "| ---       |   ---: |   ---: |         ---: |",
        "| **start** |        |        |              |",
        "| seconds   |   5.00 |  0.250 |         20.0 |",
        "| late      |   > 30 | 12,345 |            – |",
        "| **end**   |        |        |              |",
        "| lost      |      – |      0 |            – |",
    ]
