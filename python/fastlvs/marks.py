"""Rules that mark packets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from fastlvs import checks
from fastlvs.network import NetworkLike, ProtocolName, parse_network, port_range

__all__ = ["Mark"]


@dataclass(frozen=True, slots=True, init=False)
class Mark:
    """A rule that gives packets a mark, so that :meth:`VirtualService.of_mark` balances them."""

    mark: int
    """The number, above 0."""
    destination: IPv4Network | IPv6Network
    """Where the packets go."""
    protocol: ProtocolName | None
    """Their protocol; ``None``: any."""
    ports: tuple[int, int]
    """The first and the last port that they go to."""
    source: IPv4Network | IPv6Network | None
    """Where they come from; ``None``: anywhere."""

    def __init__(
        self,
        mark: int,
        destination: NetworkLike,
        *,
        protocol: str | None = None,
        ports: int | tuple[int, int] = (0, 65535),
        source: NetworkLike | None = None,
    ) -> None:
        field = f"mark {checks.shown(mark)}"
        object.__setattr__(self, "mark", checks.integer(mark, "a mark", 1, 2**32 - 1, field))
        object.__setattr__(self, "destination", _reachable(destination, field))
        object.__setattr__(self, "protocol", None if protocol is None else _protocol(protocol, field))
        object.__setattr__(self, "ports", port_range(ports, field))
        object.__setattr__(self, "source", None if source is None else parse_network(source, field))


def _reachable(destination: NetworkLike, field: str) -> IPv4Network | IPv6Network:
    """Addresses that clients elsewhere can send to. A block may be all addresses there are."""
    network = parse_network(destination, field)
    first, alone = network.network_address, network.num_addresses == 1
    nobodys = first.is_unspecified or first == IPv4Address("255.255.255.255")
    if first.is_loopback or first.is_multicast or (nobodys and alone):
        expected = "addresses that are neither unspecified, loopback, multicast nor broadcast"
        raise checks.refused(expected, destination, field)
    return network


def _protocol(name: str, field: str) -> str:
    if isinstance(name, str) and name.lower() in ("tcp", "udp", "sctp"):
        return name.lower()
    raise checks.refused("protocol 'tcp', 'udp' or 'sctp'", name, field)
