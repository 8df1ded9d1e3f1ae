"""Changes while packets pass: connections and counters stay."""

from __future__ import annotations

import pytest

import fastlvs as lvs
from packets import ACK, SYN
from topology import CLIENT, VIP, engine, from_client, service

KEY = ("tcp", VIP)


def addresses(director: lvs.Engine) -> list[str]:
    return [str(server.address.address) for server in director.services[0].servers]


def test_apply_changes_what_differs_and_keeps_the_rest() -> None:
    director = engine(service())
    director.process("c", from_client())
    web = service("wlc").with_servers(
        [lvs.RealServer("192.168.1.3", weight=4), lvs.RealServer("192.168.1.7")]
    )
    made = [str(change) for change in director.apply([web])]
    assert made == [
        "edited service tcp 10.99.0.1:80",
        "removed service tcp 10.99.0.1:80: real server 192.168.1.1:80",
        "removed service tcp 10.99.0.1:80: real server 192.168.1.2:80",
        "edited service tcp 10.99.0.1:80: real server 192.168.1.3:80",
        "added service tcp 10.99.0.1:80: real server 192.168.1.7:80",
    ]
    assert addresses(director) == ["192.168.1.7", "192.168.1.3"]
    kept = director.services[0].servers[1]
    assert (kept.active, kept.weight, kept.connections) == (1, 4, 1)
    assert director.wanted == (web,)
    assert director.apply([web]) == ()


def test_a_wish_that_cannot_be_met_changes_nothing() -> None:
    director = engine(service())
    with pytest.raises(lvs.ConfigurationError, match="defined twice"):
        director.apply([service("sh"), service("dh")])
    assert director.services[0].scheduler == "rr"
    assert director.wanted == (service(),)


def test_a_new_server_heads_the_list_and_an_edited_one_keeps_its_place() -> None:
    director = engine(service())
    director.add_server(KEY, lvs.RealServer("192.168.1.9"))
    director.edit_server(KEY, lvs.RealServer("192.168.1.2", weight=5, forwarding="tun"))
    director.set_weight(KEY, "192.168.1.1", 0)
    assert addresses(director) == ["192.168.1.9", "192.168.1.3", "192.168.1.2", "192.168.1.1"]
    servers = director.services[0].servers
    assert servers.weight.tolist() == [1, 1, 5, 0]
    assert servers[2].forwarding is lvs.Forwarding.TUN


def test_a_quiesced_server_keeps_its_connections() -> None:
    director = engine(service())
    director.process("c", from_client())
    director.set_weight(KEY, "192.168.1.3", 0)
    assert director.process("c", from_client(ACK)).verdict is lvs.Verdict.FORWARD
    for port in range(6):
        director.process("c", from_client(client=(CLIENT[0], port + 1)))
    assert director.services[0].servers.connections.tolist() == [1, 3, 3]


@pytest.mark.parametrize("expire", [False, True])
def test_a_removed_server_ends_its_connections_or_silences_them(expire: bool) -> None:
    director = engine(service(), settings=lvs.Settings(expire_nodest_conn=expire))
    director.process("c", from_client())
    director.remove_server(KEY, "192.168.1.3")
    outcome = director.process("c", from_client(SYN), now=1.0)
    if expire:
        assert outcome.verdict is lvs.Verdict.FORWARD
        assert str(director.connections[-1].server.address) == "192.168.1.2"
    else:
        assert outcome.reason is lvs.DropReason.SERVER_GONE


def test_services_come_and_go() -> None:
    director = engine(service())
    dns = lvs.VirtualService("udp", "10.99.0.1:53", servers=[lvs.RealServer("192.168.1.1")])
    director.add_service(dns)
    director.remove_service(service())
    assert [(s.protocol, str(s.address)) for s in director.services] == [("udp", "10.99.0.1:53")]
    director.edit_service(director.services[0], scheduler="sh")
    assert director.services[0].scheduler == "sh"
    assert director.process("c", from_client()).verdict is lvs.Verdict.TO_HOST


def test_edits_of_what_is_not_there_say_so() -> None:
    director = engine(service())
    with pytest.raises(lvs.ConfigurationError, match=r"service tcp 10\.99\.0\.1:81: is not there"):
        director.set_weight(("tcp", "10.99.0.1:81"), "192.168.1.1", 1)
    with pytest.raises(
        lvs.ConfigurationError, match=r"has no real server 192\.168\.1\.9; it has 192\.168\.1\.1:80"
    ):
        director.remove_server(KEY, "192.168.1.9")
    with pytest.raises(lvs.ConfigurationError, match=r"has the real server 192\.168\.1\.1:80 already"):
        director.add_server(KEY, lvs.RealServer("192.168.1.1"))
    with pytest.raises(lvs.ConfigurationError, match="is already there"):
        director.add_service(service("sh"))
