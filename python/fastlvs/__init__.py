"""fastlvs: the Linux Virtual Server in user space.

Say what you want with :class:`VirtualService` and :class:`RealServer`. A :class:`Director` does it on this
machine's interfaces; an :class:`Engine` takes frames by hand. Importing needs no privilege and starts nothing.
"""

from fastlvs._core import Connection, Connections, Flow, Outcome, Server, Servers, Service, Services
from fastlvs._core import __version__ as __version__
from fastlvs.changes import Change
from fastlvs.director import Director, DirectorCounters
from fastlvs.engine import Engine
from fastlvs.errors import (
    ArgumentError,
    CapabilityError,
    ConfigurationError,
    FastlvsError,
    GenerationError,
    InterfaceError,
    MissingError,
    PlatformError,
    StuckError,
)
from fastlvs.marks import Mark
from fastlvs.network import Endpoint, EndpointRange, Interface, Route
from fastlvs.schedulers import Scheduler
from fastlvs.server import Forwarding, RealServer
from fastlvs.service import VirtualService
from fastlvs.settings import Settings
from fastlvs.statistics import Counters, Statistics
from fastlvs.verdict import DropReason, Verdict

__all__ = [
    "ArgumentError",
    "CapabilityError",
    "Change",
    "ConfigurationError",
    "Connection",
    "Connections",
    "Counters",
    "Director",
    "DirectorCounters",
    "DropReason",
    "Endpoint",
    "EndpointRange",
    "Engine",
    "FastlvsError",
    "Flow",
    "Forwarding",
    "GenerationError",
    "Interface",
    "InterfaceError",
    "Mark",
    "MissingError",
    "Outcome",
    "PlatformError",
    "RealServer",
    "Route",
    "Scheduler",
    "Server",
    "Servers",
    "Service",
    "Services",
    "Settings",
    "Statistics",
    "StuckError",
    "Verdict",
    "VirtualService",
]
