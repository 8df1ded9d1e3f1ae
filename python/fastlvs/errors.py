"""What can go wrong, one class for each thing that a user would do about it.

Every error says what is wrong, where, and what was expected. ``exit_code`` is what the commands
``fastlvs`` and ``fastlvs-run`` end with.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArgumentError",
    "CapabilityError",
    "ConfigurationError",
    "FastlvsError",
    "GenerationError",
    "InterfaceError",
    "MissingError",
    "PlatformError",
    "StuckError",
]


class FastlvsError(Exception):
    """The base of all errors of this package."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(FastlvsError, ValueError):
    """A service, a server, a setting or a file that says something impossible."""

    exit_code: ClassVar[int] = 3

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        """The file that says it, if one does."""
        self.line = line
        """The line of that file, counted from 1."""
        self.field = field
        """What the value belongs to, as the file or the constructor calls it: ``service[0].scheduler``."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.field, self.message) if part)


class ArgumentError(ConfigurationError, TypeError):
    """A name that no argument has, or a key that is no key at all: what Python has a ``TypeError`` for."""


class MissingError(FastlvsError, KeyError, IndexError):
    """Something that was asked for by its name or place and is not there."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class GenerationError(FastlvsError):
    """A change was to be made only if nobody else had changed anything since, and somebody had."""


class StuckError(FastlvsError):
    """The director's thread that forwards does not answer, or did not end; the message names a scheduler of
    yours that does not return."""


class CapabilityError(FastlvsError, PermissionError):
    """The process may not do what a director does. The message names the capability and what grants it."""

    exit_code: ClassVar[int] = 4

    def __str__(self) -> str:
        return Exception.__str__(self)


class InterfaceError(FastlvsError, LookupError):
    """An interface that is not there, not up, or on which another director serves one of the VIPs."""

    exit_code: ClassVar[int] = 5


class PlatformError(FastlvsError, OSError):
    """Something else that the machine lacks: a program, a kernel facility."""

    exit_code: ClassVar[int] = 5

    def __str__(self) -> str:
        return Exception.__str__(self)
