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
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import fastlvs as lvs
from packets import ACK, FIN, PSH, RST, SYN, TCP, UDP, Packet, checksum
from topology import DIRECTOR_C, DIRECTOR_S, ROUTER, SERVERS, VIP, engine, from_client

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
    def service(
        protocol: str, port: int, forwarding: str, server_port: int, **tunnel: Any
    ) -> lvs.VirtualService:
        servers = [lvs.RealServer((address, server_port), **tunnel) for address in SERVERS]
        return lvs.VirtualService(protocol, (VIP[0], port), "wlc", forwarding, servers)

    return engine(
        service("tcp", 80, "nat", 8080),
        service("tcp", 81, "dr", 81),
        service("tcp", 82, "tun", 82),
        service("tcp", 83, "tun", 83, tunnel="gue", tunnel_port=6080, tunnel_flags="csum"),
        service("tcp", 84, "tun", 84, tunnel="gre", tunnel_flags="csum"),
        lvs.VirtualService("tcp", (VIP[0], 85), "rr", "nat", [lvs.RealServer(("10.0.0.1", 85))]),
        service("udp", 53, "nat", 5353),
        service("udp", 54, "tun", 54),
        owned=["10.99.0.2"],
        settings=lvs.Settings(schedule_icmp=True, nat_icmp_send=True),
    )


def _frame(chance: random.Random, leg: str) -> bytes:
    """Noise, a frame as it should be, or one that something happened to."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(120))
    frame = bytearray(_from_client(chance) if leg == "c" else _from_server(chance))
    if chance.random() < 0.15:
        frame = _error_about(chance, leg, frame)
    if chance.random() < 0.15:
        frame = _with_options(chance, frame)
    if chance.random() < 0.2:
        frame = _fragment(chance, frame)
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
        destination=(address, chance.choice([80, 81, 82, 83, 84, 85, 53, 54, 22])),
        payload=bytes(chance.choice([0, 10, 1400, 1460])),
        ttl=chance.choice([64, 64, 64, 1, 2]),
    )


def _from_server(chance: random.Random) -> bytes:
    protocol, port = chance.choice([(TCP, 8080), (UDP, 5353), (TCP, 81)])
    server = chance.choice(list(SERVERS))
    flags = chance.choice([SYN | ACK, ACK, FIN | ACK, RST])
    packet = Packet(protocol, (server, port), _client(chance), flags, bytes(chance.choice([0, 1460])))
    return packet.frame(DIRECTOR_S, SERVERS[server])


def _error_about(chance: random.Random, leg: str, frame: bytearray) -> bytearray:
    """An ICMP error from the other side about a packet that runs the other way than ``frame``, or about one in
    a tunnel."""
    packet = bytes(frame[14:])
    ends, ports = packet[12:20], packet[20:24]
    quoted = packet[:12] + ends[4:] + ends[:4] + ports[2:] + ports[:2] + packet[24:]
    if chance.random() < 0.3:
        outer = bytes([0x45, 0, 0, 200, 0, 0, 0x40, 0, 63, chance.choice([4, 17, 47]), 0, 0, 192, 168, 0, 1])
        headers = {4: b"", 17: b"\x80\0\x17\xc0\0\x64\0\0\0\4\0\0", 47: b"\0\0\x08\0"}
        quoted = outer + bytes([192, 168, 1, chance.randrange(1, 4)]) + headers[outer[9]] + packet
        leg, ends = "s", bytes([192, 168, 0, 2, 192, 168, 0, 1])
    quoted = quoted[: chance.choice([20, 24, 28, 60, 500])]
    kind = chance.choice([3, 3, 4, 11, 5, 12, 8])
    message = bytes([kind, chance.randrange(5), 0, 0, 0, 0, *chance.randbytes(2)]) + quoted
    message = message[:2] + checksum(message).to_bytes(2) + message[4:]
    header = bytes([0x45, 0, *(20 + len(message)).to_bytes(2), 0, 9, 0, 0, 60, 1, 0, 0]) + ends
    link = bytes.fromhex((DIRECTOR_C + ROUTER if leg == "c" else DIRECTOR_S + ROUTER).replace(":", ""))
    error = bytearray(link + b"\x08\x00" + header + message)
    _repair_header(error)
    return error


def _with_options(chance: random.Random, frame: bytearray) -> bytearray:
    """The frame with some IPv4 options, sensible or not."""
    options = chance.choice(
        [b"\1\1\1\0", b"\7\7\4\0\0\0\0\0", b"\x44\x0c\5\1" + bytes(8), b"\x83\7\4\x0a\0\0\5\0"]
    )
    if chance.random() < 0.3:
        options = chance.randbytes(8)
    with_options = frame[:34] + options + frame[34:]
    with_options[14] += len(options) // 4
    with_options[16:18] = (int.from_bytes(frame[16:18]) + len(options)).to_bytes(2)
    _repair_header(with_options)
    return with_options


def _fragment(chance: random.Random, frame: bytearray) -> bytearray:
    """A part of the frame, or one that lies."""
    header = (frame[14] & 15) * 4
    length = len(frame) - 14 - header
    start = chance.randrange(max(1, length)) & ~7 if chance.random() < 0.5 else 0
    end = min(length, start + chance.choice([8, 16, 24, 100, 1400]))
    fragment = frame[: 14 + header] + frame[14 + header + start : 14 + header + end]
    fragment[16:18] = (header + end - start).to_bytes(2)
    more = 0x2000 if end < length or chance.random() < 0.1 else 0
    fragment[18:20] = chance.randrange(3).to_bytes(2)
    fragment[20:22] = (start // 8 | more).to_bytes(2)
    _repair_header(fragment)
    return fragment


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
