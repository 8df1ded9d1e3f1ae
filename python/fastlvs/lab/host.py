"""A host of the lab: run programs on it, make requests from it, read what its kernel counted."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, CompletedProcess, Popen
from typing import Any

from fastlvs.lab.sandbox import PROGRAMS, SOON, LabError, Sandbox, first_line
from fastlvs.lab.topology import HostPlan, ipv6

__all__ = ["Answer", "Captured", "Host"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an HTTP request."""

    server: str | None
    """Who answered: the real server's name."""
    status: int | None
    body: str
    """The first 64 bytes."""
    size: int
    """All bytes of the body."""
    digest: str
    """Their SHA-256, in hexadecimal."""
    seconds: float
    """From before the connection was opened until after the last byte."""
    error: str | None
    """Why there is no answer."""

    @property
    def ok(self) -> bool:
        """Whether there is an answer, of status 200."""
        return self.error is None and self.status == 200


@dataclass(frozen=True, slots=True)
class Captured:
    """A frame as a tap saw it."""

    interface: str
    outgoing: bool
    """Whether this host's own stack sent it."""
    frame: bytes = field(repr=False)


class Host:
    """A network namespace with addresses, as :attr:`Lab.client`, :attr:`Lab.director` and so on."""

    def __init__(self, sandbox: Sandbox, plan: HostPlan) -> None:
        self._sandbox = sandbox
        self.name = plan.name
        self.address = plan.address
        """Its first address."""
        self.address6 = ipv6(plan.address)
        """The same in IPv6, if the lab has it."""
        self.interfaces = plan.interfaces
        """Interface names and their addresses."""

    def run(
        self, *command: str, input: str | None = None, timeout: float = 60.0, check: bool = True
    ) -> CompletedProcess[str]:
        """Runs a command on this host to its end: its output and exit status.

        Raises:
            LabError: it took longer than ``timeout`` seconds, or, with ``check``, it failed.
        """
        return self._sandbox.run(command, host=self.name, input=input, timeout=timeout, check=check)

    def start(self, *command: str, **options: Any) -> Popen[str]:
        """Starts a command on this host, and does not wait for it. It ends with the lab at the latest, and with
        the thread that started it. ``options`` are those of :class:`subprocess.Popen`."""
        return self._sandbox.start(command, host=self.name, **options)

    def shell(self, script: str) -> str:
        """Runs a script in ``sh`` on this host; gives its output."""
        return self.run("sh", "-c", script).stdout

    def http(self, url: str, *, upload: int = 0, timeout: float = 10.0) -> Answer:
        """Makes one HTTP request from this host's kernel.

        Args:
            url: ``http://10.0.0.81/`` for the server's name, ``…/bytes/N`` for N bytes of :func:`content`.
            upload: with more than 0, a POST of that many bytes of :func:`content`; the answer's body is the
                digest of what the server got.
            timeout: the longest wait for the network, in seconds.
        """
        return self.requests(url, 1, upload=upload, timeout=timeout)[0]

    def requests(
        self,
        url: str,
        count: int,
        *,
        concurrency: int = 1,
        upload: int = 0,
        hold: bool = False,
        give_up: int | None = None,
        timeout: float = 10.0,
    ) -> list[Answer]:
        """Makes ``count`` requests, each on a connection of its own, ``concurrency`` at a time.

        Args:
            hold: every connection stays open until all requests are answered.
            give_up: after so many requests without answer no more are made.
        """
        plan = {
            "url": url, "count": count, "concurrency": concurrency, "upload": upload, "hold": hold,
            "give_up": give_up, "timeout": timeout,
        }  # fmt: skip
        limit = 30.0 + 3 * timeout * -(-count // concurrency)
        done = self.run(*_program("web.py"), "fetch", input=json.dumps(plan), timeout=limit)
        return [Answer(**answer) for answer in json.loads(done.stdout)]

    def counters(self) -> dict[str, int]:
        """What this host's kernel counted, by the names that ``nstat`` uses: ``TcpRetransSegs``,
        ``TcpInCsumErrors``, ``UdpInCsumErrors``, ``IpInHdrErrors``, ``Ip6InHdrErrors``, ``TcpOutRsts``…"""
        lines = self.run("cat", "/proc/net/snmp").stdout.splitlines()
        counters = {}
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            protocol = names.split(":")[0]
            pairs = zip(names.split()[1:], values.split()[1:], strict=True)
            counters.update({protocol + name: int(value) for name, value in pairs})
        of_ipv6 = self.run("sh", "-c", "cat /proc/net/snmp6 2>/dev/null || true").stdout.splitlines()
        return counters | {name: int(value) for name, value in map(str.split, of_ipv6)}

    def finish_checksums(self) -> None:
        """From now on this host's stack finishes its checksums itself, instead of leaving that to the device.

        Between veth pairs a device's checksums are never made, nor looked at; these are on the wire, and every
        receiver verifies them (``TcpInCsumErrors``).
        """
        self.run(*_program("checksums.py"), *self.interfaces)

    @contextmanager
    def capture(self, *interfaces: str) -> Iterator[list[Captured]]:
        """Writes down the IP frames of ``interfaces`` (all, if none is named). The list is complete when the
        ``with`` block has ended."""
        tap = self.start_program("capture.py", *(interfaces or self.interfaces))
        frames: list[Captured] = []
        try:
            yield frames
        finally:
            tap.send_signal(signal.SIGTERM)
            written, _ = tap.communicate(timeout=SOON)
            for line in written.splitlines():
                seen = json.loads(line)
                frames.append(Captured(seen["interface"], seen["outgoing"], bytes.fromhex(seen["frame"])))

    def start_program(self, name: str, *arguments: str) -> Popen[str]:
        """Starts one of the lab's own programs, and waits until it says that it is ready."""
        process = self.start(*_program(name), *arguments, stdout=PIPE, stderr=PIPE)
        if first_line(process, SOON) != "ready":
            process.kill()
            _, said = process.communicate(timeout=SOON)
            raise LabError(f"{self.name}: {name} did not become ready: {said.strip()}")
        return process

    def __repr__(self) -> str:
        legs = ", ".join(f"{name} {address}" for name, address in self.interfaces.items())
        return f"<Host {self.name}: {legs}>"


def _program(name: str) -> Sequence[str]:
    return sys.executable, "-I", "-S", os.fspath(PROGRAMS / name)
