"""Whatever comes in: nothing raises, everything is accounted for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlvs as lvs
from storm import storm
from topology import engine, service


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_of_a_storm_is_accounted_for(seed: int) -> None:
    counters = storm(10_000, seed)
    assert min(counters.forward, counters.reply, counters.to_host, counters.drop) > 100, (
        "the storm is not one-sided"
    )
    assert len(counters.drops) >= 8


TIMES = st.floats(min_value=-9e9, max_value=9e9)


@given(frame=st.binary(max_size=200), leg=st.sampled_from("cs"), now=TIMES)
def test_nothing_raises(frame: bytes, leg: str, now: float) -> None:
    director = engine(service(forwarding="nat"))
    outcome = director.process(leg, frame, now)
    assert isinstance(outcome.verdict, lvs.Verdict)
    assert director.counters.frames == 1
