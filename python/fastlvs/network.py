"""What names a place on the network: endpoints, interfaces, routes.

Addresses are taken as ``str``, as :mod:`ipaddress` objects, or, with a port, as a pair. They are kept as
:mod:`ipaddress` objects.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal, NamedTuple, TypeAlias, get_args

from fastlvs import checks
from fastlvs.errors import ConfigurationError

__all__ = [
    "AddressLike",
    "Endpoint",
    "EndpointLike",
    "EndpointRange",
    "Interface",
    "InterfaceLike",
    "NetworkLike",
    "ProtocolName",
    "Route",
    "ServiceAddress",
    "ServiceAddressLike",
    "service_address",
]

AddressLike: TypeAlias = str | IPv4Address | IPv6Address
"""``"192.0.2.10"``, or the :mod:`ipaddress` object."""

NetworkLike: TypeAlias = str | IPv4Network | IPv6Network | IPv4Address | IPv6Address
"""``"10.0.0.0/8"``, an :mod:`ipaddress` object, or one address; for a route also ``"default"``."""

InterfaceLike: TypeAlias = str | IPv4Interface | IPv6Interface
"""An address with the length of its network, ``"10.0.0.1/24"``."""

RouteKind: TypeAlias = Literal["unicast", "local", "unreachable", "blackhole", "prohibit"]
"""What a route does, in the words of ``ip route``."""

ROUTE_KINDS: tuple[RouteKind, ...] = get_args(RouteKind)

ProtocolName: TypeAlias = Literal["tcp", "udp", "sctp", "fwm"]
"""A transport protocol; ``"fwm"`` for the service of a mark, as ipvsadm lists it."""

EndpointLike: TypeAlias = AddressLike | tuple[AddressLike, int]
"""``"192.0.2.10:80"``, ``"[2001:db8::1]:80"``, ``("192.0.2.10", 80)``, or an :class:`Endpoint`."""


class Endpoint(NamedTuple):
    """An address and a port. ``str()`` gives ``10.0.0.1:80`` or ``[2001:db8::1]:80``."""

    address: IPv4Address | IPv6Address
    port: int
    """0 where no port is said."""

    @classmethod
    def parse(cls, value: EndpointLike, field: str = "address") -> Endpoint:
        """The endpoint that ``value`` names; ``field`` is what an error calls it."""
        if isinstance(value, str):
            return cls._from_text(value, field)
        if isinstance(value, IPv4Address | IPv6Address):
            return cls(value, 0)
        if isinstance(value, tuple) and len(value) == 2:
            return cls(parse_address(value[0], field), _port(value[1], field))
        raise checks.refused("an address like '192.0.2.10:80' or ('192.0.2.10', 80)", value, field)

    @staticmethod
    def has_port(value: EndpointLike) -> bool:
        """Whether ``value``, which :meth:`parse` takes, says a port. Port 0 can only be said in a text."""
        if isinstance(value, str):
            return "]:" in value or value.count(":") == 1
        return isinstance(value, tuple) and value[1] != 0

    @classmethod
    def _from_text(cls, text: str, field: str) -> Endpoint:
        if text.startswith("["):
            address, closed, port = text[1:].partition("]")
            well_formed = bool(closed) and (not port or port[0] == ":")
            port = port[1:] if port else ""
        elif text.count(":") == 1:
            address, _, port = text.partition(":")
            well_formed = bool(port)
        else:
            address, port, well_formed = text, "", True
        if not well_formed:
            raise checks.refused("an address like '192.0.2.10:80'", text, field)
        return cls(parse_address(address, field), _written_port(port, text, field) if port else 0)

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


class EndpointRange(NamedTuple):
    """A block of addresses and a range of ports. ``str()`` gives ``192.0.2.0/28:8000-8999`` or
    ``[2001:db8::/64]:443``."""

    network: IPv4Network | IPv6Network
    ports: tuple[int, int]
    """The first and the last."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The first address."""
        return self.network.network_address

    @property
    def port(self) -> int:
        """The port where there is only one, else 0."""
        first, last = self.ports
        return first if first == last else 0

    @classmethod
    def parse(cls, text: str, field: str = "address") -> EndpointRange:
        """The block and the range that ``text`` names; ``field`` is what an error calls it. Port 0 of a block
        is all ports."""
        expected = "a block and a range like '192.0.2.0/28:8000-8999'"
        block, _, ports = checks.text(text, expected, field).rpartition(":")
        bare = block.startswith("[") and block.endswith("]")
        first, dash, last = ports.partition("-")
        numbers = [first, last] if dash else [first, first]
        network = parse_network(block[1:-1] if bare else block, field) if block else None
        if network is None or not all(numbers) or bare != (network.version == 6):
            raise checks.refused(expected, text, field)
        begin, end = (_written_port(number, text, field) for number in numbers)
        if begin > end:
            raise checks.refused("the first port, then the last", ports, field)
        if (begin, end) == (0, 0) and network.num_addresses > 1:
            end = 65535
        return cls(network, (begin, end))

    def __str__(self) -> str:
        block = self.network if self.network.num_addresses > 1 else self.address
        first, last = self.ports
        ports = f"{first}" if first == last else f"{first}-{last}"
        return f"{block}:{ports}" if self.network.version == 4 else f"[{block}]:{ports}"


