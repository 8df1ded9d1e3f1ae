"""Waiting for what has to happen soon, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from subprocess import Popen

PATIENCE = 60.0
"""Seconds: what takes longer is taken to be broken. Who waits for what happens pays nothing for it."""


def wait_for(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Looks until ``condition`` holds, for at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def end(*processes: Popen[str]) -> None:
    """Kills them, and waits until they are gone: their ports are free for who comes next."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait(PATIENCE)
