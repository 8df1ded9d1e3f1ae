"""Schedulers of the user's own: asked for each new connection, and what happens when they fail."""

from __future__ import annotations

import logging
import sys
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

import fastlvs as lvs
from fastlvs import schedulers
from packets import ACK, SYN
from topology import CLIENT, VIP, engine, from_client, service


class Asked:
    """Gives the answers that it was told, the last one again and again, and keeps the questions."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.flows: list[lvs.Flow] = []
        self.servers: list[lvs.Servers] = []

    def select(self, flow: lvs.Flow, servers: lvs.Servers) -> int | lvs.Server | lvs.RealServer | None:
        self.flows.append(flow)
        self.servers.append(servers)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if answer == "object":
            return servers[1]
        return answer  # type: ignore[return-value]


def choices(director: lvs.Engine, count: int) -> list[str | lvs.Verdict]:
    """Whom so many new connections reach, or what else becomes of them."""
    for port in range(1, count + 1):
        director.process("c", from_client(client=(CLIENT[0], 5000 + port)), now=2.0)
    return [str(connection.server.address) for connection in director.connections]


def test_it_is_asked_once_for_each_connection() -> None:
    asked = Asked(0)
    director = engine(service(asked))
    for flags in (SYN, ACK, ACK):
        director.process("c", from_client(flags), now=1.5)
    [flow] = asked.flows
    assert (flow.protocol, flow.time) == ("tcp", 1.5)
    assert (str(flow.client), str(flow.destination)) == ("203.0.113.9:40000", "10.99.0.1:80")


@pytest.mark.parametrize(
    "answer",
    [1, np.int64(1), np.uint8(1), "object", lvs.RealServer("192.168.1.2"), lvs.RealServer("192.168.1.2:80")],
)
def test_every_kind_of_answer_is_understood(answer: object) -> None:
    director = engine(service(Asked(answer)))
    assert choices(director, 2) == ["192.168.1.2"] * 2
    assert director.services[0].scheduler_errors == 0


def test_it_sees_the_servers_as_columns_newest_first() -> None:
    asked = Asked(0)
    servers = [lvs.RealServer("192.168.1.1", weight=7), lvs.RealServer("192.168.1.2", weight=0)]
    choices(engine(service(asked, servers=servers)), 3)
    seen = asked.servers[-1]
    assert seen.address.tolist() == ["192.168.1.2:80", "192.168.1.1:80"]
    assert seen.weight.tolist() == [0, 7]
    assert seen.usable.tolist() == [False, True]
    assert seen.connections.tolist() == [3, 0], "a server of weight 0 is the user's to choose"


def test_none_means_no_server() -> None:
    outcome = engine(service(Asked(None))).process("c", from_client())
    assert outcome.verdict is lvs.Verdict.REPLY
    assert "port unreachable" in outcome.way


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("no idea"),
        3,
        -1,
        True,
        1.0,
        "192.168.1.1",
        lvs.RealServer("192.168.1.9"),
        [],
        SystemExit(),
    ],
)
def test_after_a_failure_the_fallback_decides(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    director = engine(service(Asked(answer), fallback="rr"))
    assert choices(director, 4) == ["192.168.1.3", "192.168.1.2", "192.168.1.1", "192.168.1.3"]
    assert director.services[0].scheduler_errors == 4
    [record] = caplog.records
    assert (record.name, record.levelno) == ("fastlvs", logging.ERROR)
    assert "scheduler Asked of service TCP 10.99.0.1:80: select " in record.getMessage()
    assert "the fallback decides" in record.getMessage()
    assert bool(record.exc_info) is isinstance(answer, BaseException)


def test_a_scheduler_that_always_fails_is_told_about_seldom(caplog: pytest.LogCaptureFixture) -> None:
    director = engine(service(Asked(9)))
    choices(director, 120)
    assert [record.getMessage().count("times") for record in caplog.records] == [0, 1, 1]
    assert "(100 times)" in caplog.records[-1].getMessage()


def test_a_failure_is_the_exception() -> None:
    director = engine(service(Asked(0, RuntimeError("once"), 1, 0), fallback="rr"))
    assert choices(director, 4) == ["192.168.1.3", "192.168.1.3", "192.168.1.2", "192.168.1.3"]
    assert director.services[0].scheduler_errors == 1


def test_asking_the_engine_from_within_fails_and_harms_nothing() -> None:
    class Curious:
        def select(self, flow: lvs.Flow, servers: lvs.Servers) -> int:
            return len(director.connections)

    director = engine(service(Curious()))
    assert choices(director, 1) == ["192.168.1.3"]
    assert director.services[0].scheduler_errors == 1


def test_ctrl_c_reaches_the_program_after_the_packet() -> None:
    director = engine(service(Asked(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        choices(director, 1)
    assert len(director.connections) == 1


def test_a_scheduler_stays_itself_over_changes_of_its_servers() -> None:
    director = engine(service(Asked(9), fallback="rr"))
    choices(director, 2)
    director.remove_server(("tcp", VIP), "192.168.1.3")
    assert director.services[0].scheduler_errors == 2
    director.process("c", from_client(client=(CLIENT[0], 9)))
    assert str(director.connections[2].server) == "192.168.1.2:80", "the fallback knows the new list"
    director.edit_service(("tcp", VIP), scheduler=Asked(0))
    assert director.services[0].scheduler_errors == 0


def test_many_frames_at_once_ask_it_too() -> None:
    director = engine(service(Asked(1)))
    frames = [from_client(client=(CLIENT[0], port)) for port in range(10)]
    director.process_many("c", frames, [0.0] * 10)
    assert director.services[0].servers[1].connections == 10


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (Asked, r"expected a scheduler object, got its class; write Asked\(\)"),
        (object(), "expected a scheduler's name or an object with a method select, got a object"),
        (None, "got a NoneType"),
    ],
)
def test_what_is_no_scheduler_is_refused(scheduler: object, message: str) -> None:
    with pytest.raises(lvs.ConfigurationError, match=message):
        service(scheduler)  # type: ignore[arg-type]


def test_an_unknown_fallback_is_refused() -> None:
    with pytest.raises(lvs.ConfigurationError, match='unknown fallback "best"; expected one of rr'):
        service(Asked(0), fallback="best")


def test_a_file_may_name_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "class First:\n    def select(self, flow, servers):\n        return 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = schedulers.load("python:mine:First")
    assert choices(engine(service(loaded)), 1) == ["192.168.1.3"]
    sys.modules.pop("mine")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("python:no.such:Class", "ModuleNotFoundError"),
        ("python:json:Missing", "AttributeError"),
        ("python:json", "expected python:module:Class"),
        ("python:builtins:dict", "has no method select"),
        ("python:builtins:memoryview", "TypeError"),
    ],
)
def test_what_a_file_names_wrongly_is_said(reference: str, message: str) -> None:
    with pytest.raises(lvs.ConfigurationError, match=message):
        schedulers.load(reference)


def bucket(address: str) -> int:
    """The kernel's ``hash_32`` with 8 bits."""
    return (int(IPv4Address(address)) * 0x61C88647 % 2**32) >> 24


