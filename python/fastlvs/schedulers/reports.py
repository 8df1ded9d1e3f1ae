"""What is told of schedulers that fail."""

from __future__ import annotations

import ctypes
import logging
import traceback

__all__ = ["interrupt", "report"]

SHOWN = 4000
"""Characters of an exception's text that are told: it may hold a client's whole request, or more."""

_log = logging.getLogger("fastlvs")


def report(service: str, scheduler: str, problem: str, error: BaseException | None, count: int) -> None:
    """Tells about a failure of a user's scheduler; called by the engine.

    A scheduler that fails fails often: only the 1st, 10th, 100th… time is told.
    """
    if count in _TOLD:
        times = "" if count == 1 else f" ({count} times)"
        # With its traceback, unless that is longer than what anybody reads.
        told = "" if error is None else "".join(traceback.format_exception(error)).rstrip()
        cut = f"\n{_cut(told)}" if len(told) > SHOWN else ""
        _log.error(
            "scheduler %s of service %s: %s%s; the fallback decides%s",
            *(scheduler, service, _cut(problem), times, cut),
            exc_info=None if cut else error,
        )


def interrupt(thread: int) -> None:
    """Raises an exception in the thread of that number, whose scheduler does not return while its director
    ends. It comes between two of its steps in Python, so not before a call returns that sleeps or waits."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(DirectorEndsError))


class DirectorEndsError(BaseException):
    """The director ends and does not wait any longer for this scheduler. No ``except Exception`` catches it."""


def _cut(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    half = SHOWN // 2
    return f"{text[:half]} […{len(text) - 2 * half} characters…] {text[-half:]}"


_TOLD = frozenset(10**power for power in range(19))
