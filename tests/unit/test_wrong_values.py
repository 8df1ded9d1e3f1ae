"""Every public constructor, method and property refuses wrong values by a ``FastlvsError`` that says what was
expected: each parameter is given each kind of wrong value."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastlvs as lvs
from fastlvs import real_server, schedulers
from topology import ROUTER, engine, from_client, service


class Hostile:
    """A foreign object, none of whose answers is one."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __repr__ = __str__ = __index__ = __float__ = __int__ = __bool__ = __fspath__ = _raise


WRONG: dict[str, Any] = {
    "none": None,
    "true": True,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "2**31": 2**31,
    "2**64": 2**64,
    "10**5000": 10**5000,
    "1e300": 1e300,
    "empty": "",
    "word": "nonsense",
    "digits": "80",
    "surrogate": "\ud800",
    "long": "9" * 100_000,
    "bytes": b"\x0a\x00\x00\x01",
    "(one,)": (1,),
    "[none]": [None],
    "[]": [],
    "{}": {},
    "{1: 1}": {1: 1},
    "object": object(),
    "hostile": Hostile(),
    "class": dict,
    "array": np.array([1, 2]),
}
"""Values of every kind, by the names that the cases below have for those that are right somewhere."""

EMPTY = {"[]", "{}"}
TIME = {"none"}
LATE = {"1.5", "0"}

KEY = ("tcp", "10.99.0.1:80")
FRAME = from_client()
SERVER = lvs.RealServer("192.168.1.1")


def director() -> lvs.Engine:
    return engine(service())


def of(method: str) -> Callable[..., Any]:
    """A call of a method of an engine of its own."""
    return lambda **arguments: getattr(director(), method)(**arguments)


Case = tuple[Callable[..., Any], dict[str, Any], dict[str, set[str]]]
"""A call, arguments that are right, and for each argument the names of the values above that are right too."""

WEIGHT = {"0"}
MASK = {"none"}
NAMES = {"word", "digits", "long"}
SWITCH = {"true"}
IF = {"if_generation": {"none"}}

