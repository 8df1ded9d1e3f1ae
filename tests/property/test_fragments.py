"""A datagram that comes in fragments leaves as one that comes whole, in fragments that are no longer.

scapy cuts what the engine gets, and joins what it sends.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, defragment, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
    defragment6,
    fragment6,
)

import fastlvs as lvs

DIRECTOR_C, DIRECTOR_S, ROUTER = "02:00:00:00:00:01", "02:00:00:00:01:01", "02:00:00:00:00:02"
SERVER = "02:01:00:00:00:03"
ENDS = {
    4: {"client": "203.0.113.9", "vip": "10.99.0.1", "server": "192.168.1.3"},
    6: {"client": "2001:db8::9", "vip": "fd00:99::1", "server": "fd00:5::3"},
}
METHODS: dict[str, dict[str, Any]] = {
    "nat": {"forwarding": "nat"},
    "dr": {"forwarding": "dr"},
    "ipip": {"forwarding": "tun"},
    "gre": {"forwarding": "tun", "tunnel": "gre", "tunnel_flags": "csum"},
    "gue": {"forwarding": "tun", "tunnel": "gue", "tunnel_port": 6080, "tunnel_flags": "csum"},
}


def director(version: int, method: str, mtu: int, **options: Any) -> lvs.Engine:
    ends = ENDS[version]
    server = lvs.RealServer((ends["server"], 5353 if method == "nat" else 53), **METHODS[method])
    return lvs.Engine(
        interfaces=[
            lvs.Interface("c", mac=DIRECTOR_C, mtu=1500, addresses=["10.0.0.1/24", "fd00:c::1/64"]),
            lvs.Interface("s", mac=DIRECTOR_S, mtu=mtu, addresses=["192.168.0.1/16", "fd00:5::1/64"]),
        ],
        routes=[lvs.Route("0.0.0.0/0", via="10.0.0.2"), lvs.Route("::/0", via="fd00:c::2")],
        neighbours={"10.0.0.2": ROUTER, "fd00:c::2": ROUTER, ends["server"]: SERVER},
        local=["10.99.0.0/16", "fd00:99::/64"],
        services=[lvs.VirtualService("udp", (ends["vip"], 53), "rr", servers=[server])],
        **options,
    )


def datagram(version: int, payload: bytes) -> Any:
    ends = ENDS[version]
    transport = UDP(sport=40000, dport=53) / payload
    if version == 4:
        return IP(bytes(IP(src=ends["client"], dst=ends["vip"], id=7) / transport))
    return IPv6(bytes(IPv6(src=ends["client"], dst=ends["vip"]) / transport))


def cut(packet: Any, size: int) -> list[bytes]:
    """The packet in fragments with ``size`` bytes of payload."""
    if packet.version == 4:
        return [bytes(piece) for piece in fragment(packet, size)]  # type: ignore[no-untyped-call]
    # scapy cuts at a length of the whole packet, where there is a fragment header.
    whole = IPv6(src=packet.src, dst=packet.dst) / IPv6ExtHdrFragment(id=9) / packet.payload
    return [bytes(piece) for piece in fragment6(whole, 48 + size)]  # type: ignore[no-untyped-call]


def joined(version: int, frames: list[bytes]) -> bytes:
    """The one packet that they make."""
    packets = [(IP if version == 4 else IPv6)(frame[14:]) for frame in frames]
    if len(packets) == 1:
        return bytes(packets[0])
    if version == 4:
        [whole] = defragment(packets)  # type: ignore[no-untyped-call]
        return bytes(whole)
    return bytes(defragment6(packets))  # type: ignore[no-untyped-call]


def blank(version: int, packet: bytes) -> bytes:
    """The packet without what every packet of the director's own has for itself."""
    return packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:] if version == 4 else packet


def frame(packet: bytes) -> bytes:
    ethertype = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    return bytes.fromhex((DIRECTOR_C + ROUTER).replace(":", "")) + ethertype + packet


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, deadline=None)
@given(chance=st.randoms(use_true_random=False), length=st.integers(1400, 6000), eights=st.integers(157, 170))
def test_fragments_are_the_datagram(
    version: int, method: str, chance: Random, length: int, eights: int
) -> None:
    # An IPv6 tunnel around an IPv6 fragment has to fit the link, which cannot cut it.
    payload = chance.randbytes(length)
    pieces = cut(datagram(version, payload), eights * 8)
    chance.shuffle(pieces)
    engine = director(version, method, mtu=1500)
    outcomes = [engine.process("c", frame(piece)) for piece in pieces]
    assert [outcome.verdict for outcome in outcomes[:-1]] == [lvs.Verdict.QUEUED] * (len(pieces) - 1)
    sent = [out for leg, out in outcomes[-1].frames if leg == "s"]
    whole = director(version, method, mtu=65535).process("c", frame(bytes(datagram(version, payload))))
    [(_, expected)] = whole.frames
    assert blank(version, joined(version, sent)) == blank(version, expected[14:])
    longest = max(len(piece) for piece in pieces)
    assert max(len(out) for out in sent) - 14 <= max(longest, 1280)


@pytest.mark.parametrize("version", [4, 6])
@settings(max_examples=20, deadline=None)
@given(chance=st.randoms(use_true_random=False), length=st.integers(1, 5000))
def test_a_long_echo_of_an_owned_address(version: int, chance: Random, length: int) -> None:
    """The engine puts a question together, answers it, and cuts the answer."""
    ends = ENDS[version]
    engine = director(version, "nat", 1500, owned=[ends["vip"]])
    data = chance.randbytes(length)
    if version == 4:
        question: Any = IP(bytes(IP(src=ends["client"], dst=ends["vip"], id=3) / ICMP(id=1, seq=2) / data))
    else:
        ping = ICMPv6EchoRequest(id=1, seq=2, data=data)
        question = IPv6(bytes(IPv6(src=ends["client"], dst=ends["vip"]) / ping))
    pieces = cut(question, 1400) if length > 1200 else [bytes(question)]
    outcome = [engine.process("c", frame(piece)) for piece in pieces][-1]
    assert outcome.verdict is lvs.Verdict.REPLY
    answer = joined(version, [sent for _, sent in outcome.frames])
    if version == 4:
        expected = IP(src=ends["vip"], dst=ends["client"]) / ICMP(type=0, id=1, seq=2) / data
        assert answer[20:] == bytes(expected)[20:]
    else:
        echo = ICMPv6EchoReply(id=1, seq=2, data=data)
        assert answer == bytes(IPv6(src=ends["vip"], dst=ends["client"]) / echo)


@settings(max_examples=50, deadline=None)
@given(chance=st.randoms(use_true_random=False), length=st.integers(100, 3000))
def test_a_host_gets_the_datagram(chance: Random, length: int) -> None:
    """What is not ours is left to the host as a whole."""
    packet = datagram(4, chance.randbytes(length))
    packet[UDP].dport = 54
    packet = IP(bytes(packet))
    pieces = cut(packet, 96)
    chance.shuffle(pieces)
    engine = director(4, "nat", 1500)
    outcomes = [engine.process("c", frame(piece)) for piece in pieces]
    assert outcomes[-1].verdict is lvs.Verdict.TO_HOST
    expected = bytes(packet)
    assert outcomes[-1].for_host == frame(expected)
    assert outcomes[-1].longest_fragment == max(map(len, pieces))
    whole = engine.process("c", frame(expected))
    assert (whole.for_host, whole.longest_fragment) == (frame(expected), None)
    [queued, *_] = outcomes
    assert (queued.for_host, queued.longest_fragment) == (None, None), "the host gets nothing yet"
