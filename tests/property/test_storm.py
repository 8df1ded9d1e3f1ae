"""Whatever comes in: nothing raises, everything is accounted for."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlvs as lvs
from kinds.frames import ETHERNET, Ip, checksum, pseudo_header, with_checksum
from packets import SCTP, TCP, UDP, mac
from storm import storm
from topology import CLIENT, DIRECTOR_C, DIRECTOR_S, ROUTER, SERVERS, VIP, engine, service

VIP6, CLIENT6, SERVER6 = "fd00:99::1", "2001:db8::9", "fd00:5::1"


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_of_a_storm_is_accounted_for(seed: int) -> None:
    counters = storm(10_000, seed)
    assert min(counters.forward, counters.reply, counters.to_host, counters.drop) > 100, (
        "the storm is not one-sided"
    )
    assert len(counters.drops) >= 8


TIMES = st.floats(min_value=-9e9, max_value=9e9)
ADDRESSES = {4: [VIP[0], CLIENT[0], *SERVERS, "10.0.0.1"], 6: [VIP6, CLIENT6, SERVER6, "::", "fd00:c::1"]}
PORTS = [80, 53, 8080, CLIENT[1], 0, 20, 65535]


def _weighted(usual: list[int], highest: int) -> st.SearchStrategy[int]:
    """Mostly one of a few, now and then anything."""
    anything = st.integers(0, highest)
    few = st.sampled_from(usual)
    return st.sampled_from([few] * 24 + [anything]).flatmap(lambda values: values)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame whose link layer, and mostly its checksums too, are right, with anything behind."""
    leg, version = draw(st.sampled_from("cs")), draw(st.sampled_from([4, 6]))
    source, destination = draw(st.sampled_from(ADDRESSES[version])), draw(st.sampled_from(ADDRESSES[version]))
    protocol = draw(_weighted([TCP, TCP, UDP, UDP, SCTP, 1, 58, 4, 47], 255))
    payload = bytearray(draw(st.binary(min_size=draw(st.sampled_from([0, 8, 20, 20])), max_size=60)))
    ports = [draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))]
    if draw(st.sampled_from([True, True, True, False])):
        source, destination = (CLIENT[0], VIP[0]) if version == 4 else (CLIENT6, VIP6)
        ports = [CLIENT[1], 53 if protocol == UDP else 80]
    if protocol in (TCP, UDP, SCTP) and len(payload) >= 4:
        payload[:4] = struct.pack("!HH", *ports)
    if protocol == TCP and len(payload) >= 20:
        payload[12:14] = bytes([draw(_weighted([0x50], 255)), draw(_weighted([2, 16, 17, 4, 18], 63))])
    if protocol == UDP and len(payload) >= 8:
        payload[4:6] = draw(_weighted([len(payload)], 0xFFFF)).to_bytes(2)
    at = {TCP: 16, UDP: 6, 58: 2, 1: 2}.get(protocol)
    if at is not None and len(payload) >= at + 2 and draw(st.sampled_from([True] * 9 + [False])):
        payload[at : at + 2] = b"\0\0"
        ends = b"" if protocol == 1 else pseudo_header(source, destination, protocol, len(payload))
        payload[at : at + 2] = checksum(ends + bytes(payload)).to_bytes(2)
    ends = _packed(source) + _packed(destination)
    ttl = draw(_weighted([64, 64, 1], 255))
    if version == 4:
        options = draw(st.sampled_from([b"", b"", b"", b"\1\1\1\0", b"\7\7\4\0\0\0\0\0", b"\x44\5\5\0"]))
        options += bytes(-len(options) % 4)
        length = draw(_weighted([20 + len(options) + len(payload)], 0xFFFF))
        fragment = draw(_weighted([0, 0x4000, 0x4000, 0x2000, 1], 0xFFFF))
        words = 5 + len(options) // 4
        fields = (0x40 | words, draw(st.integers(0, 255)), length, 7, fragment, ttl, protocol, 0)
        data = with_checksum(struct.pack("!BBHHHBBH", *fields) + ends + options) + bytes(payload)
    else:
        for kind in draw(st.sampled_from([[], [], [], [0], [60], [44], [43, 60], [51], [0, 44, 60], [59]])):
            rest = bytes([draw(_weighted([0], 255)), *draw(st.binary(min_size=6, max_size=6))])
            payload = bytearray(bytes([protocol]) + rest) + payload
            protocol = kind
        length = draw(_weighted([len(payload)], 0xFFFF))
        data = struct.pack("!IHBB", 6 << 28, length, protocol, ttl) + ends + bytes(payload)
    cut = draw(_weighted([len(data)], len(data)))
    to, by = (DIRECTOR_C, ROUTER) if leg == "c" else (DIRECTOR_S, SERVERS["192.168.1.1"])
    return mac(to) + mac(by) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + data[:cut]


