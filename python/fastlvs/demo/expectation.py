"""How requests have to fall on the servers, by each algorithm's own rule.

Nothing here asks the engine: the rules are written down a second time, for the one situation of the demo, so
that the engine is held against something. Servers are in the order in which they were added; the kernel's
list, which decides ties, is the reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Address

__all__ = ["COUNTING", "SCHEDULERS", "Expectation", "Load", "expected"]

COUNTING = ("lc", "wlc", "sed", "nq")
"""The schedulers that choose by the number of connections. They have something to count only while connections
stay open."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of one service."""

    requests: int
    weights: tuple[int, ...]
    """The servers' weights, all above 0, in the order in which the servers were added."""
    client: IPv4Address
    vip: IPv4Address
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Expectation:
    """The fewest and the most requests that each server may have got."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    why: str
    """The rule in two words."""

    def allows(self, counts: Sequence[int]) -> bool:
        """Whether the requests fell as they have to."""
        return all(low <= count <= high for low, count, high in zip(self.low, counts, self.high, strict=True))

    def __str__(self) -> str:
        if not any(self.low) and len(set(self.high)) == 1:
            return "any"
        return " ".join(
            str(low) if low == high else f"{low}-{high}"
            for low, high in zip(self.low, self.high, strict=True)
        )


def expected(scheduler: str, load: Load) -> Expectation:
    """How ``load`` falls on the servers.

    The requests come one after another, unless ``load.concurrency`` says more. Those for :data:`COUNTING`
    schedulers keep their connections open until the last is answered.
    """
    if load.concurrency > 1 and scheduler in _ORDERLY:
        every = (load.requests,) * len(load.weights)
        return Expectation((0,) * len(every), every, "timing")
    return SCHEDULERS[scheduler](load)


def _rr(load: Load) -> Expectation:
    turns, rest = divmod(load.requests, len(load.weights))
    low = (turns,) * len(load.weights)
    return Expectation(low, tuple(turns + bool(rest) for _ in low), "in turn")


def _wrr(load: Load) -> Expectation:
    divisor = math.gcd(*load.weights)
    share = [weight // divisor for weight in load.weights]
    cycles, rest = divmod(load.requests, sum(share))
    low = tuple(cycles * part for part in share)
    return Expectation(
        low, tuple(n + min(rest, part) for n, part in zip(low, share, strict=True)), "by weight"
    )


def _lc(load: Load) -> Expectation:
    return _held(load, lambda active, weight: Fraction(active), "fewest open")


def _wlc(load: Load) -> Expectation:
    return _held(load, lambda active, weight: Fraction(active, weight), "open/weight")


def _sed(load: Load) -> Expectation:
    return _held(load, lambda active, weight: Fraction(active + 1, weight), "least delay")


def _nq(load: Load) -> Expectation:
    def cost(active: int, weight: int) -> Fraction:
        return Fraction(active + 1, weight) if active else Fraction(0)

    return _held(load, cost, "idle or sed")


def _dh(load: Load) -> Expectation:
    # Weights give no server more of the table.
    table = _table([1] * len(load.weights))
    return _one(load, table[_hash(load.vip)], "VIP hash")


def _sh(load: Load) -> Expectation:
    return _one(load, _table(load.weights)[_hash(load.client)], "client hash")


def _lblc(load: Load) -> Expectation:
    # The first choice is wlc's among idle servers: the newest. One request at a time never overloads it.
    return _one(load, len(load.weights) - 1, "one per VIP")


SCHEDULERS: dict[str, Callable[[Load], Expectation]] = {
    "rr": _rr,
    "wrr": _wrr,
    "lc": _lc,
    "wlc": _wlc,
    "sed": _sed,
    "nq": _nq,
    "dh": _dh,
    "sh": _sh,
    "lblc": _lblc,
    "lblcr": _lblc,
}
"""The schedulers of the demo, each with its rule."""

_ORDERLY = (*COUNTING, "lblc", "lblcr")
"""Those that choose otherwise when another connection is open meanwhile."""


def _held(load: Load, cost: Callable[[int, int], Fraction], why: str) -> Expectation:
    """Each request goes to the server that costs least; its connection stays open."""
    active = [0] * len(load.weights)
    newest_first = range(len(active) - 1, -1, -1)
    for _ in range(load.requests):
        active[min(newest_first, key=lambda place: cost(active[place], load.weights[place]))] += 1
    return Expectation(tuple(active), tuple(active), why)


def _one(load: Load, chosen: int, why: str) -> Expectation:
    counts = tuple(load.requests if place == chosen else 0 for place in range(len(load.weights)))
    return Expectation(counts, counts, why)


def _table(runs: Sequence[int]) -> list[int]:
    """The 256 buckets of dh and sh: the servers in list order, over and over, with a run of buckets each."""
    round_ = [place for place in range(len(runs) - 1, -1, -1) for _ in range(runs[place])]
    return [round_[bucket % len(round_)] for bucket in range(256)]


def _hash(address: IPv4Address) -> int:
    """The kernel's multiplicative hash, to 8 bits."""
    return (int(address) * 0x61C88647 & 0xFFFFFFFF) >> 24
