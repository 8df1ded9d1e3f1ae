"""The director beside its host's own stack: each leaves the other's packets alone, and nothing stays behind."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP

from fastlvs import RealServer, VirtualService
from fastlvs.lab import Captured, Lab, director_program, director_toml
from fastlvs.lab.host import Host
from fastlvs.lab.sandbox import first_line
from waiting import PATIENCE, end, wait_for

VIP = "10.0.0.81"
SIZE = 3_000_000


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab whose director's host routes, and in one of two has the VIPs too."""
    with Lab(vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        yield made


@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
def test_the_host_neither_resets_nor_doubles(lab: Lab, method: str) -> None:
    service = lab.service(method, "rr")
    # Aggregates are cut at the endpoints, so that no frame is a sum of others.
    for host in (lab.client, *lab.servers):
        host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off")
    with lab.run_director([service]), lab.client.capture() as at_client:
        answers = lab.client.requests(lab.url(service), 20, concurrency=5)
    assert sorted(Counter(a.server for a in answers).values()) == [6, 7, 7]
    incoming = [packet for packet in tcp_packets(at_client) if not packet[1]]
    assert len(incoming) >= 20 * 3
    # A real server may reset, as when its answers to a FIN cross; its packets have passed a router.
    assert not [packet for packet, _ in incoming if packet[TCP].flags.R and packet.ttl == 64]
    twice = [key for key, count in Counter(map(identity, (p for p, _ in incoming))).items() if count > 1]
    assert not twice
    assert not redirects(lab.client)


def test_segments_of_no_connection_are_the_hosts(lab: Lab) -> None:
    """They were claimed, so they are given back: whoever has the address answers as a host does."""
    service = lab.service("nat", "rr")
    with lab.run_director([service]), lab.client.capture() as seen:
        lab.client.run("python3", "-I", "-S", "-c", STRAY, VIP, "80")
        time.sleep(0.3)  # for a second one
    resets = [p for p, outgoing in tcp_packets(seen) if not outgoing and p[TCP].flags.R and p.src == VIP]
    assert len(resets) == 1
    assert resets[0][TCP].seq == 4711


def test_another_port_of_the_vip_is_the_hosts(namespaces: None) -> None:
    with Lab(vips_on_host=True, ip_forward=True) as lab:
        web = lab.director.start_program("web.py", "serve", "director", "8000")
        with lab.run_director([lab.service("nat", "rr")]):
            assert lab.client.http(f"http://{VIP}:8000/").server == "director"
            assert lab.client.http(f"http://{VIP}/").ok
        end(web)


def test_real_servers_can_be_reached_past_the_service(lab: Lab) -> None:
    """Their answers look like those of a service's connection, and belong to none."""
    service = lab.service("nat", "rr")
    with lab.run_director([service]):
        for host in (lab.client, lab.director):
            for server in lab.servers:
                answer = host.http(f"http://{server.address}:8080/bytes/{SIZE}")
                assert (answer.error, answer.server, answer.size) == (None, server.name, SIZE)
        assert lab.client.http(lab.url(service)).ok


def test_nothing_is_left_after_term(lab: Lab) -> None:
    director = lab.run_director([lab.service("nat", "rr")])
    assert "fastlvs-" in ruleset(lab)
    assert director.stop() == 0
    assert ruleset(lab) == ""


def test_a_killed_director_leaves_silence_and_the_next_one_cleans_up(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    director = lab.run_director([service])
    kept = lab.client.start("python3", "-I", "-S", "-c", KEEP_OPEN, VIP, "80", stdout=PIPE, stdin=PIPE)
    assert first_line(kept, PATIENCE) == "open"
    director.kill()
    left = ruleset(lab)
    assert left.count("table netdev fastlvs-") == 1
    resets = lab.client.counters()["TcpEstabResets"]
    say(kept, "x")
    time.sleep(0.5)
    assert lab.client.counters()["TcpEstabResets"] == resets, "silence, not a reset"
    with lab.run_director([service]):
        assert ruleset(lab).count("table netdev fastlvs-") == 1
        assert ruleset(lab) != left
        assert lab.client.http(lab.url(service)).ok
    assert ruleset(lab) == ""
    end(kept)


def test_a_flushed_ruleset_is_mended(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    with lab.run_director([service]) as director:
        lab.director.run("nft", "flush", "ruleset")
        wait_for(lambda: "table netdev fastlvs-" in ruleset(lab))
        wait_for(lambda: "somebody removed nftables table" in director.log)
        assert all(a.ok for a in lab.client.requests(lab.url(service), 9))
    assert ruleset(lab) == ""


def test_a_removed_server_keeps_its_connections(lab: Lab) -> None:
    """With its claim gone, the host would reset what the server still says."""
    server = lab.servers[0]
    web = RealServer((server.address, 8080))
    service = VirtualService("tcp", (VIP, 80), "rr", "nat", [web])
    with lab.run_director([service]) as director:
        kept = lab.client.start("python3", "-I", "-S", "-c", KEEP_OPEN, VIP, "80", stdout=PIPE, stdin=PIPE)
        assert first_line(kept, PATIENCE) == "open"
        director.reload(director_toml([service.without_server(web.address)]))
        wait_for(lambda: lab.client.http(lab.url(service), timeout=2.0).error is not None)
        assert f"{server.address} . 8080" in ruleset(lab)
        resets = lab.client.counters()["TcpEstabResets"]
        say(kept, "x")
        time.sleep(0.5)
        assert lab.client.counters()["TcpEstabResets"] == resets
        end(kept)


def test_a_real_server_that_answers_arp_for_the_vip_is_named(namespaces: None) -> None:
    with Lab() as lab:
        lab.servers[0].shell("sysctl -qw net.ipv4.conf.eth0.arp_ignore=0")
        with lab.run_director([lab.service("dr", "rr")]) as director:
            wait_for(lambda: "answers ARP for the VIP 10.0.0.82" in director.log)
            assert lab.servers[0].address in director.log
            assert "server2" not in director.log


ANNOUNCE = """
import socket, sys
vip, interface, macs = socket.inet_aton(sys.argv[1]), sys.argv[2], range(*map(int, sys.argv[3:]))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind((interface, 0))
    for number in macs:
        mac = bytes([2, 9]) + number.to_bytes(4, "big")
        ask = bytes([0, 1, 8, 0, 6, 4, 0, 1]) + mac + vip + bytes(6) + vip
        link.send(bytes([255] * 6) + mac + bytes([8, 6]) + ask)
"""


def test_who_announces_an_owned_vip_is_named_and_a_flood_of_them_is_not(namespaces: None) -> None:
    with Lab() as lab, lab.run_director([lab.service("nat", "rr")]) as director:
        announce = (sys.executable, "-c", ANNOUNCE, VIP, "eth0")
        lab.client.run(*announce, "0", "1")
        wait_for(lambda: "somebody else on eth0 (02:09:00:00:00:00)" in director.log)
        lab.client.run(*announce, "1", "20000")
        assert lab.client.http(lab.url(lab.service("nat"))).ok
        time.sleep(11)
        lab.client.run(*announce, "20000", "20002")
        wait_for(lambda: "more such claims were left unsaid" in director.log)
        assert director.log.count("somebody else on") <= 12


@pytest.mark.parametrize("named", [False, True])
def test_a_port_of_a_bridge_is_left_out_unless_it_is_named(
    namespaces: None, named: bool, tmp_path: Path
) -> None:
    with Lab() as lab:
        lab.director.shell(
            "ip link add br0 type bridge; ip link set br0 up; ip link add port0 type veth peer name far0;"
            "ip link set port0 master br0; ip link set port0 up; ip link set far0 up"
        )
        file = tmp_path / "director.toml"
        interfaces = ["eth0", "eth1", "port0"] if named else []
        file.write_text(director_toml([lab.service("nat")], interfaces=interfaces))
        process = lab.director.start(director_program(), str(file), stdout=PIPE, stderr=PIPE)
        ready = first_line(process, PATIENCE)
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE)
        served = set(ready.rpartition(" on ")[2].split())
        assert ("port0" in served) is named
        assert ("port0 is a port of br0" in log) is named
        assert {"eth0", "eth1"} <= served


def test_neighbours_are_found_out(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    with lab.run_director([service]):
        lab.director.shell("ip neigh flush all")
        assert all(a.ok for a in lab.client.requests(lab.url(service), 9))


STRAY = """
import socket, struct, sys
vip, port = sys.argv[1], int(sys.argv[2])
with socket.socket(type=socket.SOCK_DGRAM) as probe:
    probe.connect((vip, port))
    own = probe.getsockname()[0]
header = struct.pack("!HHIIBBHHH", 40999, port, 1, 4711, 5 << 4, 0x10, 100, 0, 0)
pseudo = socket.inet_aton(own) + socket.inet_aton(vip) + struct.pack("!BBH", 0, 6, len(header))
total = sum(struct.unpack("!16H", pseudo + header))
total = (total & 0xFFFF) + (total >> 16)
total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
segment = header[:16] + struct.pack("!H", total) + header[18:]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
    raw.settimeout(30)
    raw.sendto(segment, (vip, 0))
    # Until it is answered.
    while raw.recv(2048)[22:24] != struct.pack("!H", 40999):
        pass
"""

KEEP_OPEN = """
import socket, sys
kept = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
print("open", flush=True)
for line in sys.stdin:
    kept.send(line.encode())
"""


def say(process: Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def ruleset(lab: Lab) -> str:
    return lab.director.run("nft", "list", "ruleset").stdout


def tcp_packets(seen: list[Captured]) -> list[tuple[Any, bool]]:
    packets = [(IP(captured.frame[14:]), captured.outgoing) for captured in seen]
    return [(packet, outgoing) for packet, outgoing in packets if TCP in packet]


def identity(packet: Any) -> tuple[object, ...]:
    """What two copies of a packet have in common, and a retransmission has not (its IP identification; that of
    a SYN/ACK is 0, but not its time stamp)."""
    tcp = packet[TCP]
    return packet.src, packet.id, tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.flags, tuple(tcp.options)


def redirects(host: Host) -> int:
    return host.counters()["IcmpInRedirects"]
