"""What services can be beside an address and a port: persistent, of a mark or a block, with thresholds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

import fastlvs as lvs
from fastlvs.lab import Lab, director_toml
from remote import Remote

BLOCK = "198.51.100.0/28"
"""Addresses that nobody has."""


@pytest.fixture
def routed(lab: Lab) -> Iterator[None]:
    """The client sends what is for the block to the director."""
    lab.client.run("ip", "route", "add", BLOCK, "via", lab.director.address)
    yield
    lab.client.run("ip", "route", "del", BLOCK)


def servers(lab: Lab, url: str, count: int = 6) -> Counter[str | None]:
    answers = lab.client.requests(url, count)
    assert all(answer.ok for answer in answers), answers
    return Counter(answer.server for answer in answers)


@pytest.mark.usefixtures("routed")
def test_kinds_of_services_side_by_side(lab: Lab) -> None:
    kept = lab.service("nat").replace(persistence=60)
    limited = lab.service("dr")
    first, *others = limited.servers
    limited = limited.with_servers([first.replace(upper_threshold=2, lower_threshold=1), *others])
    at = [(server.address, 8080) for server in lab.servers]
    marked = lvs.VirtualService.of_mark(1, "rr", "nat", [lvs.RealServer(address) for address in at])
    ranged = lvs.VirtualService("tcp", f"{BLOCK}:8080-8089", "rr", "nat", marked.servers[:1])
    ranged = ranged.with_server(lvs.RealServer(at[1][0]))  # at the port that the client asks for
    far = lvs.VirtualService(
        "udp", "[2001:db8:5::/64]:5000-5999", "rr", "nat", [lvs.RealServer("2001:db8:6::1")]
    )
    marks = [
        lvs.Mark(1, BLOCK, protocol="tcp", ports=(8100, 8999)),
        lvs.Mark(1, lab.vips[lvs.Forwarding.TUN]),
    ]
    with lab.run_director(director_toml([kept, limited, marked, ranged, far], marks=marks)) as director:
        assert len(servers(lab, lab.url(kept))) == 1
        assert servers(lab, lab.url(limited), 12)[lab.servers[0].name] == 2
        for host, port in (
            ("198.51.100.1", 8100),
            ("198.51.100.14", 8999),
            (lab.vips[lvs.Forwarding.TUN], 7),
        ):
            assert servers(lab, f"http://{host}:{port}/") == {server.name: 2 for server in lab.servers}
        assert servers(lab, "http://198.51.100.2:8080/") == {server.name: 3 for server in lab.servers[:2]}
        assert lab.client.http("http://198.51.100.1:9000/", timeout=0.3).error is not None
        ruleset = lab.director.run("nft", "list", "ruleset").stdout
        assert re.search(r"ip6 daddr 2001:db8:5::/64 (udp|th) dport 5000-5999 drop", ruleset), ruleset
        assert re.search(
            r"ip6 saddr 2001:db8:6::1 (udp|th) sport 5000-5999 fib daddr type != local drop", ruleset
        )
        director.reload(director_toml([kept, limited]))
        assert len(servers(lab, lab.url(kept))) == 1
    assert lab.director.run("nft", "list", "ruleset").stdout == ""


def test_marks_in_a_program(lab: Lab) -> None:
    """The rules are given once; services of their marks come and go."""
    vip = lab.vips[lvs.Forwarding.TUN]
    remote = Remote(lab.director, "import fastlvs as lvs")
    remote(f"director = lvs.Director(marks=[lvs.Mark(7, {vip!r}, ports=(100, 200))])")
    remote("servers = [lvs.RealServer(('10.1.0.11', 8080)), lvs.RealServer(('10.1.0.12', 8080))]")
    remote("service = lvs.VirtualService.of_mark(7, 'rr', 'nat', servers)")
    remote("director.apply([service]); None")
    assert len(servers(lab, f"http://{vip}:150/", 4)) == 2
    assert "refused" in str(lab.client.http(f"http://{vip}:99/").error), "the address is the director's own"
    assert remote("director.services['fwm', 7].connections") == 4
    assert remote("director.drain(service, servers[0], deadline=30)") is True
    assert servers(lab, f"http://{vip}:150/", 4) == {"server2": 4}
    remote("director.stop()")
    assert remote.close() == 0
