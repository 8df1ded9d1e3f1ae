"""What values have to be. Anything else is refused by an error that names field, value and what was expected.

A field is given in parts, which are put together only for an error: making thousands of servers is not to cost
thousands of their names.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeVar

from fastlvs.errors import ArgumentError, ConfigurationError

__all__ = [
    *(
        "LONGEST",
        "SHOWN",
        "arguments",
        "boolean",
        "integer",
        "items",
        "mapping",
        "names",
        "pathname",
        "refused",
    ),
    *("seconds", "several", "shown", "text"),
]

LONGEST = 2**31 - 1
"""The most seconds, and the largest weight or threshold."""

SHOWN = 100
"""How much of a value an error shows, in characters."""

Item = TypeVar("Item")


def refused(expected: str, value: object, *field: object) -> ConfigurationError:
    """The error for a value; ``expected`` says what it was to be."""
    message = f"expected {expected}, got {shown(value)}"
    return ConfigurationError(message, field=" ".join(shown(part, str) for part in field) or None)


def integer(value: Any, what: str, low: int, high: int, *field: object) -> int:
    """A whole number, NumPy's among them."""
    if type(value) is int:
        number = value
    else:
        try:
            number = low - 1 if isinstance(value, bool) else operator.index(value)
        except Exception:  # whatever a foreign object raises
            number = low - 1
    if not low <= number <= high:
        raise refused(f"{what} from {low} to {high}", value, *field)
    return number


def seconds(value: Any, *field: object, of: str = "", above_0: bool = True, most: int = LONGEST) -> float:
    """A time; ``of`` says whose, if the field does not."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    except Exception:  # an integer that is too large; whatever a foreign object raises
        number = -1.0
    if not (0 < number <= most or (number == 0 and not above_0)):
        low = "above 0 and up" if above_0 else "from 0"
        raise refused(f"seconds {low} to {most}{of and ' for '}{of}", value, *field)
    return number


def boolean(value: Any, *field: object) -> bool:
    """``True`` or ``False``, NumPy's among them."""
    numpy = sys.modules.get("numpy")
    if isinstance(value, bool) or (numpy is not None and isinstance(value, numpy.bool_)):
        return bool(value)
    raise refused("True or False", value, *field)


def text(value: Any, what: str, *field: object) -> str:
    """A string that can be written as UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise refused(what, value, *field)


def names(values: Any, what: str, *field: object) -> list[str]:
    """Several strings, and not one alone."""
    return [text(value, f"a {what}", *field) for value in several(values, f"{what}s", *field)]


def items(values: Any, kind: type[Item], *field: object) -> tuple[Item, ...]:
    """Several objects of a class."""
    found = tuple(several(values, f"{kind.__name__} objects", *field))
    for value in found:
        if not isinstance(value, kind):
            raise refused(f"a {kind.__name__}", value, *field)
    return found


def mapping(value: Any, what: str, *field: object) -> dict[Any, Any]:
    """A mapping, as a dict of its own; nothing of ``None``."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refused(what, value, *field)
    return dict(value)


def pathname(value: Any) -> str:
    """The name of a file."""
    try:
        name = os.fspath(value)
    except Exception:  # it is none; whatever a foreign object raises
        name = None
    if not isinstance(name, str) or "\0" in name:
        raise refused("the name of a file", value, "path")
    return name


def arguments(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuses names that no argument has."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise ArgumentError(f"expected one of {' '.join(known)}, got {shown(name)}", field=name)


def several(values: Any, what: str, *field: object) -> Iterable[Any]:
    """Several things, and not one text alone."""
    if isinstance(values, str | bytes):
        raise refused(f"a list of {what}", values, *field)
    try:
        iterator: Iterable[Any] = iter(values)
    except TypeError:
        raise refused(f"a list of {what}", values, *field) from None
    return iterator


def shown(value: object, how: Callable[[object], str] = repr) -> str:
    """A value in words, whatever it is, and however long they were."""
    try:
        words = how(value)
    except Exception:  # an integer of too many digits; whatever a foreign object raises
        words = f"<{type(value).__name__}>"
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
