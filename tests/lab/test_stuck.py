"""Schedulers in Python that return late, or never: changes are in force all the same, and ending works."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from fastlvs.lab import Lab, director_toml
from fastlvs.lab.sandbox import first_line
from remote import Remote
from waiting import PATIENCE, wait_for

URL = "http://10.0.0.81/"
NAMED = r"scheduler Slow of service TCP 10\.0\.0\.81:80 has not returned for \d+ s"
LATE = f"the change is in force, but the worker is late: no answer for 5 s: {NAMED}"

SETUP = """
import logging, threading, time
import fastlvs as lvs

class Records(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())
        raised.append(str(record.exc_info))

class Slow:
    # Runs `work`, once.
    def select(self, flow, servers):
        work, works[:] = works[0] if works else None, works[1:]
        asked.append(time.monotonic())
        work and work()
        return 0

def loop():
    while True:
        try:
            sum(range(100))
        except Exception:
            pass

def fail():
    raise ValueError("x" * 10_000_000)

def timed(work):
    began = time.monotonic()
    try:
        said = work()
    except lvs.FastlvsError as error:
        said = f"{type(error).__name__}: {error}"
    return time.monotonic() - began, str(said)

logged, raised, asked, works = [], [], [], []
logging.getLogger("fastlvs").addHandler(Records())
servers = [lvs.RealServer(f"10.1.0.1{number}:8080") for number in (1, 2, 3)]
web = lvs.VirtualService("tcp", "10.0.0.81:80", Slow(), "nat", servers)
director = lvs.Director(services=[web])
"""

WORK = {
    "sleeps": "lambda: time.sleep(1e6)",
    "waits": "threading.Event().wait",
    "computes": "loop",
}


def ask(lab: Lab) -> Popen[str]:
    """A client that nobody answers for now."""
    return lab.client.start("bash", "-c", "echo >/dev/tcp/10.0.0.81/80")


def ruleset(lab: Lab) -> str:
    return lab.director.run("nft", "list", "ruleset").stdout


@pytest.fixture
def program(lab: Lab) -> Remote:
    return Remote(lab.director, SETUP)


@pytest.mark.parametrize("work", WORK)
def test_a_director_ends_whose_scheduler_never_returns(lab: Lab, program: Remote, work: str) -> None:
    program(f"works.append({WORK[work]})")
    client = ask(lab)
    wait_for(lambda: program("len(asked)") == 1)
    seconds, said = program("timed(lambda: director.counters)")
    assert seconds < 10
    assert re.fullmatch(rf"StuckError: the director's worker has not answered for 5 s: {NAMED}", said), said
    seconds, said = program("timed(director.stop)")
    assert seconds < 10
    if work == "computes":
        # It could be told.
        assert said == "None"
        assert any("DirectorEndsError" in line for line in program("raised"))
    else:
        assert (
            "StuckError: the director's worker did not end within 5 s and was left behind: scheduler" in said
        )
    assert program("director.running") is False
    assert ruleset(lab) == ""
    client.kill()
    client.wait()
    program("director = lvs.Director(services=[web])")
    assert lab.client.http(URL).server == "server3"
    program("director.stop()")
    assert ruleset(lab) == ""
    assert program.close() == 0


def test_a_change_is_in_force_though_the_worker_is_late(lab: Lab, program: Remote) -> None:
    program("works.append(lambda: time.sleep(7))")
    client = ask(lab)
    wait_for(lambda: program("len(asked)") == 1)
    seconds, said = program("timed(lambda: [str(c) for c in director.apply([web.with_scheduler('rr')])])")
    assert 4 < seconds < 7
    assert "edited service" in said
    late = f"[line for line in logged if __import__('re').fullmatch(r'''{LATE}''', line)]"
    wait_for(lambda: program(f"len({late})") == 1)
    wait_for(lambda: {a.server for a in lab.client.requests(URL, 6)} == {"server1", "server2", "server3"})
    assert program("director.wanted[0].scheduler") == "rr"
    client.kill()
    client.wait()
    program("director.stop()")
    assert program.close() == 0


def test_a_with_block_and_ctrl_c_end(lab: Lab) -> None:
    script = SETUP + (
        "works.append(lambda: time.sleep(1e6))\n"
        "print('ready', flush=True)\n"
        "with director:\n"
        "    director.wait()\n"
    )
    process = lab.director.start(sys.executable, "-c", script, stdout=PIPE, stderr=PIPE)
    assert first_line(process, PATIENCE) == "ready"
    client = ask(lab)
    time.sleep(1)  # until it asks, which nobody outside sees
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "StuckError: the director's worker did not end" in said
    assert ruleset(lab) == ""
    client.kill()
    client.wait()


def test_an_exceptions_text_is_cut(lab: Lab, program: Remote) -> None:
    program("works.append(fail)")
    assert lab.client.http(URL).ok, "the fallback decides"
    wait_for(lambda: program("len(logged)"))
    [length] = program("[len(line) for line in logged if 'ValueError: xxxx' in line]")
    assert length < 10_000
    assert "characters…" in program("logged[0]")
    program("director.stop()")
    assert program.close() == 0


@pytest.fixture
def file(lab: Lab, tmp_path: Path) -> Path:
    """A configuration whose scheduler sleeps as long as a file beside it says."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "class Slow:\n"
        "    def select(self, flow, servers):\n"
        "        print('asked', flush=True)\n"
        "        time.sleep(float(pathlib.Path(__file__).with_name('seconds').read_text()))\n"
        "        return 0\n"
    )
    made = tmp_path / "director.toml"
    made.write_text(director_toml([lab.service("nat", "rr")]).replace('"rr"', '"python:slow:Slow"'))
    return made


@pytest.mark.parametrize("seconds", [7, 1e6])
def test_the_program_reloads_and_ends(lab: Lab, file: Path, seconds: float) -> None:
    file.with_name("seconds").write_text(str(seconds))
    log = file.with_name("log")
    with log.open("w") as written:
        process = lab.director.start(
            sys.executable, "-m", "fastlvs", "run", str(file), stdout=PIPE, stderr=written
        )
    assert first_line(process, PATIENCE).startswith("fastlvs: ready")
    client = ask(lab)
    assert first_line(process, PATIENCE) == "asked"
    file.write_text(file.read_text().replace("python:slow:Slow", "rr"))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: f"reloaded {file}" in log.read_text())
    assert "the change is in force, but the worker is late" in log.read_text()
    assert "refused" not in log.read_text()
    if seconds == 7:
        wait_for(lambda: lab.client.http(URL).ok)
    process.terminate()
    assert process.wait(PATIENCE) == (0 if seconds == 7 else 1), log.read_text()
    stuck = "fastlvs: the director's worker did not end within 5 s and was left behind: scheduler Slow"
    assert (stuck in log.read_text()) == (seconds != 7)
    assert ruleset(lab) == ""
    client.kill()
    client.wait()
