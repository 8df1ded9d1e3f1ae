"""A Python of its own on a host of the lab, told line by line what to do."""

from __future__ import annotations

import json
import sys
from subprocess import PIPE
from typing import Any

from fastlvs.lab.host import Host

LOOP = """
import json, sys
variables = {}
for line in sys.stdin:
    code = json.loads(line)
    try:
        try:
            answer = {"value": eval(code, variables)}
        except SyntaxError:
            exec(code, variables)
            answer = {"value": None}
    except BaseException as error:
        answer = {"error": type(error).__name__ + ": " + str(error)}
    print(json.dumps(answer), flush=True)
"""
"""Takes an expression or statements in a line of JSON, and answers in one."""


class RemoteError(Exception):
    """What was raised there."""


class Remote:
    """Calling it runs code there: of an expression it gives the value, which has to be one that JSON has."""

    def __init__(self, host: Host, setup: str = "") -> None:
        self._process = host.start(sys.executable, "-c", LOOP, stdin=PIPE, stdout=PIPE)
        self(setup)

    def __call__(self, code: str) -> Any:
        self.tell(code)
        return self.answer()

    def tell(self, code: str) -> None:
        """Has code run, and does not wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Waits for it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RemoteError(f"it ended with status {self._process.wait(30)}")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["value"]

    def close(self) -> int:
        """Lets it come to the end of its program, and gives its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(30)
