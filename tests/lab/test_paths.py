"""What lies on the way between real stacks: long datagrams, narrow links, hops, and errors about them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastlvs import VirtualService
from fastlvs.lab import Lab
from waiting import end

METHODS = ("nat", "dr", "tun")

ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65535)
    s.sendto(data, peer)
"""

ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_IP, 10, 0)  # IP_MTU_DISCOVER: whoever has to may cut what is sent
s.settimeout(30)
s.connect((sys.argv[1], int(sys.argv[2])))
for size in map(int, sys.argv[3:]):
    data = bytes(n * 7 % 251 for n in range(size))
    s.send(data)
    print(size, s.recv(65535) == data)
"""

HOP = """
import os, socket, struct, sys
IP_RECVERR = 11
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
s.setsockopt(socket.SOL_IP, socket.IP_TTL, int(sys.argv[3]))
s.settimeout(30)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"who is there?")
try:
    s.recv(100)
    print("answered")
except OSError as error:
    _, control, _, _ = s.recvmsg(100, 512, socket.MSG_ERRQUEUE)
    [(_, _, data)] = control
    kind, code = struct.unpack("BB", data[5:7])
    print(error.strerror, kind, code, socket.inet_ntoa(data[20:24]))
"""


@pytest.fixture(scope="module")
def lab(namespaces: None) -> Iterator[Lab]:
    with Lab() as made:
        yield made


@contextmanager
def echoing(lab: Lab, service: VirtualService) -> Iterator[None]:
    """Each server sends back what it gets, from the address that it was asked at."""
    vip = str(service.address.address)
    masqueraded = service.forwarding == "masquerading"
    started = []
    for server, wanted in zip(lab.servers, service.servers, strict=True):
        address = server.address if masqueraded else vip
        process = server.start(sys.executable, "-c", ECHO, address, str(wanted.address.port), stdout=-1)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started.append(process)
    try:
        yield
    finally:
        end(*started)


@pytest.mark.parametrize("method", METHODS)
def test_long_datagrams_arrive(lab: Lab, method: str) -> None:
    """They come in fragments, which are put together to be balanced."""
    service = lab.service(method, "rr", protocol="udp", port=5301)
    with echoing(lab, service), lab.run_director([service]):
        said = lab.client.run(
            sys.executable, "-c", ASK, *map(str, service.address), "10", "1472", "1473", "4000", "30000"
        )
    assert said.stdout.split() == [
        "10",
        "True",
        "1472",
        "True",
        "1473",
        "True",
        "4000",
        "True",
        "30000",
        "True",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_narrow_link_is_found_out(lab: Lab, method: str) -> None:
    """The client hears of the link behind the director, and sends shorter segments."""
    service = lab.service(method, "rr")
    lab.director.run("ip", "link", "set", "eth1", "mtu", "1400")
    try:
        with lab.run_director([service]):
            answer = lab.client.http(lab.url(service), upload=1_000_000)
        assert answer.error is None
        way = lab.client.run("ip", "route", "get", str(service.address.address)).stdout
        assert f"mtu {1380 if method == 'tun' else 1400}" in way
    finally:
        lab.director.run("ip", "link", "set", "eth1", "mtu", "1500")
        lab.client.run("ip", "route", "flush", "cache")


@pytest.mark.parametrize("method", METHODS)
def test_the_director_is_a_hop(lab: Lab, method: str) -> None:
    """As traceroute sees it: the first hop is the VIP, the second the server."""
    service = lab.service(method, "rr", protocol="udp", port=5302)
    ask = (sys.executable, "-c", HOP, *map(str, service.address))
    with echoing(lab, service), lab.run_director([service]):
        first, second = (lab.client.run(*ask, ttl, timeout=60).stdout.split() for ttl in ("1", "2"))
    assert first == ["No", "route", "to", "host", "11", "0", str(service.address.address)]
    assert second == ["answered"]


def test_a_server_without_the_service_says_so(lab: Lab) -> None:
    """Its error comes from the VIP, about the packet that the client sent."""
    service = lab.service("nat", "rr", protocol="udp", port=5303)
    with lab.run_director([service]):
        said = lab.client.run(sys.executable, "-c", HOP, *map(str, service.address), "64").stdout.split()
    assert said == ["Connection", "refused", "3", "3", str(service.address.address)]
