"""What the pages show is true: code runs and prints what is said, configurations are read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from fastlvs._core import Configuration
from pages import PAGES, ROOT, Block, all_blocks, name, with_output


def runs(block: Block, language: str) -> bool:
    return block.language == language and "run" in block.words


PYTHON = [page for page in PAGES if any(runs(block, "python") for block, _ in with_output(page))]
SHELL = [page for page in PAGES if any(runs(block, "sh") for block, _ in with_output(page))]
EXAMPLE = ROOT / "docs" / "director.example.toml"


@pytest.mark.parametrize("page", PYTHON, ids=name)
def test_python_runs_and_prints_what_is_said(page: Path, request: pytest.FixtureRequest) -> None:
    program = {"__name__": "page"}
    for block, output in with_output(page):
        if not runs(block, "python"):
            continue
        if "lab" in block.words:
            request.getfixturevalue("namespaces")
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(block.text, str(block), "exec"), program)
        assert output is None or lines(printed.getvalue()) == lines(output), block


@pytest.mark.parametrize("page", SHELL, ids=name)
def test_commands_run_and_print_what_is_said(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for block, output in with_output(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        if not runs(block, "sh"):
            continue
        if "lab" in block.words:
            request.getfixturevalue("namespaces")
        command = ["sh", "-e", "-c", block.text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        wanted = next((int(w.removeprefix("status=")) for w in block.words if w.startswith("status=")), 0)
        assert done.returncode == wanted, f"{block}: {done.stderr}"
        printed = done.stdout + (done.stderr if wanted else "")
        assert output is None or lines(printed) == lines(output), block


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_configurations_are_read(block: Block) -> None:
    Configuration.from_toml(block.text, str(block))


def test_the_example_is_read() -> None:
    assert Configuration.from_toml(EXAMPLE.read_text(), EXAMPLE.name).services()


def lines(text: str) -> list[str]:
    """Without blanks at the lines' ends, which pages cannot show."""
    return [line.rstrip() for line in text.strip().splitlines()]
