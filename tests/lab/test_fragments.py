"""Datagrams longer than a frame, through the director and past it: put together, decided on, cut again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from datagrams import asker, start_echo
from fastlvs import VirtualService
from fastlvs.lab import Captured, Lab, topology
from remote import Remote
from waiting import end, wait_for

SIZE = 4000
"""Bytes of a datagram: three fragments."""
METHODS = ("nat", "dr", "tun")
FAMILIES = (4, 6)
OTHER_PORT = 9999
PATIENCE_WITH_FRAGMENTS = 30
"""Seconds that IPv4's wait for the others."""


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab in both families, whose director's host routes, and in one of two has the VIPs too."""
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        yield made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_datagram_in_fragments_passes_each_way(lab: Lab, method: str, family: int) -> None:
    service = service_of(lab, method, family)
    vip, server = str(service.address.address), lab.servers[0]
    rip = address_of(lab, family)
    echo = start_echo(server, 8080, rip) if method == "nat" else start_echo(server, 5300, vip)
    try:
        with lab.run_director([service]), lab.client.capture() as seen, untouched(lab, family):
            client = asker(lab.client, vip, 5300)
            for size in (SIZE, 9000, 100, SIZE):
                # A tunnel in IPv6 is too narrow for the client's first fragments, as it is told.
                wait_for(partial(client, f"ask({size})"))
    finally:
        end(echo)
    sources = [source for source, outgoing in senders(seen, family) if not outgoing]
    assert len(sources) == 3 + 7 + 1 + 3
    assert set(sources) == {vip}, "no piece comes with the server's own address"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("port", [8080, OTHER_PORT])
def test_fragments_past_the_service_are_routed(lab: Lab, family: int, port: int) -> None:
    """A real server's are claimed, whatever their port; what is no reply is given back in fragments."""
    service, rip = service_of(lab, "nat", family), address_of(lab, family)
    echo = start_echo(lab.servers[0], port, rip)
    try:
        with lab.run_director([service]), lab.client.capture() as seen:
            client = asker(lab.client, rip, port)
            for _ in range(3):
                assert client(f"ask({SIZE})")
    finally:
        end(echo)
    sources = [source for source, outgoing in senders(seen, family) if not outgoing]
    assert sources == [rip] * 3 * 3, "each piece once"


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_to_the_hosts_own_ports_are_the_hosts(family: int, namespaces: None) -> None:
    with Lab(ipv6=True, vips_on_host=True) as lab:
        service = service_of(lab, "nat", family)
        vip = str(service.address.address)
        with lab.run_director([service]):
            echo = start_echo(lab.director, OTHER_PORT, vip)
            client = asker(lab.client, vip, OTHER_PORT)
            for _ in range(3):
                assert client(f"ask({SIZE})")
            end(echo)
            assert client(f"ping({vip!r}, {SIZE})"), "an echo request in fragments"


def test_who_sent_the_first_of_fragments_that_never_come_is_told_once(namespaces: None) -> None:
    with Lab(vips_on_host=True, ip_forward=True) as lab:
        service, server = service_of(lab, "nat", 4), lab.servers[0]
        vip, client, legs = (str(service.address.address), lab.client, lab.director.interfaces)
        # Sender, the director's leg and the destination; who tells the sender.
        ends = [
            (client, legs["eth0"], vip, vip),
            (client, legs["eth0"], legs["eth0"], legs["eth0"]),
            (server, legs["eth1"], client.address, legs["eth1"]),
        ]
        with lab.run_director([service]), client.capture() as to_client, server.capture() as to_server:
            for host, leg, destination, _ in ends:
                frame = first_fragment(leg, host.address, destination)
                Remote(host, SENDER)(f"send({frame.hex()!r})")
            time.sleep(PATIENCE_WITH_FRAGMENTS + 2)
    assert sorted(late(to_client)) == sorted((of, destination, 64) for _, _, destination, of in ends[:2])
    assert late(to_server) == [(legs["eth1"], client.address, 63)], "a router has counted the hop"


SENDER = """
import socket
def send(frame):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        wire.send(bytes.fromhex(frame))
"""


def first_fragment(leg: str, source: str, destination: str) -> bytes:
    """In a frame to that leg of the director's, whatever the sender's routes are."""
    packet = IP(src=source, dst=destination, id=7, flags="MF") / UDP(sport=8080, dport=5300) / bytes(504)
    return bytes(Ether(src=topology.mac(source), dst=topology.mac(leg)) / packet)


def late(seen: list[Captured]) -> list[tuple[str, str, int]]:
    """Who told of datagrams that never were complete; where those were to go, and the TTL that was quoted."""
    packets = [IP(c.frame[14:]) for c in seen if c.frame[12:14] == b"\x08\x00" and not c.outgoing]
    told = [
        packet for packet in packets if ICMP in packet and (packet[ICMP].type, packet[ICMP].code) == (11, 1)
    ]
    return [(packet.src, packet[IPerror].dst, packet[IPerror].ttl) for packet in told]


def service_of(lab: Lab, method: str, family: int) -> VirtualService:
    return lab.service(method, "rr", protocol="udp", port=5300, weights=(1,), ipv6=family == 6)


def address_of(lab: Lab, family: int) -> str:
    server = lab.servers[0]
    return server.address6 if family == 6 else server.address


def senders(seen: list[Captured], family: int) -> list[tuple[str, bool]]:
    """Who sent the IP packets that carry UDP, or pieces of it."""
    if family == 4:
        packets4 = [(IP(c.frame[14:]), c.outgoing) for c in seen if c.frame[12:14] == b"\x08\x00"]
        return [(packet.src, outgoing) for packet, outgoing in packets4 if packet.proto == 17]
    packets = [(IPv6(c.frame[14:]), c.outgoing) for c in seen if c.frame[12:14] == b"\x86\xdd"]
    return [(packet.src, outgoing) for packet, outgoing in packets if packet.nh in (17, 44)]


@contextmanager
def untouched(lab: Lab, family: int) -> Iterator[None]:
    """The director's host gets nothing that it would try to put together."""
    name = "IpReasmReqds" if family == 4 else "Ip6ReasmReqds"
    before = lab.director.counters()[name]
    yield
    assert lab.director.counters()[name] == before
