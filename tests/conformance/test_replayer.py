"""The replayer itself: what it takes for a pass, and what its host and its excuses make of odd packets."""

from __future__ import annotations

import json
import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import replay
from kinds import frames, packet
from kinds.excuses import TEMPLATE, VANISHED, Excuses, Unsent
from kinds.frames import ETHERNET, Ip
from kinds.result import Result, Scenario
from kinds.topology import MACS, ROUTERS, Topology
from packets import ACK, SYN, TCP, UDP, Packet

CLIENT, VIP, SERVER = "198.51.100.7", "10.99.0.1", "192.168.1.1"
CLIENT6, VIP6 = "2001:db8::7", "fd00:99::1"
ROUTER, ROUTER_S = ROUTERS["10.0.0.2"], ROUTERS["192.168.0.2"]


def scenario(kind: str = "packet", **more: Any) -> Scenario:
    given: Scenario = {"id": "odd", "kind": kind, "mtu": [1500, 1500], "neigh": [SERVER], "extra": []}
    return given | {"sysctl": {}, "mark": None, "setup": [], "ev": []} | more


def ipv6(next_header: int, payload: bytes, source: str = CLIENT6, destination: str = VIP6) -> bytes:
    """A frame from the client with a payload as it is given."""
    ends = ip_address(source).packed + ip_address(destination).packed
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    link = bytes.fromhex((MACS["c"] + ROUTER).replace(":", ""))
    return link + b"\x86\xdd" + header + ends + payload


def segment(port: int = 80, flags: int = SYN) -> bytes:
    return Packet(TCP, (CLIENT, 4000), (VIP, port), flags).frame(MACS["c"], ROUTER)


def replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str], *scenarios: Scenario) -> tuple[int, str]:
    """Exit status and last line of the program."""
    file = tmp_path / "some.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in scenarios))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["replay.py", str(file)])
        status = replay.main()
    return status, capsys.readouterr().out.splitlines()[-1]


SET_ASIDE = scenario(extra=["rule add from all lookup 7"])
DIFFERENT = scenario(ev=[["svcs", [["TCP 0A630001:0050 rr", []]]]])


@pytest.mark.parametrize(
    ("scenarios", "status", "line"),
    [
        ([scenario()], 0, "PASS 1/1 scenarios"),
        ([], 1, "FAIL: PASS 0/0 scenarios, there was none to play"),
        ([scenario("sync")], 1, "FAIL: PASS 0/1 scenarios, 1 set aside"),
        ([scenario(), scenario("sync")], 1, "FAIL: PASS 1/2 scenarios, 1 set aside"),
        ([scenario(), SET_ASIDE], 1, "FAIL: PASS 1/2 scenarios, 1 set aside"),
        ([scenario(), DIFFERENT, SET_ASIDE], 1, "FAIL: PASS 1/3 scenarios, 1 different, 1 set aside"),
    ],
)
def test_only_what_was_played_and_was_equal_is_a_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenarios: list[Scenario], status: int, line: str
) -> None:
    assert replayed(tmp_path, capsys, *scenarios) == (status, line)


def test_a_kind_without_player_is_named() -> None:
    assert replay.play(scenario("sync")).set_aside == "no player for the kind sync"


@pytest.mark.parametrize("length", range(5))
def test_a_packet_cut_short_behind_extension_headers_is_seen(length: int) -> None:
    options = bytes([TCP, 0, 1, 4, 0, 0, 0, 0])
    excuses = Excuses()
    excuses.see(ipv6(frames.DESTINATION_OPTIONS, options + b"\x12\x34\x00\x50"[:length]))
    assert bool(excuses.extended) == (length == 4)


def test_an_authentication_header_in_front_of_tcp_is_an_extension_header() -> None:
    authentication = bytes([TCP, 4]) + bytes(22)
    ports = struct.pack("!HH", 4660, 80)
    excuses = Excuses()
    excuses.see(ipv6(frames.AUTHENTICATION, authentication + ports + bytes(16)))
    assert excuses.extended == {(ip_address(CLIENT6), 4660), (ip_address(VIP6), 80)}