CASES: dict[str, Case] = {
    "RealServer": (
        lvs.RealServer,
        {
            "address": "10.0.0.1",
            "weight": 1,
            "forwarding": "nat",
            "tunnel": "ipip",
            "tunnel_port": 0,
            "tunnel_flags": "nocsum",
            "upper_threshold": 0,
            "lower_threshold": 0,
            "own_port": True,
        },
        {
            "weight": WEIGHT,
            "forwarding": {"none"},
            "tunnel_port": WEIGHT,
            "upper_threshold": WEIGHT,
            "lower_threshold": WEIGHT,
            "own_port": SWITCH | {"none"},
        },
    ),
    "VirtualService": (
        lvs.VirtualService,
        {
            "protocol": "udp",
            "address": "192.0.2.10:53",
            "scheduler": "rr",
            "forwarding": "nat",
            "servers": (),
            "fallback": "wlc",
            "flags": (),
            "persistence": 60,
            "netmask": None,
            "one_packet": False,
            "timeouts": (),
        },
        {
            "servers": EMPTY,
            "flags": {*EMPTY, "empty"},
            "persistence": {"none", "1.5"},
            "netmask": MASK,
            "one_packet": SWITCH,
            "timeouts": EMPTY,
        },
    ),
    "VirtualService.of_mark": (
        lvs.VirtualService.of_mark,
        {"mark": 7, "ipv6": False, "scheduler": "rr", "persistence": 60.0, "servers": ()},
        {"mark": {"2**31"}, "ipv6": SWITCH, "servers": EMPTY, "persistence": {"none", "1.5"}},
    ),
    "VirtualService.replace": (
        service().replace,
        {"scheduler": "rr", "servers": (), "persistence": 60.0},
        {"servers": EMPTY, "persistence": {"none", "1.5"}},
    ),
    "VirtualService.server": (service().server, {"address": "10.0.0.1"}, {}),
    "VirtualService.with_server": (service().with_server, {"server": SERVER}, {}),
    "VirtualService.without_server": (service().without_server, {"address": "10.0.0.1"}, {}),
    "VirtualService.with_servers": (service().with_servers, {"servers": ()}, {"servers": EMPTY}),
    "VirtualService.with_scheduler": (
        service().with_scheduler,
        {"scheduler": "rr", "fallback": None},
        {"fallback": {"none"}},
    ),
    "VirtualService.forwarding_of": (service().forwarding_of, {"server": SERVER}, {}),
    "RealServer.replace": (SERVER.replace, {"weight": 1}, {"weight": WEIGHT}),
    "Forwarding": (lvs.Forwarding, {"value": "nat"}, {}),
    "Verdict": (lvs.Verdict, {"value": "drop"}, {}),
    "DropReason": (lvs.DropReason, {"value": "no_route"}, {}),
    "Endpoint.parse": (lvs.Endpoint.parse, {"value": "10.0.0.1:80"}, {}),
    "EndpointRange.parse": (lvs.EndpointRange.parse, {"text": "10.0.0.0/8:80-81"}, {}),
    "Mark": (
        lvs.Mark,
        {"mark": 1, "destination": "10.0.0.0/8", "protocol": None, "ports": 80, "source": None},
        {"mark": {"2**31"}, "protocol": {"none"}, "ports": WEIGHT, "source": {"none"}},
    ),
    "Interface": (
        lvs.Interface,
        {"name": "c", "mac": ROUTER, "mtu": 1500, "addresses": ()},
        {"name": {*NAMES, "empty"}, "mac": {*NAMES, "empty"}, "addresses": EMPTY},
    ),
    "Route": (
        lvs.Route,
        {
            "destination": "10.0.0.0/8",
            "via": "10.0.0.1",
            "interface": None,
            "mtu": None,
            "kind": "unicast",
        },
        {"interface": {*NAMES, "none", "empty"}, "mtu": {"none"}},
    ),
    "Engine": (
        lvs.Engine,
        {
            "interfaces": [lvs.Interface("c", mac=ROUTER, addresses=["10.0.0.1/24"])],
            "routes": (),
            "neighbours": None,
            "local": (),
            "owned": (),
            "marks": (),
            "services": (),
            "settings": None,
        },
        {
            "interfaces": EMPTY,
            "routes": EMPTY,
            "neighbours": {"none", "{}"},
            "local": EMPTY,
            "owned": EMPTY,
            "marks": EMPTY,
            "services": EMPTY,
            "settings": {"none"},
        },
    ),
    "Engine.process": (
        of("process"),
        {"interface": "c", "frame": FRAME, "now": 0.0},
        {"frame": {"bytes"}, "now": {*LATE, "-1", "2**31"}},
    ),
    "Engine.process_output": (
        of("process_output"),
        {"interface": "c", "frame": FRAME, "now": 0.0},
        {"frame": {"bytes"}, "now": {*LATE, "-1", "2**31"}},
    ),
    "Engine.process_many": (
        of("process_many"),
        {"interface": "c", "frames": [FRAME], "times": [0.0]},
        {"times": {"(one,)", "{1: 1}"}},
    ),
    "Engine.advance": (of("advance"), {"to": 0.0}, {"to": {*LATE, "-1", "2**31"}}),
    "Engine.set_available_memory": (of("set_available_memory"), {"size": 0}, {"size": {"0", "2**31"}}),
    "Engine.zero": (of("zero"), {"service": KEY}, {"service": {"none"}}),
    "Engine.apply": (
        of("apply"),
        {"services": (), "if_generation": None},
        {"services": EMPTY, **IF},
    ),
    "Engine.add_service": (
        of("add_service"),
        {"service": lvs.VirtualService("udp", "10.99.0.1:53"), "if_generation": None},
        IF,
    ),
    "Engine.remove_service": (of("remove_service"), {"service": KEY, "if_generation": None}, IF),
    "Engine.add_server": (
        of("add_server"),
        {"service": KEY, "server": lvs.RealServer("192.168.1.9"), "if_generation": None},
        IF,
    ),
    "Engine.edit_server": (
        of("edit_server"),
        {"service": KEY, "server": SERVER, "if_generation": None},
        IF,
    ),
    "Engine.remove_server": (
        of("remove_server"),
        {"service": KEY, "server": SERVER, "if_generation": None},
        IF,
    ),
    "Engine.set_weight": (
        of("set_weight"),
        {"service": KEY, "server": SERVER, "weight": 5, "if_generation": None},
        {"weight": WEIGHT, **IF},
    ),
    "Engine.edit_service": (
        lambda service, **changes: director().edit_service(service, **changes),
        {"service": KEY, "scheduler": "wlc", "persistence": 60.0, "if_generation": None},
        {"persistence": {"none", "1.5"}, **IF},
    ),
    "Engine.settings": (
        lambda settings: setattr(director(), "settings", settings),
        {"settings": lvs.Settings()},
        {},
    ),
    "Engine.services[]": (lambda key: director().services[key], {"key": 0}, {"key": {"0", "-1"}}),
    "Services.servers[]": (
        lambda key: director().services[0].servers[key],
        {"key": 0},
        {"key": {"0", "-1", "true"}},
    ),
    "Engine.connections[]": (lambda key: director().connections[key], {}, {}),
    "real_server.steps": (
        real_server.steps,
        {"forwarding": "dr", "rip": "10.0.0.1", "vip": "10.0.0.2", "gateway": None, "interface": "e"},
        {"gateway": {"none"}, "interface": {*NAMES, "empty"}},
    ),
    "real_server.script": (real_server.script, {"todo": ()}, {"todo": EMPTY}),
    "schedulers.load": (schedulers.load, {"reference": "python:fastlvs.settings:Nothing"}, {}),
    # A director is not started with what is wrong, so that this needs no privilege.
    "Director": (
        lvs.Director,
        {},
        {},
    ),
    "Director.from_file": (lvs.Director.from_file, {}, {}),
}

