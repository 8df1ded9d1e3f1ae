"""``fastlvs run`` and ``fastlvs check``: a director from a file, with schedulers in Python.

The same as the program ``fastlvs-run``, with one thing more: a service may name a scheduler of yours as
``python:module:Class``. Modules are found beside the file and in the current directory, too.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from types import FrameType

from fastlvs.director import Director, read_configuration
from fastlvs.errors import FastlvsError, StuckError
from fastlvs.lines import Lines
from fastlvs.service import VirtualService

__all__ = ["add"]

LOOK = 0.1
"""How long a signal may go unnoticed, in seconds."""

_log = logging.getLogger("fastlvs.run")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands ``run`` and ``check``."""
    run = subparsers.add_parser(
        "run",
        help="serve what a director.toml says, with schedulers in Python",
        description="Serves what a director.toml says, until SIGTERM or SIGINT.",
        epilog=dedent("""\
            A service's scheduler may be python:MODULE:CLASS, found beside FILE or in the current directory.

            signals: SIGHUP reads the file again; SIGTERM and SIGINT end the director, a second one at once.
            """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("-v", "--verbose", action="store_true", help="say more")
    check = subparsers.add_parser(
        "check",
        help="say whether a director.toml is good",
        description="Says whether a director.toml is good, schedulers in Python included. Needs no privilege.",
    )
    for parser, command in ((run, _run), (check, _check)):
        parser.add_argument("file", metavar="FILE", help="the configuration, a director.toml")
        parser.set_defaults(run=command)


def _run(arguments: argparse.Namespace) -> int:
    _log_to_stderr(arguments.verbose)
    _find_modules(arguments.file)
    try:
        _serve(arguments)
    except StuckError as error:
        logging.shutdown()
        print(f"fastlvs: {error}", file=sys.stderr, flush=True)
        # All is cleaned up. An interpreter that ends in the usual way may trip over the thread left behind.
        os._exit(error.exit_code)
    return 0


def _serve(arguments: argparse.Namespace) -> None:
    signals = _Signals()
    with Director.from_file(arguments.file) as director:
        status = _status(director)
        print(f"fastlvs: ready: {status}", flush=True)
        _tell_manager("READY=1", f"STATUS={status}")
        while signals.next(director) == signal.SIGHUP:
            _reload(director, arguments.file)
        _tell_manager("STOPPING=1")


def _check(arguments: argparse.Namespace) -> int:
    _find_modules(arguments.file)
    _, services = read_configuration(arguments.file)
    print(f"{arguments.file}: {_size(services)}: good")
    return 0


def _reload(director: Director, file: str) -> None:
    """Reads the file again. What is wrong with it leaves the old configuration in force."""
    _tell_manager("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        director.reload(file)
    except FastlvsError as error:
        _log.error("reload refused, the old configuration stays in force: %s", error)
    else:
        if director.missing_interfaces:
            _log.warning("reloaded %s: %s", file, _status(director))
        else:
            _log.info("reloaded %s: %s", file, _size(director.wanted))
    _tell_manager("READY=1", f"STATUS={_status(director)}")


class _Signals:
    """SIGHUP, SIGTERM and SIGINT, one after the other. A second SIGTERM or SIGINT ends the program at once."""

    def __init__(self) -> None:
        self._caught: list[int] = []
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._catch)

    def next(self, director: Director) -> int:
        """Waits for the next one, as long as the director runs. Meanwhile the service manager learns of
        interfaces that go and come back."""
        missing: dict[str, str] = {}
        while not self._caught:
            director.wait(LOOK)
            if (now := director.missing_interfaces) != missing:
                missing = now
                _tell_manager(f"STATUS={_status(director)}")
        return self._caught.pop(0)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(number)
        if number != signal.SIGHUP:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tell_manager(*state: str) -> None:
    """Tells systemd, if it is systemd that started us (``Type=notify``)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto("\n".join(state).encode(), address.replace("@", "\0", 1))
    except OSError as error:
        _log.debug("service manager: %s", error)


def _log_to_stderr(verbose: bool) -> None:
    # The journal stamps the time itself.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        handlers=[Lines(sys.stderr.fileno())],
        format=stamp + "%(levelname)s %(name)s: %(message)s",
    )


def _find_modules(file: str) -> None:
    """Makes modules importable that are in the file's folder, or in the current directory."""
    for folder in (str(Path.cwd()), str(Path(file).resolve().parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _status(director: Director) -> str:
    """``1 service, 3 real servers on eth0 eth1``, and what is missing."""
    missing = [f"interface {name} {problem}" for name, problem in director.missing_interfaces.items()]
    degraded = f"; degraded: {', '.join(missing)}" if missing else ""
    return f"{_size(director.wanted)} on {' '.join(director.interfaces)}{degraded}"


def _size(services: Sequence[VirtualService]) -> str:
    """``1 service, 3 real servers``."""
    servers = sum(len(service.servers) for service in services)
    return f"{_counted(len(services), 'service')}, {_counted(servers, 'real server')}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
