"""The engine sends, byte for byte, what the recorded Linux director sent."""

from __future__ import annotations

from collections import Counter

import pytest

import replay
from kinds import packet
from kinds.result import Scenario

SCENARIOS = list(replay.read(*sorted(replay.VECTORS.glob("packet*.jsonl.xz"))))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_every_frame_is_the_kernels(scenario: Scenario) -> None:
    result = packet.play(scenario)
    assert (result.set_aside, result.differences) == ("", [])


def test_a_wrong_byte_is_noticed() -> None:
    noticed: Counter[bool] = Counter()
    for scenario in SCENARIOS[::12]:
        events = [list(event) for event in scenario["ev"]]
        out = next((event for event in events if event[0] == "out"), None)
        if out is None:
            continue
        frame = bytearray.fromhex(out[2])
        frame[-1] ^= 1
        out[2] = frame.hex()
        noticed[bool(packet.play({**scenario, "ev": events}).differences)] += 1
    assert noticed[True] > 15
    assert not noticed[False]


def test_an_engine_that_leaves_everything_to_the_host_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet.Replay, "command", lambda *_: None)
    results = [packet.play(scenario) for scenario in SCENARIOS[::6]]
    assert not [result for result in results if not result.set_aside and not result.differences]
