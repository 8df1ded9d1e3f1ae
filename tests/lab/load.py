"""Measures directors with large tables and under disturbance, side by side, and prints one table.

::

    python tests/lab/load.py [--program LABEL=PATH]… [--only SECTION]… [--services 10000 --servers 5]

It builds a lab in network namespaces of its own and runs each given ``fastlvs-run`` in it, section by section,
all programs in turn, so that what else the machine does falls on all. While a director is disturbed, known
flows go through it by NAT, DR and TUN: numbered requests by TCP and UDP, whose answers are counted and timed.

Sections: ``toml`` and ``rules`` (start, reload with one weight changed), ``idle`` (processor time, memory, how
long nothing passes after the neighbours are forgotten), ``reloads`` (many, of a service with busy servers),
``icmp`` (spoofed errors), ``arp`` (gratuitous, for a VIP). What takes longer than ``--limit`` is told as such.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastlvs import FastlvsError
from fastlvs.lab import Lab, LabError, director_program
from measuring import tables
from measuring.figures import Figures
from measuring.program import TooLong
from measuring.sections import SECTIONS, Bench, Sizes, serve


def main() -> int:
    """The exit status says whether every section came to its end."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        programs = dict(options.program or [("fastlvs-run", director_program())])
        figures = Figures(list(programs))
        try:
            good = measure(options, programs, figures)
        except KeyboardInterrupt:
            print(figures.table())
            return 130
    except FastlvsError as error:
        print(f"load.py: {error}", file=sys.stderr)
        return 1
    system = os.uname()
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    print(f"{system.sysname} {system.release}, {os.cpu_count()} processors, load {load} at the end\n")
    print(figures.table())
    return 0 if good else 1


def measure(options: argparse.Namespace, programs: Mapping[str, str], figures: Figures) -> bool:
    """Measures the sections; says whether all came to their ends. ``programs`` are paths by label."""
    begin, good = time.monotonic(), True

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", file=sys.stderr, flush=True)

    sizes = Sizes(**{field: getattr(options, field) for field in Sizes.__dataclass_fields__})
    with Lab() as lab:
        tables.route(lab, sizes.busy_servers)
        serve(lab)
        rounds = itertools.product(range(options.repeat), options.only or SECTIONS, programs.items())
        for _, section, (label, path) in rounds:
            say(f"{section}, {label}")
            try:
                SECTIONS[section](Bench(lab, sizes, figures, label, path, say))
            except (LabError, TooLong) as problem:
                say(f"{section}, {label}: FAILED: {problem}")
                figures.add("failed", f"section {section}", label, "failed")
                good = False
    return good


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _program(text: str) -> tuple[str, str]:
    label, _, path = text.rpartition("=")
    path = str(Path(path).absolute())
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} is no program")
    return label or path, path


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return number


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--program",
        type=_program,
        action="append",
        metavar="[LABEL=]PATH",
        help="a fastlvs-run; may be given more than once (default: that of this environment)",
    )
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure this section (repeatable)")
    parser.add_argument(
        "--repeat", type=_count, default=1, help="measure all so often (default: %(default)s)"
    )
    for name, default, meaning in (
        ("services", 10_000, "virtual services of the large table"),
        ("servers", 5, "real servers of each"),
        ("small-services", 1000, "services of the small table, which is read as TOML alone"),
        ("busy-servers", 2000, "real servers of the busy service"),
        ("reloads", 200, "reloads of the busy service"),
        ("idle-seconds", 21.0, "how long an idle director is looked at"),
        ("icmp-rate", 2000.0, "spoofed ICMP errors a second"),
        ("arp-rate", 50_000.0, "gratuitous ARP frames a second"),
        ("flood-seconds", 5.0, "how long a flood lasts"),
        ("settle-seconds", 0.5, "how long the known flows go on before and after what disturbs them"),
        ("pace", 0.01, "seconds between two requests of each of the twelve known flows"),
        ("limit", 30.0, "the most seconds for a start, a reload, or all reloads of the busy service"),
    ):
        kind = _count if isinstance(default, int) else _positive
        told = f"{meaning} (default: %(default)s)"
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="NUMBER", help=told)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
