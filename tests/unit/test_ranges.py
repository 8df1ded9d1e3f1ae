"""Services of blocks of addresses and ranges of ports, which the kernel has not."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

import fastlvs as lvs
from topology import SERVERS, VIP, engine, from_client, from_server

SERVER = next(iter(SERVERS))
BLOCK = "10.99.0.0/28"


def service(
    address: str, forwarding: str = "nat", port: int = 0, protocol: str = "tcp", **options: Any
) -> lvs.VirtualService:
    return lvs.VirtualService(
        protocol,
        address,
        "rr",
        forwarding,
        [lvs.RealServer((SERVER, port))],
        **options,
    )


@pytest.mark.parametrize(
    ("text", "written", "network", "ports"),
    [
        ("10.99.0.0/28:8000-8999", "10.99.0.0/28:8000-8999", "10.99.0.0/28", (8000, 8999)),
        ("10.99.0.0/28:80", "10.99.0.0/28:80", "10.99.0.0/28", (80, 80)),
        ("10.99.0.0/28:0", "10.99.0.0/28:0-65535", "10.99.0.0/28", (0, 65535)),
        ("10.99.0.1:80-81", "10.99.0.1:80-81", "10.99.0.1/32", (80, 81)),
        ("[2001:db8::/64]:443", "[2001:db8::/64]:443", "2001:db8::/64", (443, 443)),
    ],
)
def test_blocks_and_ranges_are_written_as_they_are_read(
    text: str, written: str, network: str, ports: tuple[int, int]
) -> None:
    made = lvs.VirtualService("tcp", text)
    assert made.address == lvs.EndpointRange(ip_network(network), ports)
    assert str(made.address) == written
    assert eval(repr(made), vars(lvs)) == made
    assert lvs.VirtualService("tcp", made.address) == made


def test_what_is_one_address_and_port_is_an_endpoint() -> None:
    assert lvs.VirtualService("tcp", "10.99.0.1/32:80-80") == lvs.VirtualService("tcp", "10.99.0.1:80")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.99.0.0/28", "expected a block and a range like '192.0.2.0/28:8000-8999'"),
        ("10.99.0.0/33:80", "expected a network"),
        ("10.99.0.0/28:90-80", "expected the first port, then the last"),
        ("10.99.0.0/28:80-65536", "expected a port"),
        ("2001:db8::/64:80", "expected a block and a range"),
    ],
)
def test_what_is_no_block_or_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(lvs.ConfigurationError, match=message):
        lvs.VirtualService("tcp", text)


def test_only_nat_leads_ranges_to_a_port() -> None:
    assert service(f"{BLOCK}:8000-8999").servers[0].address.port == 0
    assert service(f"{BLOCK}:80").servers[0].address.port == 80
    with pytest.raises(lvs.ConfigurationError, match=r"must have the service's port \(0 for a range"):
        service(f"{BLOCK}:8000-8999", "dr", 8080)


PRECEDENCE = (
    "10.99.0.1:80",
    "10.99.0.1:0",
    "10.99.0.2:80-89",
    "10.99.0.0/28:80",
    "10.99.0.0/28:1-1023",
    "10.99.0.0/16:0",
)


@pytest.mark.parametrize(
    ("destination", "found"),
    [
        (("10.99.0.1", 80), "10.99.0.1:80"),
        (("10.99.0.1", 81), "10.99.0.1:0"),
        (("10.99.0.2", 80), "10.99.0.2:80-89"),
        (("10.99.0.2", 90), "10.99.0.0/28:1-1023"),
        (("10.99.0.3", 80), "10.99.0.0/28:80"),
        (("10.99.0.3", 1024), "10.99.0.0/16:0-65535"),
        (("10.99.9.9", 80), "10.99.0.0/16:0-65535"),
        (("10.99.0.7", 80), "0.0.0.9:0"),
        (("10.98.0.0", 80), None),
    ],
)
def test_the_most_particular_service_has_the_packet(destination: tuple[str, int], found: str | None) -> None:
    """As documented: the mark's, the address's and port's, the address's of all ports; then the longest block,
    then the narrowest range."""
    services = [service(text, persistence=60 if text.endswith(".1:0") else None) for text in PRECEDENCE]
    marked = lvs.VirtualService.of_mark(9, "rr", "nat", [lvs.RealServer((SERVER, 80))])
    director = engine(*services, marked, marks=[lvs.Mark(9, "10.99.0.7")])
    director.process("c", from_client(destination=destination))
    assert [str(s.address) for s in director.services if s.connections] == ([found] if found else [])


def test_nat_keeps_the_port_there_and_back() -> None:
    director = engine(service(f"{BLOCK}:8000-8999"))
    outcome = director.process("c", from_client(destination=("10.99.0.5", 8123)))
    assert outcome.verdict is lvs.Verdict.FORWARD
    back = director.process("s", from_server((SERVER, 8123)))
    assert back.verdict is lvs.Verdict.FORWARD
    ((_, frame),) = back.frames
    assert frame[26:30] == bytes([10, 99, 0, 5])
    assert int.from_bytes(frame[34:36]) == 8123


def test_nat_leads_a_range_to_a_port() -> None:
    director = engine(service(f"{BLOCK}:8000-8999", port=8080))
    director.process("c", from_client(destination=("10.99.0.5", 8123)))
    (connection,) = director.connections
    assert (connection.server.port, connection.destination.port) == (8080, 8123)


@pytest.mark.parametrize("forwarding", ["dr", "tun"])
def test_dr_and_tun_reach_a_range(forwarding: str) -> None:
    director = engine(service(f"{BLOCK}:8000-8999", forwarding))
    outcome = director.process("c", from_client(destination=("10.99.0.5", 8123)))
    assert outcome.verdict is lvs.Verdict.FORWARD


def test_a_client_stays_with_its_server_for_the_whole_service() -> None:
    servers = [lvs.RealServer(address) for address in SERVERS]
    kept = [
        lvs.VirtualService("tcp", text, "rr", "nat", servers, persistence=60)
        for text in (f"{BLOCK}:8000-8999", f"{BLOCK}:9000-9999", "10.99.0.0:8000")
    ]
    director = engine(*kept)
    for host in range(4):
        director.process("c", from_client(destination=(f"10.99.0.{host}", 8500)))
    assert len({str(connection.server.address) for connection in director.connections}) == 1
    assert len(director.templates) == 1
    director.process("c", from_client(destination=("10.99.0.1", 9500)))
    director.process("c", from_client(destination=("10.99.0.0", 8000)))
    assert len(director.templates) == 3, "of each service one"


def test_services_are_changed_by_their_names() -> None:
    director = engine(service(f"{BLOCK}:8000-8999"), service("10.99.0.0:8000"))
    director.process("c", from_client(destination=("10.99.0.9", 8000)))
    assert director.services["tcp", f"{BLOCK}:8000-8999"].connections == 1
    assert director.services["tcp", "10.99.0.0:8000"].connections == 0
    director.set_weight(("tcp", f"{BLOCK}:8000-8999"), SERVER, 0)
    assert director.services[0].servers[0].weight == 0
    director.zero(("tcp", f"{BLOCK}:8000-8999"))
    director.remove_service(("tcp", f"{BLOCK}:8000-8999"))
    assert [str(s.address) for s in director.services] == ["10.99.0.0:8000"]
    assert director.process("c", from_client(destination=VIP)).verdict is lvs.Verdict.TO_HOST
