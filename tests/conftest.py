"""What tests of several folders need."""

from __future__ import annotations

import os

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
