"""The director of the tests: a client leg, a server leg, a router before its clients, three real servers."""

from __future__ import annotations

from typing import Any

import fastlvs as lvs
from packets import ACK, SYN, TCP, Packet

CLIENT, VIP = ("203.0.113.9", 40000), ("10.99.0.1", 80)
DIRECTOR_C, DIRECTOR_S, ROUTER = "02:00:00:00:00:01", "02:00:00:00:01:01", "02:00:00:00:00:02"
SERVERS = {f"192.168.1.{number}": f"02:01:c0:a8:01:{number:02x}" for number in (1, 2, 3)}


def service(
    scheduler: str | lvs.Scheduler = "rr", forwarding: str = "dr", **options: Any
) -> lvs.VirtualService:
    """The tests' service: on port 8080 of the three real servers for NAT, else on its own port."""
    port = 8080 if lvs.Forwarding(forwarding) is lvs.Forwarding.NAT else 80
    servers = [lvs.RealServer((address, port)) for address in SERVERS]
    return lvs.VirtualService("tcp", VIP, scheduler, forwarding, options.pop("servers", servers), **options)


def engine(*services: lvs.VirtualService, **options: Any) -> lvs.Engine:
    """The tests' director."""
    return lvs.Engine(
        interfaces=[
            lvs.Interface("c", mac=DIRECTOR_C, addresses=["10.0.0.1/24"]),
            lvs.Interface("s", mac=DIRECTOR_S, addresses=["192.168.0.1/16"]),
        ],
        routes=[lvs.Route("default", via="10.0.0.2")],
        services=services,
        **{"neighbours": {"10.0.0.2": ROUTER, **SERVERS}, "local": ["10.99.0.0/16"], **options},
    )


def from_client(flags: int = SYN, client: tuple[str, int] = CLIENT, **options: Any) -> bytes:
    """A client's frame to the VIP."""
    options = {"protocol": TCP, "destination": VIP, "flags": flags, **options}
    return Packet(source=client, **options).frame(DIRECTOR_C, ROUTER)


def from_server(server: tuple[str, int], flags: int = SYN | ACK, **options: Any) -> bytes:
    """A real server's frame to the client, by the director."""
    options = {"protocol": TCP, "destination": CLIENT, "flags": flags, **options}
    return Packet(source=server, **options).frame(DIRECTOR_S, SERVERS[server[0]])
