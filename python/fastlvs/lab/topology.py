"""Who is in the lab, and the commands that build it.

Two networks, with two ways between them: through the director, and past it through a router::

    client 10.0.0.100 ──┬── 10.0.0.1   director 10.1.0.1   ──┬── server1 10.1.0.11
                        │   VIPs 10.0.0.81 .82 .83           ├── server2 10.1.0.12
                        └── 10.0.0.254 router   10.1.0.254 ──┴── server3 10.1.0.13

What a real server says from its own address goes through the director (NAT), what it says from a VIP goes
through the router (DR, TUN): so all three methods work in one lab, at the same time.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from fastlvs import real_server
from fastlvs.service import Forwarding

__all__ = [
    "CLIENT",
    "DIRECTOR",
    "HOSTS",
    "NAT_PORT",
    "NETWORKS",
    "ROUTER",
    "SERVERS",
    "SWITCH",
    "VIPS",
    "HostPlan",
    "mac",
]

NETWORKS = ("outside", "inside")
"""The clients' network and the servers': a bridge each, in a namespace of their own."""

SWITCH = "switch"

VIPS = {Forwarding.NAT: "10.0.0.81", Forwarding.DR: "10.0.0.82", Forwarding.TUN: "10.0.0.83"}
"""The virtual address of each forwarding method, in the clients' network."""

NAT_PORT = 8080
"""The real servers' port for NAT, which alone can translate it."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host and its legs."""

    name: str
    legs: dict[str, str]
    """Its address in each network that it is in. Its first leg is ``eth0``, its second ``eth1``."""

    @property
    def address(self) -> str:
        """Its first address."""
        return next(iter(self.legs.values()))

    @property
    def interfaces(self) -> dict[str, str]:
        """The names of its interfaces, and their addresses."""
        return {f"eth{number}": address for number, address in enumerate(self.legs.values())}


CLIENT = HostPlan("client", {"outside": "10.0.0.100"})
DIRECTOR = HostPlan("director", {"outside": "10.0.0.1", "inside": "10.1.0.1"})
ROUTER = HostPlan("router", {"outside": "10.0.0.254", "inside": "10.1.0.254"})
SERVERS = tuple(HostPlan(f"server{number}", {"inside": f"10.1.0.{10 + number}"}) for number in (1, 2, 3))
HOSTS = (CLIENT, DIRECTOR, ROUTER, *SERVERS)


def mac(address: str) -> str:
    """The link-layer address of the interface that has ``address``."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def wiring() -> str:
    """The shell script that makes the namespaces, the bridges, and a cable from each leg to its bridge."""
    lines = [f"ip netns add {name}" for name in (SWITCH, *(host.name for host in HOSTS))]
    lines += [f"ip -n {SWITCH} link add {name} type bridge stp_state 0 mcast_snooping 0" for name in NETWORKS]
    for host in HOSTS:
        for interface, network in zip(host.interfaces, host.legs, strict=True):
            plug = f"{host.name}-{interface}"
            lines += [
                f"ip link add {interface} netns {host.name} address {mac(host.legs[network])} type veth "
                f"peer name {plug} netns {SWITCH}",
                f"ip -n {SWITCH} link set {plug} master {network}",
            ]
    return _script(lines)


def switching() -> str:
    """The shell script for the bridges' namespace, once all is plugged in."""
    plugs = [f"{host.name}-{interface}" for host in HOSTS for interface in host.interfaces]
    return _script([*_quiet(), *(f"ip link set {name} up" for name in (*plugs, *NETWORKS))])


def hosting(host: HostPlan) -> str:
    """The shell script that gives a host its addresses."""
    lines = [*_quiet(), "ip link set lo up"]
    for interface, address in host.interfaces.items():
        lines += [f"ip address add {address}/24 dev {interface}", f"ip link set {interface} up"]
    return _script(lines)


def client_routing() -> str:
    """The client knows the servers' network too, through the director's host."""
    return f"ip route add 10.1.0.0/24 via {DIRECTOR.legs['outside']}\n"


def router_routing() -> str:
    """The router forwards what comes from a VIP on the inside, though the VIP's network is outside."""
    return _script([_sysctl("ip_forward", 1), *_without_reverse_path_filter(ROUTER)])


def director_routing(*, vips_on_host: bool, ip_forward: bool) -> str:
    """The director's host: with the VIPs among its addresses or not, routing or not."""
    lines = [f"ip address add {vip}/32 dev lo" for vip in VIPS.values()] if vips_on_host else []
    return _script([*lines, *([_sysctl("ip_forward", 1)] if ip_forward else [])])


def server_preparing(server: HostPlan, *, tunnel_device: bool) -> str:
    """What makes ``server`` a real server for all methods, exactly as ``fastlvs real-server`` prints it.

    Without a tunnel device the VIP of TUN is put where DR puts its own.
    """
    rip, router = server.address, ROUTER.legs["inside"]
    nat = real_server.steps("nat", rip=rip, gateway=DIRECTOR.legs["inside"])
    dr = real_server.steps("dr", rip=rip, vip=VIPS[Forwarding.DR], gateway=router)
    method = "tun" if tunnel_device else "dr"
    tun = real_server.steps(method, rip=rip, vip=VIPS[Forwarding.TUN], gateway=router)
    # The module is the machine's, not the lab's to load.
    commands = [step.command for step in (*nat, *dr, *tun) if step.command[0] != "modprobe"]
    default = f"ip route add default via {router}"
    return _script([default, *(shlex.join(command) + " >/dev/null" for command in commands)])


def _quiet() -> list[str]:
    """IPv6 would only chatter about itself in these captures."""
    switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
    return [f"if [ -e {switch} ]; then echo 1 >{switch}; fi"]


def _without_reverse_path_filter(host: HostPlan) -> list[str]:
    # The kernel takes the larger one of the interface's and that of all.
    return [_sysctl(f"conf.{name}.rp_filter", 0) for name in ("all", *host.interfaces)]


def _sysctl(name: str, value: int) -> str:
    return f"sysctl -qw net.ipv4.{name}={value}"


def _script(lines: Iterable[str]) -> str:
    return "\n".join(["set -eu", *lines, ""])
