"""Errors have an address and an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastlvs as lvs


def test_configuration_errors_say_file_line_and_field() -> None:
    error = lvs.ConfigurationError(
        "expected a port", file="director.toml", line=7, field="service[0].address"
    )
    assert str(error) == "director.toml:7: service[0].address: expected a port"
    assert str(lvs.ConfigurationError("expected a port")) == "expected a port"


@pytest.mark.parametrize(
    ("error", "code", "also"),
    [
        (lvs.FastlvsError, 1, Exception),
        (lvs.ConfigurationError, 3, ValueError),
        (lvs.CapabilityError, 4, PermissionError),
        (lvs.InterfaceError, 5, LookupError),
        (lvs.PlatformError, 5, OSError),
    ],
)
def test_every_class_has_its_exit_code(
    error: type[lvs.FastlvsError], code: int, also: type[Exception]
) -> None:
    assert (error.exit_code, str(error("why"))) == (code, "why")
    assert issubclass(error, also)
    assert issubclass(error, lvs.FastlvsError)


def test_importing_starts_nothing() -> None:
    program = "import os, fastlvs; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1"]