def test_a_host_refuses_an_authentication_header_by_the_field_that_names_it() -> None:
    frame = ipv6(frames.AUTHENTICATION, bytes([TCP, 4]) + bytes(42))
    [sent] = Topology(scenario()).host().receive("c", frame)
    said = Ip.parse(sent.frame[ETHERNET:])
    assert said is not None
    assert (said.protocol, said.payload[:2], said.payload[4:8]) == (frames.ICMPV6, b"\x04\x01", b"\0\0\0\x06")


def test_nothing_expected_of_an_ipv6_fragment_is_compared() -> None:
    fragment = ipv6(frames.FRAGMENT, struct.pack("!BBHI", UDP, 0, 1, 7) + bytes(24))
    sent = [("s", fragment)]
    assert Excuses().frames(("c", fragment), ETHERNET + 0x40, [], sent) == ""
    assert Excuses().frames(("c", fragment), ETHERNET + 0x40, sent, []) == ""


def test_what_was_not_counted_is_never_taken_from_less() -> None:
    server, service = (ip_address("fd00:5::1"), 80), (ip_address(VIP6), 80)
    excuses = Excuses()
    excuses.unsent.append(Unsent(VANISHED, "TCP", service, server, 100))
    name = ("TCP", service)
    _, counted, rule = excuses.listing("stats", {name: [1, 1, 1, 60, 60]}, {name: [1, 1, 0, 60, 40]})
    assert (counted, rule) == ({name: [1, 1, 0, 60, 0]}, VANISHED)


@pytest.mark.parametrize(
    ("command", "forgotten"),
    [
        ("-Z", True),
        ("-Z -t 10.99.0.1:80", True),
        ("-Z -u 10.99.0.1:53", False),
        ("-D -t 10.99.0.1:80", True),
        ("-D -u 10.99.0.1:53", False),
        ("-C", True),
    ],
)
def test_counters_that_begin_anew_are_not_corrected_for_what_was_before(
    command: str, forgotten: bool
) -> None:
    excuses = Excuses()
    ends = (ip_address(VIP), 80), (ip_address(SERVER), 80)
    excuses.unsent.append(Unsent(VANISHED, "TCP", *ends, 100))
    player = packet.Replay(scenario(setup=["-A -t 10.99.0.1:80", "-A -u 10.99.0.1:53"]), Result())
    player.excuses = excuses
    player.command(command)
    assert (not excuses.unsent) == forgotten


def test_what_a_packet_to_port_0_changes_of_a_template_is_excused_and_no_more() -> None:
    excuses, name = Excuses(), ("TCP", (ip_address(VIP), 80))
    ends = (ip_address(VIP), 80, ip_address(SERVER), 80)
    template = ("TCP", ip_address(CLIENT), 0, *ends)
    wanted, has = [(*template, "ERR!", 10)], [(*template, "NONE", 90)]
    assert excuses.listing("conns", wanted, has)[2] == ""
    reply = Packet(TCP, (SERVER, 80), (CLIENT, 0), ACK).frame(MACS["s"], ROUTER_S)
    excuses.see(reply)
    length = len(reply) - ETHERNET
    plain, same, rule = excuses.listing("conns", wanted, has)
    assert (plain == same, rule) == (True, TEMPLATE)
    for other in ([(*template[:2], 1, *ends, "NONE", 90)], [(*template, "SYN_RECV", 10)], []):
        plain, same, _ = excuses.listing("conns", wanted, other)
        assert plain != same
    for packets, octets, excused in [(1, length, True), (2, 2 * length, False), (1, length + 1, False)]:
        counts = {name: [1, 1, packets, 60, octets]}, {name: [1, 1, 0, 60, 0]}
        plain, same, _ = excuses.listing("stats", *counts)
        assert (plain == same) == excused
    routed = [("c", Packet(TCP, (SERVER, 80), (CLIENT, 0), ACK).frame(ROUTER, MACS["c"]))]
    translated = [("c", Packet(TCP, (VIP, 81), (CLIENT, 0), ACK).frame(ROUTER, MACS["c"]))]
    assert excuses.frames(("s", reply), 0, translated, routed) == TEMPLATE
    elsewhere = [("c", Packet(TCP, (VIP, 81), (CLIENT, 9), ACK).frame(ROUTER, MACS["c"]))]
    assert excuses.frames(("s", reply), 0, elsewhere, routed) == ""


