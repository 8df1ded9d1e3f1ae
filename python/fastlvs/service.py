"""What is to be balanced: virtual services, as plain values.

They say what you want and never change. :meth:`Engine.apply` makes the engine agree with them; what it then
has (connections, counters) is read from :attr:`Engine.services`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, TypeAlias

from fastlvs import _core, checks
from fastlvs.errors import ArgumentError, ConfigurationError
from fastlvs.network import (
    Endpoint,
    EndpointLike,
    ProtocolName,
    ServiceAddress,
    ServiceAddressLike,
    service_address,
)
from fastlvs.schedulers import Scheduler
from fastlvs.server import Forwarding, ForwardingLike, RealServer, parse_forwarding
from fastlvs.timeouts import parse_timeouts

if TYPE_CHECKING:
    from fastlvs._core import Service

__all__ = [
    "ServiceLike",
    "VirtualService",
    "service_key",
    "spec",
]


class _Specified:
    """Has its spec beside its fields, so that it is neither compared nor copied with them."""

    __slots__ = ("_spec",)

    _spec: _core.Spec


@dataclass(frozen=True, slots=True, init=False, repr=False)
class VirtualService(_Specified):
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
        if not isinstance(protocol, str) or protocol.lower() not in ("tcp", "udp", "sctp", "fwm"):
            raise checks.refused("protocol 'tcp', 'udp' or 'sctp'", protocol, "service", protocol, address)
        protocol, endpoint = protocol.lower(), service_address(address)
        if protocol == "fwm" and not _is_mark(endpoint):
            expected = "a mark's number as an address, with port 0, as VirtualService.of_mark makes it"
            raise checks.refused(expected, address, "service fwm")
        field = _name(protocol, endpoint)
        values: dict[str, object] = {
            "protocol": protocol,
            "address": endpoint,
            "scheduler": _scheduler(scheduler, field),
            "forwarding": parse_forwarding(forwarding, field),
            "servers": tuple(
                _with_port(server, endpoint.port) for server in checks.items(servers, RealServer, field)
            ),
            "fallback": _fallback(fallback, field),
            "flags": _flags(flags, scheduler, field),
            "persistence": None if persistence is None else _persistence(persistence, field),
            "netmask": _netmask(netmask, endpoint, field),
            "one_packet": checks.boolean(one_packet, field, "one_packet"),
            "timeouts": parse_timeouts(timeouts, field),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_spec", _core.Spec(self))

    @classmethod
    def of_mark(cls, mark: int, *args: Any, ipv6: bool = False, **options: Any) -> VirtualService:
        """The service of all packets with a mark (``ipvsadm -f``); see :class:`Mark` for who gets one.

        Args:
            mark: its number, above 0.
            args: what follows the address of a service: scheduler, forwarding, servers, fallback.
            ipv6: whether it is for IPv6 packets; IPv4 has marks of its own.
            options: the keyword arguments of a service.
        """
        known = [field.name for field in fields(cls) if field.name not in ("protocol", "address")]
        checks.arguments(options, [*known, "ipv6"])
        if len(args) > 4:
            raise ArgumentError(
                f"expected scheduler, forwarding, servers and fallback, got {len(args)} values"
            )
        for name in known[: len(args)]:
            if name in options:
                raise ArgumentError("expected it once, got it by its place and by its name", field=name)
        return cls("fwm", (_mark_address(mark, checks.boolean(ipv6, "ipv6")), 0), *args, **options)

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
        place = self._place(address)
        return None if place is None else self.servers[place]

    def _place(self, address: EndpointLike | RealServer) -> int | None:
        """The place of the real server of that address among the servers."""
        endpoint = self._endpoint(address)
        places = (place for place, server in enumerate(self.servers) if server.address == endpoint)
        return next(places, None)

    def forwarding_of(self, server: RealServer) -> Forwarding:
        """How packets reach this one of its servers."""
        return _real_server(server, self.name).forwarding or self.forwarding

    def with_server(self, server: RealServer) -> VirtualService:
        """The same service with ``server``: in the place of the one with its address, else added."""
        server = _with_port(_real_server(server, self.name), self.address.port)
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
        flags = {flag for flag in self.flags if _belongs(flag, scheduler)}
        fallback = self.fallback if fallback is None else fallback
        return self.replace(scheduler=scheduler, fallback=fallback, flags=flags)

    def replace(self, **changes: Any) -> VirtualService:
        """The same service with other values: ``service.replace(persistence=300)``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        checks.arguments(changes, values)
        return VirtualService(**(values | changes))

    def _endpoint(self, address: EndpointLike | RealServer) -> Endpoint:
        server = address if isinstance(address, RealServer) else RealServer(address)
        return _with_port(server, self.address.port).address

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


def spec(service: VirtualService) -> _core.Spec:
    """The service as the engine understands it."""
    try:
        return service._spec
    except AttributeError:  # a copy has the fields alone
        made = _core.Spec(service)
        object.__setattr__(service, "_spec", made)
        return made


