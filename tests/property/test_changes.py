"""Whatever changes while connections come and go: nothing raises, and servers count what is there."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

import fastlvs as lvs
from packets import ACK, FIN, RST, SCTP, SYN, TCP, UDP, Packet
from topology import DIRECTOR_C, DIRECTOR_S, ROUTER, SERVERS, engine

VIP = "10.99.0.1"
PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
INIT = b"\1\0\0\x14" + bytes(16)


@pytest.mark.parametrize("seed", range(12))
def test_servers_count_what_is_there(seed: int) -> None:
    chance = random.Random(seed)
    director = engine(marks=[lvs.Mark(7, "10.99.7.0/24"), lvs.Mark(8, "10.99.0.0/16", ports=(4000, 5000))])
    director.apply(_services(chance))
    owners = Owners()
    now = 0.0
    for _ in range(1500):
        kind = chance.random()
        if kind < 0.8:
            before = _connections(director)
            owners.see(director, before, _packet(chance, director, now))
        elif kind < 0.9:
            now += chance.choice([0.02, 1.0, 30.0, 130.0, 1000.0])
            director.advance(now)
        elif kind < 0.97:
            _edit(chance, director)
        else:
            director.settings = _settings(chance)
            director.apply(_services(chance))
        owners.check(director)
    director.advance(now + 1e6)
    director.advance(now + 2e6)
    assert len(director.connections) == len(director.templates) == 0
    for service in director.services:
        assert not any(
            (s.active, s.inactive, s.persistent, s.overloaded) != (0, 0, 0, False) for s in service.servers
        )


Place = tuple[object, str]
"""A server of a service: what names both."""


class Owners:
    """To which server of which service each connection belongs: to the one whose count grew when it began. It
    stays that one's while the server is gone, and when it comes back."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, ...], Place] = {}

    def see(self, director: lvs.Engine, before: Counter[Place], packet: tuple[str, ...]) -> None:
        """Takes note of the connection that a packet began, if one did.

        ``packet`` is its protocol, source and destination, as listings have them.
        """
        grown = [place for place, number in _connections(director).items() if number > before[place]]
        rows = [_row(connection) for connection in director.connections]
        brief = {
            _name(service) for service in director.services if service.one_packet and packet[:1] == ("udp",)
        }
        for place in grown:
            if place[0] not in brief:  # connections of one packet are in no listing
                began = [row for row in rows if row[:3] == packet and _host(row[3]) == _host(place[1])]
                self.places |= dict.fromkeys(began, place)
        self.places = {row: place for row, place in self.places.items() if row in rows}

    def check(self, director: lvs.Engine) -> None:
        """Every server counts its connections, no more and no less."""
        there = Counter((self.places[_row(c)], c.active) for c in director.connections)
        for place, server in _places(director):
            assert (server.active, server.inactive) == (there[place, True], there[place, False]), place


def _row(connection: lvs.Connection) -> tuple[str, ...]:
    ends = connection.client, connection.destination, connection.server
    return connection.protocol, *map(str, ends)


def _name(service: lvs.Service) -> object:
    return service.protocol, str(service.address), service.mark


def _places(director: lvs.Engine) -> list[tuple[Place, lvs.Server]]:
    return [
        ((_name(service), str(server.address)), server)
        for service in director.services
        for server in service.servers
    ]


def _connections(director: lvs.Engine) -> Counter[Place]:
    """How many connections each server ever got."""
    return Counter({place: server.connections for place, server in _places(director)})


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]


def _services(chance: random.Random) -> list[lvs.VirtualService]:
    made = {}
    for _ in range(chance.randrange(1, 7)):
        scheduler = chance.choice([*lvs.schedulers.NAMES, "mh", "sh"])
        flags = [
            f"{scheduler}-{flag}"
            for flag in ("port", "fallback")
            if scheduler in ("sh", "mh") and chance.random() < 0.5
        ]
        protocol = chance.choice(["tcp", "udp", "sctp"])
        kept = chance.choice([None, None, 5.0, 300.0])
        port = chance.choice([21, 80, 80, 4500, 0])
        method = chance.choice(["nat", "dr", "tun"])
        if port == 0 and kept is None:
            port = 80
        servers = [
            lvs.RealServer(
                (address, port),
                chance.choice([0, 1, 1, 3]),
                method,
                upper_threshold=(limit := chance.choice([0, 0, 2, 4])),
                lower_threshold=chance.randrange(limit + 1),
            )
            for address in chance.sample(list(SERVERS), chance.randrange(len(SERVERS) + 1))
        ]
        options: dict[str, Any] = {
            "flags": flags,
            "persistence": kept,
            "netmask": chance.choice([None, 16, 24]),
            "one_packet": protocol == "udp" and chance.random() < 0.3,
        }
        if chance.random() < 0.3:
            anywhere = [server.replace(address=(server.address.address, 0)) for server in servers]
            service = lvs.VirtualService.of_mark(
                chance.choice([7, 8]), scheduler, method, anywhere, **options
            )
        else:
            service = lvs.VirtualService(protocol, (VIP, port), scheduler, method, servers, **options)
        made[service.key] = service
    return list(made.values())


def _settings(chance: random.Random) -> lvs.Settings:
    return lvs.Settings(
        expire_nodest_conn=chance.random() < 0.5,
        expire_quiescent_template=chance.random() < 0.5,
        conn_reuse_mode=chance.randrange(4),
        sloppy_tcp=chance.random() < 0.3,
        sloppy_sctp=chance.random() < 0.3,
        secure_tcp=chance.choice([0, 3]),
        drop_entry=chance.choice([0, 0, 3]),
        drop_packet=chance.choice([0, 0, 3]),
        connection_limit=chance.choice([20, 10_000]),
        lblcr_expiration=chance.choice([1.0, 86400.0]),
    )


def _edit(chance: random.Random, director: lvs.Engine) -> None:
    service = chance.choice(director.wanted)
    if service.servers:
        server = chance.choice(service.servers)
        director.edit_server(service, server.replace(weight=chance.choice([0, 1, 2])))
    if service.scheduler not in ("sh", "mh"):
        director.edit_service(service, scheduler=chance.choice(lvs.schedulers.NAMES))


def _packet(chance: random.Random, director: lvs.Engine, now: float) -> tuple[str, ...]:
    client = f"203.0.{chance.choice([113, 114])}.{chance.randrange(4)}", chance.choice([20, 2000, 2001, 2002])
    protocol = chance.choice([TCP, UDP, SCTP])
    flags = chance.choice([SYN, SYN, ACK, FIN | ACK, RST]) if protocol == TCP else 0
    payload = INIT if protocol == SCTP and chance.random() < 0.7 else b"\0\3\0\x10" + bytes(12)
    if chance.random() < 0.7:
        asked = chance.choice([VIP, VIP, "10.99.7.9"]), chance.choice([21, 80, 4500, 8080])
        frame = Packet(protocol, client, asked, flags, payload).frame(DIRECTOR_C, ROUTER)
        director.process("c", frame, now)
        return PROTOCOLS[protocol], f"{client[0]}:{client[1]}", f"{asked[0]}:{asked[1]}"
    server = chance.choice(list(SERVERS))
    packet = Packet(protocol, (server, chance.choice([21, 80, 4500])), client, flags | ACK, payload)
    director.process("s", packet.frame(DIRECTOR_S, SERVERS[server]), now)
    return ()
