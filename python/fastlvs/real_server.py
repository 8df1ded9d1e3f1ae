"""What makes a machine a real server: the notes of every LVS manual, as commands.

The director's half is one line of configuration; what goes wrong is mostly the other half. Each forwarding
method asks something else of a real server (Linux):

* **NAT**: its replies pass the director, which turns the server's address back into the VIP.
* **DR**: it takes packets for the VIP, but never says on the link that it has it.
* **TUN**: the same, and it unpacks what arrives in a tunnel.

:func:`steps` gives them as values, ``fastlvs real-server`` prints them, and the lab runs them.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from textwrap import dedent, wrap

from fastlvs import checks
from fastlvs.errors import ConfigurationError
from fastlvs.network import AddressLike, parse_address
from fastlvs.server import Forwarding, ForwardingLike, parse_forwarding

__all__ = ["ROUTING_TABLES", "Step", "add", "script", "steps"]

IPAddress = IPv4Address | IPv6Address

ROUTING_TABLES = {Forwarding.NAT: 5101, Forwarding.DR: 5102, Forwarding.TUN: 5103}
"""The routing table that holds the way of the replies. Tables of our own leave the machine's as they are,
so that each step can be undone."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command on a real server."""

    why: str
    command: tuple[str, ...]
    undo: tuple[str, ...]
    """The command that takes it back."""


def steps(
    forwarding: ForwardingLike,
    *,
    rip: AddressLike,
    vip: AddressLike | None = None,
    gateway: AddressLike | None = None,
    interface: str = "eth0",
) -> list[Step]:
    """What to do on a real server, in this order.

    Args:
        forwarding: how the director's packets reach it.
        rip: its own address, where the director finds it.
        vip: the virtual service's address; DR and TUN need it.
        gateway: where its replies go. NAT: the director's address on the servers' network, which has to be
            said. DR and TUN: a router to the clients, if that is not its default gateway anyway.
        interface: its interface on the director's network.

    Raises:
        ConfigurationError: an address is missing, or of a family that does not go with the others.
    """
    method = parse_forwarding(forwarding, "forwarding")
    checks.text(interface, "an interface's name", "interface")
    server = parse_address(rip, "rip")
    router = None if gateway is None else parse_address(gateway, "gateway")
    if method is Forwarding.NAT:
        if router is None:
            raise ConfigurationError("NAT needs the director's address on this network", field="gateway")
        return list(_replies(method, server, router, interface))
    if vip is None:
        raise ConfigurationError(f"{method.name} needs the virtual service's address", field="vip")
    virtual = parse_address(vip, "vip")
    if method is Forwarding.DR:
        _same_family(virtual, server, "vip")
    unpacking, device = _tunnel(server, virtual) if method is Forwarding.TUN else ((), "lo")
    address = _address(virtual) if virtual.version == 6 else _quiet_address(virtual, device, interface)
    replies = () if router is None else _replies(method, virtual, router, None)
    return [*unpacking, *address, *replies]


