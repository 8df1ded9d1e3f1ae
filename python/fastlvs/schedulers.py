"""Schedulers: who chooses a real server for a new connection.

The built-in ones go by the names that ipvsadm knows (:data:`NAMES`). One of your own is any object with a
method ``select``::

    class LeastBytes:
        def select(self, flow: Flow, servers: Servers) -> int | None:
            usable = np.where(servers.usable, servers.in_bytes, np.inf)
            return int(usable.argmin()) if servers.usable.any() else None

It is asked for every new connection, and for nothing else. The call runs on the thread that forwards packets:
packets wait for it.
"""

from __future__ import annotations

import importlib
import logging
from typing import Protocol, runtime_checkable

from fastlvs import _core, checks
from fastlvs._core import Flow, Server, Servers
from fastlvs.errors import ConfigurationError
from fastlvs.service import RealServer

__all__ = ["NAMES", "Flow", "Scheduler", "Server", "Servers"]

NAMES: tuple[str, ...] = _core.SCHEDULERS
"""The built-in schedulers."""

REFERENCE_PREFIX = "python:"

_log = logging.getLogger("fastlvs")


@runtime_checkable
class Scheduler(Protocol):
    """What a scheduler of your own looks like."""

    def select(self, flow: Flow, servers: Servers) -> int | Server | RealServer | None:
        """Chooses the server for a new connection.

        The answer is its place in ``servers``, one of ``servers``, or its :class:`RealServer`. ``None`` says
        that no server may have the connection: the client is told so.

        Your word counts: a server of weight 0, or one over its threshold, gets the connection if you choose
        it (``servers.usable`` tells). Only what is not in ``servers`` is refused. An exception or such a
        stranger is logged under ``fastlvs``, counted (``Service.scheduler_errors``), and the service's
        ``fallback`` decides for this connection.
        """


def load(reference: str) -> Scheduler:
    """The scheduler that a configuration file names as ``python:module:Class``: an object of that class."""
    expected = "expected python:module:Class, the class with a select method and no compulsory arguments"
    checks.text(reference, "python:module:Class", "scheduler")
    named = checks.shown(reference)
    _, module_name, class_name = (*reference.split(":", 2), "", "")[:3]
    try:
        scheduler = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # whatever a module of the user's raises when it is imported or called
        raise ConfigurationError(
            f"cannot load {named}: {type(error).__name__}: {checks.shown(error, str)}; {expected}",
            field="scheduler",
        ) from error
    if not isinstance(scheduler, Scheduler):
        raise ConfigurationError(f"{named} has no method select; {expected}", field="scheduler")
    return scheduler


def report(service: str, scheduler: str, problem: str, error: BaseException | None, count: int) -> None:
    """Tells about a failure of a user's scheduler; called by the engine.

    A scheduler that fails fails often: only the 1st, 10th, 100th… time is told.
    """
    if count in _TOLD:
        times = "" if count == 1 else f" ({count} times)"
        _log.error(
            "scheduler %s of service %s: %s%s; the fallback decides",
            *(scheduler, service, problem, times),
            exc_info=error,
        )


_TOLD = frozenset(10**power for power in range(19))
