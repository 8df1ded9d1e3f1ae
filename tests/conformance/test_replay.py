"""The engine decides as the recorded Linux director did."""

from __future__ import annotations

import pytest

import replay

SCENARIOS = list(replay.read(replay.VECTORS / "sched.jsonl.xz"))
PLAYED = [scenario for scenario in SCENARIOS if not replay.needs(scenario)]


def is_plain(scenario: replay.Scenario) -> bool:
    """IPv4, default sysctls, nobody edits anything."""
    return (
        not scenario["v6"]
        and not scenario["sysctl"]
        and not any(event[0] in "wadE" for event in scenario["ev"])
    )


@pytest.mark.parametrize("scenario", PLAYED, ids=lambda scenario: scenario["id"])
def test_every_decision_is_the_kernels(scenario: replay.Scenario) -> None:
    assert replay.judge(scenario) == ("equal", "")


def test_enough_is_played() -> None:
    plain = [scenario for scenario in PLAYED if is_plain(scenario)]
    assert len(plain) >= 41
    assert {scenario["sched"] for scenario in plain} >= {"rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq"}


def test_a_wrong_decision_is_noticed() -> None:
    scenario = next(scenario for scenario in PLAYED if is_plain(scenario))
    events = [list(event) for event in scenario["ev"]]
    reached = next(event for event in events if event[0] == "o")
    reached[-1] += 1
    result, why = replay.judge({**scenario, "ev": events})
    assert result == "different"
    assert "event" in why
