"""`fastlvs run FILE`: the director from a file, with a scheduler in Python beside it."""

from __future__ import annotations

import re
import signal
import sys
import textwrap
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO

import pytest

from fastlvs.lab import Lab, director_toml
from fastlvs.lab.sandbox import first_line
from waiting import PATIENCE, wait_for

CHOOSER = """
class First:
    last = 0

    def select(self, flow, servers):
        self.last += 1
        print(self.last, flush=True)
        return 0
"""

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "director-in-python.md"

READY = "fastlvs: ready: 1 service, 3 real servers on eth0 eth1"


@pytest.fixture
def file(lab: Lab, tmp_path: Path) -> Path:
    """A configuration whose scheduler is in a module beside it."""
    (tmp_path / "chooser.py").write_text(CHOOSER)
    made = tmp_path / "director.toml"
    made.write_text(toml(lab, "python:chooser:First"))
    return made


def toml(lab: Lab, scheduler: str) -> str:
    return director_toml([lab.service("nat", "rr")]).replace('"rr"', f'"{scheduler}"')


def run(lab: Lab, *arguments: str, stderr: int | IO[str] = PIPE) -> Popen[str]:
    return lab.director.start(sys.executable, "-m", "fastlvs", *arguments, stdout=PIPE, stderr=stderr)


def servers(lab: Lab) -> set[str | None]:
    return {answer.server for answer in lab.client.requests("http://10.0.0.81/", 6) if answer.ok}


def test_it_serves_and_reloads_and_ends(lab: Lab, file: Path) -> None:
    log = file.with_name("log")
    with log.open("w") as written:
        process = run(lab, "run", str(file), stderr=written)
    assert first_line(process, PATIENCE) == READY
    assert servers(lab) == {"server3"}
    file.write_text(toml(lab, "python:chooser:First").replace("weight = 1", "weight = 2"))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: f"fastlvs.run: reloaded {file}: 1 service, 3 real servers" in log.read_text())
    assert servers(lab) == {"server3"}
    assert [first_line(process, PATIENCE) for _ in range(12)] == [str(number + 1) for number in range(12)]
    file.write_text(toml(lab, "rr"))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: log.read_text().count("reloaded") == 2)
    assert len(servers(lab)) == 3
    file.write_text(toml(lab, "python:chooser:Last"))
    process.send_signal(signal.SIGHUP)
    refused = f"old configuration stays in force: {file}:4: service[0].scheduler: cannot load"
    wait_for(lambda: refused in log.read_text())
    assert len(servers(lab)) == 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert lab.director.run("nft", "list", "ruleset").stdout == ""


def test_ctrl_c_is_a_clean_end(lab: Lab, file: Path) -> None:
    process = run(lab, "run", "-v", str(file))
    assert first_line(process, PATIENCE) == READY
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0


def test_the_how_to_is_right(lab: Lab, tmp_path: Path) -> None:
    """Its programs and its configuration run as they are written, with the lab's addresses."""
    text = HOW_TO.read_text().replace("10.0.0.1", "10.1.0.1").replace("192.0.2.10", "10.0.0.81")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    start, *changes, scheduler = [text for kind, text in blocks if kind == "python"]
    [file] = [text for kind, text in blocks if kind == "toml"]
    program = start.replace("director.wait()", "steps(director)")
    steps = (
        "def steps(director):\n"
        + textwrap.indent("".join(changes), "    ")
        + "    assert list(director.services[0].servers.weight) == [1]\n"
    )
    lab.director.run(sys.executable, "-c", f"{steps}\n{program}")
    (tmp_path / "least_bytes.py").write_text("import numpy as np\n" + scheduler)
    (tmp_path / "director.toml").write_text(file)
    process = run(lab, "run", str(tmp_path / "director.toml"))
    assert first_line(process, PATIENCE).startswith("fastlvs: ready: 1 service, 2 real servers")
    assert servers(lab) == {"server1", "server2"}
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("before", "after", "status", "error"),
    [
        ('"rr"', '"python:nowhere:First"', 3, ":4: service[0].scheduler: cannot load 'python:nowhere:First'"),
        ('"rr"', '"fastest"', 3, ":4: service[0].scheduler: expected a scheduler"),
        ("weight = 1", "wieght = 1", 3, ":9: service[0].server[0].wieght: unknown key"),
        ("[[service]]", 'director.interfaces = ["eth9"]\n[[service]]', 5, "interface eth9: there is none"),
    ],
)
def test_what_is_wrong_with_a_file(
    lab: Lab, tmp_path: Path, before: str, after: str, status: int, error: str
) -> None:
    file = tmp_path / "director.toml"
    file.write_text(toml(lab, "rr").replace(before, after, 1))
    said = {}
    for command in ("run", "check"):
        process = run(lab, command, str(file))
        said[command] = process.communicate(timeout=PATIENCE)
        wrong = command == "run" or status == 3  # interfaces are for the machine to know
        assert process.returncode == (status if wrong else 0), said
    assert error in said["run"][1]
    assert said["check"][0] == (f"{file}: 1 service, 3 real servers: good\n" if status != 3 else "")
