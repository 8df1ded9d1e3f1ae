"""What the demo prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from fastlvs.demo.matrix import METHODS, WEIGHTS, Result
from fastlvs.lab import DirectorProcess, Lab

__all__ = ["conclusion", "heading", "table"]


def heading(lab: Lab, director: DirectorProcess) -> Text:
    """Who takes part."""
    legs = " ".join(lab.director.interfaces.values())
    servers = ", ".join(f"{server.name} {server.address}" for server in lab.servers)
    vips = ", ".join(f"{METHODS[method]} {vip}" for method, vip in lab.vips.items())
    return Text(
        f"client {lab.client.address}, director {legs}\n"
        f"{servers}: weights {' '.join(map(str, WEIGHTS))}\n"
        f"virtual addresses: {vips}\n"
        f"tunnels unpacked by: {lab.tunnel}\n"
        f"{director.ready}\n"
    )


def table(results: Sequence[Result]) -> Table:
    """A line for each combination. It fits in 80 columns."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("\nservice", no_wrap=True)
    made.add_column("\nanswered", justify="right", no_wrap=True)
    made.add_column("servers\n1 2 3", justify="right", no_wrap=True)
    made.add_column("\nexpected", justify="right")
    made.add_column("\nrule", no_wrap=True)
    made.add_column("checksum\nerrors", justify="right", no_wrap=True)
    made.add_column("resent\nsegments", justify="right", no_wrap=True)
    made.add_column("\nverdict", no_wrap=True)
    previous = None
    for result in results:
        if previous not in (None, result.combination.method):
            made.add_section()
        made.add_row(
            str(result.combination),
            f"{result.answered}/{result.sent}",
            " ".join(map(str, result.counts)),
            str(result.expectation),
            result.expectation.why,
            str(result.checksum_errors),
            str(result.retransmissions),
            Text("wrong", "bold red") if result.problems else Text("right", "green"),
        )
        previous = result.combination.method
    return made


def conclusion(results: Sequence[Result]) -> Text:
    """What was not right, and whether all was."""
    wrong = [result for result in results if result.problems]
    asked, answered = (sum(getattr(result, name) for result in results) for name in ("sent", "answered"))
    said = Text("\n")
    for result in wrong:
        said.append(f"{result.combination}: {'; '.join(result.problems)}\n", "red")
    right = f"{len(results) - len(wrong)} of {len(results)} right"
    said.append(f"{answered} of {asked} requests answered; {right}\n", "bold")
    return said
