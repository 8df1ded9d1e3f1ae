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
from typing import TYPE_CHECKING, TypeAlias

from fastlvs import _core, checks
from fastlvs._core import Outcome
from fastlvs.balancer import Balancer
from fastlvs.marks import Mark
from fastlvs.network import (
    AddressLike,
    Interface,
    NetworkLike,
    Route,
    parse_address,
    parse_neighbours,
    parse_network,
)
from fastlvs.service import ServiceLike, VirtualService
from fastlvs.settings import Settings
from fastlvs.statistics import Counters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FrameLike: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]

__all__ = ["Engine", "Outcome"]


class Engine(Balancer):
    """A director without devices, threads and clock.

    Its time is what the caller says, in seconds from any origin, and never goes back: a ``now`` before the
    latest one counts as that.
    """

    _core: _core.Engine

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
        self._core = _core.Engine(
            checks.items(interfaces, Interface, "interfaces"),
            checks.items(routes, Route, "routes"),
            parse_neighbours(neighbours),
            [parse_network(network, "local") for network in checks.several(local, "networks", "local")],
            [parse_address(address, "owned") for address in checks.several(owned, "addresses", "owned")],
        )
        self.settings = Settings() if settings is None else settings
        self._core.set_marks(checks.items(marks, Mark, "marks"))
        self.apply(services)

    def process(self, interface: str, frame: FrameLike, now: float = 0.0) -> Outcome:
        """Takes one Ethernet frame its whole way. It never raises for what is in the frame.

        Args:
            interface: the name of the interface that it comes in on.
            frame: the frame from its link-layer header on, without checksum at the end.
            now: the time, in seconds. Timers that end before it end first, and ``Outcome.frames`` begins
                with what :meth:`advance` would have returned.

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

    def advance(self, to: float) -> list[tuple[str, bytes]]:
        """Lets time pass: connections expire, and the fragments of datagrams that were not completed in time.

        Returns the frames that are sent meanwhile, in the shape of ``Outcome.frames``: who sent the first
        fragment of such a datagram is told (ICMP time exceeded).
        """
        return self._core.advance(to)

    @property
    def settings(self) -> Settings:
        """How the engine behaves. New settings count for the packets that follow."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        if not isinstance(settings, Settings):
            raise checks.refused("a Settings", settings, "settings")
        self._core.set_settings(settings)
        self._settings = settings

    @property
    def now(self) -> float:
        """The latest time that the engine was told, in seconds."""
        return self._core.now

    def set_available_memory(self, size: int) -> None:
        """Says how many bytes of memory are available, for the defences that act when it is scarce.

        Until it is told there is plenty.
        """
        size = checks.integer(size, "bytes", 0, 2**63 - 1, "size")
        self._core.set_available_memory(size // 4096)

    def zero(self, service: ServiceLike | None = None) -> None:
        """Lets the counters of a service and its servers, or all of them, begin anew (``ipvsadm -Z``).

        As in the kernel what came in the last two seconds may stay counted. Active and inactive connections
        are no counters: they stay.
        """
        self._core.zero(None if service is None else self._existing(service).key)

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return Counters._of(self._core.counters())

    def __repr__(self) -> str:
        return (
            f"<Engine at {self.now:g} s: {len(self.services)} services, {len(self.connections)} connections>"
        )
