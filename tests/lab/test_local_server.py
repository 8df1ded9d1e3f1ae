"""Real servers on the director's own host, by each method, between real TCP/IP stacks."""

from __future__ import annotations

import hashlib
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from datagrams import asker, start_echo
from fastlvs import RealServer, VirtualService
from fastlvs.lab import Captured, Lab, content, director_toml
from fastlvs.lab.host import Host
from long_way import MTU, address, lengthen, use_front
from remote import Remote, RemoteError
from waiting import end, wait_for

SIZE = 3_000_000
DIGEST = hashlib.sha256(content(SIZE)).hexdigest()
FAMILIES = (4, 6)
ERRORS = (
    *("TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "IpInHdrErrors"),
    *("Udp6InCsumErrors", "Icmp6InCsumErrors", "Ip6InHdrErrors"),
)
RIPS = {4: "10.0.0.1", 6: "fd00::1"}
"""Addresses of the director's host."""


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab whose director's host serves HTTP too."""
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        made.director.start_program("web.py", "serve", "director", "80", "8080")
        yield made


@pytest.mark.parametrize("family", FAMILIES)
def test_contents_arrive_whole_both_ways(lab: Lab, family: int) -> None:
    service = local(lab, family)
    with no_errors(lab), lab.run_director([service]):
        transfer(lab, lab.url(service))


@pytest.mark.parametrize("family", FAMILIES)
def test_checksums_are_right_on_the_wire(family: int, namespaces: None) -> None:
    """The endpoints finish their checksums themselves, so that each is verified."""
    with Lab(ipv6=True) as lab:
        lab.director.start_program("web.py", "serve", "director", "8080")
        service = local(lab, family)
        for host in (lab.client, lab.director):
            host.finish_checksums()
        with no_errors(lab), lab.run_director([service]):
            transfer(lab, lab.url(service))


@pytest.mark.parametrize("family", FAMILIES)
def test_who_asks_the_server_itself_is_answered_at_the_same_time(lab: Lab, family: int) -> None:
    service = local(lab, family)
    past = [f"http://{bracketed(rip)}:8080/bytes/{SIZE}" for rip in (RIPS[family], inside(lab, family))]
    with no_errors(lab), lab.run_director([service]):
        client = Remote(lab.client, FETCH)
        client.tell(f"fetch([{lab.url(service, f'/bytes/{SIZE}')!r}, *{past!r}] * 4)")
        assert client.answer() == [DIGEST] * 12
        assert client.close() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_one_of_several(lab: Lab, family: int) -> None:
    others = lab.service("nat", "rr", ipv6=family == 6)
    service = others.with_server(RealServer((RIPS[family], 8080)))
    with no_errors(lab), lab.run_director([service]), lab.client.capture() as seen:
        answers = lab.client.requests(lab.url(service), 40, concurrency=8)
    assert Counter(answer.server for answer in answers) == dict.fromkeys(
        ("director", "server1", "server2", "server3"), 10
    )
    assert sources(seen, family) == {str(service.address.address)}


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_reverse_path_filters_do_not_mind(lab: Lab, rp_filter: int) -> None:
    service = local(lab, 4, server="10.1.0.1")
    with filtering(lab.director, rp_filter), lab.run_director([service]):
        assert lab.client.http(lab.url(service, f"/bytes/{SIZE}")).digest == DIGEST


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_counters_follow_its_replies(lab: Lab, family: int) -> None:
    service = local(lab, family)
    program = director(lab, service)
    client = Remote(lab.client, HOLD)
    client(f"hold({str(service.address.address)!r})")
    # SYN and its answer, the acknowledgement, request and response: they went both ways.
    assert "director" in client("ask()")
    assert program("[(c.state, c.active) for c in director.connections]") == [["ESTABLISHED", True]]
    servers = "director.services[0].servers[0]"
    assert program(f"({servers}.active, {servers}.inactive)") == [1, 0]
    outbound = program(f"({servers}.out_packets, {servers}.out_bytes)")
    assert outbound[0] >= 2
    assert outbound[1] > 200
    assert client.close() == 0
    wait_for(lambda: program("[c.active for c in director.connections]") == [False])
    program("director.stop()")
    assert program.close() == 0
    assert ruleset(lab) == ""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("port", [8080, 9999])
def test_datagrams_and_fragments(lab: Lab, family: int, port: int) -> None:
    """By the service, and past it from a port of its and from another."""
    service = local(lab, family, protocol="udp", port=5300)
    echo = start_echo(lab.director, port, RIPS[family])
    by_service = [(str(service.address.address), 5300)] if port == 8080 else []
    try:
        with no_errors(lab), lab.run_director([service]):
            for place, at in [*by_service, (RIPS[family], port)]:
                client = asker(lab.client, place, at)
                with lab.client.capture() as seen:
                    for size in (4000, 100, 9000):
                        assert client(f"ask({size})"), (place, size)
                assert sources(seen, family) == {place}
    finally:
        end(echo)


@pytest.mark.parametrize("family", FAMILIES)
def test_its_errors_are_told_in_the_name_of_the_vip(lab: Lab, family: int) -> None:
    """Nobody listens at the server's port: the host's stack says so."""
    service = local(lab, family, protocol="udp", port=5300)
    with lab.run_director([service]), lab.client.capture() as seen:
        client = asker(lab.client, str(service.address.address), 5300)
        with pytest.raises(RemoteError, match="ConnectionRefusedError"):
            client("ask(100)")
    assert sources(seen, family) == {str(service.address.address)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("vips_on_host", [True, False])
def test_it_learns_how_narrow_the_way_to_a_client_is(
    vips_on_host: bool, family: int, namespaces: None
) -> None:
    """A router in front says so to the VIP, from which the server's packets come."""
    with Lab(ipv6=True, vips_on_host=vips_on_host) as lab:
        lengthen(lab)
        use_front(lab)
        lab.director.start_program("web.py", "serve", "director", "8080")
        service, client = local(lab, family), address("10.3.0.100", family)
        with lab.run_director([service]):
            answer = lab.client.http(lab.url(service, f"/bytes/{SIZE}"))
        assert (answer.error, answer.digest) == (None, DIGEST)
        assert answer.seconds < 10
        assert f" mtu {MTU} " in lab.director.shell(f"ip route get {client} from {RIPS[family]}") + " "


@pytest.mark.parametrize("method", ["dr", "tun"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dr_and_tun_deliver_to_the_host(method: str, family: int, namespaces: None) -> None:
    """What comes for a VIP that the host has is left to the host, as it came."""
    with Lab(ipv6=True, vips_on_host=True) as lab:
        lab.director.start_program("web.py", "serve", "director", "80")
        others = lab.service(method, "rr", ipv6=family == 6)
        service = others.with_server(RealServer((RIPS[family], 80)))
        with no_errors(lab), lab.run_director([service]):
            assert "hook egress" not in ruleset(lab)
            found = Counter(answer.server for answer in lab.client.requests(lab.url(service), 8))
            assert found == dict.fromkeys(("director", "server1", "server2", "server3"), 2)
        with no_errors(lab), lab.run_director([others.with_servers([RealServer((RIPS[family], 80))])]):
            transfer(lab, lab.url(service))


def test_nothing_is_moved_while_no_server_is_local(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    with lab.run_director([service]) as director:
        rings = packet_sockets(lab, director.pid)
        assert "hook egress" not in ruleset(lab)
        director.reload(director_toml([service.with_server(RealServer(("10.1.0.1", 8080)))]))
        wait_for(lambda: "hook egress" in ruleset(lab))
        wait_for(lambda: packet_sockets(lab, director.pid) == rings + 2)
        found = {answer.server for answer in lab.client.requests(lab.url(service), 8)}
        assert found == {"director", "server1", "server2", "server3"}
        lab.director.run("nft", "flush", "ruleset")
        wait_for(lambda: "hook egress" in ruleset(lab))
        assert all(answer.ok for answer in lab.client.requests(lab.url(service), 8))
    assert ruleset(lab) == ""


def test_addresses_come_and_go(lab: Lab) -> None:
    service = local(lab, 4, server="10.7.7.7")
    with lab.run_director([service]) as director:
        rings = packet_sockets(lab, director.pid)
        assert "hook egress" not in ruleset(lab)
        for _ in range(2):
            lab.director.run("ip", "address", "add", "10.7.7.7/32", "dev", "lo")
            wait_for(lambda: "hook egress" in ruleset(lab))
            assert lab.client.http(lab.url(service, f"/bytes/{SIZE}")).digest == DIGEST
            lab.director.run("ip", "address", "del", "10.7.7.7/32", "dev", "lo")
            wait_for(lambda: "hook egress" not in ruleset(lab))
            assert "chain move" not in ruleset(lab)
            wait_for(lambda: packet_sockets(lab, director.pid) == rings)


def test_what_a_removed_server_still_says_is_not_sent_as_its_own(lab: Lab) -> None:
    """Its connections meet silence, as in the kernel; with its claim gone, they would be reset."""
    service = local(lab, 4)
    with lab.run_director([service]) as director:
        client = Remote(lab.client, HOLD)
        client(f"hold({str(service.address.address)!r})")
        assert "director" in client("ask()")
        director.reload(director_toml([lab.service("nat", "rr")]))
        wait_for(lambda: "reloaded" in director.log)
        resets = lab.client.counters()["TcpEstabResets"]
        client("connection.settimeout(1)")
        with pytest.raises(RemoteError, match="timed out"):
            client("ask()")
        assert "hook egress" in ruleset(lab)
        assert lab.client.counters()["TcpEstabResets"] == resets
        client.close()


def test_a_killed_director_leaves_silence_and_the_next_one_cleans_up(lab: Lab) -> None:
    service = local(lab, 4)
    lab.run_director([service]).kill()
    assert "hook egress" in ruleset(lab)
    assert lab.client.http("http://10.0.0.1:8080/", timeout=1.0).error is not None
    assert lab.client.http("http://10.0.0.1:80/").ok, "another port"
    with lab.run_director([service]):
        assert ruleset(lab).count("hook egress") == 1
        assert lab.client.http(lab.url(service)).ok
    assert ruleset(lab) == ""


def test_without_the_hook_it_says_what_is_missing(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = lab.director.shell("PATH=$PATH:/usr/sbin:/sbin command -v nft").strip()
    old = tmp_path / "nft"
    old.write_text(OLD_NFT.format(nft=nft))
    old.chmod(old.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    service = lab.service("nat", "rr").with_server(RealServer(("10.1.0.1", 8080)))
    with lab.run_director([service]) as director:
        wait_for(lambda: "real servers on this host (10.1.0.1) are not translated" in director.log)
        director.reload(
            director_toml([lab.service("nat", "wrr").with_server(RealServer(("10.1.0.1", 8080)))])
        )
        wait_for(lambda: "reloaded" in director.log)
        assert "CONFIG_NETFILTER_EGRESS" in director.log
        assert "Operation not supported" in director.log
        assert "hook ingress" in ruleset(lab)
        found = {answer.server for answer in lab.client.requests(lab.url(service), 8, timeout=3.0)}
        assert found == {None, "server1", "server2", "server3"}
        assert director.log.count("are not translated") == 1
    assert ruleset(lab) == ""


def test_loopback_addresses_are_refused_as_by_the_kernel(lab: Lab) -> None:
    service = local(lab, 4, server="127.0.0.1")
    program = director(lab, service)
    assert "hook egress" not in ruleset(lab)
    assert lab.client.http(lab.url(service), timeout=0.5).error is not None
    assert program("director.counters.drops[lvs.DropReason.LOCAL_SERVER]") >= 1
    program("director.stop()")
    assert program.close() == 0


def local(
    lab: Lab, family: int, *, protocol: str = "tcp", port: int = 80, server: str | None = None
) -> VirtualService:
    """A service by NAT whose only server is the director's host."""
    plain = lab.service("nat", "rr", protocol=protocol, port=port, ipv6=family == 6)
    return plain.with_servers([RealServer((server or RIPS[family], 8080))])


def director(lab: Lab, service: VirtualService) -> Remote:
    """A program in which a director runs, as the variable `director`, whose service has one server."""
    program = Remote(lab.director, "import fastlvs as lvs")
    vip, rip = (str(place.address) for place in (service.address, service.servers[0].address))
    servers = f"[lvs.RealServer(({rip!r}, 8080))]"
    program(f"web = lvs.VirtualService('tcp', ({vip!r}, 80), 'rr', 'nat', {servers})")
    program("director = lvs.Director(services=[web])")
    return program


def transfer(lab: Lab, url: str) -> None:
    down = lab.client.http(f"{url}bytes/{SIZE}")
    assert (down.error, down.server, down.digest) == (None, "director", DIGEST)
    up = lab.client.http(url, upload=SIZE)
    assert (up.error, up.body) == (None, DIGEST)


def inside(lab: Lab, family: int) -> str:
    """The address of the director's host on the servers' side."""
    return "10.1.0.1" if family == 4 else "fd00:1::1"


def bracketed(address: str) -> str:
    return f"[{address}]" if ip_address(address).version == 6 else address


def ruleset(lab: Lab) -> str:
    return lab.director.run("nft", "list", "ruleset").stdout


def packet_sockets(lab: Lab, pid: int) -> int:
    """How many packet sockets receive."""
    lines = lab.director.run("cat", f"/proc/{pid}/net/packet").stdout.splitlines()[1:]
    return sum(line.split()[3] == "0003" for line in lines)


def sources(seen: list[Captured], family: int) -> set[str]:
    """Who sent the client TCP, UDP or ICMP errors."""
    kind, start, length = (b"\x08\x00", 26, 4) if family == 4 else (b"\x86\xdd", 22, 16)
    frames = [c.frame for c in seen if not c.outgoing and c.frame[12:14] == kind and not is_chatter(c.frame)]
    return {str(ip_address(frame[start : start + length])) for frame in frames}


def is_chatter(frame: bytes) -> bool:
    """Neighbour discovery, reports of groups, and what else ICMPv6 says that is no error."""
    protocol, first = (frame[54], 62) if frame[20] == 0 else (frame[20], 54)  # hop-by-hop options, 8 bytes
    return frame[12:14] == b"\x86\xdd" and protocol == 58 and frame[first] >= 128


@contextmanager
def filtering(host: Host, rp_filter: int) -> Iterator[None]:
    names = [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", "lo", *host.interfaces)]
    before = [host.run("sysctl", "-n", name).stdout.strip() for name in names]
    host.run("sysctl", "-qw", *(f"{name}={rp_filter}" for name in names))
    yield
    host.run("sysctl", "-qw", *(f"{name}={value}" for name, value in zip(names, before, strict=True)))


@contextmanager
def no_errors(lab: Lab) -> Iterator[None]:
    """No host sees a wrong checksum or header, and the director's host resets nothing."""
    before = {host.name: host.counters() for host in lab.hosts}
    yield
    after = {host.name: host.counters() for host in lab.hosts}
    watched = [(host, name) for host in after for name in ERRORS]
    grown = {(host, name): after[host][name] - before[host][name] for host, name in watched}
    assert not any(grown.values()), grown


FETCH = """
import hashlib, urllib.request
from concurrent.futures import ThreadPoolExecutor

def fetch(urls):
    def one(url):
        with urllib.request.urlopen(url, timeout=30) as answer:
            return hashlib.sha256(answer.read()).hexdigest()
    with ThreadPoolExecutor(len(urls)) as threads:
        return list(threads.map(one, urls))
"""

HOLD = """
import socket

def hold(address):
    global connection
    connection = socket.create_connection((address, 80), timeout=30)

def ask():
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    said = b""
    while not said.partition(b"\\r\\n\\r\\n")[2]:
        said += connection.recv(65536)
    return said.decode()
"""

OLD_NFT = """#!/bin/sh
# An nft on a kernel without the egress hook.
if [ "$1" = -f ]; then
    script=$(cat)
    case "$script" in
        *"hook egress"*) echo "Error: Could not process rule: Operation not supported" >&2; exit 1 ;;
    esac
    printf '%s\\n' "$script" | exec {nft} -f -
fi
exec {nft} "$@"
"""
