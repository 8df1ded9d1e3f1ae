"""Every forwarding method with every scheduler: the services, the requests to them, and what came of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from fastlvs.demo.expectation import COUNTING, SCHEDULERS, Expectation, Load, expected
from fastlvs.lab import Answer, Host, Lab
from fastlvs.server import Forwarding, RealServer
from fastlvs.service import VirtualService

__all__ = [
    "METHODS",
    "PORTS",
    "PROBE_PORT",
    "WEIGHTS",
    "Combination",
    "Result",
    "prepare",
    "probe_service",
    "run",
]

METHODS = {Forwarding.NAT: "NAT", Forwarding.DR: "DR", Forwarding.TUN: "TUN"}
"""The forwarding methods, as everybody calls them."""

WEIGHTS = (3, 2, 1)
"""Of server1, server2 and server3, in every service: who ignores weights shows it."""

PROBE_PORT = 80
"""The service whose packets are followed on their way."""

FIRST_PORT = 8001
"""The VIP's port of the first scheduler; the others follow."""

TRANSLATED = 1000
"""How far NAT's ports on the servers are from the VIP's. Were they one port for all schedulers, two connections
of the client's could get the same addresses and ports behind the director."""

PORTS = (
    PROBE_PORT,
    *(FIRST_PORT + offset + place for offset in (0, TRANSLATED) for place in range(len(SCHEDULERS))),
)
"""Where the real servers have to listen."""

PATIENCE = 10.0
"""How long a request waits for the network, in seconds: long enough for SYNs to be lost."""

MOST_FAILURES = 3
"""After so many requests without answer a service is asked no more."""

CHECKSUM_ERRORS = ("TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "IpInHdrErrors")


@dataclass(frozen=True, slots=True)
class Combination:
    """A forwarding method and a scheduler; a service on a port of its own."""

    method: Forwarding
    scheduler: str

    def service(self, lab: Lab) -> VirtualService:
        """Its virtual service in the lab."""
        port = FIRST_PORT + list(SCHEDULERS).index(self.scheduler)
        at = port + TRANSLATED if self.method is Forwarding.NAT else port
        servers = [
            RealServer((s.address, at), weight) for s, weight in zip(lab.servers, WEIGHTS, strict=True)
        ]
        return VirtualService("tcp", (lab.vips[self.method], port), self.scheduler, self.method, servers)

    def __str__(self) -> str:
        return f"{METHODS[self.method]} {self.scheduler}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a combination's requests."""

    combination: Combination
    sent: int
    answered: int
    """With status 200, and the body that the server says to be its own."""
    counts: tuple[int, ...]
    """How many each server answered, in the order in which servers were added."""
    expectation: Expectation
    checksum_errors: int
    """Packets that a receiver threw away for a wrong checksum or IP header."""
    retransmissions: int
    """TCP segments that the client or a server sent again."""
    seconds: float
    errors: tuple[str, ...]
    """What the requests without answer met, each kind once."""

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it has to be."""
        found = []
        if not self.sent:
            found.append("not asked, since the same method gave no answer at all before")
        elif self.answered < self.sent:
            said = "; ".join(self.errors) or "wrong answers"
            found.append(f"{self.sent - self.answered} of {self.sent} requests not answered: {said}")
        elif not self.expectation.allows(self.counts):
            fell = " ".join(map(str, self.counts))
            found.append(f"fell {fell}, expected {self.expectation} ({self.expectation.why})")
        if self.checksum_errors:
            found.append(f"{self.checksum_errors} packets with wrong checksums")
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "forwarding": self.combination.method.value,
            "scheduler": self.combination.scheduler,
            "weights": list(WEIGHTS),
            "sent": self.sent,
            "answered": self.answered,
            "servers": list(self.counts),
            "expected_least": list(self.expectation.low),
            "expected_most": list(self.expectation.high),
            "why": self.expectation.why,
            "checksum_errors": self.checksum_errors,
            "retransmissions": self.retransmissions,
            "seconds": self.seconds,
            "problems": self.problems,
        }


def prepare(lab: Lab) -> None:
    """Makes what the kernels of the client and the servers count mean what the results say of it.

    Checksums are whole on the wire, so that receivers verify them. Nobody sends a segment again merely because
    an acknowledgement is a few milliseconds late (a tail loss probe), as happens where many hosts share a
    processor.
    """
    for host in _endpoints(lab):
        host.finish_checksums()
        host.shell("sysctl -qw net.ipv4.tcp_early_retrans=0")


def probe_service(lab: Lab, method: Forwarding) -> VirtualService:
    """A service beside the matrix, with one request of which every packet is looked at."""
    return lab.service(method, "rr", port=PROBE_PORT)


def run(
    lab: Lab, combinations: Sequence[Combination], *, requests: int, concurrency: int
) -> Iterator[Result]:
    """Makes the requests of one combination after another; a director serves all of them already.

    A method that gives no answer at all is not asked again: each request would wait for its time to end.
    """
    silent = set()
    before = _counted(lab)
    for combination in combinations:
        asked = 0 if combination.method in silent else requests
        answers = _ask(lab, combination, asked, concurrency) if asked else []
        if not any(answer.ok for answer in answers):
            silent.add(combination.method)
        after = _counted(lab)
        yield _result(lab, combination, answers, after - before, concurrency)
        before = after


def _ask(lab: Lab, combination: Combination, requests: int, concurrency: int) -> list[Answer]:
    url = lab.url(combination.service(lab))
    # With more at a time there are always some open, and nothing exact to be expected anyway.
    hold = combination.scheduler in COUNTING and concurrency == 1
    return lab.client.requests(
        url, requests, concurrency=concurrency, hold=hold, give_up=MOST_FAILURES, timeout=PATIENCE
    )


def _result(
    lab: Lab, combination: Combination, answers: list[Answer], counted: Counter[str], concurrency: int
) -> Result:
    good = [answer for answer in answers if answer.ok and answer.body == f"{answer.server}\n"]
    by_server = Counter(answer.server for answer in good)
    counts = tuple(by_server[server.name] for server in lab.servers)
    load = Load(
        requests=len(answers),
        weights=WEIGHTS,
        client=IPv4Address(lab.client.address),
        vip=IPv4Address(lab.vips[combination.method]),
        concurrency=concurrency,
    )
    return Result(
        combination=combination,
        sent=len(answers),
        answered=sum(counts),
        counts=counts,
        expectation=expected(combination.scheduler, load),
        checksum_errors=sum(counted[name] for name in CHECKSUM_ERRORS),
        retransmissions=counted["TcpRetransSegs"],
        seconds=sum(answer.seconds for answer in answers),
        errors=tuple(
            sorted({answer.error or f"status {answer.status}" for answer in answers if not answer.ok})
        ),
    )


def _counted(lab: Lab) -> Counter[str]:
    """What the kernels of the client and the servers counted, added up."""
    total: Counter[str] = Counter()
    for host in _endpoints(lab):
        total.update({name: value for name, value in host.counters().items() if value > 0})
    return total


def _endpoints(lab: Lab) -> tuple[Host, ...]:
    return lab.client, *lab.servers