ServiceAddress: TypeAlias = Endpoint | EndpointRange
"""Where clients find a service."""

ServiceAddressLike: TypeAlias = EndpointLike | EndpointRange
"""An address and a port as everywhere, or ``"192.0.2.0/28:8000-8999"``, ``"192.0.2.10:8000-8999"``,
``"[2001:db8::/64]:443"``, or an :class:`EndpointRange`."""


def service_address(value: ServiceAddressLike, field: str = "virtual service") -> ServiceAddress:
    """The addresses and ports that ``value`` names; ``field`` is what an error calls it."""
    if isinstance(value, str) and ("/" in value or "-" in value):
        value = EndpointRange.parse(value, field)
    if not isinstance(value, EndpointRange):
        return Endpoint.parse(value, field)
    first, last = port_range(value.ports, field)
    value = EndpointRange(parse_network(value.network, field), (first, last))
    alone = value.network.num_addresses == 1 and value.ports[0] == value.ports[1]
    return Endpoint(value.address, value.port) if alone else value


@dataclass(frozen=True, slots=True, init=False)
class Interface:
    """An interface of the director, for an engine that is driven by hand."""

    name: str
    mac: str
    """Its link-layer address, ``02:00:00:00:00:01``: frames to any other are left alone."""
    mtu: int
    """The longest IP packet that it takes, in bytes."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    def __init__(
        self, name: str, *, mac: str, mtu: int = 1500, addresses: Iterable[InterfaceLike] = ()
    ) -> None:
        field = f"interface {checks.text(name, 'a name', 'interface')}"
        object.__setattr__(self, "name", name)
        object.__setattr__(
            self, "mac", checks.text(mac, "a link-layer address like '02:00:00:00:00:01'", field)
        )
        object.__setattr__(self, "mtu", checks.integer(mtu, "an MTU", 68, 65535, field))
        found = checks.several(addresses, "addresses like '10.0.0.1/24'", field)
        object.__setattr__(self, "addresses", tuple(_interface_address(a, field) for a in found))


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """A line of the routing table. Networks of the interfaces' own addresses need none."""

    destination: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | None
    """The router; ``None`` when the destination is on the link."""
    interface: str | None
    """By which interface; ``None``: the one that reaches ``via``."""
    mtu: int | None
    """A limit below the interface's, in bytes."""
    kind: RouteKind
    """``"unicast"`` leads to a router or onto a link; ``"local"`` ends at the director; the others refuse,
    which is all the same to the engine."""

    def __init__(
        self,
        destination: NetworkLike,
        *,
        via: AddressLike | None = None,
        interface: str | None = None,
        mtu: int | None = None,
        kind: RouteKind = "unicast",
    ) -> None:
        field = f"route {checks.shown(destination, str)}"
        if not isinstance(kind, str) or kind not in ROUTE_KINDS:
            raise checks.refused(f"one of {', '.join(ROUTE_KINDS)}", kind, field)
        if kind != "unicast" and (via is not None or interface is not None or mtu is not None):
            raise ConfigurationError(f"a route of kind {kind} leads nowhere", field=field)
        if kind == "unicast" and via is None and interface is None:
            raise ConfigurationError("expected via= or interface=, or both", field=field)
        router = None if via is None else parse_address(via, field)
        if interface is not None:
            checks.text(interface, "an interface's name", field)
        if mtu is not None:
            mtu = checks.integer(mtu, "an MTU", 68, 65535, field)
        if isinstance(destination, str) and destination == "default":
            destination = "::/0" if router is not None and router.version == 6 else "0.0.0.0/0"
        object.__setattr__(self, "destination", parse_network(destination, "route"))
        object.__setattr__(self, "via", router)
        object.__setattr__(self, "interface", interface)
        object.__setattr__(self, "mtu", mtu)
        object.__setattr__(self, "kind", kind)


