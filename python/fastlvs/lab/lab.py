"""The lab as one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType

import fastlvs
from fastlvs.lab import topology
from fastlvs.lab.director import DirectorProcess, director_toml
from fastlvs.lab.host import Host
from fastlvs.lab.sandbox import Sandbox
from fastlvs.network import AddressLike
from fastlvs.server import Forwarding, ForwardingLike, RealServer
from fastlvs.service import VirtualService

__all__ = ["Lab"]


class Lab:
    """Six hosts on two networks, three of them real servers that answer HTTP; see :mod:`fastlvs.lab.topology`.

    It is built when it is made and gone when it is closed::

        with Lab() as lab:
            with lab.run_director([lab.service("nat", "wlc")]):
                print(lab.client.http("http://10.0.0.81/").server)
    """

    def __init__(
        self,
        *,
        vips_on_host: bool = False,
        ip_forward: bool = False,
        ipv6: bool = False,
        ports: Iterable[int] = (80,),
    ) -> None:
        """Builds the lab, in about a second.

        Args:
            vips_on_host: the VIPs are addresses of the director's host (on ``lo``), as LVS is usually set up.
                Else no host has them, and the director alone answers for them.
            ip_forward: the director's host routes between its networks, as LVS-NAT is usually set up.
            ipv6: every host has IPv6 addresses beside those of IPv4, and there are VIPs of both.
            ports: where the real servers listen, beside 8080, which NAT translates to.

        Raises:
            CapabilityError: this user may not make namespaces; says what would permit it.
            PlatformError: a program is missing.
        """
        self.ports = tuple(dict.fromkeys((*ports, topology.NAT_PORT)))
        """Where the real servers listen."""
        self.ipv6 = ipv6
        """Whether it has IPv6."""
        self._sandbox = Sandbox()
        try:
            self._build(vips_on_host, ip_forward)
        except BaseException:
            self._sandbox.close()
            raise

    client: Host
    director: Host
    router: Host
    """The way past the director."""
    servers: tuple[Host, ...]
    tunnel: str
    """What unpacks for TUN: ``tunl0``, the kernel's device, or ``decapsulator``, a program of ours."""
    vips: Mapping[Forwarding, str] = topology.VIPS
    """The virtual address for each forwarding method."""
    vips6: Mapping[Forwarding, str] = topology.VIPS6
    """The same in IPv6, if the lab has it."""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All of them."""
        return self.client, self.director, self.router, *self.servers

    def service(
        self,
        forwarding: ForwardingLike,
        scheduler: str = "rr",
        *,
        port: int = 80,
        weights: Iterable[int] = (1, 1, 1),
        protocol: str = "tcp",
        ipv6: bool = False,
        servers_ipv6: bool | None = None,
    ) -> VirtualService:
        """A service on the VIP of its forwarding method, with as many of the real servers as there are weights.
        For NAT their port is 8080. With ``ipv6`` its VIP and its servers' addresses are IPv6; a tunnel may lead
        to servers of the other family (``servers_ipv6``)."""
        method = Forwarding(forwarding)
        at = topology.NAT_PORT if method is Forwarding.NAT else port
        vip = (self.vips6 if ipv6 else self.vips)[method]
        other = ipv6 if servers_ipv6 is None else servers_ipv6
        servers = [
            RealServer((server.address6 if other else server.address, at), weight)
            for server, weight in zip(self.servers, weights, strict=False)
        ]
        return VirtualService(protocol, (vip, port), scheduler, method, servers)

    def url(self, service: VirtualService, path: str = "/") -> str:
        """Where clients ask for ``service``."""
        return f"http://{service.address}{path}"

    def run_director(
        self,
        services: Iterable[VirtualService] | str,
        *,
        interfaces: Iterable[str] = (),
        timeout: float = 30.0,
    ) -> DirectorProcess:
        """Starts ``fastlvs-run`` on the director's host, and waits until it is ready.

        Args:
            services: what it balances, or the text of a whole ``director.toml``.
            interfaces: the interfaces that it serves; all that are up, if none is named.
            timeout: how long it may take to become ready, in seconds.
        """
        text = services if isinstance(services, str) else director_toml(services, interfaces=interfaces)
        return DirectorProcess(self.director, text, timeout=timeout)

    def engine(self, services: Iterable[VirtualService]) -> fastlvs.Engine:
        """An engine that stands where the director's host stands, to take its frames through by hand."""
        legs = topology.DIRECTOR.interfaces
        others = [host for host in topology.HOSTS if host is not topology.DIRECTOR]
        neighbours: dict[AddressLike, str] = {
            known: topology.mac(address)
            for host in others
            for address in host.legs.values()
            for known in (address, topology.ipv6(address))
        }
        return fastlvs.Engine(
            [
                fastlvs.Interface(
                    name,
                    mac=topology.mac(address),
                    addresses=[f"{address}/24", f"{topology.ipv6(address)}/64"],
                )
                for name, address in legs.items()
            ],
            neighbours=neighbours,
            owned=[*self.vips.values(), *self.vips6.values()],
            services=services,
        )

    def close(self) -> None:
        """Ends everything in it. Nothing is left of it; a second call does nothing."""
        self._sandbox.close()

    def _build(self, vips_on_host: bool, ip_forward: bool) -> None:
        self._sandbox.run(["sh", "-c", topology.wiring()])
        self._sandbox.run(["sh", "-c", topology.switching()], host=topology.SWITCH)
        hosts = {plan.name: Host(self._sandbox, plan) for plan in topology.HOSTS}
        self.client, self.director, self.router, *servers = hosts.values()
        self.servers = tuple(servers)
        devices = {kind for kind, name in topology.TUNNEL_DEVICES.items() if self._has_device(name)}
        self.tunnel = "tunl0" if "4in4" in devices else "decapsulator"
        scripts = {
            self.client: topology.client_routing(with_ipv6=self.ipv6),
            self.router: topology.router_routing(with_ipv6=self.ipv6),
            self.director: topology.director_routing(
                vips_on_host=vips_on_host, ip_forward=ip_forward, with_ipv6=self.ipv6
            ),
        }
        for plan, host in zip(topology.HOSTS, self.hosts, strict=True):
            extra = scripts.get(host) or self._preparing(plan, devices)
            host.shell(topology.hosting(plan, with_ipv6=self.ipv6) + extra)
        kinds = topology.TUNNEL_DEVICES if self.ipv6 else {"4in4": "tunl0"}
        for server in self.servers:
            server.start_program("web.py", "serve", server.name, *map(str, self.ports))
            if todo := [kind for kind in kinds if kind not in devices]:
                server.start_program("decapsulate.py", *todo)

    def _preparing(self, plan: topology.HostPlan, devices: set[str]) -> str:
        script = topology.server_preparing(plan, tunnel_device="4in4" in devices)
        return script + topology.server_preparing6(plan, devices) if self.ipv6 else script

    def _has_device(self, name: str | None) -> bool:
        if name is None:
            return False
        return self.servers[0].run("ip", "link", "show", "dev", name, check=False).returncode == 0

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        vips = ", ".join(f"{method.name} {vip}" for method, vip in self.vips.items())
        return f"<Lab of {len(self.hosts)} hosts: VIPs {vips}; TUN by {self.tunnel}>"
