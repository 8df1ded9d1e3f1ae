"""The engine, driven by hand: frames in, frames out, time is an argument.

It has no devices, threads or clock of its own::

    engine = Engine(
        interfaces=[Interface("c", mac="02:00:00:00:00:01", addresses=["10.0.0.1/24"]), …],
        neighbours={"10.0.0.11": "02:00:00:00:00:0b"},
        services=[web],
    )
    outcome = engine.process("c", frame, now=0.0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, TypeAlias

from fastlvs import _core
from fastlvs._core import Connections, Outcome, Services
from fastlvs.balancer import Balancer
from fastlvs.errors import ConfigurationError
from fastlvs.network import AddressLike, Interface, NetworkLike, Route, parse_address, parse_network
from fastlvs.service import ProtocolName, RealServer, ServiceLike, VirtualService, parse_timeouts, service_key
from fastlvs.verdict import DropReason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FrameLike: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]

__all__ = ["Counters", "Engine", "Mark", "Outcome", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an engine behaves, with the kernel's names and defaults. Times are seconds."""

    timeout_tcp: float = 900.0
    """How long an established TCP connection is kept after its last packet (``ipvsadm --set``)."""
    timeout_tcp_fin: float = 120.0
    """The same after the server's FIN."""
    timeout_udp: float = 300.0
    """The same for UDP."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """The same for any state: ``{"tcp_time_wait": 30.0, "sctp_established": 3600.0}``."""
    expire_nodest_conn: bool = False
    """Whether a connection whose real server was removed ends with its next packet, instead of having its
    packets dropped until it expires."""
    expire_quiescent_template: bool = False
    """Whether persistent clients of a server of weight 0 go to another one."""
    conn_reuse_mode: int = 1
    """Whether a SYN on the addresses of a closing connection starts a new one: 0 never, any other number in
    TIME_WAIT and CLOSE, 2 and 3 in FIN_WAIT too where only the client is seen."""
    sloppy_tcp: bool = False
    """Whether any TCP segment but a RST may start a connection."""
    sloppy_sctp: bool = False
    """Whether any SCTP chunk but an ABORT may start a connection."""
    schedule_icmp: bool = False
    """Whether an ICMP error about a packet of no connection, which a service's server may have sent, is given
    to a server."""
    nat_icmp_send: bool = False
    """Whether a masqueraded server is told that its packet belongs to no connection, instead of having it
    routed on as it is."""
    pmtu_disc: bool = True
    """Whether a client's "don't fragment" holds for the tunnel that its packet travels in."""
    drop_entry: int = 0
    """Whether half-open and idle connections are dropped at random: 0 never, 1 or 2 while memory is scarce, 3
    always."""
    drop_packet: int = 0
    """Whether some of the packets that would start a connection are dropped, the same way."""
    secure_tcp: int = 0
    """Whether TCP connections count as established only when the server has answered, the same way."""
    amemthresh: int = 1024
    """Memory is scarce when less than this is available, in pages of 4 KiB."""
    am_droprate: int = 10
    """``drop_packet=3`` drops one of so many."""
    lblc_expiration: float = 86400.0
    """How long lblc remembers a destination that nobody asks for."""
    lblcr_expiration: float = 86400.0
    """The same for lblcr, and how long a destination's set of servers stays as it is before it shrinks."""
    connection_limit: int = 10_000_000
    """The most connections that one worker keeps, persistence templates among them."""

    def __post_init__(self) -> None:
        parse_timeouts(self.timeouts, "timeouts")
        seconds = ("timeout_tcp", "timeout_tcp_fin", "timeout_udp", "lblc_expiration", "lblcr_expiration")
        for name in seconds:
            value = getattr(self, name)
            if not 0 < value < 2**31:
                raise ConfigurationError(f"expected seconds above 0, got {value!r}", field=name)
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ConfigurationError(f"expected 0 to {limit}, got {value!r}", field=name)


