"""Who is in the lab, and the commands that build it.

Two networks, with two ways between them: through the director, and past it through a router::

    client 10.0.0.100 ──┬── 10.0.0.1   director 10.1.0.1   ──┬── server1 10.1.0.11
                        │   VIPs 10.0.0.81 .82 .83           ├── server2 10.1.0.12
                        └── 10.0.0.254 router   10.1.0.254 ──┴── server3 10.1.0.13

What a real server says from its own address goes through the director (NAT), what it says from a VIP goes
through the router (DR, TUN): so all three methods work in one lab, at the same time.

With IPv6, every address has another beside it: 10.1.0.11 and fd00:1::11 (:func:`ipv6`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from fastlvs import real_server
from fastlvs.server import Forwarding

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
    "VIPS6",
    "HostPlan",
    "ipv6",
    "mac",
]

NETWORKS = ("outside", "inside")
"""The clients' network and the servers': a bridge each, in a namespace of their own."""

SWITCH = "switch"

VIPS = {Forwarding.NAT: "10.0.0.81", Forwarding.DR: "10.0.0.82", Forwarding.TUN: "10.0.0.83"}
"""The virtual address of each forwarding method, in the clients' network."""


def ipv6(address: str) -> str:
    """The IPv6 address that a host has beside an IPv4 address: fd00:1::11 beside 10.1.0.11."""
    _, network, _, host = address.split(".")
    return str(IPv6Address(f"fd00:{network}::{host}"))


VIPS6 = {method: ipv6(vip) for method, vip in VIPS.items()}
"""The same in IPv6."""

NAT_PORT = 8080
"""The real servers' port for NAT, which alone can translate it."""


TUNNEL_DEVICES: dict[str, str | None] = {"4in4": "tunl0", "6in4": "sit0", "4in6": None, "6in6": "ip6tnl0"}
"""The devices by which a kernel unpacks what comes to any of its addresses, where its modules are loaded."""


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


def hosting(host: HostPlan, *, with_ipv6: bool) -> str:
    """The shell script that gives a host its addresses."""
    lines = [*([_IPV6_ON] if with_ipv6 else _quiet()), "ip link set lo up"]
    for interface, address in host.interfaces.items():
        if with_ipv6:
            # Nobody else has its link-local address; until it knew, it could ask for no neighbour.
            lines.append(f"sysctl -qw net.ipv6.conf.{interface}.dad_transmits=0")
            lines.append(f"ip address add {ipv6(address)}/64 dev {interface} nodad")
        lines += [f"ip address add {address}/24 dev {interface}", f"ip link set {interface} up"]
    return _script(lines)


def client_routing(*, with_ipv6: bool) -> str:
    """The client knows the servers' network too, through the director's host."""
    director = DIRECTOR.legs["outside"]
    lines = [f"ip route add 10.1.0.0/24 via {director}"]
    return _script([*lines, *([f"ip route add fd00:1::/64 via {ipv6(director)}"] if with_ipv6 else [])])


def router_routing(*, with_ipv6: bool) -> str:
    """The router forwards what comes from a VIP on the inside, though the VIP's network is outside."""
    return _script([*_forwarding(with_ipv6), *_without_reverse_path_filter(ROUTER)])


def director_routing(*, vips_on_host: bool, ip_forward: bool, with_ipv6: bool) -> str:
    """The director's host: with the VIPs among its addresses or not, routing or not."""
    lines = []
    if vips_on_host:
        lines += [f"ip address add {vip}/32 dev lo" for vip in VIPS.values()]
        # On lo no neighbour would hear of them.
        lines += [f"ip address add {vip}/128 dev eth0 nodad" for vip in VIPS6.values() if with_ipv6]
    return _script([*lines, *(_forwarding(with_ipv6) if ip_forward else [])])


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


def server_preparing6(server: HostPlan, devices: Iterable[str]) -> str:
    """The same in IPv6. Whoever unpacks, the VIP of TUN is put where DR puts its own; the kernel's devices
    unpack while they are up."""
    rip, router = ipv6(server.address), ipv6(ROUTER.legs["inside"])
    steps = real_server.steps("nat", rip=rip, gateway=ipv6(DIRECTOR.legs["inside"]))
    for method in (Forwarding.DR, Forwarding.TUN):
        steps += real_server.steps("dr", rip=rip, vip=VIPS6[method], gateway=router)
    up = [f"ip link set {TUNNEL_DEVICES[kind]} up" for kind in devices]
    return _script([f"ip route add default via {router}", *up, *(shlex.join(s.command) for s in steps)])


_IPV6_ON = "sysctl -qw net.ipv6.conf.all.disable_ipv6=0"


def _quiet() -> list[str]:
    """IPv6 would only chatter about itself in these captures."""
    switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
    return [f"if [ -e {switch} ]; then echo 1 >{switch}; fi"]


def _forwarding(with_ipv6: bool) -> list[str]:
    lines = [_sysctl("ip_forward", 1)]
    return [*lines, *(["sysctl -qw net.ipv6.conf.all.forwarding=1"] if with_ipv6 else [])]


def _without_reverse_path_filter(host: HostPlan) -> list[str]:
    # The kernel takes the larger one of the interface's and that of all.
    return [_sysctl(f"conf.{name}.rp_filter", 0) for name in ("all", *host.interfaces)]


def _sysctl(name: str, value: int) -> str:
    return f"sysctl -qw net.ipv4.{name}={value}"


def _script(lines: Iterable[str]) -> str:
    return "\n".join(["set -eu", *lines, ""])
