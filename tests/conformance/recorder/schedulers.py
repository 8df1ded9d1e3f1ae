"""schedulers.py SEED ROUNDS OUT [NAME...]: scheduling scenarios that the recorder's own seldom have.

To be put beside the recorder's sched.py, whose parts it uses, and run in its guest as that is.
"""

import json
import sched
import sys
from pathlib import Path

from orc import WARP, init_main

LATEST = 115
"""Seconds that a timer of 900 s may be late."""


class Case(sched.Scen):
    """A random scenario with what its name stands for."""

    waits_of = (2, 8, 75, 150, 420, 1100)

    def __init__(self, name, seed, i):
        super().__init__(seed, name.partition("+")[0], i)
        self.id = f"{name}-{seed}-{i:03d}"
        self.persist, self.mask = 0, None
        kind = name.partition("+")[2]
        if kind == "edited":
            self.make_edited(i)
        elif kind == "full":
            self.make_full(i)
        else:
            self.make_day(i)
        self.flags0 = list(self.flags)

    def make_edited(self, i):
        """Weights, thresholds and flags change all the time."""
        self.flags = [[], ["mh-fallback"], ["mh-port"], ["mh-fallback", "mh-port"]][i % 4]
        self.edits, self.waits, self.nopen = 0.2, 0.01, 100
        self.cpool = [sched.rnd_client(self.rng, self.v6, "any") for _ in range(60)]

    def make_full(self, i):
        """Every server has thresholds, and clients that fill it."""
        if self.sched in ("sh", "mh"):
            self.flags = [[f"{self.sched}-fallback"], [], [f"{self.sched}-fallback", f"{self.sched}-port"]][
                i % 3
            ]
        self.ops, self.nopen, self.edits, self.waits, self.prog = False, 90, 0.05, 0.03, 0.4
        for x in self.rs[: self.n]:
            x["w"] = self.rng.choice([1, 1, 2, 3, 7, 0])
            x["x"] = self.rng.randint(1, 6)
            x["y"] = self.rng.choice([0, 0, 1, self.rng.randint(0, x["x"])])

    def make_day(self, i):
        """Destinations that are remembered for a day, and sets that shrink after one."""
        self.kind, self.ops, self.sysctl = "fwm", False, {}
        self.set = None
        self.edits, self.waits, self.nopen, self.prog = 0.01, 0.06, 130, 0.1
        self.dpool, self.dzipf, self.cmode = (self.dpool or [])[:5] or self.destinations(), False, "any"
        for x in self.rs:
            x["port"] = 0
        for x in self.rs[: self.n]:
            x["w"], x["x"], x["y"] = self.rng.choice([1, 1, 2, 3]), 0, 0
        self.waits_of = (2, 40_000, 40_000, 95_000)

    def destinations(self):
        if self.v6:
            return [f"fd00:99::{k:x}:{self.rng.randint(1, 0xFFFF):x}" for k in range(1, 6)]
        return [f"10.99.{k}.{self.rng.randint(1, 254)}" for k in range(1, 6)]

    def wait(self):
        left = [row[8] for row in self.net.conns()]
        fit = [w for w in self.waits_of if all(w + 1 < r or w > r + LATEST for r in left)]
        if fit:
            w = self.rng.choice(fit)
            WARP.advance(w, 60 if w > 10_000 else None)
            self.ev.append(["t", w])
            self.snap()


NAMES = ["mh+edited", *(f"{s}+full" for s in sched.ALL if not s.startswith("lblc")), "lblc+day", "lblcr+day"]


def main():
    seed, count, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    init_main()
    WARP.freeze()
    with Path(path).open("w") as f:
        for name in sys.argv[4:] or NAMES:
            for i in range(count if "full" not in name else (count + 1) // 2):
                d = Case(name, seed, i).run()
                f.write(json.dumps(d, separators=(",", ":")) + "\n")
                f.flush()
            print("sched", name, flush=True)


if __name__ == "__main__":
    main()
