"""Waiting for what has to happen soon."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], patience: float = 5.0) -> None:
    """Looks until ``condition`` holds, for at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
