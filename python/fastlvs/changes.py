"""What differs between two wishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fastlvs.network import ServiceAddress
from fastlvs.server import RealServer
from fastlvs.service import VirtualService, spec

__all__ = ["Change", "Key", "changes"]

Key: TypeAlias = tuple[str, ServiceAddress]
"""What names a service."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that :meth:`Engine.apply` made."""

    action: Literal["added", "edited", "removed"]
    service: VirtualService
    """The service, as it is afterwards (or was, if it was removed)."""
    server: RealServer | None = None
    """The real server that was added, edited or removed; ``None``: the service itself."""

    def __str__(self) -> str:
        server = f": real server {self.server.address}" if self.server else ""
        return f"{self.action} service {self.service.name}{server}"


def changes(before: Mapping[Key, VirtualService], after: Mapping[Key, VirtualService]) -> Iterator[Change]:
    """What has to be done to get from one wish to another, service by service; both by their keys."""
    for key, gone in before.items():
        if key not in after:
            yield Change("removed", gone)
    for key, service in after.items():
        was = before.get(key)
        if was is None:
            yield Change("added", service)
        elif was is not service:
            yield from _service_changes(was, service)


def _service_changes(before: VirtualService, after: VirtualService) -> Iterator[Change]:
    differs, gone, touched = spec(after).changes(spec(before))
    if differs or before.forwarding is not after.forwarding:
        yield Change("edited", after)
    for place in gone:
        yield Change("removed", after, before.servers[place])
    for place, new in touched:
        yield Change("added" if new else "edited", after, after.servers[place])
