"""A director that is measured: how long it takes, what it uses, what it says."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from types import TracebackType

from fastlvs.lab import Lab, LabError
from fastlvs.lab.sandbox import first_line

LOOK = 0.002
"""Seconds between two looks at the log."""
MIB = 1 << 20


class TooLong(Exception):
    """What was measured took longer than it may. ``seconds`` is what it may take."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"longer than {seconds:g} s")
        self.seconds = seconds


class Program:
    """A ``fastlvs-run`` on the lab's director. As a context manager it is ended."""

    def __init__(self, lab: Lab, path: str, kind: str, configuration: str, limit: float) -> None:
        """Starts it and waits until it is ready.

        Args:
            lab: where.
            path: the program.
            kind: of the configuration: ``toml`` or ``rules``.
            configuration: the text.
            limit: the most seconds that starting, and later each reload, may take.

        Raises:
            TooLong: it was not ready in time, and is ended.
            LabError: it ended.
        """
        self._limit = limit
        self._folder = tempfile.TemporaryDirectory(prefix="fastlvs-load-")
        folder = Path(self._folder.name)
        self._file, self._log = folder / f"director.{kind}", folder / "log"
        self._file.write_text(configuration)
        self._reloads = 0
        interfaces = [word for name in lab.director.interfaces for word in ("--interface", name)]
        file = [str(self._file)] if kind == "toml" else ["--rules", str(self._file)]
        begin = time.monotonic()
        with self._log.open("w") as log:
            self._process = lab.director.start(path, *interfaces, *file, stdout=PIPE, stderr=log)
        ready = first_line(self._process, limit)
        self.start_seconds = time.monotonic() - begin
        """From the program's start until it said that it was ready."""
        if not ready:
            ended = self._process.poll() is not None or self.start_seconds < limit
            said = self._log.read_text()[-500:].strip()
            self.stop()
            raise LabError(f"{path} did not start: {said}") if ended else TooLong(limit)
        self._read = 0

    def reload(self, configuration: str) -> float:
        """Has it read another configuration: the seconds from the signal until it says that it has.

        Raises:
            TooLong: it did not say so in time.
            LabError: it refused, or ended.
        """
        self._file.write_text(configuration)
        self._read = self.log_bytes
        begin = time.monotonic()
        self._process.send_signal(signal.SIGHUP)
        while (seconds := time.monotonic() - begin) < self._limit:
            said = self._news()
            if "reloaded " in said:
                return seconds
            if "refused" in said or self._process.poll() is not None:
                raise LabError(f"the reload failed: {said.strip() or 'the director ended'}")
            time.sleep(LOOK)
        raise TooLong(self._limit)

    @property
    def log_bytes(self) -> int:
        """The length of its log."""
        return self._log.stat().st_size

    @property
    def log_lines(self) -> int:
        """The lines of its log."""
        with self._log.open("rb") as log:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: log.read(MIB), b""))

    @property
    def resident(self) -> float:
        """Its memory, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024

    def processor_seconds(self) -> dict[str, float]:
        """The processor time of each of its threads, by the thread's name."""
        times: dict[str, float] = {}
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(OSError):  # a thread that just ended
                name = (task / "comm").read_text().strip()
                times[name] = times.get(name, 0.0) + _processor_seconds(task)
        return times

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(self._limit)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait(self._limit)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def _news(self) -> str:
        """The lines that the log got since the last look."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            said = log.read()
        whole = said[: said.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace")

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _processor_seconds(task: Path) -> float:
    with suppress(FileNotFoundError):
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    # A kernel without it counts in ticks.
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
