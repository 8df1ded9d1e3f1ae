"""ICMP errors that pass a director whose host routes too: one copy arrives, from whichever of the two it is."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from fastlvs import RealServer, VirtualService
from fastlvs.lab import Captured, Lab, topology
from long_way import address, lengthen, service
from packets import checksum
from remote import Remote
from waiting import wait_for

FAMILIES = (4, 6)
UNREACHABLE, EXCEEDED = {4: (3, 3), 6: (1, 4)}, {4: (11, 0), 6: (3, 0)}
"""Type and code of "port unreachable" and of "time exceeded in transit"."""
UNLIMITED = "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"


@pytest.fixture(scope="module", params=["VIPs on the host", "VIPs of the director alone"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab with a router behind the director, whose host routes."""
    with Lab(ipv6=True, vips_on_host=request.param == "VIPs on the host", ip_forward=True) as made:
        lengthen(made)
        for server in made.servers:
            server.shell(UNLIMITED)
        yield made


@pytest.fixture(scope="module")
def routing(namespaces: None) -> Iterator[Lab]:
    """A lab whose director's host routes and has the VIPs."""
    with Lab(ipv6=True, vips_on_host=True, ip_forward=True) as made:
        made.director.shell(WATCH)
        made.director.shell(
            "ip route add 10.9.0.0/24 via 10.0.0.100; ip route add fd00:9::/64 via fd00:0::100"
        )
        yield made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["a closed port", "a router behind"])
def test_an_error_about_a_connection_arrives_once(lab: Lab, kind: str, family: int) -> None:
    """It comes from the VIP and quotes it, as if there were no server. The host's copy would quote that."""
    far = kind == "a router behind"
    asked = service(lab, "nat", family, far=far, protocol="udp")
    vip = str(asked.address.address)
    with lab.run_director([asked]), lab.client.capture() as seen:
        probe(lab, family, vip, asked.address.port, ttl=2 if far else 64)
    expected = (EXCEEDED if far else UNREACHABLE)[family]
    assert errors(seen, family) == {(*expected, vip, vip, asked.address.port): 3}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("port", [9999, 8080])
def test_an_error_past_the_service_is_routed_once(lab: Lab, port: int, family: int) -> None:
    """Whoever reaches a real server directly is told by it, of the port too that the service has there."""
    rip = address(lab.servers[0].address, family)
    asked = service(lab, "nat", family, far=False, protocol="udp")
    with lab.run_director([asked]), lab.client.capture() as seen:
        probe(lab, family, rip, port, ttl=64)
    assert errors(seen, family) == {(*UNREACHABLE[family], rip, rip, port): 3}
    assert hops(seen, family) == {63}, "the director's host is a hop"


def probe(lab: Lab, family: int, destination: str, port: int, *, ttl: int) -> None:
    """Three datagrams from the client, each with an error about it, and time for more of these."""
    sender = Remote(lab.client, PROBE)
    sender(f"probe({destination!r}, {port}, {ttl})")
    sender.close()


PROBE = """
import socket, time

def probe(address, port, ttl):
    v6 = ":" in address
    family, protocol = (socket.AF_INET6, 58) if v6 else (socket.AF_INET, 1)
    # The sender is not connected, so no error comes up there.
    with (
        socket.socket(family, socket.SOCK_DGRAM) as sender,
        socket.socket(family, socket.SOCK_RAW, protocol) as ear,
    ):
        sender.setsockopt(*(41, 16) if v6 else (0, socket.IP_TTL), ttl)
        ear.settimeout(30)
        for _ in range(3):
            sender.sendto(b"is somebody there?", (address, port))
            while not is_error(ear.recv(2048), v6):
                pass
    time.sleep(0.4)

def is_error(message, v6):
    return message[0] < 128 if v6 else message[20] in (3, 11)
"""


