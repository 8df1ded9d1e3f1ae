"""What the demo prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fastlvs.demo.matrix import METHODS, WEIGHTS, Result
from fastlvs.lab import DirectorProcess, Lab, topology

__all__ = ["conclusion", "heading", "table"]


def heading(lab: Lab, director: DirectorProcess) -> Text:
    """Who takes part."""
    servers = ", ".join(
        f"{server.name} {server.address} (weight {weight})"
        for server, weight in zip(lab.servers, WEIGHTS, strict=True)
    )
    vips = ", ".join(f"{METHODS[method]} {vip}" for method, vip in lab.vips.items())
    legs = " and ".join(lab.director.interfaces.values())
    return Text(
        f"client {lab.client.address} → director {legs} → {servers}\n"
        f"virtual addresses: {vips}; tunnels are unpacked by {lab.tunnel}\n"
        f"{director.ready}\n"
    )


def table(results: Sequence[Result]) -> Table:
    """A line for each combination."""
    made = Table(title="HTTP requests through the director", title_style="bold")
    made.add_column("method")
    made.add_column("scheduler")
    made.add_column("sent", justify="right")
    made.add_column("answered", justify="right")
    for server in topology.SERVERS:
        made.add_column(server.name, justify="right")
    made.add_column("expected", justify="right")
    made.add_column("why")
    made.add_column("checksum\nerrors", justify="right")
    made.add_column("retrans-\nmissions", justify="right")
    made.add_column("verdict")
    previous = None
    for result in results:
        method = result.combination.method
        if previous not in (None, method):
            made.add_section()
        made.add_row(
            "" if method is previous else METHODS[method],
            result.combination.scheduler,
            str(result.sent),
            str(result.answered),
            *map(str, result.counts),
            str(result.expectation),
            result.expectation.why,
            str(result.checksum_errors),
            str(result.retransmissions),
            Text("wrong", "bold red") if result.problems else Text("right", "green"),
        )
        previous = method
    return made


def conclusion(results: Sequence[Result]) -> Text:
    """Whether all was right, and what was not."""
    wrong = [result for result in results if result.problems]
    asked, answered = (sum(getattr(result, name) for result in results) for name in ("sent", "answered"))
    said = Text()
    for result in wrong:
        said.append(f"{result.combination}: {'; '.join(result.problems)}\n", "red")
    said.append(
        f"{answered} of {asked} requests answered; {len(results) - len(wrong)} of {len(results)} right"
    )
    return said
