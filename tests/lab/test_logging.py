"""Handlers of Python's logging that block or raise, and a standard error that takes nothing: nobody waits."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from fastlvs.lab import Lab, director_toml
from fastlvs.lab.sandbox import first_line
from remote import Remote
from waiting import PATIENCE, wait_for

URL = "http://10.0.0.81/"
MISSING = "lines of the log that no handler took, or that there was no room for: "

SETUP = """
import logging, sys, threading, time
import fastlvs as lvs

class Hindering(logging.Handler):
    def emit(self, record):
        if how == "raises":
            raise OSError("no room")
        if how == "blocks":
            go.wait()
        logged.append(record.getMessage())

class Failing:
    def select(self, flow, servers):
        raise ValueError("too many cooks")

def timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began

logged, unraisable, go = [], [], threading.Event()
sys.unraisablehook = lambda raised: unraisable.append(str(raised.exc_value))
logging.getLogger("fastlvs").addHandler(Hindering())
servers = [lvs.RealServer(f"10.1.0.1{number}:8080") for number in (1, 2, 3)]
web = lvs.VirtualService("tcp", "10.0.0.81:80", Failing(), "nat", servers, fallback="rr")
routes = [lvs.Route(f"192.0.{number // 256}.{number % 256}/32", interface="eth9") for number in range(3000)]
"""
"""Each of these routes is worth a line, whenever the network is made anew."""


@pytest.mark.parametrize("how", ["raises", "blocks"])
def test_a_handler_that_hinders_stops_nothing(lab: Lab, how: str) -> None:
    remote = Remote(lab.director, f"how = {how!r}\n{SETUP}")
    assert (
        remote("timed(lambda: globals().update(director=lvs.Director(services=[web], routes=routes)))") < 20
    )
    answers = lab.client.requests(URL, 12)
    assert {answer.server for answer in answers} == {"server1", "server2", "server3"}
    assert remote("director.services[0].scheduler_errors") == 12
    lab.director.run("nft", "flush", "ruleset")
    wait_for(lambda: "fastlvs" in lab.director.run("nft", "list", "tables").stdout)
    assert remote("timed(lambda: director.add_server(web, lvs.RealServer('10.1.0.99:8080', 0)))") < 4
    assert remote("timed(director.stop)") < 8
    assert lab.director.run("nft", "list", "ruleset").stdout == ""
    assert remote("logged") == []
    # As soon as it takes lines again, it learns how many it missed.
    remote("how = 'takes'; go.set()")
    remote("director = lvs.Director(services=[web])")
    remote("director.stop()")
    wait_for(lambda: remote(f"any(line.startswith({MISSING!r}) for line in logged)"))
    said = remote("logged")
    missed = sum(int(line.removeprefix(MISSING)) for line in said if line.startswith(MISSING))
    lines = sum(line.startswith("route 192.0.") for line in said)
    assert missed + lines >= 3000
    assert missed >= 1900
    assert lines <= 1025
    assert remote("unraisable") == (["no room"] if how == "raises" else [])
    assert remote.close() == 0


def test_a_director_is_stopped_whose_handler_blocks_for_ever(lab: Lab) -> None:
    """Python itself waits for the handler then, at its end."""
    script = (
        f"how = 'blocks'\n{SETUP}\n"
        "with lvs.Director(services=[web], routes=routes):\n"
        "    print('ready', flush=True)\n"
        "print('stopped', flush=True)\n"
    )
    process = lab.director.start(sys.executable, "-c", script, stdout=PIPE)
    assert first_line(process, PATIENCE) == "ready"
    assert first_line(process, PATIENCE) == "stopped"
    assert lab.director.run("nft", "list", "ruleset").stdout == ""
    process.kill()
    process.wait(PATIENCE)


@pytest.mark.parametrize("where", ["full disk", "no reader", "nobody reads"])
def test_fastlvs_run_waits_for_no_log(lab: Lab, tmp_path: Path, where: str) -> None:
    service = lab.service("nat", "rr")
    file = tmp_path / "director.toml"
    file.write_text(director_toml([service]))
    reader, writer = os.pipe()
    if where == "nobody reads":
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
    stderr = os.open("/dev/full", os.O_WRONLY) if where == "full disk" else writer
    command = (sys.executable, "-m", "fastlvs", "run", str(file))
    process = lab.director.start(*command, stdout=PIPE, stderr=stderr)
    try:
        assert first_line(process, PATIENCE).startswith("fastlvs: ready")
        os.close(writer)
        if where == "no reader":
            os.close(reader)
        one = service.with_servers(service.servers[:1])

        def served_by(servers: set[str | None]) -> Callable[[], bool]:
            return lambda: {answer.server for answer in lab.client.requests(URL, 6)} == servers

        alone: set[str | None] = {"server1"}
        all_of_them = alone | {"server2", "server3"}
        for services, servers in [([one], alone), ([service], all_of_them)] * 2:
            file.write_text(director_toml(services))
            process.send_signal(signal.SIGHUP)  # logged
            wait_for(served_by(servers))
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert lab.director.run("nft", "list", "ruleset").stdout == ""
    finally:
        process.kill()
        process.wait(PATIENCE)
