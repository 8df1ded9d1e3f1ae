"""The types are right: users' programs pass, wrong ones do not, the stub agrees with the module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fastlvs

HERE = Path(__file__).parent
PACKAGE = Path(fastlvs.__file__).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # An installed package is found by itself, and mypy refuses to be told of site-packages.
    installed = PACKAGE.parent.name == "site-packages"
    environment = {} if installed else dict.fromkeys(("MYPYPATH", "PYTHONPATH"), str(PACKAGE.parent))
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=HERE,
        env=environment,
    )


def test_a_users_program_passes() -> None:
    done = run("mypy", "--strict", str(HERE / "user_code.py"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_code_is_refused_where_it_is_wrong() -> None:
    path = HERE / "wrong_code.py"
    found = re.findall(
        r"wrong_code\.py:(\d+): error: .*(\[.*\])$", run("mypy", "--strict", str(path)).stdout, re.M
    )
    lines = enumerate(path.read_text().splitlines(), 1)
    expected = [(str(number), line.split("# ")[1]) for number, line in lines if "  # [" in line]
    assert found == expected


def test_the_stub_is_the_module() -> None:
    done = run("mypy.stubtest", "fastlvs._core")
    assert done.returncode == 0, done.stdout + done.stderr