def _packed(address: str) -> bytes:
    return lvs.Endpoint.parse(f"[{address}]:0" if ":" in address else f"{address}:0").address.packed


def _director() -> lvs.Engine:
    def of(protocol: str, port: int, method: str) -> list[lvs.VirtualService]:
        ipv4 = [lvs.RealServer((address, port)) for address in SERVERS]
        ipv6 = [lvs.RealServer((SERVER6, port))]
        return [
            lvs.VirtualService(protocol, (vip, port), "rr", method, servers)
            for vip, servers in ((VIP[0], ipv4), (VIP6, ipv6))
        ]

    neighbours: dict[Any, str] = {"10.0.0.2": ROUTER, "fd00:c::2": ROUTER, **SERVERS}
    neighbours[SERVER6] = SERVERS["192.168.1.1"]
    return lvs.Engine(
        [
            lvs.Interface("c", mac=DIRECTOR_C, addresses=["10.0.0.1/24", "fd00:c::1/64"]),
            lvs.Interface("s", mac=DIRECTOR_S, addresses=["192.168.0.1/16", "fd00:5::ff/64"]),
        ],
        routes=[lvs.Route("default", via="10.0.0.2"), lvs.Route("::/0", via="fd00:c::2")],
        neighbours=neighbours,
        local=["10.99.0.0/16", "fd00:99::/64"],
        services=[*of("tcp", 80, "nat"), *of("udp", 53, "tun"), *of("sctp", 80, "dr")],
        settings=lvs.Settings(schedule_icmp=True, nat_icmp_send=True, sloppy_tcp=True),
    )


def test_any_headers_are_taken_their_way_and_what_leaves_is_well_formed() -> None:
    seen: Counter[object] = Counter()

    @given(frame=frames(), now=TIMES)
    @settings(max_examples=800, deadline=None, derandomize=True, database=None)
    def takes(frame: bytes, now: float) -> None:
        director = _director()
        leg = "c" if frame[:6] == mac(DIRECTOR_C) else "s"
        outcome = director.process(leg, frame, now)
        seen[outcome.reason or outcome.verdict] += 1
        assert director.counters.frames == getattr(director.counters, outcome.verdict) == 1
        sends = outcome.verdict in (lvs.Verdict.FORWARD, lvs.Verdict.REPLY)
        assert bool(outcome.frames) == sends
        assert (outcome.reason is None) == (outcome.verdict is not lvs.Verdict.DROP)
        for by, sent in outcome.frames:
            assert bytes(sent[6:12]) == mac(DIRECTOR_C if by == "c" else DIRECTOR_S)
            packet = Ip.parse(bytes(sent[ETHERNET:]))
            assert packet is not None
            assert len(packet.data) == len(sent) - ETHERNET
            assert packet.version == 6 or not checksum(packet.data[: packet.transport])

    takes()
    assert min(seen[v] for v in (lvs.Verdict.FORWARD, lvs.Verdict.REPLY, lvs.Verdict.TO_HOST)) >= 5, seen
    assert len([reason for reason in seen if isinstance(reason, lvs.DropReason)]) >= 6, seen


@given(frame=st.binary(max_size=200), leg=st.sampled_from("cs"), now=TIMES)
def test_noise_is_dropped_or_left_to_the_host(frame: bytes, leg: str, now: float) -> None:
    director = engine(service(forwarding="nat"))
    outcome = director.process(leg, frame, now)
    assert outcome.verdict in (lvs.Verdict.DROP, lvs.Verdict.TO_HOST)
    assert (outcome.reason is lvs.DropReason.MALFORMED_ETHERNET) == (len(frame) < ETHERNET)
    assert (director.counters.frames, len(director.connections)) == (1, 0)
