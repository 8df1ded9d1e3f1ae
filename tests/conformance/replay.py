"""Replays recordings of a Linux director through the public :class:`fastlvs.Engine`.

::

    python tests/conformance/replay.py [--kind sched|packet|state] [--id PREFIX] [--verbose] FILE…

Everything that the recordings say is compared; the first difference of each scenario is shown. The last line is
``PASS n/n scenarios``, and the exit status 0, when there was at least one scenario and all were equal; else the
line begins with ``FAIL:`` and says how many were different or not played, because the engine does not have what
they use or because no player knows their kind, and the exit status is 1. The recordings are described in
``vectors/README.md``; without a file those there are played.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kinds import packet, sched, state
from kinds.result import Report, Result, Scenario

VECTORS = Path(__file__).parent / "vectors"

PLAYERS: dict[str, Callable[[Scenario], Result]] = {
    "sched": sched.play,
    "packet": packet.play,
    "state": state.play,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", help="only scenarios of this kind")
    parser.add_argument("--id", default="", metavar="PREFIX", help="only scenarios whose id begins so")
    parser.add_argument("--verbose", action="store_true", help="name every scenario, show every difference")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings, .jsonl or .jsonl.xz")
    options = parser.parse_args()
    report = Report(options.verbose)
    for scenario in read(*(options.files or sorted(VECTORS.glob("*.jsonl.xz")))):
        if options.kind in (None, scenario["kind"]) and scenario["id"].startswith(options.id):
            report.play(scenario, play)
    return 0 if report.print() else 1


def read(*files: Path) -> Iterator[Scenario]:
    """The scenarios of some files."""
    for file in files:
        with lzma.open(file, "rt") if file.suffix == ".xz" else file.open() as lines:
            yield from map(json.loads, lines)


def play(scenario: Scenario) -> Result:
    """Plays a scenario, whatever its kind."""
    player = PLAYERS.get(scenario["kind"])
    return player(scenario) if player else Result(set_aside=f"no player for the kind {scenario['kind']}")


if __name__ == "__main__":
    sys.exit(main())