SETTINGS = {name: getattr(lvs.Settings(), name) for name in inspect.signature(lvs.Settings).parameters}
RIGHT_SETTINGS = {
    name: {bool: {"true"}, float: {"1.5"}, int: {"0"}, dict: EMPTY}[type(value)]
    for name, value in SETTINGS.items()
}
CASES["Settings"] = (
    lvs.Settings,
    SETTINGS,
    {**RIGHT_SETTINGS, "connection_limit": {"0", "2**31"}},
)
EXTRA: dict[str, dict[str, set[str]]] = {
    "Director": {
        "interfaces": {*EMPTY},
        "services": EMPTY,
        "settings": {"none"},
        "neighbours": {"none", "{}"},
        "routes": EMPTY,
        "marks": EMPTY,
        "spin": {"0"},
    },
    "Director.from_file": {"path": set()},
    "Engine.connections[]": {"key": set()},
}
"""Cases that cannot be right here: what is wrong is refused before anything else."""


ENUMERATIONS = (lvs.Forwarding, lvs.Verdict, lvs.DropReason)
UNWRITTEN = ("10**5000", "hostile", "array")
"""Values that the standard library's enumerations fail to compare or to write before they ask us."""


def cases() -> Iterator[Any]:
    for name, (call, arguments, right) in CASES.items():
        for parameter in EXTRA.get(name, arguments):
            fine = EXTRA.get(name, right).get(parameter, set())
            for kind, value in WRONG.items():
                if (name in EXTRA and kind in fine) or (call in ENUMERATIONS and kind in UNWRITTEN):
                    continue
                given = {**arguments, parameter: value}
                yield pytest.param(call, given, kind in fine, id=f"{name}-{parameter}-{kind}")


@pytest.mark.parametrize(("call", "arguments", "right"), list(cases()))
def test_each_wrong_value_is_refused_by_an_error_that_says_what_was_expected(
    call: Callable[..., Any], arguments: dict[str, Any], right: bool
) -> None:
    if right:
        call(*positional(call, arguments), **named(call, arguments))
        return
    with pytest.raises(lvs.FastlvsError) as caught:
        call(*positional(call, arguments), **named(call, arguments))
    message = str(caught.value)
    assert any(word in message for word in SAYS), message
    assert len(message) < 1200, "however long the value"


SAYS = (
    *("expected", "must", "needs", "above 0", "does not fit", "cannot be read"),
    *("is not there", "has no real server", "no interface", "no service"),
)