def parse_address(value: AddressLike, field: str) -> IPv4Address | IPv6Address:
    """The address that ``value`` names; ``field`` is what an error calls it."""
    address = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(value)
    if isinstance(address, IPv4Address | IPv6Address) and getattr(address, "scope_id", None) is None:
        return address
    raise checks.refused("an IPv4 or IPv6 address", value, field)


def parse_network(value: NetworkLike, field: str) -> IPv4Network | IPv6Network:
    """The network that ``value`` names; ``field`` is what an error calls it."""
    expected = "a network like '10.0.0.0/8'"
    if not isinstance(value, str | IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        raise checks.refused(expected, value, field)
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ConfigurationError(f"expected {expected}: {checks.shown(error, str)}", field=field) from None
    if getattr(network.network_address, "scope_id", None) is not None:
        raise checks.refused(expected, value, field)
    return network


def parse_neighbours(value: Mapping[AddressLike, str] | None) -> list[tuple[IPv4Address | IPv6Address, str]]:
    """Neighbours and their link-layer addresses."""
    mac = "a link-layer address like '02:00:00:00:00:01'"
    known = checks.mapping(value, f"addresses, and for each {mac}", "neighbours")
    return [
        (parse_address(address, "neighbour"), checks.text(place, mac, "neighbour", address))
        for address, place in known.items()
    ]


def port_range(value: int | tuple[int, int], field: str) -> tuple[int, int]:
    """The first and the last port that ``value`` names; ``field`` is what an error calls it."""
    first, last = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
    try:
        begin, end = (checks.integer(port, "a port", 0, 65535) for port in (first, last))
    except ConfigurationError:
        begin, end = 1, 0
    if begin > end:
        raise checks.refused("a port from 0 to 65535, or the first and the last", value, field)
    return begin, end


def _interface_address(value: InterfaceLike, field: str) -> IPv4Interface | IPv6Interface:
    expected = "an address like '10.0.0.1/24'"
    if not isinstance(value, str | IPv4Address | IPv6Address):  # interfaces are addresses
        raise checks.refused(expected, value, field)
    try:
        address = ipaddress.ip_interface(value)
    except ValueError:
        raise checks.refused(expected, value, field) from None
    if getattr(address, "scope_id", None) is not None:
        raise checks.refused(expected, value, field)
    return address


def _written_port(digits: str, text: str, field: str) -> int:
    """A port that is written; ``text`` is where."""
    if not (digits.isascii() and digits.isdigit()):
        raise checks.refused("an address like '192.0.2.10:80'", text, field)
    if len(digits) > 5:
        raise checks.refused("a port from 0 to 65535", digits, field)
    return _port(int(digits), field)


def _port(value: int, field: str) -> int:
    return checks.integer(value, "a port", 0, 65535, field)
