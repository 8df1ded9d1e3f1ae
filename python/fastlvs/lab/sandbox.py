"""Namespaces of our own, in which everything of a lab lives, and with which it goes away."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from fastlvs.errors import CapabilityError, FastlvsError, PlatformError

__all__ = ["PROGRAMS", "SOON", "LabError", "Sandbox", "find_program", "first_line"]

PROGRAMS = Path(__file__).parent / "programs"
"""The folder of the lab's own programs."""

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where ``ip``, ``nft`` and ``sysctl`` are; an ordinary user's PATH often leaves them out."""

PACKAGES = {"unshare": "util-linux", "ip": "iproute2", "sysctl": "procps", "ethtool": "ethtool"}

USER_NAMESPACE_SWITCHES = {
    # file under /proc/sys: (the value that forbids, the command that permits)
    "kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=10000"),
}

SOON = 30.0
"""Seconds in which a process starts or ends, on a machine that is busy with other things too."""

HOLD = """
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
echo ready
exec cat >/dev/null
"""
"""What the holder does: named namespaces get a /run of their own; then it waits for the end of its input."""


class LabError(FastlvsError):
    """Something in the lab failed. The message has the command and what it said."""


class Sandbox:
    """A mount and a network namespace, for an ordinary user in a user namespace, and the processes in them.

    A process of ours holds them until its input ends, which the kernel sees to when this program ends, however
    it ends. Every process that is started inside ends with the thread that started it.
    """

    def __init__(self) -> None:
        """Opens the namespaces.

        Raises:
            CapabilityError: this machine does not let this user have them; says what would.
            PlatformError: a program is missing.
        """
        self._processes: list[subprocess.Popen[Any]] = []
        ordinary = not _may_unshare()
        options = ["-U", "--map-current-user", "--keep-caps", "-nm"] if ordinary else ["-nm"]
        find_program("ip")
        self._holder = subprocess.Popen(
            [find_program("unshare"), *options, "sh", "-eu", "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        if first_line(self._holder, SOON) != "ready":
            self._holder.kill()
            _, said = self._holder.communicate(timeout=SOON)
            raise CapabilityError(_refusal(ordinary, said.strip()))

    def start(
        self, command: Sequence[str], *, host: str | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Starts a command, in the network namespace ``host`` or in the sandbox's own. ``options`` are those of
        :class:`subprocess.Popen`, in text mode."""
        options = {"text": True, "env": _environment(), "stdin": subprocess.DEVNULL, **options}
        process: subprocess.Popen[str] = subprocess.Popen(self._entering(host, command), **options)
        self._processes = [p for p in self._processes if p.poll() is None]
        self._processes.append(process)
        return process

    def run(
        self,
        command: Sequence[str],
        *,
        host: str | None = None,
        input: str | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, within ``timeout`` seconds.

        Raises:
            LabError: it took longer, or (with ``check``) its exit status is not 0.
        """
        where = f"{host}: " if host else ""
        words = " ".join(command) if len(command) < 20 else f"{command[0]} …"
        try:
            done = subprocess.run(
                self._entering(host, command),
                input=input,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=_environment(),
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{where}`{words}` took longer than {timeout:g} s") from None
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{where}`{words}` failed ({done.returncode}): {said}")
        return done

    def close(self) -> None:
        """Ends every process inside, and with the last of them the namespaces."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(timeout=SOON)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._processes.clear()
        self._holder.communicate(timeout=SOON)

    def _entering(self, host: str | None, command: Sequence[str]) -> list[str]:
        place = [str(self._holder.pid), str(os.getpid()), host or "-"]
        return [sys.executable, "-I", "-S", str(PROGRAMS / "enter.py"), *place, *command]

    def __repr__(self) -> str:
        running = sum(process.poll() is None for process in self._processes)
        return f"<Sandbox held by process {self._holder.pid}: {running} processes>"


def find_program(name: str) -> str:
    """The path of a program of the system's, or :class:`PlatformError`."""
    found = shutil.which(name, path=_environment()["PATH"])
    if found is None:
        raise PlatformError(f"no program {name!r} found: install the package {PACKAGES.get(name, name)}")
    return found


def first_line(process: subprocess.Popen[str], timeout: float) -> str:
    """The first line that a process prints within ``timeout`` seconds, without its end; empty if none comes."""
    stream: IO[str] | None = process.stdout
    assert stream is not None, "its output is a pipe"
    deadline, said = time.monotonic() + timeout, b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        # Byte by byte, past Python's buffer: whatever follows stays for who reads next.
        while not said.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            byte = os.read(stream.fileno(), 1)
            if not byte:
                break
            said += byte
    return said.decode(errors="replace").rstrip("\n") if said.endswith(b"\n") else ""


def _environment() -> dict[str, str]:
    folders = [*os.environ.get("PATH", "/usr/bin:/bin").split(os.pathsep), *SYSTEM_FOLDERS]
    return {**os.environ, "PATH": os.pathsep.join(dict.fromkeys(folders))}


def _may_unshare() -> bool:
    """Whether this process has CAP_SYS_ADMIN and CAP_NET_ADMIN."""
    status = Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return bool(effective >> 21 & 1 and effective >> 12 & 1)


def _refusal(ordinary: bool, said: str) -> str:
    message = f"cannot open namespaces for the lab: {said or 'no answer'}. "
    if not ordinary:
        return (
            message + "This root lacks a capability: CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW are needed."
        )
    for name, (forbidding, command) in USER_NAMESPACE_SWITCHES.items():
        switch = Path("/proc/sys") / name
        if switch.exists() and switch.read_text().strip() == forbidding:
            return message + f"User namespaces are switched off here; root can permit them with `{command}`."
    return message + (
        "An ordinary user needs user namespaces, which something here forbids (a container's seccomp profile, "
        "for example): run it as root with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW instead."
    )
