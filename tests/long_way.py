"""A longer way through the lab, of real links and routers on both sides of the director::

    client ══ 10.3.0.0/24 ══ router ── 10.0.0.0/24 ── director
    director ── 10.1.0.0/24 ── server3 ══ 10.2.0.0/24 ══ server1

The links drawn double are new, and narrow. Server3 is only a router here. The same in IPv6: fd00:3::/64 and so
on.
"""

from __future__ import annotations

from fastlvs import RealServer, VirtualService
from fastlvs.lab import Lab, topology
from fastlvs.lab.host import Host
from fastlvs.server import Forwarding

MTU = 1400
"""Of the narrow links."""
CLIENT, ROUTER, FAR, MIDDLE = "10.3.0.100", "10.3.0.254", "10.2.0.11", "10.2.0.254"
TABLE = 5200
MSS = {4: 1460, 6: 1440}
"""What is announced in spite of a narrow link, so that somebody else has to tell."""


def address(text: str, family: int) -> str:
    return text if family == 4 else topology.ipv6(text)


def link(host: Host, own: str, peer_name: str, peer: Host, its: str, name: str) -> None:
    """A narrow cable between two hosts, ``name`` at both ends."""
    host.shell(f"ip link add {name} type veth peer name {name} netns {peer_name}")
    for end, mine in ((host, own), (peer, its)):
        end.shell(
            f"sysctl -qw net.ipv6.conf.{name}.dad_transmits=0; ip link set {name} up mtu {MTU}\n"
            f"ip address add {mine}/24 dev {name}\n"
            f"sysctl -qw net.ipv4.conf.{name}.rp_filter=0 net.ipv4.conf.all.rp_filter=0\n"
            f"ip address add {topology.ipv6(mine)}/64 dev {name} nodad"
        )


def lengthen(lab: Lab) -> None:
    """Lays both links, and routes over them. The client still has its short way to the VIPs."""
    middle, far = lab.servers[2], lab.servers[0]
    link(lab.router, ROUTER, "client", lab.client, CLIENT, "front")
    link(middle, MIDDLE, "server1", far, FAR, "behind")
    middle.shell("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for family, length in ((4, 24), (6, 64)):
        ip = f"ip -{family}"
        outside, clients, behind = (f"{address(f'10.{n}.0.0', family)}/{length}" for n in (0, 3, 2))
        lab.director.shell(
            f"{ip} route add {clients} via {address('10.0.0.254', family)}\n"
            f"{ip} route add {behind} via {address('10.1.0.13', family)}"
        )
        for network in (outside, clients):
            middle.shell(f"{ip} route add {network} via {address('10.1.0.1', family)}")
        far.shell(
            f"{ip} route add default via {address(MIDDLE, family)} dev behind table {TABLE} "
            f"advmss {MSS[family]}\n"
            f"{ip} rule add from {address(FAR, family)} lookup {TABLE}"
        )


def use_front(lab: Lab) -> None:
    """From now on the client reaches the VIPs by the router."""
    for family, vips in ((4, lab.vips), (6, lab.vips6)):
        for vip in vips.values():
            lab.client.shell(
                f"ip -{family} route add {vip} via {address(ROUTER, family)} dev front "
                f"src {address(CLIENT, family)} advmss {MSS[family]}"
            )


def service(lab: Lab, method: str, family: int, *, far: bool, protocol: str = "tcp") -> VirtualService:
    """A service of server1 alone, at its far address or at its near one."""
    made = lab.service(
        method,
        "rr",
        protocol=protocol,
        port=80 if protocol == "tcp" else 5300,
        weights=(1,),
        ipv6=family == 6,
    )
    if not far:
        return made
    port = made.servers[0].address.port
    return made.with_servers([RealServer((address(FAR, family), port))])


def echo_at(lab: Lab, service: VirtualService) -> tuple[int, str]:
    """Port and address where server1 gets what is sent to ``service``."""
    nat = service.forwarding is Forwarding.NAT
    place = service.servers[0].address if nat else service.address
    return place.port, str(place.address)
