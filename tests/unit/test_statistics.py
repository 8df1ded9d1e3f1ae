"""What is counted, how much there is in a second, and beginning anew."""

from __future__ import annotations

import fastlvs as lvs
from packets import ACK
from topology import engine, from_client, service


def test_counters_are_live_and_agree() -> None:
    director = engine(service())
    director.process("c", from_client())
    director.process("c", from_client(ACK))
    expected = lvs.Statistics(connections=1, in_packets=2, in_bytes=80, out_packets=0, out_bytes=0)
    assert director.services.total == expected
    web = director.services[0]
    assert (web.connections, web.in_packets, web.in_bytes) == expected[:3]
    assert sum(server.in_bytes for server in web.servers) == 80


def test_rates_follow_the_traffic() -> None:
    director = engine(service())
    for number in range(40):
        director.process("c", from_client(client=("203.0.113.9", 1000 + number)), now=number / 10)
    director.advance(4.0)
    # A quarter of 10 connections a second after 2 s, and a quarter of the rest after 4 s.
    assert director.services[0].rates.connections == 4
    assert director.services.rates.in_bytes == 175
    director.advance(100.0)
    assert director.services[0].rates == lvs.Statistics(0, 0, 0, 0, 0)


def test_a_service_begins_anew() -> None:
    director = engine(service())
    director.process("c", from_client())
    director.advance(2.0)
    director.process("c", from_client(ACK), now=2.0)
    director.zero(director.services[0])
    web = director.services[0]
    assert (web.connections, web.in_packets) == (0, 1), "what the last two seconds brought stays"
    assert director.services.total.connections == 1
    director.zero()
    assert director.services.total.connections == 0
    assert len(director.connections) == 1
