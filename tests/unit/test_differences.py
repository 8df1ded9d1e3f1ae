"""What docs/differences.md says about packets is so."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw

import fastlvs as lvs

DIRECTOR_C, DIRECTOR_S, FAR = "02:00:00:00:00:01", "02:00:00:00:01:01", "02:00:00:00:00:02"
VIP, SERVER, CLIENT = "10.99.0.1", "192.168.1.3", "203.0.113.9"


def director(vip: str, server: str, **options: Any) -> lvs.Engine:
    return lvs.Engine(
        interfaces=[
            lvs.Interface("c", mac=DIRECTOR_C, addresses=["10.0.0.1/24", "fd00:c::1/64"]),
            lvs.Interface("s", mac=DIRECTOR_S, addresses=["192.168.0.1/16", "fd00:5::1/64"]),
        ],
        routes=[lvs.Route("0.0.0.0/0", via="10.0.0.2"), lvs.Route("::/0", via="fd00:c::2")],
        neighbours={"10.0.0.2": FAR, "fd00:c::2": FAR, server: FAR},
        local=["10.99.0.0/16", "fd00:99::/64"],
        services=[lvs.VirtualService("udp", (vip, 53), "rr", servers=[lvs.RealServer(server, **options)])],
    )


def frame(packet: Any, mac: str = DIRECTOR_C) -> bytes:
    ethertype = b"\x08\x00" if packet.version == 4 else b"\x86\xdd"
    return bytes.fromhex((mac + FAR).replace(":", "")) + ethertype + bytes(packet)


def test_a_datagram_is_summed_without_what_stands_behind_it() -> None:
    datagram = UDP(sport=4000, dport=53, len=12, chksum=0) / b"data"
    packet = IP(src=CLIENT, dst=VIP) / datagram / Raw(b"behind")
    [(_, sent)] = director(VIP, SERVER, forwarding="nat").process("c", frame(packet)).frames
    alone = IP(src=CLIENT, dst=SERVER) / UDP(sport=4000, dport=53) / b"data"
    assert sent[14 + 26 : 14 + 28] == bytes(alone)[26:28]
    assert sent.endswith(b"behind")


def test_a_client_is_told_what_was_learnt_about_its_tunnel() -> None:
    engine = director(VIP, SERVER, forwarding="tun", tunnel="gue", tunnel_port=6080)
    request = IP(src=CLIENT, dst=VIP, flags="DF") / UDP(sport=4000, dport=53) / bytes(1000)
    [(_, sent)] = engine.process("c", frame(request)).frames
    error = IP(src="192.168.0.2", dst="192.168.0.1") / ICMP(type=3, code=4, nexthopmtu=1000)
    [(leg, told)] = engine.process("s", frame(error / Raw(sent[14:114]), DIRECTOR_S)).frames
    message = IP(told[14:])
    assert (leg, message.src, message.dst) == ("c", VIP, CLIENT)
    assert message[ICMP].nexthopmtu == 1000 - 32
    outcome = engine.process("c", frame(request))
    assert outcome.verdict is lvs.Verdict.REPLY, "too long from now on"