def positional(call: Callable[..., Any], arguments: dict[str, Any]) -> list[Any]:
    """What can only be given by its place."""
    return [arguments["value"]] if call in ENUMERATIONS else (
        [arguments["service"]] if "persistence" in arguments and "service" in arguments else []
    )  # fmt: skip


def named(call: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    first = positional(call, arguments)
    return {name: value for name, value in arguments.items() if not (first and name in ("value", "service"))}


RESULTS = {
    *("Change", "Counters", "DirectorCounters", "Statistics"),  # what a call answers with
    *("Endpoint", "EndpointRange"),  # plain tuples, which are checked where they are given
}
ELSEWHERE = {"edit_service": {"changes"}, "replace": {"changes"}, "of_mark": {"args", "options"}}
"""What the tests below give wrongly: names of arguments."""


@pytest.mark.parametrize("name", [name for name in lvs.__all__ if name not in RESULTS])
def test_every_parameter_of_every_public_name_has_its_case(name: str) -> None:
    public = getattr(lvs, name)
    if not inspect.isclass(public) or public.__module__ == "fastlvs" or issubclass(public, Exception):
        return
    if name in CASES and public not in ENUMERATIONS:
        known = {**CASES[name][1], **EXTRA.get(name, {})}
        assert known.keys() == inspect.signature(public).parameters.keys()
    for method, function in inspect.getmembers(public, callable):
        if method.startswith("_") or public in ENUMERATIONS or public is lvs.Scheduler:
            continue
        wanted = inspect.signature(function).parameters.keys() - {"self"} - ELSEWHERE.get(method, set())
        # An engine's edits are a director's too, which needs privilege.
        owner = "Engine" if name == "Director" and hasattr(lvs.Engine, method) else name
        known = {**CASES.get(f"{owner}.{method}", (None, {}, {}))[1], **EXTRA.get(f"{owner}.{method}", {})}
        if f"{owner}.{method}" not in PRIVILEGED:
            assert wanted <= {*known, "field"}, f"{owner}.{method}"


PRIVILEGED = {"Director.drain", "Director.wait", "Director.reload"}
"""They need a running director; their times and paths are checked as others are."""


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, np.uint64])
def test_numpy_integers_are_integers(kind: Any) -> None:
    server = lvs.RealServer(("192.168.1.1", kind(80)), kind(3), upper_threshold=kind(9))
    assert server == lvs.RealServer("192.168.1.1:80", 3, upper_threshold=9)
    assert type(server.weight) is int
    assert lvs.VirtualService.of_mark(kind(7)) == lvs.VirtualService.of_mark(7)
    assert lvs.Mark(kind(7), "10.0.0.0/8", ports=(kind(1), kind(2))).ports == (1, 2)
    assert lvs.Settings(drop_entry=kind(3), timeout_tcp=kind(9)) == lvs.Settings(
        drop_entry=3, timeout_tcp=9.0
    )
    with_mask = lvs.VirtualService("tcp", ("192.0.2.10", kind(80)), persistence=kind(60), netmask=kind(24))
    assert (str(with_mask.netmask), with_mask.persistence) == ("255.255.255.0", 60.0)
    balancer = director()
    balancer.set_weight(KEY, SERVER, kind(4))
    assert balancer.services[kind(0)].servers[kind(2)].weight == 4


def test_numpys_switches_and_seconds_are_switches_and_seconds() -> None:
    given: dict[str, Any] = {"sloppy_tcp": np.bool_(True), "timeout_udp": np.float32(0.5)}
    assert lvs.Settings(**given) == lvs.Settings(sloppy_tcp=True, timeout_udp=0.5)


@pytest.mark.parametrize("seconds", [2**31, 4294967295, 1e18, math.nan, "300", 0, -1])
def test_persistence_has_a_limit_which_is_told(seconds: Any) -> None:
    with pytest.raises(lvs.ConfigurationError, match=r"tcp 192\.0\.2\.10:80.*up to 2147483647 seconds, got"):
        lvs.VirtualService("tcp", "192.0.2.10:80", persistence=seconds)
    assert lvs.VirtualService("tcp", "192.0.2.10:80", persistence=2**31 - 1).persistence == 2**31 - 1


