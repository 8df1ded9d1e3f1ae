"""What comes of a scenario, whatever its kind, and how it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Scenario = dict[str, Any]


class SetAside(Exception):
    """The scenario uses what the engine does not have."""


@dataclass
class Result:
    """What came of a scenario."""

    set_aside: str = ""
    compared: int = 0
    differences: list[tuple[int, str]] = field(default_factory=list)
    """Number of the event, and what was expected and what came."""
    excused: Counter[str] = field(default_factory=Counter)
    """Differences that a rule accounts for, by rule."""

    @property
    def outcome(self) -> str:
        """In two words at most."""
        return "set aside" if self.set_aside else "different" if self.differences else "equal"

    def compare(self, event: int, what: str, wanted: object, got: object) -> None:
        """Notes whether an event came out as recorded."""
        self.compared += 1
        if wanted != got:
            self.differences.append((event, f"{what}: {first_difference(wanted, got)}"))


COLUMNS = ("scenarios", "equal", "different", "set aside", "events", "events different")


class Report:
    """Collects results and prints them."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self.totals: dict[str, Counter[str]] = {}
        self.excused: Counter[str] = Counter()
        self.aside: Counter[str] = Counter()

    def play(self, scenario: Scenario, player: Callable[[Scenario], Result]) -> None:
        """Plays a scenario; of one that differs the first difference is printed, with ``verbose`` all."""
        result = player(scenario)
        total = self.totals.setdefault(family(scenario), Counter())
        total.update({"scenarios": 1, result.outcome: 1})
        total.update({"events": result.compared, "events different": len(result.differences)})
        self.excused.update(result.excused)
        self.aside.update([result.set_aside] if result.set_aside else [])
        if self.verbose or result.differences:
            print(f"{scenario['id']}: {result.outcome}{result.set_aside and f': {result.set_aside}'}")
        for event, what in result.differences[: None if self.verbose else 1]:
            print(f"  event {event}: {what}")

    def print(self) -> bool:
        """Prints the totals; true when there were scenarios and all of them were equal."""
        print(f"{'':17}" + "".join(f"{column:>18}" for column in COLUMNS))
        for name, total in sorted(self.totals.items()):
            print(f"{name:17}" + "".join(f"{total[column]:18}" for column in COLUMNS))
        for rule, count in sorted(self.excused.items()):
            print(f"excused: {rule}: {count}")
        for reason, count in sorted(self.aside.items()):
            print(f"set aside: {reason}: {count}")
        every: Counter[str] = sum(self.totals.values(), Counter())
        passed = f"PASS {every['equal']}/{every['scenarios']} scenarios"
        if 0 < every["equal"] == every["scenarios"]:
            print(passed)
            return True
        failed = [f"{every[what]} {what}" for what in ("different", "set aside") if every[what]]
        print(f"FAIL: {passed}, {', '.join(failed) or 'there was none to play'}")
        return False


def family(scenario: Scenario) -> str:
    """What a scenario is counted under: the scheduler, or what is sent."""
    name: str = scenario["sched"] if scenario["kind"] == "sched" else scenario["id"].partition("-")[0]
    return f"{scenario['kind']} {name}" if scenario["kind"] != "packet" else name


def first_difference(wanted: object, got: object) -> str:
    """The first thing in which two listings differ."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in [*wanted, *(k for k in got if k not in wanted)]:
            if wanted.get(key) != got.get(key):
                return f"{key}: expected {wanted.get(key)}, got {got.get(key)}"
    if isinstance(wanted, list) and isinstance(got, list):
        missing = [row for row in wanted if row not in got]
        extra = [row for row in got if row not in wanted]
        if missing or extra:
            return f"expected {missing}, got {extra}"
    return f"expected {wanted}, got {got}"