def errors(seen: list[Captured], family: int) -> Counter[tuple[int, int, str, str, int]]:
    """What errors came in: type, code, sender, and to whom the quoted datagram was."""
    found: Counter[tuple[int, int, str, str, int]] = Counter()
    for packet in icmp(seen, family):
        quoted = (IP if family == 4 else IPv6)(bytes(packet.payload)[8:])
        if UDP in quoted:
            kind, code = bytes(packet.payload)[:2]
            found[kind, code, packet.src, quoted.dst, quoted[UDP].dport] += 1
    return found


def hops(seen: list[Captured], family: int) -> set[int]:
    return {packet.ttl if family == 4 else packet.hlim for packet in icmp(seen, family)}


def icmp(seen: list[Captured], family: int) -> list[Any]:
    """The ICMP errors that came in."""
    incoming = [c.frame for c in seen if not c.outgoing]
    if family == 4:
        packets4 = [IP(frame[14:]) for frame in incoming if frame[12:14] == b"\x08\x00"]
        return [p for p in packets4 if p.proto == 1 and bytes(p.payload)[0] in (3, 4, 11, 12)]
    packets = [IPv6(frame[14:]) for frame in incoming if frame[12:14] == b"\x86\xdd"]
    return [p for p in packets if p.nh == 58 and bytes(p.payload)[0] < 128]


class Case(NamedTuple):
    """An error about a datagram, and whether it is claimed."""

    source: tuple[str, int]
    """The quoted one."""
    destination: tuple[str, int]
    claimed: bool
    protocol: str = "udp"
    kind: tuple[int, int] = UNREACHABLE[4]
    kind6: int | None = None
    to: str = "10.0.0.100"
    quoted: int = 28
    """How many bytes, behind an IPv6 header 20 more."""
    shape: str = ""
    """What is odd about it."""
    families: tuple[int, ...] = FAMILIES


CLIENT, VIP, DIRECTOR, FOREIGN = "10.0.0.100", "10.0.0.81", "10.1.0.1", "10.8.8.8"
POINT, HOST, RANGE, BLOCK = "10.1.0.11", "10.1.0.12", "10.1.0.13", "10.9.0.5"
"""A real server with a port, one with all ports, one with a range of ports; an address of a block of VIPs."""

