"""Replays recordings of a Linux director through the public :class:`fastlvs.Engine`.

::

    python tests/conformance/replay.py [--kind sched|packet|state] [--id PREFIX] [--verbose] FILE…

Everything that the recordings say is compared; the first difference of each scenario is shown, the last line is
``PASS n/m scenarios``, and the exit status is 0 when all are equal. The recordings are described in
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
    parser.add_argument("--kind", choices=PLAYERS, help="only scenarios of this kind")
    parser.add_argument("--id", default="", metavar="PREFIX", help="only scenarios whose id begins so")
    parser.add_argument("--verbose", action="store_true", help="name every scenario, show every difference")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings, .jsonl or .jsonl.xz")
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else list(PLAYERS)
    report = Report(options.verbose)
    for kind in kinds:
        recorded = options.files or sorted(VECTORS.glob(f"{kind}*.jsonl.xz"))
        asked = (s for s in read(*recorded) if s["kind"] == kind and s["id"].startswith(options.id))
        report.play(asked, PLAYERS[kind])
    return 0 if report.print() else 1


def read(*files: Path) -> Iterator[Scenario]:
    """The scenarios of some files."""
    for file in files:
        with lzma.open(file, "rt") if file.suffix == ".xz" else file.open() as lines:
            yield from map(json.loads, lines)


def play(scenario: Scenario) -> Result:
    """Plays a scenario, whatever its kind."""
    return PLAYERS[scenario["kind"]](scenario)


if __name__ == "__main__":
    sys.exit(main())
