"""The director: what forwards packets on this machine's interfaces, while the program runs.

::

    web = VirtualService("tcp", "192.0.2.10:80", scheduler="wlc", forwarding="nat", servers=[
        RealServer("10.0.0.11:8080", weight=3),
        RealServer("10.0.0.12:8080"),
    ])
    with Director(interfaces=["eth0", "eth1"], services=[web]) as director:
        director.wait()  # until Ctrl-C

Packets are forwarded by a thread of its own, which needs the interpreter for nothing but a scheduler of yours.
What it logs is logged under ``fastlvs``.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from fastlvs import _core, checks, schedulers
from fastlvs._core import Configuration
from fastlvs.balancer import Balancer, ServiceLike
from fastlvs.errors import ConfigurationError, FastlvsError
from fastlvs.marks import Mark
from fastlvs.network import AddressLike, EndpointLike, Route, parse_neighbours
from fastlvs.schedulers import Scheduler
from fastlvs.server import RealServer
from fastlvs.service import VirtualService, spec
from fastlvs.settings import Settings
from fastlvs.statistics import Counters

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Director", "DirectorCounters"]

PAUSE = 0.05
"""How often a server that is drained is looked at; in seconds."""

_log = logging.getLogger("fastlvs")

SPIN = 0.0005
"""How long a director looks for the next packet before it sleeps, unless something else is said; in seconds."""


@dataclass(frozen=True, slots=True)
class DirectorCounters(Counters):
    """What a director counted: every frame under one verdict, every drop under one reason, and what the machine
    adds."""

    missed: int
    """Frames that came too fast: the kernel counted them, nobody saw them."""
    refused: int
    """Frames forwarded that the interface did not take."""
    abandoned: int
    """Frames forwarded whose neighbour did not answer in time."""
    given_back: int
    """Packets that were taken from the host's own stack and, being none of ours, given back to it."""