@pytest.mark.parametrize("tos", [0, 1, 2, 3, 0x2F])
def test_a_hosts_reset_bears_no_congestion_bits(tos: int) -> None:
    frame = bytearray(segment())
    frame[15] = tos
    frame[ETHERNET : ETHERNET + 20] = frames.with_checksum(bytes(frame[ETHERNET : ETHERNET + 20]))
    [sent] = Topology(scenario()).host().receive("c", bytes(frame))
    assert (sent.frame[15], sent.frame[ETHERNET + 20 + 13] & 4) == (tos & ~3, 4)


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [(0, [988]), (1500, [988]), (988, [988]), (500, [500, 500, 28]), (504, [500, 500, 28])],
)
def test_a_host_cuts_a_reassembled_datagram_to_the_longest_piece(longest: int, lengths: list[int]) -> None:
    frame = bytearray(
        Packet(UDP, (SERVER, 53), (CLIENT, 4000), payload=bytes(960)).frame(MACS["s"], ROUTER_S)
    )
    frame[20:22] = b"\0\0"  # it may be cut
    frame[ETHERNET : ETHERNET + 20] = frames.with_checksum(bytes(frame[ETHERNET : ETHERNET + 20]))
    sent = Topology(scenario()).host().receive("s", bytes(frame), longest)
    assert [len(one.frame) - ETHERNET for one in sent] == lengths
    [(_, whole)] = frames.joined([(one.leg, one.frame) for one in sent])
    assert whole[ETHERNET + 20 :] == bytes(frame[ETHERNET + 20 :])


def test_fragments_that_the_engine_joins_and_leaves_alone_are_routed_no_longer_than_they_came() -> None:
    payload = bytes(range(240)) * 4
    frame = bytearray(Packet(UDP, (SERVER, 53), (CLIENT, 4000), payload=payload).frame(MACS["s"], ROUTER_S))
    player = packet.Replay(scenario(), Result())
    sent: list[tuple[str, bytes]] = []
    data = bytes(frame[ETHERNET + 20 :])
    for start in range(0, len(data), 480):
        part = data[start : start + 480]
        field = start // 8 | (frames.MORE_FRAGMENTS if start + 480 < len(data) else 0)
        header = frame[ETHERNET : ETHERNET + 2] + struct.pack("!HHH", 20 + len(part), 9, field)
        header += frame[ETHERNET + 8 : ETHERNET + 20]
        piece = bytes(frame[:ETHERNET]) + frames.with_checksum(bytes(header)) + part
        player.remember_piece("s", piece)
        sent += player.receive("s", piece)
    assert [len(one) - ETHERNET for _, one in sent] == [500, 500, 28]
    assert {leg for leg, _ in sent} == {"c"}


def test_an_address_on_lo_is_the_hosts_own() -> None:
    own = "fd00:bbbb::7"
    player = packet.Replay(scenario(extra=[f"addr add {own}/128 dev lo nodad"]), Result())
    datagram = Packet(UDP, (CLIENT6, 4000), (own, 53)).frame(MACS["c"], ROUTER)
    [(leg, frame)] = player.receive("c", datagram)
    said = Ip.parse(frame[ETHERNET:])
    assert said is not None
    assert (leg, str(said.source), said.payload[:2]) == ("c", own, b"\x01\x04")


def test_clearing_the_table_leaves_packets_to_the_host() -> None:
    services = [
        "-A -t 10.99.0.1:80 -s rr",
        "-a -t 10.99.0.1:80 -r 192.168.1.1:80 -m -w 1",
        "-A -u 10.99.0.1:53",
    ]
    player = packet.Replay(scenario(setup=services), Result())
    [(leg, _)] = player.receive("c", segment())
    player.command("-C")
    [(answered, frame)] = player.receive("c", segment(flags=ACK))
    assert (leg, answered, frame[ETHERNET + 20 + 13]) == ("s", "c", 4)
    assert list(player.engine.services) == []
