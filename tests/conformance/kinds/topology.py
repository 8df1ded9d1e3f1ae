"""The recorded director's network: two legs, and what a scenario's ``ip`` commands add to them.

The same facts make the engine's network and the host's.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import fastlvs as lvs
from kinds.host import Host, Leg, Network
from kinds.result import Scenario, SetAside

LEGS = ("c", "s")
LOOPBACK = "lo"
MACS = {"c": "02:00:00:00:00:01", "s": "02:00:00:00:01:01"}
ADDRESSES = {"c": ("10.0.0.1/24", "fd00:c::1/64"), "s": ("192.168.0.1/16", "fd00:5::1/64")}
ROUTERS = {
    "10.0.0.2": "02:00:00:00:00:02",
    "fd00:c::2": "02:00:00:00:00:02",
    "192.168.0.2": "02:00:00:00:01:02",
    "fd00:5::2": "02:00:00:00:01:02",
}
DEFAULT_ROUTES = {"0.0.0.0/0": "10.0.0.2", "::/0": "fd00:c::2"}
LOCAL = ("10.99.0.0/16", "fd00:99::/64")
REFUSING = ("unreachable", "blackhole", "prohibit")


class Topology:
    """Interfaces, routes and neighbours of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.mtu = dict(zip(LEGS, scenario["mtu"], strict=True))
        self.addresses: dict[str, list[str]] = {leg: list(ADDRESSES[leg]) for leg in LEGS} | {LOOPBACK: []}
        self.neighbours: dict[Any, str] = {**ROUTERS}
        self.neighbours.update({address: server_mac(address) for address in scenario["neigh"]})
        self.local = list(LOCAL)
        self.routes = [lvs.Route(network, via=via) for network, via in DEFAULT_ROUTES.items()]
        for line in scenario["extra"]:
            self._command(line)

    def interfaces(self) -> list[lvs.Interface]:
        legs = [
            lvs.Interface(leg, mac=MACS[leg], mtu=self.mtu[leg], addresses=self.addresses[leg])
            for leg in LEGS
        ]
        own = self.addresses[LOOPBACK]
        return [*legs, lvs.Interface(LOOPBACK, mac="00:00:00:00:00:00", addresses=own)] if own else legs

    def host(self) -> Host:
        """The host's own stack in this network."""
        own = {leg: [ip_interface(address) for address in self.addresses[leg]] for leg in LEGS}
        networks = {leg: [address.network for address in own[leg]] for leg in LEGS}
        for route in self.routes:
            if route.kind == "unicast" and route.via is None and route.interface:
                networks[route.interface].append(route.destination)
        legs = {
            leg: Leg(
                _mac(MACS[leg]),
                self.mtu[leg],
                tuple(address.ip for address in own[leg]),
            )
            for leg in LEGS
        }
        local: list[Network] = [ip_network(network) for network in self.local]
        local += [route.destination for route in self.routes if route.kind == "local"]
        return Host(
            legs=legs,
            local=local,
            links=[(network, leg) for leg in LEGS for network in networks[leg]],
            routes=[
                (route.destination, route.via, route.mtu)
                for route in self.routes
                if route.via is not None or route.kind in REFUSING
            ],
            neighbours={ip_address(address): _mac(mac) for address, mac in self.neighbours.items()},
            own=[ip_interface(address).ip for address in self.addresses[LOOPBACK]],
            silent=[route.destination for route in self.routes if route.kind == "blackhole"],
        )

    def _command(self, line: str) -> None:
        """Does what an ``ip`` command says."""
        words = [word for word in line.split() if word not in ("-4", "-6")]
        match words[:2]:
            case ["neigh", "add"]:
                self.neighbours[words[2]] = words[words.index("lladdr") + 1]
            case ["addr", "add"]:
                self.addresses[words[words.index("dev") + 1]].append(words[2])
            case ["route", "add"]:
                self.routes.append(_route(words[2:], line))
            case _:
                raise SetAside(f"ip {line}")


def _route(words: list[str], line: str) -> lvs.Route:
    kind: Any = "unicast"
    if words[0] in ("unicast", "local", *REFUSING):
        kind, *words = words
    destination, *rest = words
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    if not options.keys() <= {"via", "dev", "mtu"}:
        raise SetAside(f"ip {line}")
    if kind != "unicast":
        return lvs.Route(destination, kind=kind)
    return lvs.Route(
        destination,
        via=options.get("via"),
        interface=options.get("dev"),
        mtu=int(options["mtu"]) if "mtu" in options else None,
    )


def server_mac(address: str) -> str:
    """The MAC that a real server of the recordings has."""
    parsed = ip_address(address)
    kind = b"\x02\x01" if parsed.version == 4 else b"\x02\x06"
    return (kind + parsed.packed[-4:]).hex(":")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
