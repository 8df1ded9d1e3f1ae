"""What is to be balanced: virtual services and their real servers, as plain values.

They say what you want and never change. :meth:`Engine.apply` makes the engine agree with them; what it then
has (connections, counters) is read from :attr:`Engine.services`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from fastlvs import _core
from fastlvs.errors import ConfigurationError
from fastlvs.network import Endpoint, EndpointLike

if TYPE_CHECKING:
    from fastlvs.schedulers import Scheduler

__all__ = ["Change", "Forwarding", "ForwardingLike", "ProtocolName", "RealServer", "VirtualService"]

ProtocolName: TypeAlias = Literal["tcp", "udp"]

Tunnel: TypeAlias = Literal["ipip", "gue", "gre"]
"""What a tunnel is made of (``ipvsadm --tun-type``)."""

TunnelFlags: TypeAlias = Literal["nocsum", "csum", "remcsum"]
"""What of a tunnel is checked (``ipvsadm --tun-nocsum``, ``--tun-csum``, ``--tun-remcsum``)."""


class Forwarding(StrEnum):
    """How packets reach a real server. ``Forwarding("nat")`` takes every word that ipvsadm or people use."""

    MASQUERADING = "masquerading"
    """NAT: destination address and port are rewritten; replies have to pass the director."""
    GATEWAYING = "gatewaying"
    """Direct routing: only the link-layer destination changes; the server holds the VIP too."""
    TUNNELING = "tunneling"
    """The packet travels in an IP packet of its own to a server that may be on any network."""

    NAT = MASQUERADING
    DR = GATEWAYING
    TUN = TUNNELING

    @classmethod
    def _missing_(cls, value: object) -> Forwarding | None:
        return _WORDS.get(value.lower()) if isinstance(value, str) else None

    def __repr__(self) -> str:
        return f"Forwarding.{self.name}"


_WORDS = {
    "nat": Forwarding.NAT,
    "masq": Forwarding.NAT,
    "-m": Forwarding.NAT,
    "dr": Forwarding.DR,
    "gate": Forwarding.DR,
    "route": Forwarding.DR,
    "-g": Forwarding.DR,
    "tun": Forwarding.TUN,
    "tunnel": Forwarding.TUN,
    "ipip": Forwarding.TUN,
    "-i": Forwarding.TUN,
}

ForwardingLike: TypeAlias = Forwarding | str
"""A :class:`Forwarding`, or a word for one: ``"nat"``, ``"masq"``, ``"dr"``, ``"gate"``, ``"tun"``…"""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class RealServer:
    """A real server as it is to be."""

    address: Endpoint
    """Address and port (RIP). Port 0: the service's."""
    weight: int
    """Its share, relative to its siblings'; 0: no new connections."""
    forwarding: Forwarding | None
    """How packets reach it; ``None``: as the service says."""
    tunnel: Tunnel
    """What a tunnel to it puts between the outer IP header and the packet: nothing, UDP and GUE, or GRE."""
    tunnel_port: int
    """The UDP port where it takes GUE."""
    tunnel_flags: TunnelFlags
    """Whether GUE's or GRE's checksum is computed. ``"remcsum"`` is ``"csum"`` for packets whose own checksum
    is finished, and the engine finishes all."""

    def __init__(
        self,
        address: EndpointLike,
        weight: int = 1,
        forwarding: ForwardingLike | None = None,
        *,
        tunnel: Tunnel = "ipip",
        tunnel_port: int = 0,
        tunnel_flags: TunnelFlags = "nocsum",
    ) -> None:
        field = f"real server {address}"
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight < 2**31:
            raise ConfigurationError(f"expected a weight from 0 to 2147483647, got {weight!r}", field=field)
        for name, value, words in (
            ("tunnel", tunnel, get_args(Tunnel)),
            ("tunnel_flags", tunnel_flags, get_args(TunnelFlags)),
        ):
            if value not in words:
                raise ConfigurationError(
                    f"expected {name} to be one of {', '.join(words)}, got {value!r}", field=field
                )
        if not 0 <= tunnel_port <= 65535 or (tunnel == "gue") != bool(tunnel_port):
            raise ConfigurationError(
                f"expected tunnel_port from 1 to 65535 with tunnel='gue' alone, got {tunnel_port!r}",
                field=field,
            )
        object.__setattr__(self, "tunnel", tunnel)
        object.__setattr__(self, "tunnel_port", tunnel_port)
        object.__setattr__(self, "tunnel_flags", tunnel_flags)
        object.__setattr__(self, "address", Endpoint.parse(address, "real server"))
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "forwarding", None if forwarding is None else _forwarding(forwarding, field))

    def __repr__(self) -> str:
        address = str(self.address if self.address.port else self.address.address)
        weight = "" if self.weight == 1 else f", weight={self.weight}"
        forwarding = "" if self.forwarding is None else f', forwarding="{self.forwarding}"'
        tunnel = "" if self.tunnel == "ipip" else f', tunnel="{self.tunnel}"'
        tunnel += f", tunnel_port={self.tunnel_port}" if self.tunnel_port else ""
        tunnel += "" if self.tunnel_flags == "nocsum" else f', tunnel_flags="{self.tunnel_flags}"'
        return f'RealServer("{address}"{weight}{forwarding}{tunnel})'


