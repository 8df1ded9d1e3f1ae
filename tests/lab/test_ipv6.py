"""The director in IPv6, between real TCP/IP stacks and beside its host's own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6

from datagrams import CLIENT, start_echo
from fastlvs import Forwarding, VirtualService
from fastlvs.lab import Captured, Lab, content, topology
from fastlvs.lab.host import Host
from remote import Remote
from waiting import end, wait_for

SIZE = 8_000_000
DIGEST = hashlib.sha256(content(SIZE)).hexdigest()
VIP = topology.VIPS6[Forwarding.NAT]
ERRORS = ("TcpInCsumErrors", "Udp6InCsumErrors", "Icmp6InCsumErrors", "Ip6InHdrErrors")
WAYS = {
    "NAT": ("nat", True, True),
    "DR": ("dr", True, True),
    "TUN, 6 in 6": ("tun", True, True),
    "TUN, 6 in 4": ("tun", True, False),
    "TUN, 4 in 6": ("tun", False, True),
}
"""Method, and whether the VIP and the servers are IPv6."""


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab in both families, whose director's host routes, and in one of two has the VIPs too."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_contents_arrive_whole_both_ways(lab: Lab, way: str) -> None:
    service = service_of(lab, way)
    with no_errors(lab), lab.run_director([service]):
        down = lab.client.http(lab.url(service, f"/bytes/{SIZE}"))
        assert (down.error, down.digest) == (None, DIGEST)
        up = lab.client.http(lab.url(service), upload=SIZE)
        assert (up.error, up.body) == (None, DIGEST)


@pytest.mark.parametrize("way", WAYS)
def test_the_host_neither_resets_nor_doubles(lab: Lab, way: str) -> None:
    service = service_of(lab, way)
    # Aggregates are cut at the endpoints, so that no frame is a sum of others.
    for host in (lab.client, *lab.servers):
        host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off")
    with no_errors(lab), lab.run_director([service]), lab.client.capture() as at_client:
        answers = lab.client.requests(lab.url(service), 20, concurrency=5)
    assert sorted(Counter(a.server for a in answers).values()) == [6, 7, 7]
    if ":" in service.address.address.exploded:
        incoming = [packet for packet, outgoing in tcp_packets(at_client) if not outgoing]
        assert len(incoming) >= 20 * 3
        twice = [key for key, count in Counter(map(identity, incoming)).items() if count > 1]
        assert not twice


@pytest.mark.parametrize("way", WAYS)
def test_datagrams_are_balanced_and_answered(lab: Lab, way: str) -> None:
    method, vip6, _ = WAYS[way]
    service = service_of(lab, way, protocol="udp", port=5300)
    vip = str(service.address.address)
    echoes = [
        start_echo(server, 8080, server.address6) if method == "nat" else start_echo(server, 5300, vip)
        for server in lab.servers
    ]
    name = "Udp6InDatagrams" if vip6 else "UdpInDatagrams"
    before = [server.counters()[name] for server in lab.servers]
    try:
        with no_errors(lab), lab.run_director([service]):
            client = Remote(lab.client, CLIENT)
            for _ in range(6):
                client(f"client({vip!r}, 5300)")
                assert client("ask(1000)")
    finally:
        end(*echoes)
    assert [server.counters()[name] - had for server, had in zip(lab.servers, before, strict=True)] == [2] * 3


def test_the_vip_answers_echo_requests(lab: Lab) -> None:
    with lab.run_director([service_of(lab, "NAT")]):
        assert Remote(lab.client, CLIENT)(f"ping({VIP!r}, 56)")


def test_segments_of_no_connection_are_the_hosts(lab: Lab) -> None:
    """They were claimed, so they are given back: whoever has the address answers as a host does."""
    with lab.run_director([service_of(lab, "NAT")]), lab.client.capture() as seen:
        Remote(lab.client, STRAY)(f"send({VIP!r}, 80)")
        assert Remote(lab.client, CLIENT)(f"ping({VIP!r}, 56)")
    resets = [p for p, outgoing in tcp_packets(seen) if not outgoing and p[TCP].flags.R and p.src == VIP]
    assert [p[TCP].seq for p in resets] == [4711]


def test_real_servers_can_be_reached_past_the_service(lab: Lab) -> None:
    """Their answers look like those of a service's connection, and belong to none."""
    service = service_of(lab, "NAT")
    with lab.run_director([service]):
        for host in (lab.client, lab.director):
            for server in lab.servers:
                answer = host.http(f"http://[{server.address6}]:8080/bytes/1000000")
                assert (answer.error, answer.server, answer.size) == (None, server.name, 1_000_000)
        assert lab.client.http(lab.url(service)).ok


def test_neighbours_are_found_out_on_both_sides(lab: Lab) -> None:
    service = service_of(lab, "NAT")
    with lab.run_director([service]):
        for host in (lab.client, lab.director, *lab.servers):
            host.shell("ip -6 neigh flush all")
        assert all(a.ok for a in lab.client.requests(lab.url(service), 9))
        assert neighbour(lab.client, VIP) == topology.mac("10.0.0.1")