def service_key(service: ServiceLike) -> tuple[str, ServiceAddress]:
    """Protocol and address of what names a service."""
    if isinstance(service, VirtualService | _core.Service):
        return service.protocol, service.address
    if not isinstance(service, tuple) or len(service) != 2 or not isinstance(service[0], str):
        expected = "a service, or what names one, like ('tcp', '192.0.2.10:80') or ('fwm', 7)"
        raise ArgumentError(f"expected {expected}, got {checks.shown(service)}", field="service")
    protocol, address = service[0].lower(), service[1]
    if protocol not in ("tcp", "udp", "sctp", "fwm", "fwm6"):
        raise checks.refused("protocol 'tcp', 'udp', 'sctp', 'fwm' or 'fwm6'", service[0], "service")
    if isinstance(address, str | tuple | IPv4Address | IPv6Address) or not protocol.startswith("fwm"):
        # A number beside a protocol that is no mark's is refused in there, in the words for addresses.
        return protocol.removesuffix("6"), service_address(address)  # type: ignore[arg-type]
    return "fwm", Endpoint(_mark_address(address, ipv6=protocol == "fwm6"), 0)


def _real_server(value: RealServer, name: str) -> RealServer:
    if not isinstance(value, RealServer):
        raise checks.refused("a RealServer", value, "service", name)
    return value


def _with_port(server: RealServer, port: int) -> RealServer:
    if port == 0 and server.own_port and server.address.port == 0:
        return server.replace(own_port=False)
    if server.own_port or port == 0:
        return server
    return server.replace(address=Endpoint(server.address.address, port))


def _scheduler(value: str | Scheduler, field: str) -> str | Scheduler:
    """What the engine can be asked about: it repeats what it does not know."""
    if isinstance(value, str) and len(value) > checks.SHOWN:
        raise checks.refused(f"one of {' '.join(_core.SCHEDULERS)}", value, field)
    return value


def _fallback(name: str, field: str) -> str:
    if isinstance(name, str) and name in _core.SCHEDULERS:
        return name
    known = " ".join(_core.SCHEDULERS)
    message = f'unknown fallback "{checks.shown(name, str)}"; expected one of {known}'
    raise ConfigurationError(message, field=field)


def _persistence(value: float, field: str) -> float:
    try:
        return checks.seconds(value)
    except ConfigurationError:
        expected = f"a persistence timeout above 0 and up to {checks.LONGEST} seconds"
        raise checks.refused(expected, value, field) from None


def _belongs(flag: str, scheduler: object) -> bool:
    return isinstance(scheduler, str) and flag.partition("-")[0] == scheduler


def _flags(flags: str | Iterable[str], scheduler: object, field: str) -> frozenset[str]:
    words = flags.replace(" ", "").split(",") if isinstance(flags, str) else checks.items(flags, str, field)
    known = frozenset(word for word in words if word)
    for flag in sorted(known):
        if flag not in _FLAGS:
            raise checks.refused(f"flags {' '.join(_FLAGS)}", flag, field)
        if not _belongs(flag, scheduler):
            message = f"the flag {flag} does not fit the scheduler {checks.shown(scheduler, str)}"
            raise ConfigurationError(message, field=field)
    return known


_FLAGS = ("sh-fallback", "sh-port", "mh-fallback", "mh-port")


def _netmask(
    value: str | int | IPv4Address | IPv6Address | None, service: ServiceAddress, field: str
) -> IPv4Address | IPv6Address | None:
    if value is None:
        return None
    family, bits = type(service.address), service.address.max_prefixlen
    if isinstance(value, IPv4Address | IPv6Address | str):
        try:
            return family(str(value))
        except ValueError:
            pass
    else:
        try:
            length = checks.integer(value, "bits", 1, bits)
        except ConfigurationError:
            pass
        else:
            return family((1 << bits) - (1 << bits - length))
    raise checks.refused(f"a netmask like '255.255.255.0', or from 1 to {bits} leading bits", value, field)


def _mark_address(mark: int, ipv6: bool) -> IPv4Address | IPv6Address:
    mark = checks.integer(mark, "a mark", 1, 2**32 - 1, "service fwm")
    return IPv6Address(mark << 96) if ipv6 else IPv4Address(mark)


def _is_mark(address: ServiceAddress) -> bool:
    """Whether an address is the way to write a mark."""
    if not isinstance(address, Endpoint) or address.port:
        return False
    number = int(address.address)
    return number > 0 and (address.address.version == 4 or number % 2**96 == 0)


def _name(protocol: str, address: ServiceAddress) -> str:
    if protocol != "fwm":
        return f"service {protocol} {address}"
    number = int(address.address)
    return f"service fwm {number}" if address.address.version == 4 else f"service fwm {number >> 96} IPv6"


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
