"""Services that remember their clients, one-packet services, services of marks, timeouts of one's own."""

from __future__ import annotations

import numpy as np
import pytest

import fastlvs as lvs
from packets import SYN, UDP
from topology import CLIENT, SERVERS, VIP, engine, from_client, service

TWO_SERVERS = [lvs.RealServer(address) for address in list(SERVERS)[:2]]


def reached(director: lvs.Engine, frame: bytes, now: float = 0.0) -> str:
    """The server that a frame goes to, by DR."""
    ((_, sent),) = director.process("c", frame, now).frames
    macs = {bytes.fromhex(mac.replace(":", "")): address for address, mac in SERVERS.items()}
    return macs[sent[:6]]


def test_a_client_stays_with_its_server() -> None:
    director = engine(service(persistence=300, netmask=24))
    first = reached(director, from_client())
    assert reached(director, from_client(client=("203.0.113.77", 5))) == first, "the same /24"
    assert reached(director, from_client(client=("203.0.114.77", 5))) != first
    templates = [(str(t.client.address), t.client.port, t.state) for t in director.templates]
    assert sorted(templates) == [("203.0.113.0", 0, "NONE"), ("203.0.114.0", 0, "NONE")]
    assert sum(server.persistent for server in director.services[0].servers) == 2
    director.advance(1000.0)
    assert len(director.templates) == 0


def test_a_client_of_all_ports_keeps_its_port() -> None:
    every_port = lvs.VirtualService("tcp", (VIP[0], 0), "rr", "nat", TWO_SERVERS, persistence=60)
    director = engine(every_port)
    director.process("c", from_client(destination=(VIP[0], 8443)))
    (connection,) = director.connections
    assert connection.server.port == 8443
    assert [t.destination.port for t in director.templates] == [0]


def test_port_0_is_a_port_of_all_ports_and_of_a_mark() -> None:
    """As the kernel was asked: its service of a mark has port 0 as a service of all ports has."""
    servers = [lvs.RealServer((address, 8000 + n)) for n, address in enumerate(SERVERS)]
    marked = lvs.VirtualService.of_mark(7, "rr", "nat", servers[:2], persistence=60)
    every_port = lvs.VirtualService("tcp", ("10.98.0.1", 0), "rr", "nat", servers[2:], persistence=60)
    director = engine(marked, every_port, marks=[lvs.Mark(7, "10.99.0.0/16")], local=["10.96.0.0/13"])
    for destination in [
        ("10.99.1.1", 80),
        ("10.99.1.1", 0),
        ("10.99.1.2", 0),
        ("10.99.1.2", 81),
        ("10.98.0.1", 0),
    ]:
        director.process("c", from_client(destination=destination))
    assert {(t.protocol, str(t.destination), str(t.server)) for t in director.templates} == {
        ("ip", "0.0.0.7:0", "192.168.1.2:0"),
        ("tcp", "10.99.1.1:0", "192.168.1.1:8000"),
        ("tcp", "10.99.1.2:0", "192.168.1.2:8001"),
        ("tcp", "10.98.0.1:0", "192.168.1.3:8002"),
    }
    assert len(director.connections) == 5


def test_a_datagram_scheduled_for_itself_leaves_no_connection() -> None:
    director = engine(lvs.VirtualService("udp", VIP, "rr", "dr", TWO_SERVERS, one_packet=True))
    assert len({reached(director, from_client(protocol=UDP, flags=0)) for _ in range(2)}) == 2
    assert len(director.connections) == 0
    assert [s.inactive for s in director.services[0].servers] == [0, 0]


def test_a_mark_gathers_addresses_and_ports() -> None:
    marked = lvs.VirtualService.of_mark(7, "dh", "dr", TWO_SERVERS)
    rules = [lvs.Mark(7, "10.99.0.0/16", protocol="tcp", ports=(8000, 8100), source="203.0.113.0/24")]
    director = engine(marked, marks=rules)
    assert reached(director, from_client(destination=("10.99.1.2", 8100))) in SERVERS
    assert director.services["fwm", 7].mark == 7
    for stranger in (
        from_client(destination=("10.99.1.2", 8101)),
        from_client(destination=("10.99.1.2", 8100), client=("203.0.114.1", 5)),
        from_client(destination=("10.99.1.2", 8100), protocol=UDP, flags=0),
    ):
        assert director.process("c", stranger).verdict is lvs.Verdict.TO_HOST


@pytest.mark.parametrize(
    ("settings", "own", "expected"),
    [
        (lvs.Settings(), (), 60.0),
        (lvs.Settings(timeouts={"tcp_syn_recv": 7.0}), (), 7.0),
        (lvs.Settings(timeouts={"tcp_syn_recv": 7.0}), {"tcp_syn_recv": 5.0}, 5.0),
    ],
)
def test_timeouts_are_the_services_or_the_directors(
    settings: lvs.Settings, own: dict[str, float], expected: float
) -> None:
    director = engine(service(timeouts=own), settings=settings)
    director.process("c", from_client(SYN))
    assert director.connections[0].expires == pytest.approx(expected)
    assert director.connections[0].client == lvs.Endpoint.parse(CLIENT)


def test_settings_count_from_the_next_frame_on() -> None:
    director = engine(service())
    director.settings = lvs.Settings(timeouts={"tcp_syn_recv": 3.0})
    director.process("c", from_client(SYN))
    assert director.connections[0].expires == pytest.approx(3.0)


def test_a_full_server_gets_no_new_connections_until_it_has_room() -> None:
    servers = [lvs.RealServer("192.168.1.1", upper_threshold=2), lvs.RealServer("192.168.1.2", weight=0)]
    director = engine(lvs.VirtualService("tcp", VIP, "rr", "dr", servers))
    verdicts = [
        director.process("c", from_client(client=("203.0.113.9", port))).verdict for port in (1, 2, 3)
    ]
    assert verdicts == [lvs.Verdict.FORWARD, lvs.Verdict.FORWARD, lvs.Verdict.REPLY]
    assert [s.overloaded for s in director.services[0].servers] == [False, True]
    director.advance(61.0)
    assert director.process("c", from_client(), 61.0).verdict is lvs.Verdict.FORWARD


def test_the_table_has_a_limit() -> None:
    director = engine(service(), settings=lvs.Settings(connection_limit=2))
    outcomes = [director.process("c", from_client(client=("203.0.113.9", port))) for port in (1, 2, 3)]
    assert [outcome.reason for outcome in outcomes] == [None, None, lvs.DropReason.CONNECTION_LIMIT]
    director.advance(61.0)
    assert director.process("c", from_client(), 61.0).verdict is lvs.Verdict.FORWARD


def test_a_table_that_nobody_limits_ends_before_its_growth_is_felt() -> None:
    frames = [
        raw[:34] + port.to_bytes(2) + raw[36:]
        for raw in (from_client(client=(f"203.0.113.{host}", 1)) for host in range(1, 5))
        for port in range(1001, 51_001)
    ]
    director = engine(service())
    outcomes = director.process_many("c", [*frames, from_client()], np.zeros(len(frames) + 1))
    assert len(frames) == len(director.connections) == 200_000
    assert outcomes[-1].reason is lvs.DropReason.CONNECTION_LIMIT
