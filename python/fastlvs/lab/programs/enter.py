"""Enters a sandbox's namespaces, then becomes another program: ``enter.py HOLDER PARENT HOST COMMAND…``

HOLDER is the process that holds the sandbox, PARENT the one that asks: when it ends, so does COMMAND, by the
kernel's hand. HOST is a named network namespace, or ``-`` for the sandbox's own. Capabilities are kept as
ambient ones, since an ordinary user's would be lost when COMMAND is executed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 47, 2
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def main(holder: int, parent: int, host: str, command: list[str]) -> None:
    """Never returns, but by an exception."""
    folder = Path.cwd()
    enter(holder)
    if host != "-":
        setns(f"/run/netns/{host}", CLONE_NEWNET)
    os.chdir(folder)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that asked has ended")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def enter(holder: int) -> None:
    """Joins the holder's user (if it has one of its own), mount and network namespaces."""
    here, there = Path("/proc/self/ns"), Path(f"/proc/{holder}/ns")
    own_user = (here / "user").readlink() != (there / "user").readlink()
    # All are opened first: once inside, /proc of the outside is read with fewer rights.
    kinds = {"user": CLONE_NEWUSER} if own_user else {}
    kinds |= {"mnt": CLONE_NEWNS, "net": CLONE_NEWNET}
    opened = [(os.open(there / name, os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds.items()]
    for descriptor, kind in opened:
        call("setns", descriptor, kind)
        if kind == CLONE_NEWUSER:
            keep_capabilities()


def keep_capabilities() -> None:
    """Makes all capabilities inheritable and ambient, so that they outlive an exec without being root."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    every = (1 << (last + 1)) - 1
    low, high = every & 0xFFFFFFFF, every >> 32
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable: the low halves, then the high ones.
    call("capset", header, (ctypes.c_uint32 * 6)(low, low, low, high, high, high))
    for capability in range(last + 1):
        call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def setns(path: str, kind: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    call("setns", descriptor, kind)
    os.close(descriptor)


def call(name: str, *arguments: object) -> None:
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    if getattr(libc, name)(*words) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
