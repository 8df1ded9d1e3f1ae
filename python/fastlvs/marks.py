"""Rules that mark packets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from fastlvs.errors import ConfigurationError
from fastlvs.network import NetworkLike, parse_network
from fastlvs.service import ProtocolName

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
        name = f"mark {mark}"
        first, last = (ports, ports) if isinstance(ports, int) else ports
        if isinstance(mark, bool) or not isinstance(mark, int) or not 0 < mark < 2**32:
            raise ConfigurationError(f"expected a mark from 1 to 4294967295, got {mark!r}", field=name)
        if protocol is not None and protocol.lower() not in ("tcp", "udp", "sctp"):
            message = f"expected protocol 'tcp', 'udp' or 'sctp', got {protocol!r}"
            raise ConfigurationError(message, field=name)
        if not 0 <= first <= last <= 65535:
            message = f"expected a port, or the first and the last port, got {ports!r}"
            raise ConfigurationError(message, field=name)
        object.__setattr__(self, "mark", mark)
        object.__setattr__(self, "destination", parse_network(destination, name))
        object.__setattr__(self, "protocol", protocol and protocol.lower())
        object.__setattr__(self, "ports", (first, last))
        object.__setattr__(self, "source", None if source is None else parse_network(source, name))