@dataclass(frozen=True, slots=True, init=False, repr=False)
class VirtualService:
    """A virtual service as it is to be. Everything about it is checked when it is made."""

    protocol: ProtocolName
    address: Endpoint
    """Address and port that clients use (VIP)."""
    scheduler: str | Scheduler
    """Who chooses a real server for a new connection: a name that ipvsadm knows, or an object of yours."""
    forwarding: Forwarding
    """How packets reach those real servers that say nothing else."""
    servers: tuple[RealServer, ...]
    """In the order in which they are added. Each is put at the head of the list, as in the kernel, so that
    round robin starts with the last."""
    fallback: str
    """The built-in scheduler that decides when a scheduler of yours fails."""

    def __init__(
        self,
        protocol: str,
        address: EndpointLike,
        scheduler: str | Scheduler = "wlc",
        forwarding: ForwardingLike = Forwarding.DR,
        servers: Iterable[RealServer] = (),
        fallback: str = "wlc",
    ) -> None:
        endpoint = Endpoint.parse(address, "virtual service")
        field = f"service {protocol} {endpoint}"
        if not isinstance(protocol, str) or protocol.lower() not in ("tcp", "udp"):
            raise ConfigurationError(f"expected protocol 'tcp' or 'udp', got {protocol!r}", field=field)
        object.__setattr__(self, "protocol", protocol.lower())
        object.__setattr__(self, "address", endpoint)
        object.__setattr__(self, "scheduler", scheduler)
        object.__setattr__(self, "forwarding", _forwarding(forwarding, field))
        object.__setattr__(self, "servers", tuple(_with_port(s, endpoint.port, field) for s in servers))
        object.__setattr__(self, "fallback", fallback)
        _core.check_service(self)

    @property
    def key(self) -> tuple[ProtocolName, Endpoint]:
        """What names the service: there is one of each protocol and address."""
        return self.protocol, self.address

    def server(self, address: EndpointLike | RealServer) -> RealServer | None:
        """The real server of that address; without a port, the service's port is meant."""
        endpoint = self._endpoint(address)
        return next((server for server in self.servers if server.address == endpoint), None)

    def forwarding_of(self, server: RealServer) -> Forwarding:
        """How packets reach this one of its servers."""
        return server.forwarding or self.forwarding

    def with_server(self, server: RealServer) -> VirtualService:
        """The same service with ``server``: in the place of the one with its address, else added."""
        server = _with_port(server, self.address.port, "")
        if self.server(server) is None:
            return self.with_servers((*self.servers, server))
        return self.with_servers(server if s.address == server.address else s for s in self.servers)

    def without_server(self, address: EndpointLike | RealServer) -> VirtualService:
        """The same service without the real server of that address."""
        endpoint = self._endpoint(address)
        return self.with_servers(server for server in self.servers if server.address != endpoint)

    def with_servers(self, servers: Iterable[RealServer]) -> VirtualService:
        """The same service with these servers."""
        return VirtualService(
            self.protocol, self.address, self.scheduler, self.forwarding, servers, self.fallback
        )

    def with_scheduler(self, scheduler: str | Scheduler, fallback: str | None = None) -> VirtualService:
        """The same service, scheduled by somebody else."""
        return VirtualService(
            self.protocol, self.address, scheduler, self.forwarding, self.servers, fallback or self.fallback
        )

    def _endpoint(self, address: EndpointLike | RealServer) -> Endpoint:
        endpoint = (
            address.address if isinstance(address, RealServer) else Endpoint.parse(address, "real server")
        )
        return endpoint if endpoint.port else Endpoint(endpoint.address, self.address.port)

    def __repr__(self) -> str:
        scheduler = f'"{self.scheduler}"' if isinstance(self.scheduler, str) else repr(self.scheduler)
        fallback = "" if isinstance(self.scheduler, str) else f', fallback="{self.fallback}"'
        servers = "".join(f"\n    {server!r}," for server in self.servers)
        servers = f"[{servers}\n]" if servers else "[]"
        return (
            f'VirtualService("{self.protocol}", "{self.address}", scheduler={scheduler}, '
            f'forwarding="{self.forwarding}"{fallback}, servers={servers})'
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that :meth:`Engine.apply` made."""

    action: Literal["added", "edited", "removed"]
    service: VirtualService
    """The service, as it is afterwards (or was, if it was removed)."""
    server: RealServer | None = None
    """The real server that was added, edited or removed; ``None``: the service itself."""

    def __str__(self) -> str:
        service = f"service {self.service.protocol} {self.service.address}"
        return f"{self.action} {service}" + (f": real server {self.server.address}" if self.server else "")


def changes(before: Iterable[VirtualService], after: Iterable[VirtualService]) -> Iterator[Change]:
    """What has to be done to get from one wish to another, service by service."""
    old, new = ({service.key: service for service in services} for services in (before, after))
    for key in old.keys() - new.keys():
        yield Change("removed", old[key])
    for key, service in new.items():
        was = old.get(key)
        if was is None:
            yield Change("added", service)
        else:
            yield from _service_changes(was, service)


def _service_changes(before: VirtualService, after: VirtualService) -> Iterator[Change]:
    if (before.scheduler, before.fallback) != (after.scheduler, after.fallback):
        yield Change("edited", after)
    for server in before.servers:
        if after.server(server) is None:
            yield Change("removed", after, server)
    for server in after.servers:
        was = before.server(server)
        if was is None:
            yield Change("added", after, server)
        elif (was.weight, before.forwarding_of(was)) != (server.weight, after.forwarding_of(server)):
            yield Change("edited", after, server)


def _with_port(server: RealServer, port: int, field: str) -> RealServer:
    if not isinstance(server, RealServer):
        raise ConfigurationError(f"expected a RealServer, got {server!r}", field=field)
    if server.address.port:
        return server
    return replace(server, address=Endpoint(server.address.address, port))


def _forwarding(value: ForwardingLike, field: str) -> Forwarding:
    try:
        return Forwarding(value)
    except ValueError:
        raise ConfigurationError(
            f"expected a forwarding method: nat, dr or tun, or ipvsadm's words for them, got {value!r}",
            field=field,
        ) from None
