"""Path MTU discovery from end to end: a narrow link behind the director or before it, kernels that learn it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from datagrams import asker, start_echo
from fastlvs.lab import Lab, content
from fastlvs.lab.host import Host
from long_way import MTU, address, echo_at, lengthen, service, use_front
from waiting import end, wait_for

SIZE = 400_000
DIGEST = hashlib.sha256(content(SIZE)).hexdigest()
LONGEST = 10.0
"""Seconds for all of it: who is told nothing loses segment after segment, and waits longer each time."""
METHODS = ("nat", "dr", "tun")
FAMILIES = (4, 6)
TUNNEL = {4: 20, 6: 40}
"""What a tunnel's outer header takes, in the family of its packet."""
HEADERS = {4: 28, 6: 48}
"""Of a datagram."""


@pytest.fixture(scope="module")
def lab(namespaces: None) -> Iterator[Lab]:
    """The lab with narrow links at both ends; the client uses its wide one."""
    with Lab(ipv6=True) as made:
        lengthen(made)
        yield made


@pytest.fixture(scope="module")
def narrow(namespaces: None) -> Iterator[Lab]:
    """A lab whose director has a narrow link to its servers."""
    with Lab(ipv6=True) as made:
        made.director.shell(f"ip link set eth1 mtu {MTU}")
        yield made


@pytest.fixture(scope="module")
def front(namespaces: None) -> Iterator[Lab]:
    """The lab with narrow links, whose client uses the narrow one."""
    with Lab(ipv6=True) as made:
        lengthen(made)
        use_front(made)
        yield made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_the_director_tells_how_narrow_its_own_link_is(narrow: Lab, method: str, family: int) -> None:
    check_behind(narrow, method, family, far=False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["nat", "tun"])
def test_what_a_router_behind_says_reaches_the_client(lab: Lab, method: str, family: int) -> None:
    check_behind(lab, method, family, far=True)


def check_behind(lab: Lab, method: str, family: int, *, far: bool) -> None:
    """A client uploads, then asks by datagrams that nobody may cut; its kernel learns what fits."""
    expected = MTU - (TUNNEL[family] if method == "tun" else 0)
    tcp = service(lab, method, family, far=far)
    udp = service(lab, method, family, far=far, protocol="udp")
    vip = str(tcp.address.address)
    flush(lab.client)
    port, place = echo_at(lab, udp)
    echo = start_echo(lab.servers[0], port, place)
    try:
        with lab.run_director([tcp, udp]):
            answer = lab.client.http(lab.url(tcp), upload=SIZE)
            assert (answer.error, answer.body) == (None, DIGEST)
            assert answer.seconds < LONGEST
            assert path_mtu(lab.client, vip) == expected
            flush(lab.client)
            assert path_mtu(lab.client, vip) is None
            client = asker(lab.client, vip, 5300)
            assert client(f"discover({1500 - HEADERS[family]})") == expected
            assert client(f"ask({expected - HEADERS[family]})")
            assert client(f"discover({expected - HEADERS[family] + 1})") == expected
    finally:
        end(echo)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_router_in_front_says_reaches_the_server(front: Lab, method: str, family: int) -> None:
    """It says so to the VIP, from which the server's packets come."""
    server = front.servers[0]
    tcp = service(front, method, family, far=False)
    udp = service(front, method, family, far=False, protocol="udp")
    vip, client_address = str(tcp.address.address), address("10.3.0.100", family)
    port, place = echo_at(front, udp)
    flush(server)
    echo = start_echo(server, port, place)
    try:
        with front.run_director([tcp, udp]):
            answer = front.client.http(front.url(tcp, f"/bytes/{SIZE}"))
            assert (answer.error, answer.digest) == (None, DIGEST)
            assert answer.seconds < LONGEST
            assert path_mtu(server, client_address, place) == MTU
            flush(server)
            assert path_mtu(server, client_address, place) is None
            client = asker(front.client, vip, 5300)
            # The first answer is lost, the next is cut.
            wait_for(lambda: client(f"ask({1500 - HEADERS[family]}, 0.3)"))
            assert path_mtu(server, client_address, place) == MTU
    finally:
        end(echo)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_director_tells_the_server_how_narrow_its_link_to_clients_is(
    family: int, namespaces: None
) -> None:
    """NAT's replies pass it; those of DR and TUN have another way."""
    with Lab(ipv6=True) as lab:
        lab.director.shell(f"ip link set eth0 mtu {MTU}")
        tcp, client = service(lab, "nat", family, far=False), address("10.0.0.100", family)
        with lab.run_director([tcp]):
            answer = lab.client.http(lab.url(tcp, f"/bytes/{SIZE}"))
            assert (answer.error, answer.digest) == (None, DIGEST)
            assert answer.seconds < LONGEST
            assert path_mtu(lab.servers[0], client, str(tcp.servers[0].address.address)) == MTU


def path_mtu(host: Host, destination: str, source: str | None = None) -> int | None:
    """What ``host`` learnt about the way to ``destination``."""
    said = host.shell(f"ip route get {destination}" + (f" from {source}" if source else ""))
    found = re.search(r"\bmtu (\d+)", said)
    return int(found[1]) if found else None


def flush(host: Host) -> None:
    """Has it forget that."""
    host.shell("ip -4 route flush cache; ip -6 route flush cache")
    # IPv6 flushes the main table's cache alone: a route takes along what was learnt by it.
    host.shell(AGAIN)


AGAIN = """
for table in 5101 5102 5103; do
    ip -6 route show table $table 2>/dev/null | while read -r route; do
        ip -6 route del $route table $table
        ip -6 route add $route table $table
    done
done
"""
