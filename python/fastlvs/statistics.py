"""What is counted of services and servers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Statistics"]


class Statistics(NamedTuple):
    """Counts since the beginning, or in a second."""

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
