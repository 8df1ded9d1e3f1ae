"""The lab for the tests: built once, by whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastlvs.lab import Lab


@pytest.fixture(scope="session")
def lab(namespaces: None) -> Iterator[Lab]:
    """A lab whose director's host routes, and has no director."""
    with Lab(ip_forward=True) as made:
        yield made
