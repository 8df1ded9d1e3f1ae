"""Schedulers: who chooses a real server for a new connection.

The built-in ones go by the names that ipvsadm knows (:data:`NAMES`). One of your own is any object with a
method ``select``::

    class LeastBytes:
        def select(self, flow: Flow, servers: Servers) -> int | None:
            usable = np.where(servers.usable, servers.in_bytes, np.inf)
            return int(usable.argmin()) if servers.usable.any() else None

It is asked for every new connection, and for nothing else. The call runs on the thread that forwards packets:
packets wait for it.
"""

from fastlvs._core import Flow, Server, Servers
from fastlvs.schedulers.loading import REFERENCE_PREFIX, load
from fastlvs.schedulers.reports import interrupt, report
from fastlvs.schedulers.scheduler import NAMES, Scheduler

__all__ = [
    "NAMES",
    "REFERENCE_PREFIX",
    "Flow",
    "Scheduler",
    "Server",
    "Servers",
    "interrupt",
    "load",
    "report",
]
