"""Frames in, frames out: scapy reads what the engine sends, and judges its checksums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, in4_chksum
from scapy.layers.l2 import ARP, Ether
from scapy.utils import checksum

import fastlvs as lvs
from packets import ACK, FIN, PSH, SYN
from packets import UDP as UDP_NUMBER
from topology import (
    CLIENT,
    DIRECTOR_C,
    DIRECTOR_S,
    ROUTER,
    SERVERS,
    VIP,
    engine,
    from_client,
    from_server,
    service,
)

LAST = "192.168.1.3"
"""Round robin begins with the server that was added last."""


def only(outcome: lvs.Outcome) -> tuple[str, Any]:
    """The one frame that was sent, and read. Its checksums are found right."""
    [(leg, frame)] = outcome.frames
    packet: Any = IP(frame[14:])
    while isinstance(packet, IP):
        assert checksum(bytes(packet)[:20]) == 0
        inner = bytes(packet)[20 : packet.len]
        if packet.proto == 1:
            assert checksum(inner) == 0
        elif packet.proto in (6, 17):
            assert in4_chksum(packet.proto, packet, inner) in (0, 0xFFFF)
        packet = packet.payload
    return leg, Ether(frame)


def test_masquerading_rewrites_both_ways() -> None:
    director = engine(service(forwarding="nat"))
    leg, sent = only(director.process("c", from_client(payload=b"hello"), now=1.0))
    assert (leg, sent.src, sent.dst) == ("s", DIRECTOR_S, SERVERS[LAST])
    assert (sent[IP].src, sent[IP].dst, sent[IP].ttl) == (CLIENT[0], LAST, 63)
    assert (sent[TCP].sport, sent[TCP].dport, bytes(sent[TCP].payload)) == (CLIENT[1], 8080, b"hello")

    leg, reply = only(director.process("s", from_server((LAST, 8080), payload=b"world"), now=1.1))
    assert (leg, reply.src, reply.dst) == ("c", DIRECTOR_C, ROUTER)
    assert (reply[IP].src, reply[IP].dst, reply[IP].ttl) == (VIP[0], CLIENT[0], 63)
    assert (reply[TCP].sport, reply[TCP].dport, bytes(reply[TCP].payload)) == (VIP[1], CLIENT[1], b"world")


def test_gatewaying_changes_the_link_header_alone() -> None:
    frame = from_client()
    leg, sent = only(engine(service()).process("c", frame))
    assert (leg, sent.src, sent.dst, sent[IP].ttl) == ("s", DIRECTOR_S, SERVERS[LAST], 63)
    assert bytes(sent[IP])[12:] == frame[14 + 12 :]


def test_tunneling_wraps_the_packet() -> None:
    frame = from_client()
    leg, sent = only(engine(service(forwarding="tun")).process("c", frame))
    outer, inner = sent.getlayer(IP, 1), sent.getlayer(IP, 2)
    assert (leg, sent.dst) == ("s", SERVERS[LAST])
    assert (outer.src, outer.dst, outer.proto, outer.ttl) == ("192.168.0.1", LAST, 4, 63)
    assert (inner.src, inner.dst, inner.ttl) == (CLIENT[0], VIP[0], 63)
    assert bytes(inner)[12:] == frame[14 + 12 :]


def test_the_forwarding_method_is_the_servers() -> None:
    servers = [lvs.RealServer("192.168.1.1", forwarding="tun"), lvs.RealServer("192.168.1.2")]
    director = engine(service(servers=servers))
    protocols = [
        only(director.process("c", from_client(client=(CLIENT[0], port))))[1][IP].proto for port in (1, 2)
    ]
    assert protocols == [6, 4]


def test_a_packet_that_does_not_fit_the_tunnel_is_answered_with_the_right_mtu() -> None:
    director = engine(service(forwarding="tun"))
    director.process("c", from_client())
    outcome = director.process("c", from_client(PSH | ACK, payload=bytes(1450)))
    leg, answer = only(outcome)
    assert (outcome.verdict, leg) == (lvs.Verdict.REPLY, "c")
    assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, 1480)
    assert (answer[IP].src, answer[IP].dst) == (VIP[0], CLIENT[0])
    fits = director.process("c", from_client(PSH | ACK, payload=bytes(1440)))
    assert fits.verdict is lvs.Verdict.FORWARD


def test_without_a_server_the_client_is_told() -> None:
    servers = [lvs.RealServer(address, weight=0) for address in SERVERS]
    outcome = engine(service(servers=servers)).process("c", from_client())
    assert outcome.verdict is lvs.Verdict.REPLY
    answer = only(outcome)[1][ICMP]
    assert (answer.type, answer.code) == (3, 3)


def test_what_is_not_balanced_is_left_to_the_host() -> None:
    director = engine(service())
    other_port = from_client(destination=(VIP[0], 22))
    assert director.process("c", other_port).verdict is lvs.Verdict.TO_HOST
    assert director.process("c", from_client(ACK)).verdict is lvs.Verdict.TO_HOST, "no SYN, no connection"
    assert director.process("c", b"\xff" * 60).verdict is lvs.Verdict.TO_HOST, "no IP"
    assert len(director.connections) == 0


def test_an_owned_vip_answers_as_a_host() -> None:
    director = engine(service(), owned=[VIP[0]], local=[])
    request = Ether(dst="ff:ff:ff:ff:ff:ff", src=ROUTER) / ARP(
        op=1, hwsrc=ROUTER, psrc="10.0.0.2", pdst=VIP[0]
    )
    [(_, frame)] = director.process("c", bytes(request)).frames
    reply: Any = Ether(frame)
    assert (reply[ARP].op, reply[ARP].psrc, reply[ARP].hwsrc) == (2, VIP[0], DIRECTOR_C)
    echo = Ether(dst=DIRECTOR_C, src=ROUTER) / IP(src=CLIENT[0], dst=VIP[0]) / ICMP(type=8, id=7) / b"ping"
    _, reply = only(director.process("c", bytes(echo)))
    assert (reply[ICMP].type, reply[ICMP].id, bytes(reply[ICMP].payload)) == (0, 7, b"ping")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", lvs.DropReason.MALFORMED_ETHERNET),
        (from_client()[:30], lvs.DropReason.MALFORMED_IPV4),
        (from_client()[:24] + b"\0\0" + from_client()[26:], lvs.DropReason.IPV4_CHECKSUM),
    ],
)
def test_a_malformed_frame_ends_under_a_name(frame: bytes, reason: lvs.DropReason) -> None:
    director = engine(service())
    outcome = director.process("c", frame)
    assert (outcome.verdict, outcome.reason, outcome.frames) == (lvs.Verdict.DROP, reason, [])
    assert director.counters.drops == {reason: 1}


def test_a_header_cut_short_does_not_reach_a_server_on_the_director() -> None:
    """It has ports, so it belongs to the connection, but nothing else that translation would change."""
    director = engine(service("rr", "nat", servers=[lvs.RealServer(("192.168.0.1", 8080))]))
    assert director.process("c", from_client(SYN)).verdict is lvs.Verdict.TO_HOST
    whole = from_client(ACK)
    packet = IP(whole[14:])
    short = whole[:14] + bytes(IP(src=packet.src, dst=packet.dst, proto=6) / whole[34:42])
    outcome = director.process("c", short)
    assert (outcome.verdict, outcome.reason) == (lvs.Verdict.DROP, lvs.DropReason.MALFORMED_TCP)


def test_an_unknown_neighbour_is_a_named_drop() -> None:
    outcome = engine(service(servers=[lvs.RealServer("192.168.9.9")])).process("c", from_client())
    assert outcome.reason is lvs.DropReason.NEIGHBOUR_UNKNOWN


def test_frames_come_in_any_shape() -> None:
    frame = from_client()
    director = engine(service())
    shapes: list[Any] = [frame, bytearray(frame), memoryview(frame), np.frombuffer(frame, np.uint8)]
    first, *others = [director.process("c", shape).frames for shape in shapes]
    assert others == [first] * 3


def test_many_frames_go_the_way_of_each() -> None:
    frames = [from_client(client=(CLIENT[0], port)) for port in range(1000, 1100)]
    times = np.linspace(0.0, 1.0, len(frames))
    one, many = engine(service()), engine(service())
    outcomes = many.process_many("c", frames, times)
    alone = [one.process("c", frame, now) for frame, now in zip(frames, times, strict=True)]
    assert [o.frames for o in outcomes] == [o.frames for o in alone]
    assert {o.way for o in outcomes} == {""}
    with pytest.raises(ValueError, match="expected a time for each frame"):
        many.process_many("c", frames, [0.0])


def test_the_way_is_told_in_the_kernels_stages() -> None:
    director = engine(service(forwarding="nat"))
    there = director.process("c", from_client()).way
    back = director.process("s", from_server((LAST, 8080))).way
    assert there.startswith("PREROUTING c → INPUT (service tcp 10.99.0.1:80 rr) → ")
    assert there.endswith("real server 192.168.1.3:8080 masq → POSTROUTING s")
    assert back.startswith("PREROUTING s → FORWARD")
    assert back.endswith("POSTROUTING c")


def test_time_is_what_it_is_told() -> None:
    director = engine(service(), settings=lvs.Settings(timeout_tcp=30.0))
    director.process("c", from_client(), now=5.0)
    director.process("c", from_client(ACK), now=5.5)
    [connection] = director.connections
    assert (connection.state, connection.expires, connection.active) == ("ESTABLISHED", 30.0, True)
    director.advance(to=35.0)
    assert director.connections[0].expires == pytest.approx(0.5)
    director.process("c", b"", now=35.6)
    assert len(director.connections) == 0, "a frame's time counts as well"
    director.advance(to=1.0)
    assert director.now == 35.6, "time does not go back"


def test_what_timers_send_is_told() -> None:
    director = engine(service())

    def fragment(number: int) -> bytes:
        packet = IP(src=CLIENT[0], dst=VIP[0], id=number, flags="MF") / TCP(sport=CLIENT[1], dport=VIP[1])
        return bytes(Ether(dst=DIRECTOR_C, src=ROUTER) / packet / bytes(12))

    assert director.process("c", fragment(1)).verdict is lvs.Verdict.QUEUED
    assert director.process("c", fragment(2), now=10.0).frames == []
    assert director.advance(29.0) == []
    [(leg, error)] = director.advance(30.0)
    told = IP(error[14:])
    assert (leg, told.src, told.dst, told[ICMP].type, told[ICMP].code) == ("c", VIP[0], CLIENT[0], 11, 1)
    later = director.process("c", from_client(), now=40.0)
    assert [leg for leg, _ in later.frames] == ["c", "s"], "the second datagram's time was over before"


def test_listings_have_columns_and_objects() -> None:
    web = service(forwarding="nat")
    director = engine(web, lvs.VirtualService("udp", "10.99.0.1:53", servers=[lvs.RealServer("192.168.1.1")]))
    for port in range(5):
        director.process("c", from_client(client=(CLIENT[0], 1000 + port)))
    director.process("c", from_client(protocol=UDP_NUMBER, destination=("10.99.0.1", 53)))
    director.process("s", from_server((LAST, 8080), destination=(CLIENT[0], 1000)))
    listed = director.services[web]
    assert listed.servers.address.tolist() == [f"192.168.1.{n}:8080" for n in (3, 2, 1)]
    assert listed.servers.active.tolist() == [2, 2, 1]
    assert [str(column.dtype) for column in (listed.servers.active, listed.servers.in_bytes)] == [
        "uint32",
        "uint64",
    ]
    assert (listed.connections, listed.in_packets, listed.in_bytes, listed.out_packets) == (5, 5, 200, 1)
    first = listed.servers[0]
    assert (first.connections, first.out_bytes, first.forwarding) == (2, 40, lvs.Forwarding.NAT)
    assert [s.address for s in listed.servers] == [s.address for s in reversed(web.servers)]
    assert [s.scheduler for s in director.services] == ["rr", "wlc"]
    assert director.services["tcp", VIP].connections == director.services[0].connections == 5
    with pytest.raises(KeyError, match=r"no service tcp 10.99.0.1:81"):
        director.services["tcp", "10.99.0.1:81"]
    with pytest.raises(IndexError):
        director.services[2]
    connections = director.connections
    assert sorted(connections.protocol.tolist()) == ["tcp"] * 5 + ["udp"]
    assert set(connections.columns()) >= {"client", "destination", "server", "state", "expires", "packets"}
    assert str(connections[-1].destination) == "10.99.0.1:53"


def test_listings_go_to_pandas() -> None:
    director = engine(service())
    director.process("c", from_client())
    servers = director.services[0].servers
    table = servers.to_pandas()
    assert list(table.columns) == list(servers.columns())
    assert table["address"].tolist() == ["192.168.1.3:80", "192.168.1.2:80", "192.168.1.1:80"]
    assert table.loc[table["active"] + table["inactive"] > 0, "address"].tolist() == ["192.168.1.3:80"]
    assert (table["usable"].dtype, table["in_bytes"].dtype) == (bool, "uint64")
    connections = director.connections.to_pandas()
    assert connections.shape == (1, len(director.connections.columns()))
    assert connections.loc[0, ["client", "server"]].tolist() == ["203.0.113.9:40000", "192.168.1.3:80"]


def test_single_things_print_shortly() -> None:
    director = engine(service())
    outcome = director.process("c", from_client())
    assert repr(outcome) == "<Outcome FORWARD, 54 bytes by s>"
    assert repr(director.process("c", b"")) == "<Outcome DROP malformed_ethernet>"
    assert repr(director) == "<Engine at 0 s: 1 services, 1 connections>"
    assert repr(director.services[0].servers[0]) == (
        "<Server 192.168.1.3:80 gatewaying weight 1: 1 active, 0 inactive>"
    )
    assert repr(director.connections[0]) == (
        "<Connection tcp 203.0.113.9:40000 to 10.99.0.1:80 at 192.168.1.3:80: SYN_RECV, 60.0 s>"
    )


def test_listings_print_like_ipvsadm() -> None:
    director = engine(service(forwarding="nat", servers=[lvs.RealServer("192.168.1.1:8080", weight=3)]))
    director.process("c", from_client())
    assert repr(director.services).splitlines() == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  10.99.0.1:80 rr",
        "  -> 192.168.1.1:8080             Masq    3      1          0",
    ]
    assert repr(director.connections).splitlines()[1:] == [
        "TCP 01:00  SYN_RECV    203.0.113.9:40000      10.99.0.1:80           192.168.1.1:8080"
    ]


def test_counters_account_for_every_frame() -> None:
    director = engine(service())
    for frame in (from_client(), from_client(FIN | ACK), from_client(SYN, destination=(VIP[0], 22)), b""):
        director.process("c", frame)
    counters = director.counters
    assert counters == lvs.Counters(4, 2, 0, 1, 0, 1, {lvs.DropReason.MALFORMED_ETHERNET: 1})


def test_mistakes_name_what_was_expected() -> None:
    director = engine(service())
    with pytest.raises(lvs.InterfaceError, match='no interface "x"; the engine has c s'):
        director.process("x", b"")
    with pytest.raises(
        lvs.ConfigurationError, match=r"neighbour 172\.16\.0\.1: is on the link of no interface"
    ):
        engine(neighbours={"172.16.0.1": ROUTER})
    with pytest.raises(lvs.ConfigurationError, match=r"router 172\.16\.0\.1"):
        lvs.Engine([], routes=[lvs.Route("10.0.0.0/8", via="172.16.0.1")])
    with pytest.raises(lvs.ConfigurationError, match="expected a link-layer address like 02:00"):
        lvs.Engine([lvs.Interface("c", mac="1:2")])
    with pytest.raises(lvs.ConfigurationError, match="interface c: is defined twice"):
        lvs.Engine([lvs.Interface("c", mac=ROUTER)] * 2)
    with pytest.raises(lvs.ConfigurationError, match="timeout_udp: expected seconds above 0 and up to"):
        lvs.Settings(timeout_udp=0)


def test_reasons_are_the_cores() -> None:
    from fastlvs import _core

    assert [reason.value for reason in lvs.DropReason] == list(_core.DROP_REASONS)
    assert lvs.DropReason.NO_SERVER.about == _core.DROP_REASONS["no_server"]
