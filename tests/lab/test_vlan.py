"""Frames with VLAN tags: a priority alone changes nothing, and another VLAN's are not the director's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from fastlvs import Forwarding, RealServer, VirtualService
from fastlvs.lab import Lab, topology
from remote import Remote
from waiting import wait_for

VIP, VIP6 = topology.VIPS[Forwarding.NAT], topology.VIPS6[Forwarding.NAT]
PORT = 5300
DIRECTOR = topology.DIRECTOR.legs["outside"]
PRIORITY = Dot1Q(prio=5, vlan=0)
OTHERS = {
    "VLAN 5": Dot1Q(vlan=5),
    "service VLAN 5": Dot1AD(vlan=5),
    "VLAN 6 in service VLAN 5": Dot1AD(vlan=5) / Dot1Q(vlan=6),
    "VLAN 5 behind a priority": Dot1Q(prio=5, vlan=0) / Dot1Q(vlan=5),
}


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host") as made:
        yield made


def test_a_priority_tag_changes_nothing(lab: Lab) -> None:
    """Neighbours are answered and datagrams balanced, and what is sent bears no tag."""
    client, server = Wire(lab, "client"), Wire(lab, "server1")
    with lab.run_director(services()):
        client.send(ether(PRIORITY / ask4()))
        client.send(ether(PRIORITY / ask6(), "33:33:ff:00:00:81"))
        client.send(ether(PRIORITY / ping()))
        client.send(ether(PRIORITY / datagram(b"tagged")))
        wait_for(lambda: payloads(server) == [b"tagged"])
        wait_for(lambda: {"ARP", "ND", "echo"} <= answers(client).keys())
    assert answers(client)["ARP"] == answers(client)["ND"] == topology.mac(DIRECTOR)
    client.close()
    server.close()


def test_other_vlans_are_left_to_the_host(lab: Lab) -> None:
    """Neither balanced nor answered by the director, nor kept from the host's devices for them."""
    outside = next(name for name, address in lab.director.interfaces.items() if address == DIRECTOR)
    client, server = Wire(lab, "client"), Wire(lab, "server1")
    with lab.run_director(services()):
        lab.director.run(
            "nft",
            "-f",
            "-",
            input=BEHIND.format(interface=outside, client=topology.mac(topology.CLIENT.address)),
        )
        for name, tags in OTHERS.items():
            for packet in (ask4(), ping(), datagram(name.encode())):
                client.send(ether(tags / packet))
        client.send(ether(datagram(b"the last")))
        wait_for(lambda: b"the last" in payloads(server))
        passed = lab.director.run("nft", "list", "table", "netdev", "behind").stdout
        lab.director.run("nft", "delete", "table", "netdev", "behind")
    assert payloads(server) == [b"the last"]
    assert not answers(client)
    assert f"counter packets {3 * len(OTHERS)} " in passed
    client.close()
    server.close()


BEHIND = """
table netdev behind {{
    chain ingress {{
        type filter hook ingress device "{interface}" priority 10; policy accept;
        ether saddr {client} @ll,96,16 {{ 0x8100, 0x88a8 }} counter
    }}
}}
"""
"""Counts what the director's rules leave."""

WIRE = """
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 3))
wire.setsockopt(263, 8, 1)  # PACKET_AUXDATA tells of a tag that the kernel took out
wire.setblocking(False)
heard = []

def send(frame):
    wire.send(bytes.fromhex(frame))

def hear():
    try:
        while True:
            frame, [(_, _, told)], _, sender = wire.recvmsg(2048, 64)
            tagged = int.from_bytes(told[:4], "little") & 1 << 4
            if sender[2] != socket.PACKET_OUTGOING:
                heard.append(("tagged " if tagged else "") + frame.hex())
    except BlockingIOError:
        return heard
"""


class Wire(Remote):
    """The link of a host, as it is."""

    def __init__(self, lab: Lab, name: str) -> None:
        super().__init__(next(h for h in (lab.client, *lab.servers) if h.name == name), WIRE)

    def send(self, frame: bytes) -> None:
        self(f"send({frame.hex()!r})")

    def heard(self) -> list[Any]:
        """What came since the beginning, all of it untagged."""
        frames = self("hear()")
        assert not [frame for frame in frames if frame.startswith("tagged")]
        return [Ether(bytes.fromhex(frame)) for frame in frames]


def services() -> list[VirtualService]:
    """A service in each family, so that the director has both VIPs."""
    server = topology.SERVERS[0].address
    ends = ((VIP, server), (VIP6, topology.ipv6(server)))
    return [VirtualService("udp", (vip, PORT), "rr", "nat", [RealServer((rip, PORT))]) for vip, rip in ends]


def ether(payload: Any, destination: str = topology.mac(DIRECTOR)) -> bytes:
    return bytes(Ether(dst=destination, src=topology.mac(topology.CLIENT.address)) / payload)


def ask4() -> ARP:
    return ARP(op=1, hwsrc=topology.mac(topology.CLIENT.address), psrc=topology.CLIENT.address, pdst=VIP)


def ask6() -> IPv6:
    address = topology.ipv6(topology.CLIENT.address)
    own = ICMPv6NDOptSrcLLAddr(lladdr=topology.mac(topology.CLIENT.address))
    return IPv6(src=address, dst="ff02::1:ff00:81", hlim=255) / ICMPv6ND_NS(tgt=VIP6) / own


def ping() -> IP:
    return IP(src=topology.CLIENT.address, dst=VIP) / ICMP(id=7)


def datagram(payload: bytes) -> IP:
    return IP(src=topology.CLIENT.address, dst=VIP) / UDP(sport=40001, dport=PORT) / payload


def answers(client: Wire) -> dict[str, str]:
    """What answered for the VIP: to which question, from which link-layer address."""
    said = {}
    for frame in client.heard():
        if ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == VIP:
            said["ARP"] = frame[ARP].hwsrc
        elif ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].S and frame[ICMPv6ND_NA].tgt == VIP6:
            said["ND"] = frame.src
        elif ICMP in frame and frame[ICMP].type == 0:
            said["echo"] = frame.src
    return said


def payloads(server: Wire) -> list[bytes]:
    """What the service's datagrams said, in order."""
    return [bytes(f[UDP].payload) for f in server.heard() if IP in f and UDP in f and f[UDP].dport == PORT]