class Director(Balancer):
    """A running director. As a context manager it is stopped at the end of the block; it leaves nothing behind.

    It may be used from several threads, but not from a scheduler's ``select``: the thread that would answer is
    the one that waits for the scheduler.
    """

    _core: _core.Director
    _read: _Read | None
    """What a file said last."""

    def __init__(
        self,
        interfaces: Iterable[str] = (),
        services: Iterable[VirtualService] = (),
        *,
        settings: Settings | None = None,
        neighbours: Mapping[AddressLike, str] | None = None,
        routes: Iterable[Route] = (),
        marks: Iterable[Mark] = (),
        spin: float = SPIN,
    ) -> None:
        """Starts it.

        Args:
            interfaces: the names of the interfaces that it serves, where packets come in and go out; all
                Ethernet interfaces that are up, but ports of a bridge, bond or team, if none is named.
            services: what it balances; see :meth:`apply`.
            settings: how its engine behaves.
            neighbours: link-layer addresses that need not be asked for. All others the kernel finds out.
            routes: ways beside those that the kernel knows.
            marks: which packets get a mark: the first rule that fits gives it.
            spin: how long it looks for the next packet before it sleeps, in seconds up to 1: more costs
                processor time, less costs latency.

        Raises:
            ConfigurationError: a value is impossible.
            CapabilityError: this process may not do what a director does (CAP_NET_ADMIN, CAP_NET_RAW).
            InterfaceError: an interface is not there, not up, or no Ethernet.
            PlatformError: the machine lacks something else.
        """
        if not (settings is None or isinstance(settings, Settings)):
            raise checks.refused("a Settings", settings, "settings")
        self._start(
            Configuration(
                checks.names(interfaces, "name", "interfaces"),
                Settings() if settings is None else settings,
                parse_neighbours(neighbours),
                checks.items(routes, Route, "routes"),
                checks.items(marks, Mark, "marks"),
                checks.seconds(spin, "spin", above_0=False, most=1),
            ),
            checks.items(services, VirtualService, "services"),
        )

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Director:
        """Starts the director that a ``director.toml`` describes. It loads the schedulers
        that the file names as ``python:module:Class``.

        Raises:
            ConfigurationError: the file says something impossible; names file, line and field.
            CapabilityError, InterfaceError, PlatformError: as the constructor.
        """
        director, loaded = cls.__new__(cls), dict[object, Scheduler]()
        read = read_configuration(path, loaded)
        director._start(*read)
        director._loaded, director._read = loaded, read
        return director

    def reload(self, path: str | PathLike[str]) -> None:
        """Does what the file says from now on: services, marks, settings, neighbours and routes. The interfaces
        stay, and so does a scheduler of yours that the service has already.

        Raises:
            ConfigurationError: the file says something impossible. Nothing has changed then.
        """
        with self._changing:
            configuration, services = read = read_configuration(path, self._loaded, self._read)
            self._core.reconfigure(configuration, [spec(service) for service in services])
            self._wanted = {service.key: service for service in services}
            self._read = read

    @property
    def counters(self) -> DirectorCounters:
        """What was counted so far."""
        engine, machine = self._core.counters()
        counted = Counters._of(engine)
        return DirectorCounters(
            *(counted.frames, counted.forward, counted.reply, counted.to_host, counted.queued),
            *(counted.drop, counted.drops),
            *machine,
        )

    @property
    def interfaces(self) -> list[str]:
        """The names of the interfaces that it serves."""
        return self._core.interfaces()

    @property
    def missing_interfaces(self) -> dict[str, str]:
        """Those of :attr:`interfaces` by which nothing comes or goes right now, each with why: ``"is gone"``,
        ``"is down"``. They are followed by name: one that is there again is served again."""
        return dict(self._core.missing_interfaces())

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._core.is_running

    def drain(
        self, service: ServiceLike, server: EndpointLike | RealServer, *, deadline: float | None = None
    ) -> bool:
        """Sends a server no new connections, and returns when its last one is over, or after ``deadline``
        seconds.

        The server stays, with weight 0; take it away with :meth:`remove_server`. A TCP or SCTP connection is
        over when both sides have closed it. With DR and TUN, whose replies do not pass, that cannot be seen:
        one that the client has closed is waited for until its timeout (``timeout_tcp_fin``, 120 s). So
        is every UDP one.

        Returns:
            Whether all connections are over.
        """
        if deadline is not None:
            deadline = checks.seconds(deadline, "deadline", above_0=False)
        self.set_weight(service, server, 0)
        existing = self._existing(service)
        wanted, place = spec(existing), self._known(existing, server)
        end = None if deadline is None else time.monotonic() + deadline
        while self._core.unfinished(wanted, place):
            now = time.monotonic()
            if end is not None and now >= end:
                return False
            time.sleep(PAUSE if end is None else min(PAUSE, end - now))
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Waits until Ctrl-C: that ends the waiting, and the program goes on to stop the director.

        Args:
            timeout: waits no longer than so many seconds. With one, Ctrl-C raises ``KeyboardInterrupt`` as
                anywhere.

        Raises:
            FastlvsError: the director ended by itself.
        """
        if timeout is not None:
            timeout = checks.seconds(timeout, "timeout", above_0=False)
        try:
            self._core.wait(timeout)
        except KeyboardInterrupt:
            if timeout is not None:
                raise

    def stop(self) -> None:
        """Ends it: the host's own stack has everything again. A second call does nothing.

        Raises:
            FastlvsError: it had ended by itself before.
            StuckError: a scheduler of yours does not return. All is cleaned up, and the thread that waits for
                it was left behind.
        """
        _running.discard(self)
        self._core.stop()

    def _start(self, configuration: Configuration, services: tuple[VirtualService, ...]) -> None:
        super().__init__()
        self._loaded: dict[object, Scheduler] = {}
        """The schedulers that a file named: by service, and by what the file calls them."""
        self._read = None
        self._core = _core.Director(configuration, [spec(service) for service in services])
        self._wanted = {service.key: service for service in services}
        _running.add(self)

    def __enter__(self) -> Director:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except FastlvsError as failure:
            if kind is None:
                raise
            _log.error("%s", failure)

    def __repr__(self) -> str:
        if not self.running:
            return "<Director, stopped>"
        return f"<Director on {' '.join(self.interfaces)}: {len(self.services)} services>"


_Read: TypeAlias = tuple[Configuration, tuple[VirtualService, ...]]


def read_configuration(
    path: str | PathLike[str],
    loaded: dict[object, Scheduler] | None = None,
    before: _Read | None = None,
) -> _Read:
    """What a ``director.toml`` says, with its schedulers loaded, or taken from those ``loaded`` before.

    A service that was read ``before`` and is said in the same words is the same object.

    Raises:
        ConfigurationError: the file cannot be read, or says something impossible.
    """
    name = checks.pathname(path)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # it is not there; it is no UTF-8; its name is none
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot be read: {why}", file=checks.shown(name, str)) from error
    configuration = Configuration.from_toml(text, name)
    loaded = {} if loaded is None else loaded
    known = before[1] if before else ()
    services = []
    for fields in configuration.services(before[0] if before else None):
        if isinstance(fields, int):
            services.append(known[fields])
            continue
        place, servers, scheduler = (fields.pop(name) for name in ("place", "servers", "scheduler"))
        try:
            if scheduler.startswith(schedulers.REFERENCE_PREFIX):
                key = (fields["protocol"], fields["address"], scheduler)
                if key not in loaded:
                    loaded[key] = schedulers.load(scheduler)
                scheduler = loaded[key]
            real_servers = [RealServer(**server) for server in servers]
            services.append(VirtualService(**fields, scheduler=scheduler, servers=real_servers))
        except ConfigurationError as error:
            raise ConfigurationError(error.message, **place) from error
    return configuration, tuple(services)


_running: weakref.WeakSet[Director] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """For programs that forget: threads that need the interpreter end before it does."""
    for director in list(_running):
        # One that had ended before has nobody left to tell why.
        with contextlib.suppress(FastlvsError):
            director.stop()
