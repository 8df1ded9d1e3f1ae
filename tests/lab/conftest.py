"""The lab for the tests: built once, by whoever runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fastlvs import CapabilityError
from fastlvs.lab import Lab


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where an ordinary user may not have namespaces, and says why. Root has to have them."""
    try:
        Lab().close()
    except CapabilityError as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lab(namespaces: None) -> Iterator[Lab]:
    """A lab whose director's host routes, and has no director."""
    with Lab(ip_forward=True) as made:
        yield made
