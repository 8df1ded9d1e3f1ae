"""Services that can be changed, as a whole or one by one, whoever forwards their packets."""

from __future__ import annotations

import threading
from abc import ABC
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastlvs import _core, checks
from fastlvs._core import Connections, Edit, Services
from fastlvs.changes import Change, Key, changes
from fastlvs.errors import ConfigurationError, GenerationError
from fastlvs.network import EndpointLike
from fastlvs.server import RealServer
from fastlvs.service import ServiceLike, VirtualService, service_key, spec

__all__ = ["Balancer", "ServiceLike"]


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _alone(
    change: Callable[Concatenate[Balancer, Parameters], Result],
) -> Callable[Concatenate[Balancer, Parameters], Result]:
    """A change that no other thread's change comes into."""

    @wraps(change)
    def changed(self: Balancer, /, *arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        with self._changing:
            return change(self, *arguments, **named)

    return changed


class Balancer(ABC):
    """Something that balances services. Changes may come from several threads: each is made as a whole."""

    _core: _core.Engine | _core.Director

    def __init__(self) -> None:
        self._wanted: dict[Key, VirtualService] = {}
        """By their keys, in order. It is replaced as a whole: whoever reads it meanwhile has the old one."""
        self._changing = threading.RLock()

    @property
    def wanted(self) -> tuple[VirtualService, ...]:
        """The services as they were asked for: what was given to :meth:`apply`, with all edits since."""
        return tuple(self._wanted.values())

    @property
    def services(self) -> Services:
        """The services, their servers and what these carry. It prints like ``ipvsadm -Ln``."""
        return self._core.services()

    @property
    def connections(self) -> Connections:
        """The connections as they are now. It prints like ``ipvsadm -Lnc``.

        A director goes on forwarding meanwhile: a connection that comes or goes while they are read is among
        them or not.
        """
        return self._core.connections()

    @property
    def templates(self) -> Connections:
        """The persistence templates as they are now: which client (with port 0) stays with which server."""
        return self._core.templates()

    @property
    def generation(self) -> int:
        """A number that grows with each change, whoever makes it.

        Every change takes ``if_generation``: it is made only if nobody made another one since, else it raises
        :class:`GenerationError` and nothing has changed.
        """
        return self._core.generation

    @_alone
    def apply(
        self, services: Iterable[VirtualService], *, if_generation: int | None = None
    ) -> tuple[Change, ...]:
        """Makes everything agree with ``services``, all or nothing, and says what that changed.

        What stays keeps its connections and counters. Servers are told apart by address and port; those
        that are new are put at the head of their list, in the order given. It takes time for what differs;
        a service that is the same object as before is not looked at.

        Raises:
            ConfigurationError: a service is defined twice. Nothing has changed then.
        """
        services = checks.items(services, VirtualService, "services")
        wanted: dict[Key, VirtualService] = {service.key: service for service in services}
        made = tuple(changes(self._wanted, wanted))
        if made or len(wanted) != len(services) or list(wanted) != list(self._wanted):
            self._core.apply([spec(service) for service in services], _generation(if_generation))
        elif _generation(if_generation) is not None and if_generation != (actual := self.generation):
            raise GenerationError(f"expected generation {if_generation}, but it is {actual} by now")
        self._wanted = wanted
        return made

    @_alone
    def add_service(self, service: VirtualService, *, if_generation: int | None = None) -> None:
        """``ipvsadm -A``: a new service, with its servers."""
        if not isinstance(service, VirtualService):
            raise checks.refused("a VirtualService", service, "service")
        if self._find(service) is not None:
            raise _error(service, "is already there; change it with edit_service or apply")
        self._edit(Edit.add_service(spec(service)), service, if_generation)

    @_alone
    def edit_service(
        self, service: ServiceLike, /, *, if_generation: int | None = None, **changes: Any
    ) -> None:
        """``ipvsadm -E``: other values for a service: ``scheduler``, ``flags``, ``persistence``…

        Its servers and connections stay. Flags count from the next connection on, and go with another
        scheduler; persistence counts for clients that are not yet remembered.
        """
        existing = self._existing(service)
        edited = existing.with_scheduler(changes["scheduler"]) if "scheduler" in changes else existing
        edited = edited.replace(**changes)
        if edited.key == existing.key and edited.servers == existing.servers:
            # What its servers take over from it is theirs to be edited.
            _, _, touched = spec(edited).changes(spec(existing))
            edits = [Edit.edit_server(spec(edited), place) for place, _ in touched]
            self._edit([Edit.edit_service(spec(edited)), *edits], edited, if_generation)
        else:
            self.apply(
                (edited if known is existing else known for known in self._wanted.values()),
                if_generation=if_generation,
            )

    @_alone
    def remove_service(self, service: ServiceLike, *, if_generation: int | None = None) -> None:
        """``ipvsadm -D``: a service goes, with its servers."""
        gone = self._existing(service)
        self._core.edit([Edit.remove_service(spec(gone))], _generation(if_generation))
        self._wanted = {key: service for key, service in self._wanted.items() if service is not gone}

    @_alone
    def add_server(
        self, service: ServiceLike, server: RealServer, *, if_generation: int | None = None
    ) -> None:
        """``ipvsadm -a``: a new server, at the head of the service's list."""
        existing = self._existing(service)
        _real_server(server, service)
        if (place := existing._place(server)) is not None:
            known = existing.servers[place].address
            raise _error(service, f"has the real server {known} already; change it with edit_server")
        edited = existing.with_server(server)
        self._edit(Edit.add_server(spec(edited), len(existing.servers)), edited, if_generation)

    @_alone
    def edit_server(
        self, service: ServiceLike, server: RealServer, *, if_generation: int | None = None
    ) -> None:
        """``ipvsadm -e``: other values for the server of that address.

        Its place in the list stays. The method counts for new connections. As in the kernel an edit that
        changes nothing is one too: wrr begins its cycle anew.
        """
        existing = self._existing(service)
        place = self._known(existing, _real_server(server, service))
        edited = existing.with_server(server)
        self._edit(Edit.edit_server(spec(edited), place), edited, if_generation)

    @_alone
    def set_weight(
        self,
        service: ServiceLike,
        server: EndpointLike | RealServer,
        weight: int,
        *,
        if_generation: int | None = None,
    ) -> None:
        """Another weight for the server of that address; 0 sends it no new connections."""
        existing = self._existing(service)
        place = self._known(existing, server)
        edited = existing.with_server(existing.servers[place].replace(weight=weight))
        self._edit(Edit.set_weight(spec(edited), place), edited, if_generation)

    @_alone
    def remove_server(
        self,
        service: ServiceLike,
        server: EndpointLike | RealServer,
        *,
        if_generation: int | None = None,
    ) -> None:
        """``ipvsadm -d``: a server goes.

        Packets of its connections are dropped until these expire, or, with
        ``Settings(expire_nodest_conn=True)``, end them.
        """
        existing = self._existing(service)
        place = self._known(existing, server)
        edit = Edit.remove_server(spec(existing), place)
        self._edit(edit, existing.without_server(server), if_generation)

    def _edit(self, edits: Edit | list[Edit], service: VirtualService, if_generation: int | None) -> None:
        """Makes changes of a service, which is like that afterwards."""
        edits = edits if isinstance(edits, list) else [edits]
        self._core.edit(edits, _generation(if_generation))
        self._wanted = {**self._wanted, service.key: service}

    def _find(self, service: ServiceLike) -> VirtualService | None:
        return self._wanted.get(service_key(service))

    def _existing(self, service: ServiceLike) -> VirtualService:
        existing = self._find(service)
        if existing is None:
            raise _error(service, "is not there; add it with add_service")
        return existing

    @staticmethod
    def _known(service: VirtualService, server: EndpointLike | RealServer) -> int:
        """The place of a server."""
        place = service._place(server)
        if place is None:
            have = " ".join(str(s.address) for s in service.servers) or "none"
            raise _error(service, f"has no real server {server}; it has {have}")
        return place


def _generation(value: int | None) -> int | None:
    return None if value is None else checks.integer(value, "a generation", 0, 2**64 - 1, "if_generation")


def _real_server(server: RealServer, service: ServiceLike) -> RealServer:
    if not isinstance(server, RealServer):
        raise checks.refused("a RealServer", server, "service", *service_key(service))
    return server


def _error(service: ServiceLike, message: str) -> ConfigurationError:
    protocol, address = service_key(service)
    return ConfigurationError(message, field=f"service {protocol} {address}")