def test_counters_of_a_service_that_is_not_there_cannot_begin_anew() -> None:
    with pytest.raises(lvs.ConfigurationError, match=r"service tcp 10\.99\.0\.1:81: is not there"):
        director().zero(("tcp", "10.99.0.1:81"))


def test_a_name_that_no_argument_has_is_an_error_of_ours_and_a_type_error() -> None:
    for call in (
        lambda: SERVER.replace(weigth=1),
        lambda: service().replace(persistance=9),
        lambda: director().edit_service(KEY, persistance=9),
        lambda: lvs.VirtualService.of_mark(7, persistance=9),
        lambda: lvs.VirtualService.of_mark(7, "rr", scheduler="rr"),
        lambda: lvs.VirtualService.of_mark(7, "rr", "nat", (), "wlc", "sh-port"),
    ):
        with pytest.raises(lvs.ArgumentError, match="expected") as caught:
            call()
        assert isinstance(caught.value, TypeError)
    with pytest.raises(lvs.ConfigurationError, match=r"weigth: expected one of address weight forwarding"):
        SERVER.replace(weigth=1)


def test_what_is_not_there_is_an_error_of_ours_and_a_look_up_error() -> None:
    services = director().services
    with pytest.raises(lvs.MissingError, match=r"no service tcp 10\.0\.0\.81:80") as caught:
        services["tcp", "10.0.0.81:80"]
    assert isinstance(caught.value, KeyError)
    for far in (1, -2, 10**30, -(10**30)):
        with pytest.raises(lvs.MissingError) as by_place:
            services[far]
        assert isinstance(by_place.value, IndexError)
    with pytest.raises(lvs.ArgumentError, match=r"like \('tcp', '192.0.2.10:80'\).*, got '10.0.0.81:80'"):
        services["10.0.0.81:80"]  # type: ignore[index]


def test_bad_lists_of_frames_are_refused() -> None:
    with pytest.raises(lvs.ConfigurationError, match="times: expected a time for each frame, got 2 for 1"):
        director().process_many("c", [FRAME], [0.0, 1.0])
    with pytest.raises(lvs.ConfigurationError, match="frame: expected the bytes of a frame, got 'x'"):
        director().process_many("c", ["x"], [0.0])  # type: ignore[list-item]


def test_the_service_of_a_mark_is_no_address() -> None:
    for address in ("10.0.0.1:80", "10.0.0.0/8:0-65535", "[::1]:0", "0.0.0.0:0"):
        with pytest.raises(lvs.ConfigurationError, match="service fwm: expected a mark's number"):
            lvs.VirtualService("fwm", address)


def test_what_no_client_elsewhere_can_send_to_gets_no_mark() -> None:
    for destination in (
        *("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "127.0.0.0/8", "224.0.0.0/4"),
        *("::", "::1", "ff02::1", "ff00::/8"),
    ):
        with pytest.raises(lvs.ConfigurationError, match=r"mark 7: expected addresses that are neither"):
            lvs.Mark(7, destination)
    for destination in ("0.0.0.0/0", "::/0", "169.254.0.1", "fe80::1"):
        lvs.Mark(7, destination)


def test_a_real_server_is_not_one_of_a_link() -> None:
    with pytest.raises(lvs.ConfigurationError, match="not a unicast address"):
        lvs.VirtualService("tcp", "[fd00::1]:80", "rr", "nat", [lvs.RealServer("fe80::1")])


def test_an_address_with_a_zone_is_refused() -> None:
    for make in (
        lambda: lvs.RealServer("fe80::1%eth0"),
        lambda: lvs.Mark(1, "fe80::1%eth0"),
        lambda: lvs.Interface("c", mac=ROUTER, addresses=["fe80::1%eth0/64"]),
    ):
        with pytest.raises(lvs.ConfigurationError, match="expected"):
            make()


def test_a_table_without_pandas_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(lvs.PlatformError, match="to_pandas needs pandas") as caught:
        director().connections.to_pandas()
    assert isinstance(caught.value.__cause__, ImportError)
