"""What differs between two wishes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from fastlvs.server import RealServer
from fastlvs.service import VirtualService

__all__ = ["Change", "changes"]


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


def changes(before: Iterable[VirtualService], after: Iterable[VirtualService]) -> Iterator[Change]:
    """What has to be done to get from one wish to another, service by service."""
    old, new = ({service.key: service for service in services} for services in (before, after))
    for key in old.keys() - new.keys():
        yield Change("removed", old[key])
    for key, service in new.items():
        was = old.get(key)
        if was is None:
            yield Change("added", service)
        else:
            yield from _service_changes(was, service)


def _service_changes(before: VirtualService, after: VirtualService) -> Iterator[Change]:
    if before.with_servers(()) != after.with_servers(()):
        yield Change("edited", after)
    for server in before.servers:
        if after.server(server) is None:
            yield Change("removed", after, server)
    for server in after.servers:
        was = before.server(server)
        if was is None:
            yield Change("added", after, server)
        elif _settled(was, before) != _settled(server, after):
            yield Change("edited", after, server)


def _settled(server: RealServer, service: VirtualService) -> RealServer:
    return server.replace(forwarding=service.forwarding_of(server))
