"""How long connections are kept, state by state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastlvs import _core, checks
from fastlvs.errors import ConfigurationError

__all__ = ["parse_timeouts"]


def parse_timeouts(
    timeouts: Mapping[str, float] | Iterable[tuple[str, float]], field: str
) -> tuple[tuple[str, float], ...]:
    """Timeouts by state, checked; ``field`` is what an error calls them."""
    try:
        given = dict(checks.several(timeouts, "states", field) if isinstance(timeouts, str) else timeouts)
    except (TypeError, ValueError):
        expected = "seconds by the names of states, like {'tcp_established': 60.0}"
        raise checks.refused(expected, timeouts, field) from None
    for name in given:
        if not isinstance(name, str) or name not in _core.TIMEOUTS:
            message = f"unknown timeout {checks.shown(name)}; expected one of {' '.join(_core.TIMEOUTS)}"
            raise ConfigurationError(message, field=field)
    return tuple((name, checks.seconds(given[name], field, of=name)) for name in sorted(given))
