"""How many instructions an operation takes, counted by callgrind: unlike times, they repeat.

    python3 benches/instructions.py               # all cases, beside the counts that are kept
    python3 benches/instructions.py nat wlc-16    # some
    python3 benches/instructions.py --keep        # keep the counts, in benches/results/instructions.json

It ends with 1 where a case takes more than 3 % more than what is kept, if that was counted with the same
compiler; with another it only tells. Each case runs twice, with other numbers of operations: the difference is
theirs, without the preparation. Needs valgrind.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benches" / "results" / "instructions.json"

FEW, MANY = 20_000, 60_000
"""Operations of the two runs; as many flows as the larger at most."""

MORE = 0.03
"""What a count may be above the one that is kept."""


def built() -> Path:
    """The program that does one case's work, built now."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--package", "fastlvs-benches"]
    subprocess.run(command, cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    told = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True, text=True)
    return Path(json.loads(told.stdout)["target_directory"]) / "release" / "once"


def compiler() -> str:
    """The compiler's name and version."""
    told = subprocess.run(["rustc", "--version"], cwd=ROOT, check=True, capture_output=True, text=True)
    return told.stdout.strip()


def names(program: Path) -> list[str]:
    """All cases, but those whose point is the cache."""
    usage = subprocess.run([program], check=False, capture_output=True, text=True).stderr
    return [name for name in usage.split("cases: ")[1].split() if not name.endswith("-1m")]


def collected(program: Path, case: str, operations: int) -> int:
    """Instructions of a whole run."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, str(program), case, str(operations), str(MANY)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = re.search(r"Collected : (\d+)", told)
    if not found:
        sys.exit(f"callgrind counted nothing: {told}")
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="which cases; none: all")
    parser.add_argument("--keep", action="store_true", help="keep the counts")
    asked = parser.parse_args()
    program = built()
    cases = names(program)
    if unknown := set(asked.cases) - set(cases):
        parser.error(f"unknown cases: {' '.join(sorted(unknown))}; expected some of: {' '.join(cases)}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    known: dict[str, float] = kept.get("instructions", {})
    same = kept.get("compiler") == compiler()
    worse = []
    print(f"{'case':16} {'instructions':>12} {'kept':>8} {'change':>8}")
    counts = dict(known) if same else {}
    for case in asked.cases or cases:
        few, many = (collected(program, case, operations) for operations in (FEW, MANY))
        count = counts[case] = round((many - few) / (MANY - FEW), 1)
        before = known.get(case)
        change = f"{count / before - 1:+8.1%}" if before else ""
        print(f"{case:16} {count:12.1f} {before or '':>8} {change}", flush=True)
        if before and count > before * (1 + MORE):
            worse.append(case)
    if asked.keep:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps({"compiler": compiler(), "instructions": counts}, indent=2) + "\n")
        return 0
    if worse:
        limit = f"more than {MORE:.0%} above what is kept: {' '.join(worse)}"
        print(limit if same else f"{limit}, which another compiler's code took: {kept['compiler']}")
    return bool(worse) and same


if __name__ == "__main__":
    sys.exit(main())
