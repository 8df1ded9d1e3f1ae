"""The tables that a director is given: what the known flows ask for, and thousands of services beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from fastlvs.lab import Lab
from fastlvs.lab.topology import DIRECTOR, ROUTER, VIPS, mac
from fastlvs.server import Forwarding

KNOWN_PORT = 9000
"""Where the known flows' services are, and their real servers."""
MANY_VIPS = IPv4Address("10.64.0.0")
"""The first of the many services' VIPs, which nobody has but the director."""
MANY_SERVERS = IPv4Address("10.16.0.0")
"""The first of their real servers, which are behind the router."""
BUSY_SERVERS = IPv4Address("10.32.0.0")
"""The first of the busy service's real servers. They are one host, the lab's first server."""
BUSY_PORT = 81
"""The busy service's. Nobody listens there, which the director does not see: by DR no replies pass it."""

_OPTIONS = {Forwarding.NAT: "-m", Forwarding.DR: "-g", Forwarding.TUN: "-i"}


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual service in the words that both formats share. Its servers have the weight 1."""

    address: str
    method: Forwarding
    servers: Sequence[str]
    protocol: str = "tcp"
    heavy: Sequence[int] = field(default=())
    """Which of them have the weight 2 instead."""

    def toml(self) -> str:
        """As a part of a ``director.toml``."""
        head = f'[[service]]\nprotocol = "{self.protocol}"\naddress = "{self.address}"\nscheduler = "rr"\n'
        servers = (
            f'[[service.server]]\naddress = "{at}"\nweight = {weight}\n' for at, weight in self._weights()
        )
        return f'{head}forwarding = "{self.method.value}"\n{"".join(servers)}\n'

    def rules(self) -> str:
        """As ``ipvsadm -Sn`` prints it."""
        name = f"-{self.protocol[0]} {self.address}"
        servers = (
            f"-a {name} -r {at} {_OPTIONS[self.method]} -w {weight}\n" for at, weight in self._weights()
        )
        return f"-A {name} -s rr\n{''.join(servers)}"

    def _weights(self) -> Iterable[tuple[str, int]]:
        return ((address, 1 + (number in self.heavy)) for number, address in enumerate(self.servers))


def text(kind: str, services: Iterable[Service]) -> str:
    """A whole file: ``kind`` is ``toml`` or ``rules``."""
    return "".join(service.toml() if kind == "toml" else service.rules() for service in services)


def known(lab: Lab) -> list[Service]:
    """The known flows' services: one of each protocol and method, with all of the lab's real servers."""
    servers = [f"{server.address}:{KNOWN_PORT}" for server in lab.servers]
    return [
        Service(f"{vip}:{KNOWN_PORT}", method, servers, protocol)
        for method, vip in VIPS.items()
        for protocol in ("tcp", "udp")
    ]


def many(services: int, servers: int) -> list[Service]:
    """So many services, each on a VIP of its own, by NAT, DR and TUN in turn, each with so many real servers of
    its own."""
    methods = list(Forwarding)
    return [
        Service(
            f"{MANY_VIPS + number}:80",
            methods[number % len(methods)],
            [f"{MANY_SERVERS + number * servers + server}:80" for server in range(servers)],
        )
        for number in range(services)
    ]


def with_one_weight_changed(services: Sequence[Service]) -> list[Service]:
    """The same, but for the weight of one server in the middle."""
    changed = list(services)
    middle = len(changed) // 2
    changed[middle] = replace(changed[middle], heavy=() if changed[middle].heavy else (0,))
    return changed


def busy(servers: int) -> Service:
    """One service by DR with so many real servers."""
    addresses = [f"{BUSY_SERVERS + number}:{BUSY_PORT}" for number in range(servers)]
    return Service(f"{VIPS[Forwarding.DR]}:{BUSY_PORT}", Forwarding.DR, addresses)


def route(lab: Lab, busy_servers: int) -> None:
    """Tells the director's host where the many servers are, and that the busy ones are on its link."""
    lab.director.run("ip", "route", "add", f"{MANY_SERVERS}/12", "via", ROUTER.legs["inside"])
    [inside] = [name for name, address in DIRECTOR.interfaces.items() if address == DIRECTOR.legs["inside"]]
    lab.director.run("ip", "route", "add", f"{BUSY_SERVERS}/12", "dev", inside)
    station = mac(lab.servers[0].address)
    neighbours = (
        f"neighbour replace {BUSY_SERVERS + number} lladdr {station} dev {inside} nud permanent\n"
        for number in range(busy_servers)
    )
    lab.director.run("ip", "-batch", "-", input="".join(neighbours))
