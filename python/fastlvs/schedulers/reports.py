"""What is told of schedulers that fail."""

from __future__ import annotations

import logging

__all__ = ["report"]

_log = logging.getLogger("fastlvs")


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