_LIMITS = {
    "conn_reuse_mode": 3,
    "drop_entry": 3,
    "drop_packet": 3,
    "secure_tcp": 3,
    "amemthresh": 2**31 - 1,
    "am_droprate": 2**31 - 1,
    "connection_limit": 2**32 - 1,
}


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


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine counted: every frame under one verdict, every drop under one reason."""

    frames: int
    """All frames processed: the sum of the five verdicts."""
    forward: int
    reply: int
    to_host: int
    queued: int
    drop: int
    drops: dict[DropReason, int]
    """The drops by reason, reasons that never occurred left out."""

    @classmethod
    def _of(cls, values: tuple[int, int, int, int, int, dict[str, int]]) -> Counters:
        frames, forward, reply, to_host, queued, drops = values
        reasons = {DropReason(name): count for name, count in drops.items() if count}
        return cls(frames, forward, reply, to_host, queued, sum(drops.values()), reasons)


class Engine(Balancer):
    """A director without devices, threads and clock.

    Its time is what the caller says, in seconds from any origin, and never goes back: a ``now`` before the
    latest one counts as that.
    """

    def __init__(
        self,
        interfaces: Iterable[Interface],
        *,
        routes: Iterable[Route] = (),
        neighbours: Mapping[AddressLike, str] | None = None,
        local: Iterable[NetworkLike] = (),
        owned: Iterable[AddressLike] = (),
        marks: Iterable[Mark] = (),
        services: Iterable[VirtualService] = (),
        settings: Settings | None = None,
    ) -> None:
        """An engine without connections, at time 0.

        Args:
            interfaces: the director's interfaces. Networks of their addresses are on the link.
            routes: ways to everywhere else.
            neighbours: link-layer addresses of routers and servers. A packet for any other neighbour is
                dropped (``neighbour_unknown``): an engine that is driven by hand asks nobody.
            local: more addresses of the director's host, VIPs for example.
            owned: addresses that no host has and the engine alone answers for: ARP, echo, and all else that
                a host says.
            marks: which packets get a mark: the first rule that fits gives it.
            services: what is balanced; see :meth:`apply`.
            settings: how the engine behaves.
        """
        super().__init__()
        known = {parse_address(address, "neighbour"): mac for address, mac in (neighbours or {}).items()}
        self._core = _core.Engine(
            list(interfaces),
            list(routes),
            list(known.items()),
            [parse_network(network, "local") for network in local],
            [parse_address(address, "owned") for address in owned],
        )
        self.settings = settings or Settings()
        self._core.set_marks(list(marks))
        self.apply(services)

    def process(self, interface: str, frame: FrameLike, now: float = 0.0) -> Outcome:
        """Takes one Ethernet frame its whole way. It never raises for what is in the frame.

        Args:
            interface: the name of the interface that it comes in on.
            frame: the frame from its link-layer header on, without checksum at the end.
            now: the time, in seconds. Timers that end before it end first.

        Raises:
            InterfaceError: the engine has no such interface.
        """
        return self._core.process(interface, frame, now)

    def process_output(self, interface: str, frame: FrameLike, now: float = 0.0) -> Outcome:
        """Takes a frame that the director's own host sends: the answer of a real server that runs on the
        director, an error about a connection, a local client's request.

        With the verdict ``TO_HOST`` it goes its way as it is. Arguments and errors are those of
        :meth:`process`, with the interface that the frame is about to leave by.
        """
        return self._core.process_output(interface, frame, now)

    def process_many(
        self, interface: str, frames: Sequence[FrameLike], times: Sequence[float] | NDArray[np.float64]
    ) -> list[Outcome]:
        """Takes many frames their way, as :meth:`process` does one by one; ``times`` has a time for each.

        It does not describe the way (``Outcome.way`` is empty), and lets other threads run meanwhile.
        """
        return self._core.process_many(interface, frames, times)

    def advance(self, to: float) -> None:
        """Lets time pass: connections expire."""
        self._core.advance(to)

    @property
    def settings(self) -> Settings:
        """How the engine behaves. New settings count for the packets that follow."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._core.set_settings(settings)
        self._settings = settings

    @property
    def now(self) -> float:
        """The latest time that the engine was told, in seconds."""
        return self._core.now

    @property
    def services(self) -> Services:
        """The services, their servers and what these carry. It prints like ``ipvsadm -Ln``."""
        return self._core.services()

    @property
    def connections(self) -> Connections:
        """The connections as they are now. It prints like ``ipvsadm -Lnc``."""
        return self._core.connections()

    @property
    def templates(self) -> Connections:
        """The persistence templates as they are now: which client (with port 0) stays with which server."""
        return self._core.templates()

    def set_available_memory(self, size: int) -> None:
        """Says how many bytes of memory are available, for the defences that act when it is scarce.

        Until it is told there is plenty.
        """
        self._core.set_available_memory(size // 4096)

    def zero(self, service: ServiceLike | None = None) -> None:
        """Lets the counters of a service and its servers, or all of them, begin anew (``ipvsadm -Z``).

        As in the kernel what came in the last two seconds may stay counted. Active and inactive connections
        are no counters: they stay.
        """
        self._core.zero(None if service is None else service_key(service))

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return Counters._of(self._core.counters())

    def _apply(self, services: tuple[VirtualService, ...]) -> None:
        self._core.apply(services)

    def _edited(self, service: VirtualService, server: RealServer) -> None:
        self._core.edited(service.protocol, service.address, server.address)

    def __repr__(self) -> str:
        return (
            f"<Engine at {self.now:g} s: {len(self.services)} services, {len(self.connections)} connections>"
        )
