"""The command ``fastlvs demo``: real HTTP through every forwarding method with every scheduler.

It builds the lab (:mod:`fastlvs.lab`), runs ``fastlvs-run`` in it, and asks for pages from the client's kernel.
One director serves all combinations at once, each on a port of its own, so that they do not disturb each other.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import NoReturn, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from fastlvs.demo import matrix, report, way
from fastlvs.demo.expectation import SCHEDULERS
from fastlvs.lab import DirectorProcess, Lab, LabError
from fastlvs.server import Forwarding

__all__ = ["add"]

REQUESTS = 24
"""A whole number of turns of rr (3) and of cycles of wrr (6)."""

MOST_REQUESTS = 500
"""As many connections may be open at once."""

T = TypeVar("T")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``fastlvs demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="real HTTP through every forwarding method with every scheduler, in a lab of namespaces",
        description="Builds a lab of network namespaces (client, director, three real servers of weight "
        f"{', '.join(map(str, matrix.WEIGHTS))}), runs fastlvs-run in it, and sends real HTTP requests "
        "through the virtual address of each forwarding method, with each scheduler. Tells how the requests "
        "fell on the servers, how they had to, and the way of one packet. Needs no root where user namespaces "
        "are allowed; touches nothing outside the lab and leaves nothing behind.",
        epilog=dedent("""\
            Requests go one after another, each on a connection of its own. To lc, wlc, sed and nq,
            which choose by the number of connections, these stay open until the last is answered.

            examples:
              fastlvs demo
              fastlvs demo --methods nat --schedulers wrr,wlc --requests 60
              fastlvs demo --concurrency 8 --json results.json

            exit status: 0 all as it has to be, 1 not, 4 no namespaces for this user, 5 a program is missing.
            """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--methods",
        type=_words({name.lower(): method for method, name in matrix.METHODS.items()}),
        default=list(matrix.METHODS),
        metavar="LIST",
        help="of nat,dr,tun (default: all)",
    )
    parser.add_argument(
        "--schedulers",
        type=_words({name: name for name in SCHEDULERS}),
        default=list(SCHEDULERS),
        metavar="LIST",
        help=f"of {','.join(SCHEDULERS)} (default: all)",
    )
    parser.add_argument(
        "--requests",
        type=_number(MOST_REQUESTS),
        default=REQUESTS,
        metavar="N",
        help=f"requests for each combination (default: {REQUESTS})",
    )
    parser.add_argument(
        "--concurrency",
        type=_number(64),
        default=1,
        metavar="N",
        help="requests at a time; with more than 1 the schedulers that count connections have no exact pattern "
        "(default: 1)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file, too")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    combinations = [
        matrix.Combination(method, scheduler)
        for method in arguments.methods
        for scheduler in arguments.schedulers
    ]
    console = Console(highlight=False)
    with _sigterm_as_exception(), Lab(ports=matrix.PORTS) as lab:
        matrix.prepare(lab)
        with _director(lab, combinations, arguments.methods) as director:
            console.print(report.heading(lab, director))
            results = list(_shown(lab, director, combinations, arguments, console))
            console.print(report.table(results), report.conclusion(results), sep="\n")
            if arguments.json:
                told = [result.as_json() for result in results]
                arguments.json.write_text(json.dumps(told, indent=2) + "\n")
            if any(result.problems for result in results):
                print(director.log, end="", file=sys.stderr)
                return 1
            ways = [way.follow(lab, method) for method in arguments.methods]
    console.print(*way.tell(ways, console.width), sep="\n", markup=False)
    return 0


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Whoever ends the demo with SIGTERM has the lab closed on the way, too."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _director(
    lab: Lab, combinations: Iterable[matrix.Combination], methods: Iterable[Forwarding]
) -> DirectorProcess:
    services = [combination.service(lab) for combination in combinations]
    return lab.run_director([*services, *(matrix.probe_service(lab, method) for method in methods)])


def _shown(
    lab: Lab,
    director: DirectorProcess,
    combinations: Sequence[matrix.Combination],
    arguments: argparse.Namespace,
    console: Console,
) -> Iterator[matrix.Result]:
    """The results, with a progress bar while they come.

    Raises:
        LabError: the director has ended.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(combinations))
        results = matrix.run(
            lab, combinations, requests=arguments.requests, concurrency=arguments.concurrency
        )
        for combination in combinations:
            progress.update(task, description=str(combination))
            yield next(results)
            if not director.running:
                raise LabError(f"fastlvs-run ended while it served {combination}: {director.log}")
            progress.advance(task)


def _words(known: dict[str, T]) -> Callable[[str], list[T]]:
    """Reads a list of words, separated by commas."""

    def read(text: str) -> list[T]:
        words = list(dict.fromkeys(word.strip().lower() for word in text.split(",")))
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, got {word!r}")
        return [known[word] for word in words]

    return read


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {most}, got {text!r}")
        return int(text)

    return read
