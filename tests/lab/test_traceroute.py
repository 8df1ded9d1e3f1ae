"""Traceroute through the director, as a client's kernel tells it: which hop says what, in whose name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from datagrams import start_echo
from fastlvs.lab import Lab
from long_way import ROUTER, address, echo_at, lengthen, service, use_front
from remote import Remote
from waiting import end

FAMILIES = (4, 6)
PROTOCOLS = ("udp", "tcp")
METHODS = ("nat", "dr", "tun")
EXCEEDED = {4: [11, 0], 6: [3, 0]}
"""Type and code of "time exceeded in transit"."""
UNREACHABLE = {4: [3, 3], 6: [1, 4]}
"""Of "port unreachable"."""


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """The lab with a router before the director and one behind it."""
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        lengthen(made)
        use_front(made)
        yield made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS)
def test_every_hop_is_seen(lab: Lab, method: str, protocol: str, family: int) -> None:
    """The director is a hop, and speaks as the VIP; so does a router behind it, whose errors it relays. DR has
    none there. Errors about a tunnel in IPv6 a kernel does not relay, nor does the engine: a nameless hop."""
    traced = service(lab, method, family, far=method != "dr", protocol=protocol)
    vip = str(traced.address.address)
    router = [*EXCEEDED[family], address(ROUTER, family)]
    exceeded = [*EXCEEDED[family], vip]
    behind: dict[str, list[Any]] = {
        "nat": [exceeded],
        "dr": [],
        "tun": [exceeded if family == 4 else None],
    }
    expected: list[Any] = [router, exceeded, *behind[method], "answer"]
    nameless = expected.index(None) + 1 if None in expected else 0
    port, place = echo_at(lab, traced)
    echo = start_echo(lab.servers[0], port, place) if protocol == "udp" else None
    try:
        with lab.run_director([traced]):
            assert trace(lab, protocol, vip, traced.address.port, nameless) == expected
    finally:
        if echo is not None:
            end(echo)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_closed_port_is_the_last_hop(lab: Lab, method: str, family: int) -> None:
    """Nobody listens at the server, which says so itself."""
    traced = service(lab, method, family, far=method != "dr", protocol="udp")
    vip = str(traced.address.address)
    with lab.run_director([traced]):
        nameless = 3 if method == "tun" and family == 6 else 0
        assert trace(lab, "udp", vip, 5300, nameless)[-1] == [*UNREACHABLE[family], vip]


def trace(lab: Lab, protocol: str, vip: str, port: int, nameless: int) -> list[Any]:
    """What is heard of each hop; of the nameless one nothing is, and not for long."""
    tracer = Remote(lab.client, TRACER)
    hops: list[Any] = tracer(f"trace({protocol!r}, {vip!r}, {port}, {nameless})")
    tracer.close()
    return hops


TRACER = """
import ctypes, select, socket, struct
IP_RECVERR, IPV6_RECVERR, LOCAL = 11, 25, 1

def trace(protocol, address, port, nameless):
    "What each hop says: type, code and sender of its ICMP error, or that there is an answer."
    hops = []
    for ttl in range(1, 6):
        hops.append(probe(protocol, address, port, ttl, 0.6 if ttl == nameless else 30))
        if hops[-1] == "answer" or hops[-1] is not None and hops[-1][:2] not in ([11, 0], [3, 0]):
            break
    return hops

def probe(protocol, address, port, ttl, patience):
    v6 = ":" in address
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind) as tracer:
        level, hops, errors = (41, 16, IPV6_RECVERR) if v6 else (0, socket.IP_TTL, IP_RECVERR)
        tracer.setsockopt(level, hops, ttl)
        tracer.setsockopt(level, errors, 1)
        tracer.setblocking(False)
        tracer.connect_ex((address, port))
        if protocol == "udp":
            tracer.send(b"where are you?")
        poll = select.poll()
        poll.register(tracer, select.POLLIN if protocol == "udp" else select.POLLOUT)
        for _, events in poll.poll(patience * 1000):
            if not events & select.POLLERR:
                return "answer"
            _, ancillary, _, _ = tracer.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            error = ancillary[0][2]
            kind, code = error[5], error[6]
            sender = error[24:40] if v6 else error[20:24]
            return [kind, code, socket.inet_ntop(tracer.family, sender)]
"""
