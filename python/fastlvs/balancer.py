"""Services that can be changed, as a whole or one by one, whoever forwards their packets."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastlvs import _core, checks
from fastlvs._core import Connections, Services
from fastlvs.changes import Change, Key, changes
from fastlvs.errors import ConfigurationError
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
        """The connections as they are now. It prints like ``ipvsadm -Lnc``."""
        return self._core.connections()

    @_alone
    def apply(self, services: Iterable[VirtualService]) -> tuple[Change, ...]:
        """Makes everything agree with ``services``, all or nothing, and says what that changed.

        What stays keeps its connections and counters. Servers are told apart by address and port; those
        that are new are put at the head of their list, in the order given.

        Raises:
            ConfigurationError: a service is defined twice. Nothing has changed then.
        """
        services = checks.items(services, VirtualService, "services")
        wanted: dict[Key, VirtualService] = {service.key: service for service in services}
        made = tuple(changes(self._wanted, wanted))
        if made or len(wanted) != len(services) or list(wanted) != list(self._wanted):
            self._core.apply([spec(service) for service in services])
        self._wanted = wanted
        return made

    @_alone
    def add_service(self, service: VirtualService) -> None:
        """``ipvsadm -A``: a new service, with its servers."""
        if not isinstance(service, VirtualService):
            raise checks.refused("a VirtualService", service, "service")
        if self._find(service) is not None:
            raise _error(service, "is already there; change it with edit_service or apply")
        self._follow({**self._wanted, service.key: service})

    @_alone
    def edit_service(self, service: ServiceLike, /, **changes: Any) -> None:
        """``ipvsadm -E``: other values for a service: ``scheduler``, ``flags``, ``persistence``…

        Its servers and connections stay. Flags count from the next connection on, and go with another
        scheduler; persistence counts for clients that are not yet remembered.
        """
        existing = self._existing(service)
        if "scheduler" in changes:
            existing = existing.with_scheduler(changes["scheduler"])
        self._replace(service, existing.replace(**changes))

    @_alone
    def remove_service(self, service: ServiceLike) -> None:
        """``ipvsadm -D``: a service goes, with its servers."""
        gone = self._existing(service)
        wanted = dict(self._wanted)
        del wanted[gone.key]
        self._follow(wanted)

    @_alone
    def add_server(self, service: ServiceLike, server: RealServer) -> None:
        """``ipvsadm -a``: a new server, at the head of the service's list."""
        existing = self._existing(service)
        _real_server(server, service)
        if (known := existing.server(server)) is not None:
            raise _error(service, f"has the real server {known.address} already; change it with edit_server")
        self._replace(service, existing.with_server(server))

    @_alone
    def edit_server(self, service: ServiceLike, server: RealServer) -> None:
        """``ipvsadm -e``: other values for the server of that address.

        Its place in the list stays. The method counts for new connections. As in the kernel an edit that
        changes nothing is one too: wrr begins its cycle anew.
        """
        existing = self._existing(service)
        known = self._known(existing, _real_server(server, service))
        edited = existing.with_server(server)
        self._replace(service, edited)
        if edited.servers == existing.servers:
            self._edited(existing, known)

    @_alone
    def set_weight(self, service: ServiceLike, server: EndpointLike | RealServer, weight: int) -> None:
        """Another weight for the server of that address; 0 sends it no new connections."""
        existing = self._existing(service)
        known = self._known(existing, server)
        self._replace(service, existing.with_server(known.replace(weight=weight)))

    @_alone
    def remove_server(self, service: ServiceLike, server: EndpointLike | RealServer) -> None:
        """``ipvsadm -d``: a server goes.

        Packets of its connections are dropped until these expire, or, with
        ``Settings(expire_nodest_conn=True)``, end them.
        """
        existing = self._existing(service)
        self._known(existing, server)
        self._replace(service, existing.without_server(server))

    @abstractmethod
    def _edited(self, service: VirtualService, server: RealServer) -> None:
        """A server was edited to what it is."""

    def _replace(self, service: ServiceLike, by: VirtualService) -> None:
        existing = self._existing(service)
        if by.key == existing.key:
            self._follow({**self._wanted, by.key: by})
        else:  # in its place
            self.apply(by if s is existing else s for s in self._wanted.values())

    def _follow(self, wanted: dict[Key, VirtualService]) -> None:
        self._core.apply([spec(service) for service in wanted.values()])
        self._wanted = wanted

    def _find(self, service: ServiceLike) -> VirtualService | None:
        return self._wanted.get(service_key(service))

    def _existing(self, service: ServiceLike) -> VirtualService:
        existing = self._find(service)
        if existing is None:
            raise _error(service, "is not there; add it with add_service")
        return existing

    @staticmethod
    def _known(service: VirtualService, server: EndpointLike | RealServer) -> RealServer:
        known = service.server(server)
        if known is None:
            have = " ".join(str(s.address) for s in service.servers) or "none"
            raise _error(service, f"has no real server {server}; it has {have}")
        return known


def _real_server(server: RealServer, service: ServiceLike) -> RealServer:
    if not isinstance(server, RealServer):
        raise checks.refused("a RealServer", server, "service", *service_key(service))
    return server


def _error(service: ServiceLike, message: str) -> ConfigurationError:
    protocol, address = service_key(service)
    return ConfigurationError(message, field=f"service {protocol} {address}")
