"""Directors side by side in one network namespace: one VIP on one interface is one director's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from fastlvs import RealServer, VirtualService
from fastlvs.lab import Lab, director_program, director_toml
from remote import Remote, RemoteError
from waiting import wait_for

BOTH = ("eth0", "eth1")


def refused(lab: Lab, folder: Path, services: Iterable[VirtualService], interfaces: Iterable[str]) -> str:
    """What a director says that does not start."""
    file = folder / "second.toml"
    file.write_text(director_toml(services, interfaces=interfaces))
    ended = lab.director.run(director_program(), str(file), check=False)
    assert (ended.returncode, ended.stdout) == (5, ""), ended
    return ended.stderr


def tables(lab: Lab) -> int:
    return len(re.findall("table netdev fastlvs-", lab.director.shell("nft list tables")))


def block(lab: Lab) -> VirtualService:
    """The block in which the VIPs of the lab lie."""
    servers = [RealServer((server.address, 8080)) for server in lab.servers]
    return VirtualService("tcp", "10.0.0.80/29:80", "rr", "nat", servers)


def test_a_second_director_for_a_vip_is_refused(lab: Lab, tmp_path: Path) -> None:
    service = lab.service("nat")
    with lab.run_director([service], interfaces=BOTH) as first:
        named = f"another director, process {first.pid}, serves the VIP 10.0.0.81 there"
        assert f"interface eth0: {named}" in refused(lab, tmp_path, [service], BOTH)
        assert f"interface eth1: {named}" in refused(lab, tmp_path, [service], ["eth1"])
        other_port = lab.service("nat", port=81)
        assert named in refused(lab, tmp_path, [lab.service("dr"), other_port], BOTH)
        assert "serves the VIP 10.0.0.81 there" not in first.log
        assert tables(lab) == 1
        assert lab.client.http(lab.url(service)).ok
        around = refused(lab, tmp_path, [block(lab)], BOTH)
        assert f"another director, process {first.pid}, serves the VIP 10.0.0.80/29 there" in around
    with lab.run_director([block(lab)], interfaces=BOTH) as first:
        inside = refused(lab, tmp_path, [lab.service("dr")], BOTH)
        assert f"another director, process {first.pid}, serves the VIP 10.0.0.82 there" in inside
    with lab.run_director([service], interfaces=BOTH):
        assert lab.client.http(lab.url(service)).ok, "it has gone"


def test_directors_of_other_vips_or_interfaces_work_side_by_side(lab: Lab) -> None:
    nat, dr = lab.service("nat"), lab.service("dr")
    with (
        lab.run_director([nat], interfaces=BOTH) as first,
        lab.run_director([dr], interfaces=BOTH) as second,
        lab.run_director([], interfaces=BOTH),
    ):
        assert tables(lab) == 3
        for service in (nat, dr):
            assert all(answer.ok for answer in lab.client.requests(lab.url(service), 6))
        second.reload(director_toml([dr, nat], interfaces=BOTH))
        wait_for(lambda: "reload refused" in second.log)
        assert f"another director, process {first.pid}, serves the VIP 10.0.0.81 there" in second.log
        for service in (nat, dr):
            assert all(answer.ok for answer in lab.client.requests(lab.url(service), 6))
        # One that was killed serves nothing, though its table is left.
        first.kill()
        second.reload(director_toml([dr, nat], interfaces=BOTH))
        wait_for(lambda: "reloaded" in second.log)
        assert all(answer.ok for answer in lab.client.requests(lab.url(nat), 6))
    with (
        lab.run_director([nat], interfaces=["eth0"]),
        lab.run_director([nat], interfaces=["eth1"]),
    ):
        assert tables(lab) == 2


def test_two_of_one_process(lab: Lab) -> None:
    remote = Remote(
        lab.director,
        "import fastlvs as lvs\n"
        "web = lvs.VirtualService('tcp', '10.0.0.81:80', 'rr', 'nat', [lvs.RealServer('10.1.0.11:8080')])\n"
        "other = web.replace(address='10.0.0.82:80', servers=[lvs.RealServer('10.1.0.12:8080')])\n"
        "first = lvs.Director(services=[web])",
    )
    named = r"InterfaceError: interface eth0: another director of this process, \d+, serves the VIP 10.0.0.81"
    with pytest.raises(RemoteError, match=named):
        remote("second = lvs.Director(services=[web])")
    remote("second = lvs.Director(services=[other])")
    for change in ("apply([other, web])", "add_service(web)"):
        with pytest.raises(RemoteError, match=named):
            remote(f"second.{change}")
    assert remote("[len(d.wanted) for d in (first, second)]") == [1, 1]
    for vip in ("10.0.0.81", "10.0.0.82"):
        assert lab.client.http(f"http://{vip}/").ok
    remote("first.stop(); second.add_service(web)")
    assert lab.client.http("http://10.0.0.81/").ok
    remote("second.stop()")
    assert remote.close() == 0
