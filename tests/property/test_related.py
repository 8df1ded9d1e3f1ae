"""An error about a packet that the engine translated reaches its sender as one about the packet that it sent.

scapy writes the errors and judges the checksums of what is relayed.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6
from scapy.packet import Raw

import fastlvs as lvs
from test_fragments import DIRECTOR_C, DIRECTOR_S, ENDS, ROUTER, SERVER, director

NEAR_CLIENT = {4: "198.51.100.7", 6: "2001:db8:1::7"}
NEAR_SERVER = {4: "192.168.0.2", 6: "fd00:5::2"}
SENT_BY = {"c": (DIRECTOR_C, ROUTER), "s": (DIRECTOR_S, SERVER)}


def frame(leg: str, packet: Any) -> bytes:
    ethertype = b"\x08\x00" if packet.version == 4 else b"\x86\xdd"
    return bytes.fromhex("".join(SENT_BY[leg]).replace(":", "")) + ethertype + bytes(packet)


def ip(version: int, source: str, destination: str, **fields: Any) -> Any:
    return (IP if version == 4 else IPv6)(src=source, dst=destination, **fields)


def error(version: int, source: str, destination: str, about: bytes) -> Any:
    if version == 4:
        return IP(src=source, dst=destination) / ICMP(type=3, code=1) / Raw(about)
    return IPv6(src=source, dst=destination) / ICMPv6DestUnreach(code=3) / Raw(about)


def opened(version: int, port: int, payload: bytes) -> tuple[lvs.Engine, Any, Any, bytes, bytes]:
    """A NAT connection: the engine, both sides' packets, and both as the engine sent them on."""
    ends = ENDS[version]
    engine = director(version, "nat", 1500)
    request = ip(version, ends["client"], ends["vip"]) / UDP(sport=port, dport=53) / payload
    [(_, to_server)] = engine.process("c", frame("c", request)).frames
    reply = ip(version, ends["server"], ends["client"]) / UDP(sport=5353, dport=port) / payload
    [(_, to_client)] = engine.process("s", frame("s", reply)).frames
    return engine, request, reply, to_server[14:], to_client[14:]


def is_right(packet: bytes) -> bool:
    """Whether scapy writes the same checksums."""
    parsed = (IP if packet[0] >> 4 == 4 else IPv6)(packet)
    again: Any = parsed.copy()
    if parsed.version == 4:
        del again.chksum, again[ICMP].chksum
    else:
        del again[2 - 1].cksum
    return bytes(again) == packet


def ends_of(quoted: bytes) -> tuple[str, str, int, int, int]:
    packet = (IP if quoted[0] >> 4 == 4 else IPv6)(quoted)
    return packet.src, packet.dst, packet[UDP].sport, packet[UDP].dport, packet[UDP].len


@pytest.mark.parametrize("version", [4, 6])
@settings(max_examples=60, deadline=None)
@given(
    chance=st.randoms(use_true_random=False),
    port=st.integers(1, 65535).filter(lambda port: port != 20),
    length=st.integers(0, 1200),
)
def test_errors_reach_the_sender(version: int, chance: Random, port: int, length: int) -> None:
    ends = ENDS[version]
    engine, request, reply, to_server, to_client = opened(version, port, chance.randbytes(length))
    quoted = chance.randint(8, 500) + (20 if version == 4 else 40)

    [(leg, relayed)] = engine.process(
        "c", frame("c", error(version, NEAR_CLIENT[version], ends["vip"], to_client[:quoted]))
    ).frames
    packet = ip(version, *_ends(relayed))
    assert (leg, packet.src, packet.dst) == ("s", NEAR_CLIENT[version], ends["server"])
    assert is_right(relayed[14:])
    assert ends_of(_quoted(version, relayed)) == ends_of(bytes(reply))

    [(leg, relayed)] = engine.process(
        "s", frame("s", error(version, NEAR_SERVER[version], ends["client"], to_server[:quoted]))
    ).frames
    packet = ip(version, *_ends(relayed))
    assert (leg, packet.src, packet.dst) == ("c", ends["vip"], ends["client"])
    assert is_right(relayed[14:])
    assert ends_of(_quoted(version, relayed)) == ends_of(bytes(request))


def _ends(sent: bytes) -> tuple[str, str]:
    packet = (IP if sent[14] >> 4 == 4 else IPv6)(sent[14:])
    return packet.src, packet.dst


def _quoted(version: int, sent: bytes) -> bytes:
    return sent[14 + 28 :] if version == 4 else sent[14 + 48 :]


def test_time_exceeded_and_damage() -> None:
    """Every kind of error is relayed; a damaged one is not."""
    engine, _, _, to_server, _ = opened(6, 4000, b"data")
    ends = ENDS[6]
    message = IPv6(src=NEAR_SERVER[6], dst=ends["client"]) / ICMPv6TimeExceeded() / Raw(to_server)
    assert engine.process("s", frame("s", message)).verdict is lvs.Verdict.FORWARD
    damaged = bytearray(frame("s", message))
    damaged[-1] ^= 1
    assert engine.process("s", bytes(damaged)).reason is lvs.DropReason.ICMP_CHECKSUM


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_on_the_director(version: int) -> None:
    """The host gets the client's packet with its own address, and what it says leaves with the VIP's."""
    ends = ENDS[version]
    own = "10.0.0.1" if version == 4 else "fd00:c::1"
    engine = director(version, "nat", 1500)
    engine.apply([lvs.VirtualService("tcp", (ends["vip"], 80), "rr", "nat", [lvs.RealServer((own, 8080))])])
    request = ip(version, ends["client"], ends["vip"]) / TCP(sport=4000, dport=80, flags="S")
    outcome = engine.process("c", frame("c", request))
    assert outcome.verdict is lvs.Verdict.TO_HOST
    assert outcome.for_host is not None
    delivered = (IP if version == 4 else IPv6)(outcome.for_host[14:])
    assert (delivered.dst, delivered[TCP].dport) == (own, 8080)
    answer = ip(version, own, ends["client"]) / TCP(sport=8080, dport=4000, flags="SA")
    outcome = engine.process_output("c", frame("c", answer))
    [(leg, sent)] = outcome.frames
    expected = ip(version, ends["vip"], ends["client"]) / TCP(sport=80, dport=4000, flags="SA")
    assert (leg, sent[14:]) == ("c", bytes(expected))
    [connection] = engine.connections
    assert connection.state == "SYN_RECV"
    other = ip(version, own, ends["client"]) / TCP(sport=22, dport=4000, flags="SA")
    assert engine.process_output("c", frame("c", other)).verdict is lvs.Verdict.TO_HOST
