"""The demo's own part: what it expects, what it calls wrong, what it tells of a packet."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from rich.console import Console
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

import fastlvs as lvs
from fastlvs import cli, schedulers
from fastlvs.demo import matrix, report, way
from fastlvs.demo.expectation import COUNTING, SCHEDULERS, Expectation, Load, expected
from fastlvs.lab import topology
from packets import ACK, FIN, SYN, Packet
from topology import DIRECTOR_C, ROUTER, SERVERS, engine, service

NAT, TUN = lvs.Forwarding.NAT, lvs.Forwarding.TUN
LOAD = Load(24, (3, 2, 1), IPv4Address("10.0.0.100"), IPv4Address("10.0.0.81"))

PATTERNS = {
    "rr": "8 8 8",
    "wrr": "12 8 4",
    "lc": "8 8 8",
    "wlc": "12 8 4",
    "sed": "12 8 4",
    "nq": "12 8 4",
    "dh": "24 0 0",
    "sh": "0 24 0",
    "lblc": "0 0 24",
    "lblcr": "0 0 24",
}


def test_what_is_expected() -> None:
    assert {name: str(expected(name, LOAD)) for name in SCHEDULERS} == PATTERNS


def test_expectations_leave_room_where_a_cycle_is_cut() -> None:
    for name, range_ in {"rr": "8-9 8-9 8-9", "wrr": "12-14 8-10 4-5"}.items():
        assert str(expected(name, replace(LOAD, requests=26))) == range_


def test_with_many_at_a_time_only_the_orderly_have_no_pattern() -> None:
    loose = {name for name in SCHEDULERS if expected(name, replace(LOAD, concurrency=2)).low == (0, 0, 0)}
    assert loose == {*COUNTING, "lblc", "lblcr"}
    assert str(expected("lc", replace(LOAD, concurrency=2))) == "any"


@pytest.mark.parametrize("weights", [(3, 2, 1), (1, 1, 1), (1, 4, 2), (6, 2, 2)])
@pytest.mark.parametrize("requests", [1, 5, 24, 60])
@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name in schedulers.NAMES])
def test_the_engine_does_what_is_expected(scheduler: str, requests: int, weights: tuple[int, ...]) -> None:
    """The rules as the demo has them, and as the core has them."""
    for client, vip in ((c, v) for c in ("203.0.113.9", "198.51.100.77") for v in ("10.99.0.1", "10.99.3.7")):
        servers = [lvs.RealServer((a, 80), w) for a, w in zip(SERVERS, weights, strict=True)]
        made = engine(lvs.VirtualService("tcp", (vip, 80), scheduler, "dr", servers))
        for number in range(requests):
            # A request on a connection of its own, closed before the next unless connections are held.
            for flags in (SYN, ACK) if scheduler in COUNTING else (SYN, ACK, FIN | ACK):
                packet = Packet(6, (client, 40000 + number), (vip, 80), flags)
                assert made.process("c", packet.frame(DIRECTOR_C, ROUTER)).verdict is lvs.Verdict.FORWARD
        chosen = Counter(str(c.server.address) for c in made.connections)
        expectation = expected(scheduler, Load(requests, weights, IPv4Address(client), IPv4Address(vip)))
        assert expectation.allows([chosen[address] for address in SERVERS]), (str(expectation), chosen)


def result(**changes: object) -> matrix.Result:
    good = matrix.Result(
        matrix.Combination(NAT, "rr"), 24, 24, (8, 8, 8), expected("rr", LOAD), 0, 0, 0.1, ()
    )
    return replace(good, **changes)  # type: ignore[arg-type]


WRONG: dict[str, dict[str, object]] = {
    "2 of 24 requests not answered: TimeoutError: timed out": {
        "answered": 22, "counts": (8, 8, 6), "errors": ("TimeoutError: timed out",),
    },
    "1 of 24 requests not answered: wrong answers": {"answered": 23, "counts": (8, 8, 7)},
    "fell 9 8 7, expected 8 8 8 (in turn)": {"counts": (9, 8, 7)},
    "3 packets with wrong checksums": {"checksum_errors": 3},
    "not asked": {"sent": 0, "answered": 0, "counts": (0, 0, 0)},
}  # fmt: skip


@pytest.mark.parametrize("said", WRONG)
def test_what_is_called_wrong(said: str) -> None:
    assert result().problems == []
    assert result(retransmissions=2).problems == []
    assert any(said in problem for problem in result(**WRONG[said]).problems)


def test_the_table_has_a_line_for_each_combination() -> None:
    results = [
        result(),
        result(combination=matrix.Combination(TUN, "sh"), counts=(24, 0, 0), retransmissions=5),
    ]
    lines = printed(report.table(results)).splitlines()
    cells = [re.split("  +", line.strip()) for line in lines if "/24 " in line]
    assert cells == [
        ["NAT rr", "24/24", "8 8 8", "8 8 8", "in turn", "0", "0", "right"],
        ["TUN sh", "24/24", "24 0 0", "8 8 8", "in turn", "0", "5", "wrong"],
    ]
    told = printed(report.conclusion(results))
    assert "TUN sh: fell 24 0 0, expected 8 8 8 (in turn)" in told
    assert "48 of 48 requests answered; 1 of 2 right" in told


def test_the_table_fits_a_terminal() -> None:
    """Of 80 columns, with whatever is in it."""
    wide = result(counts=(500, 0, 0), sent=500, answered=500, retransmissions=1000)
    rows = [
        replace(wide, combination=matrix.Combination(TUN, name), expectation=expected(name, LOAD))
        for name in SCHEDULERS
    ]
    printed_lines = printed(report.table(rows)).splitlines()
    assert "…" not in "".join(printed_lines)
    assert len(printed_lines) == 3 + len(rows)


def test_results_are_plain_values() -> None:
    told = json.loads(json.dumps(result().as_json()))
    assert (told["forwarding"], told["scheduler"], told["servers"]) == ("masquerading", "rr", [8, 8, 8])


def test_services_do_not_meet_behind_the_director() -> None:
    """Each has a port of its own, at the VIP and for NAT at the servers too."""
    hosts = type("Hosts", (), {"servers": topology.SERVERS, "vips": topology.VIPS})()
    services = [matrix.Combination(m, s).service(hosts) for m in matrix.METHODS for s in SCHEDULERS]
    assert len({s.address for s in services}) == 30
    behind = [(s.forwarding, server.address) for s in services for server in s.servers]
    assert len(set(behind)) == 90
    assert {address.port for _, address in behind} <= set(matrix.PORTS)
    assert topology.NAT_PORT not in matrix.PORTS[1:]


def test_a_segment_is_read_in_a_tunnel_too() -> None:
    inner = IP(src="10.0.0.100", dst="10.0.0.83") / TCP(sport=40000, dport=80, flags="SA")
    outer = IP(src="10.1.0.1", dst="10.1.0.11", proto=4) / inner
    plain, tunnelled = (
        way.segment(bytes(Ether(dst="02:00:0a:01:00:0b", src="02:00:00:00:00:01", type=0x0800) / packet))
        for packet in (inner, outer)
    )
    assert plain is not None
    assert (str(plain), plain.tunnel) == ("SYN/ACK 10.0.0.100:40000 → 10.0.0.83:80", None)
    assert tunnelled == replace(plain, tunnel="10.1.0.1 → 10.1.0.11")
    for other in (b"", bytes(14), bytes(Ether() / IP() / UDP()), bytes(Ether() / inner)[:40]):
        assert way.segment(other) is None


def test_a_way_is_told_in_stages() -> None:
    made = engine(service("rr", "nat"))
    outcome = made.process(
        "c", Packet(6, ("203.0.113.9", 40000), ("10.99.0.1", 80), SYN).frame(DIRECTOR_C, ROUTER)
    )
    [(_, sent)] = outcome.frames
    leaves = way.segment(sent)
    assert leaves is not None
    request = way.Segment("203.0.113.9:40000", "10.99.0.1:80", SYN, DIRECTOR_C)
    made_way = way.Way(NAT, request, outcome.way, leaves, "server3", request, "", leaves)
    told = "\n".join(way.tell([made_way], 200))
    assert "PREROUTING c → INPUT (service tcp 10.99.0.1:80 rr) → " in told
    assert " → real server 192.168.1.3:8080 masq → POSTROUTING s" in told
    assert "out   SYN 203.0.113.9:40000 → 192.168.1.3:8080" in told
    assert "past the director" in told
    narrow = list(way.tell([made_way], 60))
    assert max(map(len, narrow[:4])) <= 60
    assert " ".join(" ".join(narrow).split()) == " ".join(told.split()), "the same words, on more lines"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "nat,lan"], "expected some of nat,dr,tun, got 'lan'"),
        (["--schedulers", ""], "expected some of rr,wrr"),
        (["--requests", "0"], "expected a number from 1 to 500, got '0'"),
        (["--concurrency", "many"], "expected a number from 1 to 64, got 'many'"),
    ],
)
def test_bad_options_are_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    assert "fastlvs demo --methods nat --schedulers wrr,wlc" in capsys.readouterr().out


def test_every_scheduler_has_a_rule_of_its_own() -> None:
    assert list(SCHEDULERS) == ["rr", "wrr", "lc", "wlc", "sed", "nq", "dh", "sh", "lblc", "lblcr"]
    assert not Expectation((1, 0), (1, 2), "").allows((0, 2))


def printed(what: object) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