FROM, TO = (CLIENT, 40000), (POINT, 8080)
CASES = [
    # About what went to a masqueraded server: of its protocol, address and port.
    Case(FROM, TO, True),
    Case(FROM, TO, False, "tcp"),
    Case(FROM, (POINT, 8081), False),
    Case(FROM, ("10.1.0.14", 8080), False),
    Case(TO, FROM, False),
    Case(FROM, (HOST, 1), True, "tcp"),
    Case(FROM, (HOST, 65535), True, "tcp"),
    Case(FROM, (HOST, 1), False),
    Case(FROM, (RANGE, 7999), False),
    Case(FROM, (RANGE, 8000), True),
    Case(FROM, (RANGE, 8999), True),
    Case(FROM, (RANGE, 9000), False),
    Case(FROM, (RANGE, 8500), False, "tcp"),
    # The host's own.
    Case((DIRECTOR, 40000), TO, False, to=DIRECTOR),
    Case((DIRECTOR, 40000), (HOST, 80), False, "tcp", to=DIRECTOR),
    # About what came from a service.
    Case((VIP, 5300), FROM, True, to=VIP),
    Case((VIP, 5301), FROM, False, to=VIP),
    Case((VIP, 5300), (FOREIGN, 9), True, to=VIP),
    Case((VIP, 4711), FROM, True, "tcp", to=VIP),
    Case((BLOCK, 8000), FROM, True, to=BLOCK),
    Case((BLOCK, 8999), FROM, True, to=BLOCK),
    Case((BLOCK, 7999), FROM, False, to=BLOCK),
    Case(("10.9.0.0", 8500), FROM, True, to="10.9.0.0"),
    Case(("10.9.0.15", 8500), FROM, True, to="10.9.0.15", families=(4,)),
    Case(("10.9.0.16", 8500), FROM, False, to="10.9.0.16"),
    # All kinds that are relayed, and some that are not.
    *(Case(FROM, TO, kind in (3, 4, 11), kind=(kind, 0), families=(4,)) for kind in (0, 3, 4, 5, 11, 12, 14)),
    *(Case(FROM, TO, kind < 128, kind6=kind, families=(6,)) for kind in (0, 1, 2, 3, 4, 100, 127, 129)),
    # Less is quoted than the ports.
    Case(FROM, TO, False, quoted=20),
    Case(FROM, TO, False, quoted=22),
    Case(FROM, TO, False, quoted=23),
    Case(FROM, TO, True, quoted=24),
    Case(FROM, (HOST, 80), True, "tcp", quoted=20),
    Case(FROM, (HOST, 80), False, "tcp", quoted=8),
    Case(FROM, (RANGE, 8500), False, quoted=20),
    Case((VIP, 5300), FROM, False, to=VIP, quoted=21),
    Case((VIP, 5300), FROM, True, to=VIP, quoted=22),
    # Quoted options and extension headers.
    Case(FROM, TO, False, shape="quoted options"),
    Case(FROM, (HOST, 80), True, "tcp", shape="quoted options", families=(4,)),
    Case(FROM, (HOST, 80), False, "tcp", shape="quoted options", families=(6,)),
    # The error's own.
    Case(FROM, TO, True, shape="options"),
    Case(FROM, (POINT, 8081), False, shape="options"),
    Case(FROM, TO, False, shape="first fragment"),
    Case(FROM, TO, False, shape="alone", families=(6,)),
    Case(FROM, TO, True),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_host_gets_each_error_once(routing: Lab, family: int) -> None:
    """None is about a connection, so all are the host's in the end. What is claimed is dropped by the rules and
    given back by the worker, anything else is neither; both decide by themselves."""
    cases = dict(enumerate((case for case in CASES if family in case.families), start=family << 16))
    with routing.run_director(services(family)):
        send(routing, family, cases)
        wait_for(lambda: cases.keys() <= counted(routing).keys())
    found = counted(routing)
    wrong = {
        case: found.get(number, (0, 0))
        for number, case in cases.items()
        if found.get(number) != ((0, 1) if case.claimed else (1, 0))
    }
    assert not wrong, "untouched copies and those given back"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_error_is_not_given_back_at_the_end_of_its_way(routing: Lab, family: int) -> None:
    """No router would send it on."""
    old, young = Case(FROM, TO, True, shape="last hop"), Case(FROM, TO, True)
    with routing.run_director(services(family)):
        send(routing, family, {family << 20: old, (family << 20) + 1: young})
        wait_for(lambda: (family << 20) + 1 in counted(routing))
    assert family << 20 not in counted(routing)


def services(family: int) -> list[VirtualService]:
    """A service each that claims ports, hosts and ranges."""

    def made(protocol: str, at: str, port: str, server: str, to: int, **options: Any) -> VirtualService:
        host, _, length = at.partition("/")
        block = address(host, family) + (f"/{length}" if family == 4 else "/124") * bool(length)
        text = f"{block}:{port}" if family == 4 else f"[{block}]:{port}"
        servers = [RealServer((address(server, family), to))]
        return VirtualService(protocol, text, "rr", "nat", servers, **options)

    return [
        made("udp", VIP, "5300", POINT, 8080),
        made("tcp", VIP, "0", HOST, 0, persistence=300),
        made("udp", "10.9.0.0/28", "8000-8999", RANGE, 0),
    ]


def send(lab: Lab, family: int, cases: dict[int, Case]) -> None:
    """Has server1 send them to the director, each with its number where an error has four spare bytes."""
    sender = Remote(lab.servers[0], SEND)
    for number, case in cases.items():
        sender(f"send({frame(case, family, number).hex()!r})")
    sender.close()


SEND = """
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))

def send(frame):
    wire.send(bytes.fromhex(frame))
"""


def frame(case: Case, family: int, number: int) -> bytes:
    quoted = datagram(case, family)
    length = case.quoted + (20 if family == 6 else 0) + (4 if case.shape == "quoted options" else 0)
    kind, code = case.kind if family == 4 else (case.kind6 or UNREACHABLE[6][0], 0)
    if family == 6 and case.kind6 is not None:
        kind = case.kind6
    message = struct.pack("!BBHI", kind, code, 0, number) + quoted[:length]
    packet = outer(case, family, message)
    link = bytes.fromhex((topology.mac(DIRECTOR) + topology.mac(POINT)).replace(":", ""))
    ethertype = b"\x08\x00" if family == 4 else b"\x86\xdd"
    return link + ethertype + packet


def datagram(case: Case, family: int) -> bytes:
    """What the error is about."""
    (source, sport), (destination, dport) = case.source, case.destination
    ends: dict[str, Any] = {"src": address(source, family), "dst": address(destination, family)}
    header: Any = IP(**ends) if family == 4 else IPv6(**ends)
    if case.shape == "quoted options":
        header = IP(**ends, options=[IPOption_NOP()] * 4) if family == 4 else header / IPv6ExtHdrHopByHop()
    layer = UDP if case.protocol == "udp" else TCP
    return bytes(header / layer(sport=sport, dport=dport) / b"something said")


def outer(case: Case, family: int, message: bytes) -> bytes:
    """The error itself, from a router behind the director."""
    source, destination, ttl = (
        address("10.1.0.99", family),
        address(case.to, family),
        1 if case.shape == "last hop" else 64,
    )
    if family == 4:
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        options = [IPOption_NOP()] * 4 if case.shape == "options" else []
        flags = "MF" if case.shape == "first fragment" else 0
        message += bytes(-len(message) % 8) if flags else b""
        return bytes(
            IP(src=source, dst=destination, proto=1, ttl=ttl, flags=flags, options=options) / Raw(message)
        )
    header: Any = IPv6(src=source, dst=destination, hlim=ttl)
    pseudo = bytes(IPv6(src=source, dst=destination))[8:40] + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    if case.shape == "options":
        return bytes(header / IPv6ExtHdrHopByHop(nh=58) / Raw(message))
    if case.shape in ("first fragment", "alone"):
        message += bytes(-len(message) % 8)
        return bytes(
            header / IPv6ExtHdrFragment(nh=58, m=case.shape == "first fragment", id=7) / Raw(message)
        )
    header.nh = 58
    return bytes(header / Raw(message))


WATCH = """nft -f - <<END
table inet watch {
    set untouched { typeof @th,32,32; size 1024; flags dynamic; }
    set returned { typeof @th,32,32; size 1024; flags dynamic; }
    chain before {
        type filter hook prerouting priority -400
        meta l4proto { icmp, ipv6-icmp } iif != "lo" update @untouched { @th,32,32 counter }
    }
    chain from_here {
        type filter hook output priority -400
        meta l4proto { icmp, ipv6-icmp } update @returned { @th,32,32 counter }
    }
}
END"""
"""The director's host counts by number what came in from outside, and what it was given back."""


def counted(lab: Lab) -> dict[int, tuple[int, int]]:
    """How many copies of each the host has seen: untouched and given back."""
    sets = {}
    for name in ("untouched", "returned"):
        said = lab.director.run("nft", "list", "set", "inet", "watch", name).stdout
        sets[name] = {
            int(number, 16): int(n) for number, n in re.findall(r"0x([0-9a-f]+) counter packets (\d+)", said)
        }
    numbers = sets["untouched"].keys() | sets["returned"].keys()
    return {n: (sets["untouched"].get(n, 0), sets["returned"].get(n, 0)) for n in numbers if n >= 4 << 16}