LIST = ["192.168.1.3", "192.168.1.2", "192.168.1.1"]
"""Newest first."""
IN_TURN = [*LIST, LIST[0]]
TWO_EACH = [LIST[0], LIST[0], LIST[1], LIST[1]]
FIRST_FOUR = {
    **dict.fromkeys(("rr", "wrr"), IN_TURN),
    # Each takes the one that has the least, of equals the first in the list.
    **dict.fromkeys(("lc", "wlc", "sed", "nq"), IN_TURN),
    "dh": [LIST[bucket(VIP[0]) % 3]] * 4,
    "sh": [LIST[bucket(CLIENT[0]) % 3]] * 4,
    # The destination's server until that has more active connections than its weight, another less than half.
    **dict.fromkeys(("lblc", "lblcr"), TWO_EACH),
    "fo": [LIST[0]] * 4,
    # The first that has no more active connections than its weight.
    "ovf": TWO_EACH,
}


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_every_built_in_scheduler_chooses_by_its_rule(name: str) -> None:
    chosen = choices(engine(service(name)), 4)
    if name == "mh":  # which server a client's address has depends on a table of all servers
        assert chosen in [[server] * 4 for server in LIST]
    elif name == "twos":  # the less loaded one of two that are drawn
        assert set(chosen) <= set(LIST)
        assert len(set(chosen)) > 1
    else:
        assert chosen == FIRST_FOUR[name]
