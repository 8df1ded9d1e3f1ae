"""One packet's way, told in the kernel model's stages: the frames are real, the words are the engine's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

import fastlvs
from fastlvs.demo.matrix import METHODS, PATIENCE, probe_service
from fastlvs.lab import Captured, Lab, LabError
from fastlvs.server import Forwarding

__all__ = ["Segment", "Way", "follow", "segment", "tell"]

IPPROTO_IPIP, IPPROTO_TCP = 4, 6
SYN, ACK = 0x02, 0x10

ARROW = " → "
"""Between the stages."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a frame says of the TCP segment in it."""

    source: str
    """Address and port."""
    destination: str
    flags: int
    link: str
    """The link-layer address that the frame goes to."""
    tunnel: str | None = None
    """The outer addresses, ``10.1.0.1 → 10.1.0.11``, if it travels in another packet."""

    @property
    def kind(self) -> str:
        """``SYN``, ``SYN/ACK`` or ``segment``."""
        return {SYN: "SYN", SYN | ACK: "SYN/ACK"}.get(self.flags & (SYN | ACK), "segment")

    def __str__(self) -> str:
        return f"{self.kind} {self.source} → {self.destination}"


@dataclass(frozen=True, slots=True)
class Way:
    """The way of a request's first packet, and that of the answer to it."""

    method: Forwarding
    request: Segment
    request_stages: str
    """From PREROUTING to POSTROUTING."""
    request_leaves: Segment
    server: str
    """The name of the real server that answered."""
    reply: Segment
    reply_stages: str
    """The same for the answer; empty if it goes past the director."""
    reply_leaves: Segment


def follow(lab: Lab, method: Forwarding) -> Way:
    """Makes a request through the running director, writes its frames down, and takes them through an engine
    that stands where the director stands.

    Raises:
        LabError: what was seen is not what has to be seen.
    """
    service = probe_service(lab, method)
    with ExitStack() as taps:
        at_director = taps.enter_context(lab.director.capture())
        at_router = taps.enter_context(lab.router.capture())
        at_client = taps.enter_context(lab.client.capture())
        answer = lab.client.http(lab.url(service), timeout=PATIENCE)
    if not answer.ok or answer.server is None:
        raise LabError(f"{METHODS[method]}: no answer to {lab.url(service)}: {answer.error or answer.status}")
    engine = lab.engine([service])
    incoming, request = _first(at_director, SYN, destination=str(service.address), where="the director")
    going = _through(engine, incoming)
    _, arriving = _first(at_client, SYN | ACK, source=str(service.address), where="the client")
    if method is Forwarding.NAT:
        incoming, reply = _first(at_director, SYN | ACK, destination=request.source, where="the director")
        returning = _through(engine, incoming)
        stages, leaves = returning.way, _sent(returning)
    else:
        _, reply = _first(at_router, SYN | ACK, source=str(service.address), where="the router")
        stages, leaves = "", reply
        if any(s.source == str(service.address) for s in map(segment, _received(at_director)) if s):
            raise LabError(f"{METHODS[method]}: an answer came by the director, not past it")
    if (leaves.source, leaves.destination) != (arriving.source, arriving.destination):
        raise LabError(f"{METHODS[method]}: the engine sends {leaves}, the client got {arriving}")
    return Way(method, request, going.way, _sent(going), answer.server, reply, stages, leaves)


def tell(ways: Iterable[Way], width: int = 80) -> Iterator[str]:
    """The ways in words, line by line, none longer than ``width`` where that can be."""
    for way in ways:
        yield f"{METHODS[way.method]}: the first packet of a request, answered by {way.server}"
        yield f"  in    {way.request}"
        yield from _stages(way.request_stages, width)
        yield f"  out   {way.request_leaves}{_how(way)}"
        if way.reply_stages:
            yield f"  in    {way.reply}"
            yield from _stages(way.reply_stages, width)
            yield f"  out   {way.reply_leaves}"
        else:
            yield f"  back  {way.reply}"
            yield f"        {way.server} → router → client: past the director, which never sees it"


def segment(frame: bytes) -> Segment | None:
    """Reads an Ethernet frame; ``None`` if no TCP segment over IPv4 is in it, or in a tunnel in it."""
    link = ":".join(f"{byte:02x}" for byte in frame[:6])
    packet, tunnel = frame[14:], None
    if len(packet) >= 20 and packet[9] == IPPROTO_IPIP:
        tunnel = f"{IPv4Address(packet[12:16])} → {IPv4Address(packet[16:20])}"
        packet = packet[(packet[0] & 15) * 4 :]
    header = (packet[0] & 15) * 4 if packet else 0
    if len(packet) < header + 20 or packet[9] != IPPROTO_TCP:
        return None
    tcp = packet[header:]
    source, destination = (int.from_bytes(tcp[at : at + 2], "big") for at in (0, 2))
    return Segment(
        f"{IPv4Address(packet[12:16])}:{source}",
        f"{IPv4Address(packet[16:20])}:{destination}",
        tcp[13],
        link,
        tunnel,
    )


def _stages(stages: str, width: int) -> Iterator[str]:
    """A line, or more, broken between stages."""
    line = ""
    for stage in stages.split(ARROW):
        longer = f"{line}{ARROW}{stage}" if line else f"        {stage}"
        if line and len(longer) > width:
            yield line
            longer = f"       {ARROW}{stage}"
        line = longer
    yield line


def _how(way: Way) -> str:
    """What a forwarding method changed in the packet."""
    leaves = way.request_leaves
    if leaves.tunnel is not None:
        return f"\n        inside a packet {leaves.tunnel}"
    if way.method is Forwarding.DR:
        return f"\n        to {leaves.link}, the link-layer address of {way.server}"
    return ""


def _first(
    seen: Iterable[Captured],
    flags: int,
    *,
    where: str,
    source: str | None = None,
    destination: str | None = None,
) -> tuple[Captured, Segment]:
    """The first frame that came in with these flags, from or to this address and port."""
    for captured in _arrived(seen):
        found = segment(captured.frame)
        if (
            found is not None
            and found.flags & (SYN | ACK) == flags
            and source in (None, found.source)
            and destination in (None, found.destination)
        ):
            return captured, found
    kind = "SYN/ACK" if flags & ACK else "SYN"
    raise LabError(f"no {kind} {'from ' + source if source else f'to {destination}'} was seen at {where}")


def _arrived(seen: Iterable[Captured]) -> Iterator[Captured]:
    return (captured for captured in seen if not captured.outgoing)


def _received(seen: Iterable[Captured]) -> Iterator[bytes]:
    return (captured.frame for captured in _arrived(seen))


def _through(engine: fastlvs.Engine, captured: Captured) -> fastlvs.Outcome:
    outcome = engine.process(captured.interface, captured.frame)
    if outcome.verdict is not fastlvs.Verdict.FORWARD:
        raise LabError(f"the engine does not forward {segment(captured.frame)}: {outcome.way}")
    return outcome


def _sent(outcome: fastlvs.Outcome) -> Segment:
    [(_, frame)] = outcome.frames
    sent = segment(frame)
    assert sent is not None, "what a TCP segment becomes is one"
    return sent
