"""The types are right: users' programs pass, wrong ones do not. (The stub is compared in `make lint`.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import fastlvs

HERE = Path(__file__).parent
PACKAGE = Path(fastlvs.__file__).parent


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    # An installed package is found by itself, and mypy refuses to be told of site-packages.
    installed = PACKAGE.parent.name == "site-packages"
    environment = {} if installed else dict.fromkeys(("MYPYPATH", "PYTHONPATH"), str(PACKAGE.parent))
    return subprocess.run(
        # Nothing is written beside the tests, which may be somebody else's.
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=HERE,
        env=environment,
    )


def test_a_users_program_passes() -> None:
    done = mypy(HERE / "user_code.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_code_is_refused_where_it_is_wrong() -> None:
    path = HERE / "wrong_code.py"
    found = re.findall(r"wrong_code\.py:(\d+): error: .*(\[.*\])$", mypy(path).stdout, re.M)
    lines = enumerate(path.read_text().splitlines(), 1)
    expected = [(str(number), line.split("# ")[1]) for number, line in lines if "  # [" in line]
    assert found == expected
