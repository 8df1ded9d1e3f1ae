"""The demo as its user sees it: the whole matrix, smaller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastlvs import cli
from fastlvs.demo import matrix
from fastlvs.lab import director as director_module
from waiting import wait_for

DEMO = (sys.executable, "-m", "fastlvs", "demo")


@pytest.mark.usefixtures("namespaces")
def test_every_method_with_every_scheduler(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    # Twelve are two cycles of wrr, and enough for every rule to show.
    done = demo("--requests", "12", "--json", str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "360 of 360 requests answered; 30 of 30 right" in done.stdout
    for stages in (
        "rr) → ",
        "masq → POSTROUTING eth1",
        "route → POSTROUTING eth1",
        "tunnel → POSTROUTING eth1",
    ):
        assert stages in done.stdout
    assert "FORWARD (connection" in done.stdout, "NAT's answer passes the director"
    assert done.stdout.count("past the director") == 2, "those of DR and TUN do not"
    told = json.loads(results.read_text())
    assert len(told) == 30
    assert {r["checksum_errors"] for r in told} == {0}
    assert {tuple(r["servers"]) for r in told if r["scheduler"] == "wrr"} == {(6, 4, 2)}


@pytest.mark.usefixtures("namespaces")
def test_requests_at_the_same_time() -> None:
    done = demo("--requests", "60", "--concurrency", "10", "--methods", "tun", "--schedulers", "wrr,lc,sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "180 of 180 requests answered; 3 of 3 right" in done.stdout


@pytest.mark.usefixtures("namespaces")
def test_a_director_that_forwards_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    in_its_place(monkeypatch, tmp_path, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    monkeypatch.setattr(matrix, "PATIENCE", 0.3)
    assert cli.main(["demo", "--methods", "dr", "--schedulers", "rr,lc"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "DR rr 0/3 0 0 0" in said
    assert "DR rr: 3 of 3 requests not answered: " in said
    assert "DR lc: not asked, since the same method gave no answer at all before" in said
    assert "0 of 3 requests answered; 0 of 2 right" in said


@pytest.mark.usefixtures("namespaces")
def test_a_director_that_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    in_its_place(monkeypatch, tmp_path, "echo ready; echo no more >&2; exit 0")
    monkeypatch.setattr(matrix, "PATIENCE", 0.3)
    assert cli.main(["demo", "--methods", "nat"]) == 1
    assert "fastlvs-run ended while it served NAT rr: no more" in capsys.readouterr().err


@pytest.mark.usefixtures("namespaces")
def test_ctrl_c_ends_it_and_everything_in_it(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*DEMO, "--requests", "500"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # as a terminal's foreground job: the interrupt goes to all of it
    )
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        assert process.poll() is None, process.communicate()
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert not list(tmp_path.iterdir()), "temporary files"
    wait_for(lambda: not in_session(process.pid))


def in_its_place(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """A shell script runs instead of the director's program."""
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    monkeypatch.setattr(director_module, "director_program", lambda: str(path))


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [*DEMO, *options], capture_output=True, text=True, check=False, timeout=900, env=environment
    )


def in_session(leader: int) -> list[str]:
    """The processes that are left of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(rest.split()[3]) == leader and rest.split()[0] != "Z":
            found.append(name)
    return found
