"""Services and servers as values: what they take, how they print, what they refuse."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import pytest

import fastlvs as lvs
from fastlvs.changes import changes
from fastlvs.service import service_key

WEB = lvs.VirtualService(
    "tcp",
    "192.0.2.10:80",
    servers=[lvs.RealServer("10.0.0.11:8080", weight=3, forwarding="nat"), lvs.RealServer("10.0.0.12")],
)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.10:80",
        ("192.0.2.10", 80),
        (IPv4Address("192.0.2.10"), 80),
        lvs.Endpoint(IPv4Address("192.0.2.10"), 80),
    ],
)
def test_addresses_are_taken_in_every_shape(address: object) -> None:
    assert lvs.VirtualService("TCP", address).address == (IPv4Address("192.0.2.10"), 80)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["[2001:db8::1]:443", ("2001:db8::1", 443), (IPv6Address("2001:db8::1"), 443)]
)
def test_ipv6_addresses_have_brackets(address: object) -> None:
    service = lvs.VirtualService("tcp", address)  # type: ignore[arg-type]
    assert str(service.address) == "[2001:db8::1]:443"


@pytest.mark.parametrize(
    "text", ["10.0.0.1:", "10.0.0:80", "[::1:80", "[::1]80", "web:80", "10.0.0.1:70000", "", ":80"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(lvs.ConfigurationError, match=r"virtual service|real server|expected"):
        lvs.VirtualService("tcp", text)


@pytest.mark.parametrize("port", [-1, 65536, True, "80"])
def test_what_is_no_port_is_refused(port: object) -> None:
    with pytest.raises(lvs.ConfigurationError, match="expected a port from 0 to 65535"):
        lvs.RealServer(("10.0.0.1", port))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lvs.Forwarding.NAT, ["nat", "masq", "masquerading", "-m", "NAT"]),
        (lvs.Forwarding.DR, ["dr", "gate", "gatewaying", "route", "-g", "DR"]),
        (lvs.Forwarding.TUN, ["tun", "ipip", "tunneling", "tunnel", "-i"]),
    ],
)
def test_forwarding_methods_go_by_every_name(method: lvs.Forwarding, words: list[str]) -> None:
    assert [lvs.Forwarding(word) for word in words] == [method] * len(words)


def test_a_server_without_port_has_the_services() -> None:
    assert [str(server.address) for server in WEB.servers] == ["10.0.0.11:8080", "10.0.0.12:80"]
    assert WEB.server("10.0.0.12") == lvs.RealServer("10.0.0.12:80")
    assert WEB.server("10.0.0.11") is None


def test_a_server_of_port_0_keeps_it() -> None:
    service = WEB.with_server(lvs.RealServer("10.0.0.12:0", weight=3, forwarding="nat"))
    assert [str(server.address) for server in service.servers] == [
        "10.0.0.11:8080",
        "10.0.0.12:80",
        "10.0.0.12:0",
    ]
    server = service.server("10.0.0.12:0")
    assert server is not None
    assert (server.own_port, server.weight) == (True, 3)
    assert repr(server) == 'RealServer("10.0.0.12:0", weight=3, forwarding="masquerading")'
    assert service.replace(persistence=300).server("10.0.0.12:0") == server
    assert server.replace(weight=4).own_port
    assert not server.replace(address="10.0.0.12").own_port
    assert service.without_server("10.0.0.12").server("10.0.0.12:0") == server
    engine = lvs.Engine([lvs.Interface("c", mac="02:00:00:00:00:01")])
    engine.apply([WEB.replace(servers=[lvs.RealServer("10.0.0.12:0")], forwarding="nat")])
    assert [str(s.address) for s in engine.services[0].servers] == ["10.0.0.12:0"]


@pytest.mark.parametrize("forwarding", ["nat", "dr", "tun"])
def test_servers_of_a_mark_have_ports(forwarding: str) -> None:
    addresses = ["10.0.0.11:80", "10.0.0.11:81", "10.0.0.11"]
    servers = [lvs.RealServer(address, forwarding=forwarding) for address in addresses]
    engine = lvs.Engine([lvs.Interface("c", mac="02:00:00:00:00:01")])
    engine.apply([lvs.VirtualService.of_mark(1, servers=servers)])
    listed = sorted(str(server.address) for server in engine.services[0].servers)
    assert listed == ["10.0.0.11:0", "10.0.0.11:80", "10.0.0.11:81"]


def test_the_forwarding_method_is_the_servers_and_a_default_the_services() -> None:
    assert [WEB.forwarding_of(server) for server in WEB.servers] == [lvs.Forwarding.NAT, lvs.Forwarding.DR]


def test_values_print_as_code_that_makes_them() -> None:
    assert repr(lvs.RealServer("10.0.0.12", weight=2)) == 'RealServer("10.0.0.12", weight=2)'
    names = {"VirtualService": lvs.VirtualService, "RealServer": lvs.RealServer}
    assert eval(repr(WEB), names) == WEB  # the text is ours


def test_values_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WEB.servers[0].weight = 5  # type: ignore[misc]
    assert len({WEB, WEB.with_servers(WEB.servers)}) == 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"protocol": "icmp"}, "expected protocol 'tcp', 'udp' or 'sctp', got 'icmp'"),
        ({"scheduler": "wlc", "flags": "sh-port"}, "the flag sh-port does not fit the scheduler wlc"),
        ({"scheduler": "sh", "flags": ["port"]}, "expected flags sh-fallback sh-port .*, got 'port'"),
        ({"persistence": 0.0}, "expected a persistence timeout above 0"),
        ({"persistence": 9.0, "netmask": 33}, "from 1 to 32 leading bits, got 33"),
        ({"persistence": 9.0, "netmask": "ffff::"}, "expected a netmask like '255.255.255.0'"),
        ({"one_packet": True}, "one-packet scheduling is for UDP"),
        ({"timeouts": {"tcp_open": 1.0}}, "unknown timeout 'tcp_open'; expected one of tcp_none"),
        ({"timeouts": {"udp": 0.0}}, "expected seconds above 0 and up to 2147483647 for udp, got 0.0"),
        ({"address": "192.0.2.10"}, "expected a port from 1 to 65535"),
        ({"scheduler": "fastest"}, 'unknown scheduler "fastest"; expected one of rr'),
        ({"forwarding": "bypass"}, "expected a forwarding method: nat, dr or tun"),
        ({"servers": [lvs.RealServer("10.0.0.1:81")]}, "must have the service's port"),
        ({"servers": [lvs.RealServer("10.0.0.1")] * 2}, "defined twice"),
        ({"servers": [lvs.RealServer("224.0.0.1")]}, "not a unicast address"),
        ({"servers": [lvs.RealServer("2001:db8::1")]}, "another address family"),
        ({"servers": ["10.0.0.1"]}, "expected a RealServer, got '10.0.0.1'"),
    ],
)
def test_what_is_wrong_with_a_service_is_said_when_it_is_made(what: dict[str, object], message: str) -> None:
    options = {"protocol": "tcp", "address": "192.0.2.10:80", **what}
    with pytest.raises(lvs.ConfigurationError, match=message) as caught:
        lvs.VirtualService(**options)  # type: ignore[arg-type]
    assert "192.0.2.10" in str(caught.value), "it says where"


@pytest.mark.parametrize("weight", [-1, 2**31, 1.5, True])
def test_what_is_no_weight_is_refused(weight: object) -> None:
    with pytest.raises(lvs.ConfigurationError, match=r"real server 10.0.0.1: expected a weight from 0"):
        lvs.RealServer("10.0.0.1", weight=weight)  # type: ignore[arg-type]


def test_changes_say_what_differs() -> None:
    other = lvs.VirtualService("udp", "192.0.2.10:53", "rr")
    after = WEB.with_server(lvs.RealServer("10.0.0.12", weight=5)).without_server("10.0.0.11:8080")
    now = after.with_scheduler("sh")
    made = [str(change) for change in changes({WEB.key: WEB, other.key: other}, {now.key: now})]
    assert made == [
        "removed service udp 192.0.2.10:53",
        "edited service tcp 192.0.2.10:80",
        "removed service tcp 192.0.2.10:80: real server 10.0.0.11:8080",
        "edited service tcp 192.0.2.10:80: real server 10.0.0.12:80",
    ]
    assert list(changes({WEB.key: WEB}, {WEB.key: WEB})) == []


def test_a_service_with_everything_prints_as_it_is_written() -> None:
    service = lvs.VirtualService(
        "udp",
        "192.0.2.10:53",
        "sh",
        flags="sh-port,sh-fallback",
        persistence=300,
        netmask=24,
        one_packet=True,
        timeouts={"udp": 0.5},
        servers=[lvs.RealServer("10.0.0.11", upper_threshold=9, lower_threshold=3)],
    )
    assert eval(repr(service), {**vars(lvs)}) == service
    assert str(service.netmask) == "255.255.255.0"
    assert service.replace(netmask=None).netmask is None
    assert service.with_scheduler("rr").flags == frozenset()


def test_the_service_of_a_mark_has_no_address() -> None:
    service = lvs.VirtualService.of_mark(7, "rr", "nat", [lvs.RealServer("10.0.0.11")], persistence=60.0)
    assert (service.mark, service.name, service.servers[0].address.port) == (7, "fwm 7", 0)
    assert eval(repr(service), {**vars(lvs)}) == service
    ipv6 = lvs.VirtualService.of_mark(7, ipv6=True)
    assert (ipv6.mark, ipv6.name) == (7, "fwm 7 IPv6")
    assert ipv6.key != service.key
    assert service_key(("fwm", 7)) == service.key
    assert service_key(("fwm6", 7)) == ipv6.key
    with pytest.raises(lvs.ConfigurationError, match="expected a mark from 1 to 4294967295, got 0"):
        lvs.VirtualService.of_mark(0)


def test_a_lower_threshold_above_the_upper_one_is_refused() -> None:
    with pytest.raises(lvs.ConfigurationError, match="expected a lower threshold up to 3, the upper, got 4"):
        lvs.RealServer("10.0.0.11", upper_threshold=3, lower_threshold=4)
