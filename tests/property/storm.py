"""Random and mutated frames for an engine: none may raise, every one is accounted for.

::

    python tests/property/storm.py [--frames 1000000] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fastlvs as lvs
from packets import ACK, FIN, PSH, RST, SYN, TCP, UDP, Packet, checksum
from topology import DIRECTOR_S, SERVERS, VIP, engine, from_client

BATCH = 500
"""Frames that come in together, by one leg."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    options = parser.parse_args()
    started = time.perf_counter()
    counters = storm(options.frames, options.seed)
    seconds = time.perf_counter() - started
    print(f"{counters.frames} frames in {seconds:.1f} s")
    for verdict in lvs.Verdict:
        print(f"{verdict:22} {getattr(counters, verdict):8}")
    for reason, count in sorted(counters.drops.items(), key=lambda item: -item[1]):
        print(f"  {reason.value:20} {count:8}  {reason.about}")
    return 0


def storm(frames: int, seed: int) -> lvs.Counters:
    """Takes so many frames through an engine with services of all methods; checks that each is accounted for.

    Raises:
        AssertionError: one was not.
    """
    chance = random.Random(seed)
    director = _director()
    for start in range(0, frames, BATCH):
        count = min(BATCH, frames - start)
        leg = chance.choice("cccs")
        batch = [_frame(chance, leg) for _ in range(count)]
        times = [start / 1000 + number / 1000 for number in range(count)]
        outcomes = director.process_many(leg, batch, times)
        assert len(outcomes) == count
        for outcome in outcomes:
            dropped = outcome.verdict is lvs.Verdict.DROP
            assert dropped == (outcome.reason is not None)
            assert bool(outcome.frames) == (outcome.verdict in (lvs.Verdict.FORWARD, lvs.Verdict.REPLY))
    counters = director.counters
    assert counters.frames == frames
    assert sum(getattr(counters, verdict) for verdict in lvs.Verdict) == frames
    assert sum(counters.drops.values()) == counters.drop
    return counters


def _director() -> lvs.Engine:
    def service(protocol: str, port: int, forwarding: str, server_port: int) -> lvs.VirtualService:
        servers = [lvs.RealServer((address, server_port)) for address in SERVERS]
        return lvs.VirtualService(protocol, (VIP[0], port), "wlc", forwarding, servers)

    return engine(
        service("tcp", 80, "nat", 8080),
        service("tcp", 81, "dr", 81),
        service("tcp", 82, "tun", 82),
        service("udp", 53, "nat", 5353),
        service("udp", 54, "tun", 54),
        owned=["10.99.0.2"],
    )


def _frame(chance: random.Random, leg: str) -> bytes:
    """Noise, a frame as it should be, or one that something happened to."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(120))
    frame = bytearray(_from_client(chance) if leg == "c" else _from_server(chance))
    if kind < 0.3:
        return bytes(frame)
    if kind < 0.4:
        return bytes(frame[: chance.randrange(len(frame))])
    for _ in range(chance.randrange(1, 4)):
        frame[chance.randrange(12, min(len(frame), 70))] = chance.randrange(256)
    if chance.random() < 0.8 and frame[12:14] == b"\x08\x00":
        _repair_header(frame)
    return bytes(frame)


def _from_client(chance: random.Random) -> bytes:
    address = chance.choice([VIP[0]] * 8 + ["10.99.0.2", "8.8.8.8"])
    return from_client(
        chance.choice([SYN, SYN, ACK, PSH | ACK, FIN | ACK, RST, SYN | FIN, 0]),
        _client(chance),
        protocol=chance.choice([TCP, TCP, UDP]),
        destination=(address, chance.choice([80, 81, 82, 53, 54, 22])),
        payload=bytes(chance.choice([0, 10, 1400, 1460])),
        ttl=chance.choice([64, 64, 64, 1, 2]),
    )


def _from_server(chance: random.Random) -> bytes:
    protocol, port = chance.choice([(TCP, 8080), (UDP, 5353), (TCP, 81)])
    server = chance.choice(list(SERVERS))
    flags = chance.choice([SYN | ACK, ACK, FIN | ACK, RST])
    packet = Packet(protocol, (server, port), _client(chance), flags, bytes(chance.choice([0, 1460])))
    return packet.frame(DIRECTOR_S, SERVERS[server])


def _client(chance: random.Random) -> tuple[str, int]:
    """One of few, so that connections get more than one packet."""
    return f"198.51.100.{chance.randrange(1, 20)}", chance.randrange(1000, 1050)


def _repair_header(frame: bytearray) -> None:
    """Makes the IPv4 header's checksum right, so that what happened to the frame is looked at."""
    end = 14 + (frame[14] & 15) * 4
    if end <= len(frame) and end >= 34:
        frame[24:26] = b"\0\0"
        frame[24:26] = checksum(bytes(frame[14:end])).to_bytes(2)


if __name__ == "__main__":
    sys.exit(main())
