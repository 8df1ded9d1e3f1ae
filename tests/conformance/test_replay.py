"""The engine does what the recorded Linux director did."""

from __future__ import annotations

import pytest

import replay
from kinds.result import Scenario

SCHED, STATE = (
    list(replay.read(*sorted(replay.VECTORS.glob(f"{kind}*.jsonl.xz")))) for kind in ("sched", "state")
)


@pytest.mark.parametrize("scenario", [*SCHED, *STATE], ids=lambda scenario: scenario["id"])
def test_every_decision_and_state_is_the_kernels(scenario: Scenario) -> None:
    result = replay.play(scenario)
    assert (result.outcome, result.differences[:1]) == ("equal", [])


def test_all_that_was_recorded_is_played() -> None:
    assert len(SCHED) >= 550
    assert len(STATE) >= 40
    assert sum(event[0] == "seq" for scenario in STATE for event in scenario["ev"]) >= 720


@pytest.mark.parametrize(("scenarios", "kind"), [(SCHED, "o"), (STATE, "seq")])
def test_a_difference_is_noticed(scenarios: list[Scenario], kind: str) -> None:
    scenario = next(s for s in scenarios if any(event[0] == kind for event in s["ev"]))
    events = [list(event) for event in scenario["ev"]]
    event = next(event for event in events if event[0] == kind)
    if kind == "o":
        event[-1] += 1
    else:
        event[-1] = [[*step[:2], step[2] + "s", *step[3:]] for step in event[-1]]
    result = replay.play({**scenario, "ev": events})
    assert result.outcome == "different"


@pytest.mark.parametrize(
    ("wait", "left", "outcome"),
    [
        (899, 1, "equal"),
        (920, 0, "equal"),
        (920, 1, "excused"),
        (920, 2, "different"),
        (941, 1, "different"),
    ],
)
def test_a_connection_that_outlives_its_time_by_a_slot_of_the_kernels_timers_is_excused(
    wait: int, left: int, outcome: str
) -> None:
    scenario = {
        "id": "late",
        "kind": "sched",
        "sched": "rr",
        "v6": 0,
        "svc": {
            "type": "tcp",
            "flags": [],
            "persist": 0,
            "mask": None,
            "ops": 0,
            "vip": "10.99.0.1",
            "port": 80,
        },
        "sysctl": {},
        "set": None,
        "rs": [{"ip": "192.168.1.1", "port": 8080, "fwd": "m", "w": 1, "x": 0, "y": 0}],
        "nrs": 1,
        "ev": [
            ["o", 0, 6, "203.0.113.9", 4000, 0],
            ["p", 0, "sa", 1],
            ["p", 0, "a", 0],
            ["t", wait],
            ["s", [[0, 1, left, 0]]],
        ],
        "end": {"TCP ESTABLISHED": 1} if left else {},
    }
    result = replay.play(scenario)
    assert ("excused" if result.excused and result.outcome == "equal" else result.outcome) == outcome
