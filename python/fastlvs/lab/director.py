"""The program ``fastlvs-run`` in the lab: started with a configuration, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from types import TracebackType

from fastlvs.errors import ConfigurationError, PlatformError
from fastlvs.lab.host import Host
from fastlvs.lab.sandbox import SOON, LabError, first_line
from fastlvs.marks import Mark
from fastlvs.server import Forwarding, RealServer
from fastlvs.service import VirtualService

__all__ = ["DirectorProcess", "director_program", "director_toml"]


class DirectorProcess:
    """A running ``fastlvs-run``.

    As a context manager it is ended with SIGTERM, and has to end well::

        with lab.run_director([service]) as director:
            print(director.ready)
    """

    def __init__(self, host: Host, configuration: str, *, timeout: float = 30.0) -> None:
        """Starts it on ``host`` and waits until it is ready, at most ``timeout`` seconds.

        Args:
            host: where.
            configuration: the text of its ``director.toml``.
            timeout: seconds.

        Raises:
            LabError: it ended, or was not ready in time. Says what it said.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="fastlvs-lab-")
        self._file = Path(self._folder.name) / "director.toml"
        self._file.write_text(configuration)
        self._log = Path(self._folder.name) / "log"
        with self._log.open("w") as log:
            self._process = host.start(director_program(), str(self._file), stdout=PIPE, stderr=log)
        deadline = time.monotonic() + timeout
        self.ready = first_line(self._process, timeout)
        """The line that it printed when it was ready."""
        if not self.ready:
            message = f"fastlvs-run {self._state(deadline)}: {self.log.strip() or 'it said nothing'}"
            self.kill()
            raise LabError(message)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text() if self._log.exists() else ""

    def reload(self, configuration: str) -> None:
        """Gives it another configuration, by SIGHUP."""
        self._file.write_text(configuration)
        self._process.send_signal(signal.SIGHUP)

    def stop(self, timeout: float = 30.0) -> int:
        """Ends it with SIGTERM and gives its exit status.

        Raises:
            LabError: it runs on after ``timeout`` seconds (then it is killed).
        """
        self._process.terminate()
        try:
            status = self._process.wait(timeout)
        except TimeoutExpired:
            log = self.log
            self.kill()
            raise LabError(f"fastlvs-run did not end within {timeout:g} s of SIGTERM: {log}") from None
        self._clean()
        return status

    def kill(self) -> None:
        """Ends it with SIGKILL: it has no chance to clean up behind itself."""
        self._process.kill()
        self._process.wait(timeout=SOON)
        self._clean()

    def _state(self, deadline: float) -> str:
        try:
            # The end of its output, before the deadline, comes a moment before its own.
            return f"ended with status {self._process.wait(max(0.0, deadline - time.monotonic()))}"
        except TimeoutExpired:
            return "is not ready"

    def _clean(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> DirectorProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._folder_exists():
            return  # ended inside the block, on purpose
        log = self.log
        status = self.stop()
        if status != 0 and kind is None:
            raise LabError(f"fastlvs-run ended with status {status}: {log}")

    def _folder_exists(self) -> bool:
        return Path(self._folder.name).exists()

    def __repr__(self) -> str:
        return f"<DirectorProcess {self.pid}: {self.ready if self.running else 'ended'}>"


def director_program() -> str:
    """The path of ``fastlvs-run``: beside this Python, else on PATH."""
    beside = Path(sys.executable).parent / "fastlvs-run"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("fastlvs-run")
    if found is None:
        raise PlatformError(f"no program 'fastlvs-run' found, neither in {beside.parent} nor on PATH")
    return found


def director_toml(
    services: Iterable[VirtualService], *, interfaces: Iterable[str] = (), marks: Iterable[Mark] = ()
) -> str:
    """The ``director.toml`` that says the same as ``services`` and ``marks``; without ``interfaces`` it names
    none.

    Raises:
        ConfigurationError: a service has a scheduler object, which a file cannot name.
    """
    names = list(interfaces)
    tables = [_table("[director]", {"interfaces": names})] if names else []
    for service in services:
        if not isinstance(service.scheduler, str):
            raise ConfigurationError(
                f"expected a scheduler's name, got {service.scheduler!r}", field=f"service {service.address}"
            )
        tables.append(_table("[[service]]", _service(service)))
        tables += (_table("[[service.server]]", _server(server, service)) for server in service.servers)
    tables += (_table("[[mark]]", _mark(mark)) for mark in marks)
    return "\n".join(tables)


def _service(service: VirtualService) -> dict[str, object]:
    named: dict[str, object] = {"protocol": service.protocol, "address": service.address}
    if service.mark is not None:
        named = {"mark": service.mark, "ipv6": service.address.address.version == 6}
    return named | {
        "scheduler": service.scheduler,
        "fallback": None if service.fallback == "wlc" else service.fallback,
        "flags": sorted(service.flags) or None,
        "persistence": service.persistence,
        "netmask": service.netmask,
        "one_packet": service.one_packet or None,
        "timeouts": dict(service.timeouts) or None,
        "forwarding": service.forwarding,
    }


def _server(server: RealServer, service: VirtualService) -> dict[str, object]:
    tunnel: dict[str, object] = {}
    if service.forwarding_of(server) is Forwarding.TUNNELING and server.tunnel != "ipip":
        port = server.tunnel_port or None
        tunnel = {"tunnel": server.tunnel, "tunnel_port": port, "tunnel_flags": server.tunnel_flags}
    return {
        "address": server.address if server.address.port else server.address.address,
        "weight": server.weight,
        "forwarding": service.forwarding_of(server),
        "upper_threshold": server.upper_threshold or None,
        "lower_threshold": server.lower_threshold or None,
    } | tunnel


def _mark(mark: Mark) -> dict[str, object]:
    first, last = mark.ports
    return {
        "mark": mark.mark,
        "destination": mark.destination,
        "protocol": mark.protocol,
        "ports": f"{first}-{last}",
        "source": mark.source,
    }


def _table(head: str, values: Mapping[str, object]) -> str:
    """What is ``None`` is left out."""
    lines = (f"{name} = {_toml(value)}\n" for name, value in values.items() if value is not None)
    return f"{head}\n{''.join(lines)}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in value.items())} }}"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
