"""A scheduler of your own: a new connection goes to the server that has received the fewest bytes so far.

python examples/least_bytes.py                through an engine, frame by frame; needs no privilege
python examples/least_bytes.py eth0 eth1      on a live director that serves these interfaces
"""

import sys

import numpy as np

import fastlvs as lvs


class LeastBytes:
    def select(self, flow: lvs.Flow, servers: lvs.Servers) -> int | None:
        if not servers.usable.any():
            return None  # the client is told so
        return int(np.where(servers.usable, servers.in_bytes, np.inf).argmin())


rips = ["10.1.0.11", "10.1.0.12", "10.1.0.13"]
web = lvs.VirtualService(
    "tcp", "10.0.0.81:80", LeastBytes(), "nat", [lvs.RealServer((r, 8080)) for r in rips]
)


def by_hand() -> None:
    """Takes the first segments of 30 connections through an engine."""
    outside = lvs.Interface("eth0", mac="02:00:0a:00:00:01", addresses=["10.0.0.1/24"])
    inside = lvs.Interface("eth1", mac="02:00:0a:01:00:01", addresses=["10.1.0.1/24"])
    engine = lvs.Engine(
        [outside, inside],
        neighbours={rip: f"02:00:0a:01:00:{number:02x}" for number, rip in enumerate(rips, 11)},
        owned=["10.0.0.81"],
        services=[web],
    )
    ethernet = bytes.fromhex("02000a000001 02000a000064 0800")
    ip = bytes.fromhex("4500 0028 0000 4000 4006 261c 0a000064 0a000051")  # 10.0.0.100 to 10.0.0.81
    for port in range(40000, 40030):
        syn = port.to_bytes(2, "big") + bytes.fromhex("0050 00000000 00000000 5002 ffff 0000 0000")
        engine.process("eth0", ethernet + ip + syn)
    print(engine.services)


def live(interfaces: list[str]) -> None:
    with lvs.Director(interfaces, [web]) as director:
        print(director, flush=True)
        director.wait()  # until Ctrl-C
        print(director.services)


if __name__ == "__main__":
    live(sys.argv[1:]) if sys.argv[1:] else by_hand()
