"""What is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fastlvs.verdict import DropReason

__all__ = ["Counters", "Statistics"]


class Statistics(NamedTuple):
    """What is counted of a service or server, since the beginning or in a second."""

    connections: int
    """Connections scheduled."""
    in_packets: int
    """Packets from clients."""
    in_bytes: int
    """Their bytes, IP header included."""
    out_packets: int
    """Packets to clients that passed the director."""
    out_bytes: int
    """Their bytes, IP header included."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine counted: every frame under one verdict, every drop under one reason."""

    frames: int
    """All frames processed: the sum of the five verdicts."""
    forward: int
    reply: int
    to_host: int
    queued: int
    drop: int
    drops: dict[DropReason, int]
    """The drops by reason, reasons that never occurred left out."""

    @classmethod
    def _of(cls, values: tuple[int, int, int, int, int, dict[str, int]]) -> Counters:
        frames, forward, reply, to_host, queued, drops = values
        reasons = {DropReason(name): count for name, count in drops.items() if count}
        return cls(frames, forward, reply, to_host, queued, sum(drops.values()), reasons)
