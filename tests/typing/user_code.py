"""What a user's program looks like, for the type checker: every line has to pass `mypy --strict`."""

from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

import fastlvs as lvs


class LeastBytes:
    """A scheduler needs no base class."""

    def select(self, flow: lvs.Flow, servers: lvs.Servers) -> int | None:
        usable: NDArray[np.bool_] = servers.usable
        if flow.protocol == "udp" or not usable.any():
            return None
        return int(np.where(usable, servers.in_bytes, np.inf).argmin())


class First:
    """It may answer with one of its servers."""

    def select(self, flow: lvs.Flow, servers: lvs.Servers) -> lvs.Server:
        return servers[0]


web = lvs.VirtualService(
    "tcp",
    ("192.0.2.10", 80),
    scheduler=LeastBytes(),
    forwarding=lvs.Forwarding.NAT,
    servers=[lvs.RealServer((IPv4Address("10.0.0.11"), 8080), weight=3), lvs.RealServer("10.0.0.12:8080")],
)
engine = lvs.Engine(
    [lvs.Interface("c", mac="02:00:00:00:00:01", addresses=["10.0.0.1/24"])],
    routes=[lvs.Route("default", via="10.0.0.2")],
    neighbours={"10.0.0.2": "02:00:00:00:00:02"},
    services=[web],
)
outcome = engine.process("c", bytes(60), now=0.0)
leg: list[str] = [leg for leg, frame in outcome.frames if len(frame) > 60]
reason: lvs.DropReason | None = outcome.reason
active: int = sum(server.active for server in engine.services[web].servers)
expires: float = float(engine.connections.expires.sum())
changes: tuple[lvs.Change, ...] = engine.apply([web.with_scheduler(First())])


with lvs.Director(["eth0"], [web], settings=lvs.Settings(timeout_udp=30), spin=0.0) as director:
    over: bool = director.drain(web, "10.0.0.12:8080", deadline=30)
    missed: int = director.counters.missed
    director.wait(timeout=1)
