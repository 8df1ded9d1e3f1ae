"""What was measured, of each program, and the table that tells it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

__all__ = ["Figures"]


class Figures:
    """Rows of figures, in groups. Of one that was measured more than once the median is told."""

    def __init__(self, labels: Sequence[str]) -> None:
        """``labels`` are the programs', in the order of the columns."""
        self._labels = labels
        self._groups: dict[str, dict[str, dict[str, list[float | str]]]] = {}

    def add(self, group: str, row: str, label: str, figure: float | str) -> None:
        """Adds a figure, or the words in its place. ``row`` says what it is, with its unit."""
        self._groups.setdefault(group, {}).setdefault(row, {}).setdefault(label, []).append(figure)

    def table(self) -> str:
        """All of them in Markdown; of two programs the last column has the quotients too."""
        ratio = len(self._labels) == 2
        head = ["", *self._labels, *(["/".join(self._labels)] if ratio else [])]
        rows = [head, ["---", *("---:" for _ in head[1:])]]
        for group, named in self._groups.items():
            rows.append([f"**{group}**", *("" for _ in head[1:])])
            for name, row in named.items():
                told = [_told(row.get(label, ())) for label in self._labels]
                rows.append([name, *told, *([_ratio(*map(_number, told))] if ratio else [])])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(cells)} |"


def _told(figures: Iterable[float | str]) -> str:
    words = [figure for figure in figures if isinstance(figure, str)]
    numbers = [figure for figure in figures if not isinstance(figure, str)]
    # Once too long is too long: a median of the others would flatter.
    return words[0] if words else _digits(statistics.median(numbers)) if numbers else "–"


def _digits(number: float) -> str:
    """With three digits that count."""
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.{1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3}f}"


def _number(told: str) -> float | None:
    try:
        return float(told.replace(",", ""))
    except ValueError:
        return None


def _ratio(first: float | None, second: float | None) -> str:
    return "–" if first is None or not second else _digits(first / second)