@pytest.fixture(scope="module")
def alone(namespaces: None) -> Iterator[Lab]:
    """A lab in which the director alone has the VIPs."""
    with Lab(ipv6=True) as made:
        yield made


def test_a_new_vip_is_announced(alone: Lab) -> None:
    """Who still has it elsewhere in mind, as after a failover, is put right."""
    alone.client.shell(f"ip neigh replace {VIP} dev eth0 lladdr 02:00:00:00:00:99 nud stale")
    with alone.run_director([service_of(alone, "NAT")]):
        wait_for(lambda: neighbour(alone.client, VIP) == topology.mac("10.0.0.1"))


def test_who_wants_a_vip_finds_it_taken(alone: Lab) -> None:
    """The router is to take the VIP as its own; its duplicate address detection asks first."""
    router = alone.router
    with alone.run_director([service_of(alone, "NAT")]):
        # It waits long for an answer, for the sake of a busy machine.
        router.shell(
            "sysctl -qw net.ipv6.conf.eth0.dad_transmits=1 net.ipv6.neigh.eth0.retrans_time_ms=20000; "
            f"ip address add {VIP}/128 dev eth0"
        )
        wait_for(lambda: "tentative" not in addresses(router) or "dadfailed" in addresses(router))
        assert "dadfailed" in addresses(router)
        router.shell(
            f"ip address del {VIP}/128 dev eth0; sysctl -qw net.ipv6.neigh.eth0.retrans_time_ms=1000"
        )


def test_the_director_listens_to_its_vips_group(alone: Lab) -> None:
    """So switches that look for listeners, and network cards, let questions about the VIP pass."""
    group = f"ff02::1:ff00:{VIP.split(':')[-1]}"

    def listens() -> bool:
        return group in alone.director.shell("ip -6 maddress show dev eth0")

    with alone.run_director([service_of(alone, "NAT")]):
        wait_for(listens)
    assert not listens()


def test_a_real_server_that_answers_for_the_vip_is_named(alone: Lab) -> None:
    vip, server = alone.vips6[Forwarding.DR], alone.servers[0]
    server.shell(f"ip address add {vip}/128 dev eth0 nodad")
    try:
        with alone.run_director([service_of(alone, "DR")]) as director:
            wait_for(lambda: f"answers neighbour solicitations for the VIP {vip}" in director.log)
            assert server.address6 in director.log
            assert topology.mac(alone.servers[1].address) not in director.log
    finally:
        server.shell(f"ip address del {vip}/128 dev eth0")


STRAY = """
import socket, struct
def send(vip, port):
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, 7, 16)  # IPV6_CHECKSUM: the kernel fills it in
        raw.settimeout(30)
        raw.sendto(struct.pack("!HHIIBBHHH", 40999, port, 1, 4711, 5 << 4, 0x10, 100, 0, 0), (vip, 0))
        # Until it is answered.
        while raw.recv(2048)[2:4] != struct.pack("!H", 40999):
            pass
"""


def service_of(lab: Lab, way: str, **options: Any) -> VirtualService:
    method, vip, servers = WAYS[way]
    return lab.service(method, "rr", ipv6=vip, servers_ipv6=servers, **options)


def neighbour(host: Host, address: str) -> str:
    """The link-layer address that ``host`` has in mind."""
    words = host.shell(f"ip neigh show {address}").split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def addresses(host: Host) -> str:
    return host.shell(f"ip -6 address show dev eth0 to {VIP}")


def tcp_packets(seen: list[Captured]) -> list[tuple[Any, bool]]:
    frames = [captured for captured in seen if captured.frame[12:14] == b"\x86\xdd"]
    packets = [(IPv6(captured.frame[14:]), captured.outgoing) for captured in frames]
    return [(packet, outgoing) for packet, outgoing in packets if TCP in packet]


def identity(packet: Any) -> tuple[object, ...]:
    """What two copies of a packet have in common, and a retransmission has not (its time stamp)."""
    tcp = packet[TCP]
    told = tcp.seq, tcp.ack, tcp.flags, tcp.window, len(tcp.payload), tuple(tcp.options)
    return packet.src, tcp.sport, tcp.dport, *told


@contextmanager
def no_errors(lab: Lab) -> Iterator[None]:
    """No host sees a wrong checksum or header, and the director's resets nothing. (Endpoints may, as when their
    answers to a FIN cross.)"""
    before = {host.name: host.counters() for host in lab.hosts}
    yield
    after = {host.name: host.counters() for host in lab.hosts}
    watched = [(host, name) for host in after for name in ERRORS] + [("director", "TcpOutRsts")]
    grown = {(host, name): after[host].get(name, 0) - before[host].get(name, 0) for host, name in watched}
    assert not any(grown.values()), grown
