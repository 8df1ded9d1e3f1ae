"""What the page on differences says is tested, is."""

from __future__ import annotations

import re

from pages import ROOT

PAGE = ROOT / "docs" / "differences.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ")
]
COMPLAINTS = [row for row in ROWS if row[0].isdigit()]


def test_every_complaint_is_answered() -> None:
    assert [int(row[0]) for row in COMPLAINTS] == list(range(1, 46))
    for number, _, answer, test in COMPLAINTS:
        word = answer.partition(":")[0].partition(" ")[0]
        assert word in ("closed", "open", "option"), number
        assert bool(test) == (word != "open"), number


def test_the_tests_that_are_named_are_there() -> None:
    named = [test for row in ROWS for test in re.findall(r"`([^`]+)::(\w+)`", row[-1])]
    assert len(named) > 30
    for path, test in named:
        text = (ROOT / path).read_text()
        assert re.search(rf"(def|fn) {test}\(", text), f"{path}: {test}"
