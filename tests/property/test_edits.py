"""Services and servers are edited while packets flow: the engine does what a plain model does."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import fastlvs as lvs
from packets import UDP, Packet
from topology import DIRECTOR_C, DIRECTOR_S, ROUTER, SERVERS, engine

VIPS = [("10.99.0.1", 53), ("10.99.0.2", 53)]
PORT = 5353
TIMEOUT = 300.0
SCHEDULERS = ["lc", "wlc", "sed", "nq", "fo"]
CLIENTS = [("203.0.113.9", port) for port in range(4000, 4006)]
REAL = list(SERVERS)

Socket = tuple[str, int]
Place = tuple[Socket, str]
"""A server of a service: its VIP and port, its own address."""


@dataclass
class Table:
    """A service of the model."""

    scheduler: str
    weights: dict[str, int] = field(default_factory=dict)
    """Of its servers, the newest last."""


@dataclass
class Flow:
    """A connection of the model."""

    place: Place
    ends: float
    newest: int
    """Counts up: of two connections with the same reply, the newest gets it."""


class Edits(RuleBasedStateMachine):
    """UDP services by NAT, whose connections all are inactive, so that schedulers are plain formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engine()
        self.services: dict[Socket, Table] = {}
        self.flows: dict[tuple[Socket, Socket], Flow] = {}
        self.now = 0.0
        self.began = 0

    # What an operator does.

    @rule(vip=st.sampled_from(VIPS), scheduler=st.sampled_from(SCHEDULERS))
    def add_service(self, vip: Socket, scheduler: str) -> None:
        wanted = lvs.VirtualService("udp", vip, scheduler, "nat")
        if vip in self.services:
            self._is_refused(lambda: self.engine.add_service(wanted))
            return
        self.engine.add_service(wanted)
        self.services[vip] = Table(scheduler)

    @rule(vip=st.sampled_from(VIPS), scheduler=st.sampled_from(SCHEDULERS))
    def edit_service(self, vip: Socket, scheduler: str) -> None:
        if vip not in self.services:
            self._is_refused(lambda: self.engine.edit_service(("udp", vip), scheduler=scheduler))
            return
        self.engine.edit_service(("udp", vip), scheduler=scheduler)
        self.services[vip].scheduler = scheduler

    @rule(vip=st.sampled_from(VIPS))
    def remove_service(self, vip: Socket) -> None:
        if vip not in self.services:
            self._is_refused(lambda: self.engine.remove_service(("udp", vip)))
            return
        self.engine.remove_service(("udp", vip))
        del self.services[vip]

    @rule(vip=st.sampled_from(VIPS), address=st.sampled_from(REAL), weight=st.integers(0, 3))
    def add_server(self, vip: Socket, address: str, weight: int) -> None:
        server = lvs.RealServer((address, PORT), weight, "nat")
        weights = self.services[vip].weights if vip in self.services else None
        if weights is None or address in weights:
            self._is_refused(lambda: self.engine.add_server(("udp", vip), server))
            return
        self.engine.add_server(("udp", vip), server)
        weights[address] = weight

    @rule(vip=st.sampled_from(VIPS), address=st.sampled_from(REAL), weight=st.integers(0, 3))
    def edit_server(self, vip: Socket, address: str, weight: int) -> None:
        server = lvs.RealServer((address, PORT), weight, "nat")
        if not self._is_listed(vip, address):
            self._is_refused(lambda: self.engine.edit_server(("udp", vip), server))
            return
        self.engine.edit_server(("udp", vip), server)
        self.services[vip].weights[address] = weight

    @rule(vip=st.sampled_from(VIPS), address=st.sampled_from(REAL))
    def remove_server(self, vip: Socket, address: str) -> None:
        if not self._is_listed(vip, address):
            self._is_refused(lambda: self.engine.remove_server(("udp", vip), (address, PORT)))
            return
        self.engine.remove_server(("udp", vip), (address, PORT))
        del self.services[vip].weights[address]

    @rule(
        tables=st.dictionaries(
            st.sampled_from(VIPS),
            st.tuples(st.sampled_from(SCHEDULERS), st.dictionaries(st.sampled_from(REAL), st.integers(0, 3))),
        )
    )
    def apply(self, tables: dict[Socket, tuple[str, dict[str, int]]]) -> None:
        self.engine.apply(
            lvs.VirtualService(
                "udp", vip, scheduler, "nat", [lvs.RealServer((a, PORT), w) for a, w in weights.items()]
            )
            for vip, (scheduler, weights) in tables.items()
        )
        kept = {}
        for vip, (scheduler, weights) in tables.items():
            before = self.services[vip].weights if vip in self.services else {}
            # Servers that stay keep their place; new ones come in the order in which they are given.
            stay = {address: weights[address] for address in before if address in weights}
            kept[vip] = Table(scheduler, stay | {a: w for a, w in weights.items() if a not in before})
        self.services = kept

    # What the network does.

    @rule(vip=st.sampled_from(VIPS), client=st.sampled_from(CLIENTS))
    def request(self, vip: Socket, client: Socket) -> None:
        outcome = self.engine.process("c", Packet(UDP, client, vip).frame(DIRECTOR_C, ROUTER), self.now)
        if not self.services:
            assert outcome.verdict is lvs.Verdict.TO_HOST, "nothing is balanced"
            return
        flow = self.flows.get((client, vip))
        if flow and not self._is_listed(*flow.place):
            assert outcome.verdict is lvs.Verdict.DROP, "its server is gone, and may come back"
            return
        if flow is None:
            if vip not in self.services:
                assert outcome.verdict is lvs.Verdict.TO_HOST
                return
            chosen = self._choose(vip)
            if chosen is None:
                assert outcome.verdict is lvs.Verdict.REPLY, "no server: port unreachable"
                return
            self.began += 1
            flow = self.flows[client, vip] = Flow((vip, chosen), 0.0, self.began)
        flow.ends = self.now + TIMEOUT
        [(leg, frame)] = outcome.frames
        assert (leg, bytes(frame[30:34])) == ("s", bytes(map(int, flow.place[1].split("."))))

    @rule(address=st.sampled_from(REAL), client=st.sampled_from(CLIENTS))
    def reply(self, address: str, client: Socket) -> None:
        frame = Packet(UDP, (address, PORT), client).frame(DIRECTOR_S, SERVERS[address])
        outcome = self.engine.process("s", frame, self.now)
        found = [f for (c, _), f in self.flows.items() if c == client and f.place[1] == address]
        if not found or not self.services:
            assert outcome.verdict is lvs.Verdict.TO_HOST
            return
        flow = max(found, key=lambda flow: flow.newest)
        flow.ends = self.now + TIMEOUT
        [(leg, sent)] = outcome.frames
        assert (leg, bytes(sent[26:30])) == ("c", bytes(map(int, flow.place[0][0].split("."))))

    @precondition(lambda self: self.flows)
    @rule(seconds=st.sampled_from([0.5, 100.0, 299.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.engine.advance(self.now)
        self.flows = {ends: flow for ends, flow in self.flows.items() if flow.ends > self.now}

    # What must hold.

    @invariant()
    def the_listing_is_the_models(self) -> None:
        has = {
            (str(s.address.address), s.address.port): (
                s.scheduler,
                [(str(r.address.address), r.weight, r.active, r.inactive) for r in s.servers],
            )
            for s in self.engine.services
        }
        wanted = {
            vip: (
                table.scheduler,
                [(a, table.weights[a], 0, self._count(vip, a)) for a in reversed(table.weights)],
            )
            for vip, table in self.services.items()
        }
        assert has == wanted

    @invariant()
    def the_connections_are_the_models(self) -> None:
        has = {
            (str(c.client), str(c.destination), str(c.server.address), round(self.now + c.expires, 6))
            for c in self.engine.connections
        }
        wanted = {
            (f"{c[0]}:{c[1]}", f"{vip[0]}:{vip[1]}", flow.place[1], flow.ends)
            for (c, vip), flow in self.flows.items()
        }
        assert has == wanted

    @invariant()
    def what_is_wanted_is_what_there_is(self) -> None:
        has = {(str(s.address.address), s.address.port): len(s.servers) for s in self.engine.wanted}
        assert has == {vip: len(table.weights) for vip, table in self.services.items()}

    # The model.

    def _is_listed(self, vip: Socket, address: str) -> bool:
        return vip in self.services and address in self.services[vip].weights

    def _count(self, vip: Socket, address: str) -> int:
        """How many connections a server has: those from before it was removed too, when it is back."""
        return sum(flow.place == (vip, address) for flow in self.flows.values())

    def _choose(self, vip: Socket) -> str | None:
        """The server of the least load, the newest of equals; all connections are inactive."""
        table = self.services[vip]
        usable = [(a, table.weights[a]) for a in reversed(table.weights) if table.weights[a]]
        if not usable:
            return None
        match table.scheduler:
            case "fo":
                return max(usable, key=lambda one: one[1])[0]
            case "lc":
                return min(usable, key=lambda one: self._count(vip, one[0]))[0]
            case "wlc":
                return min(usable, key=lambda one: self._count(vip, one[0]) / one[1])[0]
            case "sed":
                return min(usable, key=lambda one: (0 + 1) / one[1])[0]
            case _:
                return usable[0][0]  # nq: the first that has no active connection

    @staticmethod
    def _is_refused(edit: object) -> None:
        assert callable(edit)
        try:
            edit()
        except lvs.FastlvsError:
            return
        raise AssertionError("it was not refused")


TestEdits = Edits.TestCase
TestEdits.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, phases=[Phase.generate]
)
