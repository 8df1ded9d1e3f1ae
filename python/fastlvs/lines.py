"""A log on standard error for which nobody waits: what a full disk or a pipe that nobody reads does not take is
counted, and told as soon as something can be written again."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time

__all__ = ["Lines"]

WAITING = 1024
"""Lines that may wait to be written."""

PATIENCE = 1.0
"""How long the end waits for what is still to be written, in seconds."""

MISSING = "lines of the log that could not be written: "


class Lines(logging.Handler):
    """A handler whose lines a thread of its own writes into a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(WAITING)
        self._unwritten = 0
        """Lines that were not written and not told of yet."""
        self._counting = threading.Lock()
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line. It never waits."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._miss(1)
        except Exception:  # a record that cannot be formatted
            self.handleError(record)

    def flush(self) -> None:
        """Waits a moment until what was logged is written."""
        done, end = threading.Event(), time.monotonic() + PATIENCE
        try:
            self._lines.put(done, timeout=PATIENCE)
        except queue.Full:
            return
        done.wait(max(0.0, end - time.monotonic()))

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                self._tell_missing()
                line.set()
            elif not (self._tell_missing() and self._put(line)):
                self._miss(1)

    def _tell_missing(self) -> bool:
        """Whether nothing is left to be told."""
        with self._counting:
            lines, self._unwritten = self._unwritten, 0
        # What failed may have written the beginning of a line.
        told = lines == 0 or self._put(f"\n{MISSING}{lines}")
        if not told:
            self._miss(lines)
        return told

    def _put(self, line: str) -> bool:
        rest = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            return False
        return True

    def _miss(self, lines: int) -> None:
        with self._counting:
            self._unwritten += lines
