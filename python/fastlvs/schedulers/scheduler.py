"""What a scheduler is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fastlvs import _core
from fastlvs._core import Flow, Server, Servers
from fastlvs.server import RealServer

__all__ = ["NAMES", "Scheduler"]

NAMES: tuple[str, ...] = _core.SCHEDULERS
"""The built-in schedulers."""


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