def script(todo: Iterable[Step], *, undo: bool = False) -> str:
    """The steps as a shell script, each under its reason; with ``undo`` their reverse, last step first."""
    lines, todo = ["#!/bin/sh", "set -e"], checks.items(todo, Step, "steps")
    for step in reversed(todo) if undo else todo:
        reason = ["takes back:", *wrap(step.why, 96)] if undo else wrap(step.why, 100)
        lines += ["", *(f"# {line}" for line in reason), shlex.join(step.undo if undo else step.command)]
    return "\n".join(lines) + "\n"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``fastlvs real-server``."""
    parser = subparsers.add_parser(
        "real-server",
        help="print the commands that prepare a real server",
        description="Prints, as a shell script with reasons, what prepares a Linux machine as a real server. "
        "Changes nothing itself.",
        epilog=dedent("""\
            examples:
              fastlvs real-server nat --rip 10.1.0.11 --gateway 10.1.0.1
              fastlvs real-server dr --rip 10.1.0.11 --vip 192.0.2.10 | ssh root@10.1.0.11 sh
              fastlvs real-server tun --rip 10.1.0.11 --vip 192.0.2.10 --undo
              fastlvs real-server dr --rip 2001:db8:1::11 --vip 2001:db8::10
            """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", choices=("nat", "dr", "tun"), help="how the director forwards to it")
    parser.add_argument("--rip", required=True, metavar="ADDRESS", help="the real server's own address")
    parser.add_argument("--vip", metavar="ADDRESS", help="the virtual service's address (dr, tun)")
    parser.add_argument(
        "--gateway",
        metavar="ADDRESS",
        help="where replies go: the director (nat), or a router to the clients (dr, tun; default: the "
        "machine's own default gateway)",
    )
    parser.add_argument(
        "--interface",
        default="eth0",
        metavar="NAME",
        help="interface on the director's network (default: eth0)",
    )
    parser.add_argument("--undo", action="store_true", help="print what takes it all back")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    todo = steps(
        arguments.method,
        rip=arguments.rip,
        vip=arguments.vip,
        gateway=arguments.gateway,
        interface=arguments.interface,
    )
    print(script(todo, undo=arguments.undo), end="")
    return 0


def _replies(
    method: Forwarding, source: IPAddress, gateway: IPAddress, interface: str | None
) -> Iterator[Step]:
    _same_family(gateway, source, "gateway")
    table = str(ROUTING_TABLES[method])
    ip = ("ip",) if source.version == 4 else ("ip", "-6")
    if method is Forwarding.NAT:
        why = (
            f"Everything that {source} says goes to the director {gateway}, even to neighbours on the link: "
            "a client must see the VIP answer. Other addresses of this machine keep their ways."
        )
    else:
        why = f"Replies from the VIP {source} go by {gateway}, past the director."
    device = () if interface is None else ("dev", interface)
    route = ("default", "via", str(gateway), *device, "table", table)
    yield Step(why, (*ip, "route", "replace", *route), (*ip, "route", "del", *route))
    rule = ("from", str(source), "lookup", table)
    yield Step(f"Use that way for {source}.", (*ip, "rule", "add", *rule), (*ip, "rule", "del", *rule))


def _address(vip: IPAddress) -> Iterator[Step]:
    address = (f"{vip}/128", "dev", "lo")
    yield Step(
        "Take packets for the VIP as this machine's own. Neighbours are told of addresses of the link's "
        "interface alone, so lo keeps it from them; nodad, for the director has the VIP too.",
        ("ip", "address", "add", *address, "nodad"),
        ("ip", "address", "del", *address),
    )


def _quiet_address(vip: IPAddress, device: str, interface: str) -> Iterator[Step]:
    yield _sysctl(
        f"net.ipv4.conf.{interface}.arp_ignore",
        1,
        f"Answer ARP on {interface} only for addresses of {interface}: the VIP on the link is the director's.",
    )
    yield _sysctl(
        f"net.ipv4.conf.{interface}.arp_announce",
        2,
        "Never name the VIP as the sender of an ARP request either: neighbours would learn it from that.",
    )
    address = (f"{vip}/32", "dev", device)
    yield Step(
        "Take packets for the VIP as this machine's own. The two lines above keep it from the neighbours.",
        ("ip", "address", "add", *address),
        ("ip", "address", "del", *address),
    )


def _tunnel(rip: IPAddress, vip: IPAddress) -> tuple[list[Step], str]:
    """What unpacks for ``vip`` what comes to ``rip``, and the device that does."""
    if rip.version == 4:
        module, device, protocol = ("ipip", "tunl0", 4) if vip.version == 4 else ("sit", "sit0", 41)
        why = (
            f"The kernel's IP-in-IP tunnel: {device} unpacks whatever comes to this machine as protocol "
            f"{protocol}."
        )
        made = Step(why, ("modprobe", module), ("modprobe", "-r", module))
    else:
        device = "fastlvs0"
        made = Step(
            "A tunnel of the kernel's, from anywhere to this machine, which unpacks both families.",
            ("ip", "link", "add", device, "type", "ip6tnl", "mode", "any", "local", str(rip)),
            ("ip", "link", "del", device),
        )
    todo = [made]
    todo.append(
        Step(
            "It unpacks only while it is up.",
            ("ip", "link", "set", device, "up"),
            ("ip", "link", "set", device, "down"),
        )
    )
    if vip.version == 4:
        why = (
            "Clients' packets come out of the tunnel, while the way to the clients does not lead into it: a "
            "strict reverse-path filter drops them. 2 (loose) rather than 0: the kernel takes the larger one "
            "of this and conf.all.rp_filter, so that 0 has no effect where all is 1."
        )
        todo.append(_sysctl(f"net.ipv4.conf.{device}.rp_filter", 2, why))
    return todo, device


def _sysctl(name: str, value: int, why: str) -> Step:
    # Zero is the kernel's default for all of them.
    return Step(why, ("sysctl", "-w", f"{name}={value}"), ("sysctl", "-w", f"{name}=0"))


def _same_family(address: IPAddress, other: IPAddress, field: str) -> None:
    if address.version != other.version:
        raise ConfigurationError(f"expected an IPv{other.version} address, got {address}", field=field)
