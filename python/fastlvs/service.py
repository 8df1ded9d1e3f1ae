"""What is to be balanced: virtual services and their real servers, as plain values.

They say what you want and never change. :meth:`Engine.apply` makes the engine agree with them; what it then
has (connections, counters) is read from :attr:`Engine.services`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fastlvs import _core
from fastlvs.errors import ConfigurationError
from fastlvs.network import (
    Endpoint,
    EndpointLike,
    ServiceAddress,
    ServiceAddressLike,
    service_address,
)

if TYPE_CHECKING:
    from fastlvs._core import Service
    from fastlvs.schedulers import Scheduler

__all__ = [
    "Change",
    "Forwarding",
    "ForwardingLike",
    "ProtocolName",
    "RealServer",
    "ServiceLike",
    "VirtualService",
    "parse_timeouts",
    "service_key",
]

ProtocolName: TypeAlias = Literal["tcp", "udp", "sctp", "fwm"]
"""A transport protocol; ``"fwm"`` for the service of a mark, as ipvsadm lists it."""

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
    upper_threshold: int
    """With so many connections it gets no new ones; 0: no limit."""
    lower_threshold: int
    """Below so many it gets new ones again; 0: three quarters of the upper threshold."""

    def __init__(
        self,
        address: EndpointLike,
        weight: int = 1,
        forwarding: ForwardingLike | None = None,
        *,
        tunnel: Tunnel = "ipip",
        tunnel_port: int = 0,
        tunnel_flags: TunnelFlags = "nocsum",
        upper_threshold: int = 0,
        lower_threshold: int = 0,
    ) -> None:
        field = f"real server {address}"
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
        object.__setattr__(self, "weight", _number(weight, "a weight", field))
        object.__setattr__(self, "forwarding", None if forwarding is None else _forwarding(forwarding, field))
        object.__setattr__(self, "upper_threshold", _number(upper_threshold, "an upper threshold", field))
        object.__setattr__(self, "lower_threshold", _number(lower_threshold, "a lower threshold", field))
        if lower_threshold > upper_threshold:
            message = f"expected a lower threshold up to {upper_threshold}, the upper, got {lower_threshold}"
            raise ConfigurationError(message, field=field)

    def replace(self, **changes: Any) -> RealServer:
        """The same server with other values: ``server.replace(weight=0)``."""
        return RealServer(**({field.name: getattr(self, field.name) for field in fields(self)} | changes))

    def __repr__(self) -> str:
        address = str(self.address if self.address.port else self.address.address)
        weight = "" if self.weight == 1 else f", weight={self.weight}"
        forwarding = "" if self.forwarding is None else f', forwarding="{self.forwarding}"'
        tunnel = "" if self.tunnel == "ipip" else f', tunnel="{self.tunnel}"'
        tunnel += f", tunnel_port={self.tunnel_port}" if self.tunnel_port else ""
        tunnel += "" if self.tunnel_flags == "nocsum" else f', tunnel_flags="{self.tunnel_flags}"'
        upper = f", upper_threshold={self.upper_threshold}" if self.upper_threshold else ""
        lower = f", lower_threshold={self.lower_threshold}" if self.lower_threshold else ""
        return f'RealServer("{address}"{weight}{forwarding}{tunnel}{upper}{lower})'


@dataclass(frozen=True, slots=True, init=False, repr=False)
class VirtualService:
    """A virtual service as it is to be. Everything about it is checked when it is made.

    One of a mark, whatever its packets' addresses, protocols and ports, is made by :meth:`of_mark`.
    """

    protocol: ProtocolName
    address: ServiceAddress
    """Address and port that clients use (VIP). Port 0: all ports that have no service of their own, which
    needs persistence. Beyond the kernel, a block of addresses and a range of ports,
    ``"192.0.2.0/28:8000-8999"``: whatever of these has no service of its own. Real servers of a range have
    port 0, the packets' own, unless NAT leads to another. For a mark its number written as an address, as the
    kernel lists it."""
    scheduler: str | Scheduler
    """Who chooses a real server for a new connection: a name that ipvsadm knows, or an object of yours."""
    forwarding: Forwarding
    """How packets reach those real servers that say nothing else."""
    servers: tuple[RealServer, ...]
    """In the order in which they are added. Each is put at the head of the list, as in the kernel, so that
    round robin starts with the last."""
    fallback: str
    """The built-in scheduler that decides when a scheduler of yours fails."""
    flags: frozenset[str]
    """Options of the schedulers sh and mh: ``"sh-port"`` hashes the client's port too, ``"sh-fallback"`` looks
    for another server when the one that the hash names may not be chosen; ``"mh-port"``, ``"mh-fallback"``."""
    persistence: float | None
    """How long a client stays with its server after its latest new connection, in seconds; ``None``: every
    connection is scheduled."""
    netmask: IPv4Address | IPv6Address | None
    """The bits of a client's address that tell clients apart for persistence; ``None``: all of them."""
    one_packet: bool
    """Whether every UDP datagram is scheduled for itself (``ipvsadm --ops``)."""
    timeouts: tuple[tuple[str, float], ...]
    """States whose timeout differs from that of :class:`Settings`, and seconds."""

    def __init__(
        self,
        protocol: str,
        address: ServiceAddressLike,
        scheduler: str | Scheduler = "wlc",
        forwarding: ForwardingLike = Forwarding.DR,
        servers: Iterable[RealServer] = (),
        fallback: str = "wlc",
        *,
        flags: str | Iterable[str] = (),
        persistence: float | None = None,
        netmask: str | int | IPv4Address | IPv6Address | None = None,
        one_packet: bool = False,
        timeouts: Mapping[str, float] | Iterable[tuple[str, float]] = (),
    ) -> None:
        """A service of one address and port.

        Args:
            protocol: ``"tcp"``, ``"udp"`` or ``"sctp"``.
            address: VIP and port, or a block and a range of them.
            scheduler: its name, or an object with a method ``select``.
            forwarding: how packets reach its servers.
            servers: the real servers.
            fallback: who decides when a scheduler of yours fails.
            flags: of sh and mh, also as one string with commas.
            persistence: in seconds.
            netmask: ``"255.255.255.0"``, or the number of leading bits, 24.
            one_packet: for UDP.
            timeouts: ``{"tcp_established": 60.0, "udp": 0.5}``; the names are those of
                ``Settings.timeouts``.
        """
        field = f"service {protocol} {address}"
        if not isinstance(protocol, str) or protocol.lower() not in ("tcp", "udp", "sctp", "fwm"):
            raise ConfigurationError(
                f"expected protocol 'tcp', 'udp' or 'sctp', got {protocol!r}", field=field
            )
        protocol, endpoint = protocol.lower(), service_address(address)
        field = _name(protocol, endpoint)
        values: dict[str, object] = {
            "protocol": protocol,
            "address": endpoint,
            "scheduler": scheduler,
            "forwarding": _forwarding(forwarding, field),
            "servers": tuple(_with_port(server, endpoint.port, field) for server in servers),
            "fallback": fallback,
            "flags": _flags(flags, scheduler, field),
            "persistence": None if persistence is None else float(persistence),
            "netmask": _netmask(netmask, endpoint, field),
            "one_packet": bool(one_packet),
            "timeouts": parse_timeouts(timeouts, field),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _core.check_service(self)

    @classmethod
    def of_mark(cls, mark: int, *args: Any, ipv6: bool = False, **options: Any) -> VirtualService:
        """The service of all packets with a mark (``ipvsadm -f``); see :class:`Mark` for who gets one.

        Args:
            mark: its number, above 0.
            args: what follows the address of a service: scheduler, forwarding, servers, fallback.
            ipv6: whether it is for IPv6 packets; IPv4 has marks of its own.
            options: the keyword arguments of a service.
        """
        return cls("fwm", (_mark_address(mark, ipv6), 0), *args, **options)

    @property
    def key(self) -> tuple[ProtocolName, ServiceAddress]:
        """What names the service: there is one of each protocol and address."""
        return self.protocol, self.address

    @property
    def mark(self) -> int | None:
        """The mark, when it is the service of one."""
        if self.protocol != "fwm":
            return None
        address = self.address.address
        return int(address) >> (96 if address.version == 6 else 0)

    @property
    def name(self) -> str:
        """``tcp 192.0.2.10:80``, or ``fwm 7``."""
        return _name(self.protocol, self.address).removeprefix("service ")

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
        return self.replace(servers=servers)

    def with_scheduler(self, scheduler: str | Scheduler, fallback: str | None = None) -> VirtualService:
        """The same service, scheduled by somebody else. Flags of another scheduler go."""
        flags = {flag for flag in self.flags if flag.partition("-")[0] == scheduler}
        return self.replace(scheduler=scheduler, fallback=fallback or self.fallback, flags=flags)

    def replace(self, **changes: Any) -> VirtualService:
        """The same service with other values: ``service.replace(persistence=300)``."""
        return VirtualService(**({field.name: getattr(self, field.name) for field in fields(self)} | changes))

    def _endpoint(self, address: EndpointLike | RealServer) -> Endpoint:
        endpoint = (
            address.address if isinstance(address, RealServer) else Endpoint.parse(address, "real server")
        )
        return endpoint if endpoint.port else Endpoint(endpoint.address, self.address.port)

    def __repr__(self) -> str:
        if self.mark is None:
            head = f'VirtualService("{self.protocol}", "{self.address}"'
        else:
            head = f"VirtualService.of_mark({self.mark}"
        scheduler = f'"{self.scheduler}"' if isinstance(self.scheduler, str) else repr(self.scheduler)
        options = {
            "fallback": None if isinstance(self.scheduler, str) else self.fallback,
            "flags": ",".join(sorted(self.flags)),
            "persistence": self.persistence,
            "netmask": self.netmask and str(self.netmask),
            "one_packet": self.one_packet,
            "timeouts": dict(self.timeouts),
            "ipv6": self.mark is not None and self.address.address.version == 6,
        }
        given = "".join(f", {name}={_quoted(value)}" for name, value in options.items() if value)
        servers = "".join(f"\n    {server!r}," for server in self.servers)
        servers = f"[{servers}\n]" if servers else "[]"
        return f'{head}, scheduler={scheduler}, forwarding="{self.forwarding}"{given}, servers={servers})'


ServiceLike: TypeAlias = "VirtualService | Service | tuple[str, ServiceAddressLike] | tuple[str, int]"
"""What names a service: one like it, what :attr:`Engine.services` gives, ``("tcp", "192.0.2.10:80")``, or
``("fwm", 7)`` (``("fwm6", 7)`` for IPv6)."""


def service_key(service: ServiceLike) -> tuple[str, ServiceAddress]:
    """Protocol and address of what names a service."""
    if not isinstance(service, tuple):
        return service.protocol, service.address
    protocol, address = service[0].lower(), service[1]
    if isinstance(address, int):
        return "fwm", Endpoint(_mark_address(address, ipv6=protocol == "fwm6"), 0)
    return protocol, service_address(address)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that :meth:`Engine.apply` made."""

    action: Literal["added", "edited", "removed"]
    service: VirtualService
    """The service, as it is afterwards (or was, if it was removed)."""
    server: RealServer | None = None
    """The real server that was added, edited or removed; ``None``: the service itself."""

    def __str__(self) -> str:
        server = f": real server {self.server.address}" if self.server else ""
        return f"{self.action} service {self.service.name}{server}"


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
    if before.with_servers(()) != after.with_servers(()):
        yield Change("edited", after)
    for server in before.servers:
        if after.server(server) is None:
            yield Change("removed", after, server)
    for server in after.servers:
        was = before.server(server)
        if was is None:
            yield Change("added", after, server)
        elif _settled(was, before) != _settled(server, after):
            yield Change("edited", after, server)


def _settled(server: RealServer, service: VirtualService) -> RealServer:
    return server.replace(forwarding=service.forwarding_of(server))


def _with_port(server: RealServer, port: int, field: str) -> RealServer:
    if not isinstance(server, RealServer):
        raise ConfigurationError(f"expected a RealServer, got {server!r}", field=field)
    if server.address.port:
        return server
    return server.replace(address=Endpoint(server.address.address, port))


def _forwarding(value: ForwardingLike, field: str) -> Forwarding:
    try:
        return Forwarding(value)
    except ValueError:
        raise ConfigurationError(
            f"expected a forwarding method: nat, dr or tun, or ipvsadm's words for them, got {value!r}",
            field=field,
        ) from None


def _number(value: int, what: str, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ConfigurationError(f"expected {what} from 0 to 2147483647, got {value!r}", field=field)
    return value


def _flags(flags: str | Iterable[str], scheduler: object, field: str) -> frozenset[str]:
    words = flags.replace(" ", "").split(",") if isinstance(flags, str) else flags
    known = frozenset(word for word in words if word)
    for flag in sorted(known):
        if flag not in _FLAGS:
            raise ConfigurationError(f"expected flags {' '.join(_FLAGS)}, got {flag!r}", field=field)
        if flag.partition("-")[0] != scheduler:
            raise ConfigurationError(f"the flag {flag} does not fit the scheduler {scheduler}", field=field)
    return known


_FLAGS = ("sh-fallback", "sh-port", "mh-fallback", "mh-port")


def _netmask(
    value: str | int | IPv4Address | IPv6Address | None, service: ServiceAddress, field: str
) -> IPv4Address | IPv6Address | None:
    if value is None:
        return None
    bits = service.address.max_prefixlen
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= bits:
        return type(service.address)((1 << bits) - (1 << bits - value))
    try:
        return type(service.address)(str(value) if not isinstance(value, int) else "")
    except ValueError:
        message = f"expected a netmask like '255.255.255.0', or from 1 to {bits} leading bits, got {value!r}"
        raise ConfigurationError(message, field=field) from None


def parse_timeouts(
    timeouts: Mapping[str, float] | Iterable[tuple[str, float]], field: str
) -> tuple[tuple[str, float], ...]:
    """Timeouts by state, checked; ``field`` is what an error calls them."""
    pairs = tuple(sorted(dict(timeouts).items()))
    for name, seconds in pairs:
        if name not in _core.TIMEOUTS:
            known = " ".join(_core.TIMEOUTS)
            raise ConfigurationError(f"unknown timeout {name!r}; expected one of {known}", field=field)
        if not 0 < seconds < 2**31:
            raise ConfigurationError(f"expected seconds above 0 for {name}, got {seconds!r}", field=field)
    return pairs


def _mark_address(mark: int, ipv6: bool) -> IPv4Address | IPv6Address:
    if isinstance(mark, bool) or not isinstance(mark, int) or not 0 < mark < 2**32:
        raise ConfigurationError(f"expected a mark from 1 to 4294967295, got {mark!r}", field="service fwm")
    return IPv6Address(mark << 96) if ipv6 else IPv4Address(mark)


def _name(protocol: str, address: ServiceAddress) -> str:
    if protocol != "fwm":
        return f"service {protocol} {address}"
    number = int(address.address)
    return f"service fwm {number}" if address.address.version == 4 else f"service fwm {number >> 96} IPv6"


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
