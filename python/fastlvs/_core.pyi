"""The engine and the director of fastlvs, in Rust."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from fastlvs.engine import FrameLike
from fastlvs.marks import Mark
from fastlvs.network import Endpoint, Interface, ProtocolName, Route, ServiceAddress
from fastlvs.server import Forwarding
from fastlvs.service import ServiceLike, VirtualService
from fastlvs.settings import Settings
from fastlvs.statistics import Statistics
from fastlvs.verdict import DropReason, Verdict

__all__ = [
    "DROP_REASONS",
    "SCHEDULERS",
    "TIMEOUTS",
    "Configuration",
    "Connection",
    "Connections",
    "Director",
    "Edit",
    "Engine",
    "Flow",
    "Outcome",
    "Server",
    "Servers",
    "Service",
    "Services",
    "Spec",
    "__version__",
]

__version__: Final[str]
DROP_REASONS: Final[dict[str, str]]
"""The name of every drop reason, and one sentence about it."""
SCHEDULERS: Final[tuple[str, ...]]
"""The names of the built-in schedulers."""
TIMEOUTS: Final[tuple[str, ...]]
"""The names of the states that have timeouts."""

@final
class Spec:
    """A virtual service, converted and checked."""

    def __new__(cls, service: VirtualService) -> Spec:
        """Raises `ConfigurationError` for what is wrong with a service."""
    def changes(self, before: Spec) -> tuple[bool, list[int], list[tuple[int, bool]]]:
        """What differs from `before`, a spec of the same service: whether the service itself does; the places
        of the servers in `before` that are gone; of those here that are new (true) or others (false)."""

@final
class Edit:
    """A change of one service. Servers are named by their place in a spec: that of the service as it will be,
    or, for those that go, as it was."""

    @staticmethod
    def add_service(service: Spec) -> Edit: ...
    @staticmethod
    def edit_service(service: Spec) -> Edit: ...
    @staticmethod
    def remove_service(service: Spec) -> Edit: ...
    @staticmethod
    def add_server(service: Spec, place: int) -> Edit: ...
    @staticmethod
    def edit_server(service: Spec, place: int) -> Edit: ...
    @staticmethod
    def set_weight(service: Spec, place: int) -> Edit: ...
    @staticmethod
    def remove_server(service: Spec, place: int) -> Edit: ...

@final
class Engine:
    """A pipeline, its snapshot and its time."""

    def __new__(
        cls,
        interfaces: Sequence[Interface],
        routes: Sequence[Route],
        neighbours: Sequence[tuple[IPv4Address | IPv6Address, str]],
        local: Sequence[IPv4Network | IPv6Network],
        owned: Sequence[IPv4Address | IPv6Address],
    ) -> Engine: ...
    def process(self, interface: str, frame: FrameLike, now: float) -> Outcome: ...
    def process_output(self, interface: str, frame: FrameLike, now: float) -> Outcome: ...
    def process_many(
        self, interface: str, frames: Sequence[FrameLike], times: Sequence[float] | NDArray[np.float64]
    ) -> list[Outcome]: ...
    def advance(self, to: float) -> list[tuple[str, bytes]]: ...
    @property
    def now(self) -> float: ...
    def apply(self, services: Sequence[Spec], if_generation: int | None = None) -> int: ...
    def edit(self, edits: Sequence[Edit], if_generation: int | None = None) -> int: ...
    @property
    def generation(self) -> int: ...
    def zero(self, service: tuple[str, ServiceAddress] | None) -> None: ...
    def services(self) -> Services: ...
    def set_settings(self, settings: Settings) -> None: ...
    def set_marks(self, rules: Sequence[Mark]) -> None: ...
    def set_available_memory(self, pages: int) -> None: ...
    def connections(self) -> Connections: ...
    def templates(self) -> Connections: ...
    def counters(self) -> tuple[int, int, int, int, int, dict[str, int]]: ...

@final
class Configuration:
    """What a director is to do, its services excepted where Python has them."""

    def __new__(
        cls,
        interfaces: Sequence[str],
        settings: Settings,
        neighbours: Sequence[tuple[IPv4Address | IPv6Address, str]],
        routes: Sequence[Route],
        marks: Sequence[Mark],
        spin: float,
    ) -> Configuration: ...
    @staticmethod
    def from_toml(text: str, file: str) -> Configuration:
        """Reads the text of a `director.toml`, which errors call `file`."""
    def services(self, before: Configuration | None = None) -> list[dict[str, Any] | int]:
        """The services that the file has: what `VirtualService` takes by name; its servers, as `RealServer`
        takes them; and the `place` of its scheduler, as `ConfigurationError` takes it. Of those that another
        file had, to the letter, their places there."""

@final
class Director:
    """A running director."""

    def __new__(cls, configuration: Configuration, services: Sequence[Spec]) -> Director: ...
    def apply(self, services: Sequence[Spec], if_generation: int | None = None) -> int: ...
    def edit(self, edits: Sequence[Edit], if_generation: int | None = None) -> int: ...
    @property
    def generation(self) -> int: ...
    def reconfigure(self, configuration: Configuration, services: Sequence[Spec]) -> None: ...
    def services(self) -> Services: ...
    def connections(self) -> Connections: ...
    def templates(self) -> Connections: ...
    def unfinished(self, service: Spec, place: int) -> int:
        """How many connections of the server at that place of a service are not over."""
    def counters(
        self,
    ) -> tuple[tuple[int, int, int, int, int, dict[str, int]], tuple[int, int, int, int]]: ...
    def interfaces(self) -> list[str]: ...
    def missing_interfaces(self) -> list[tuple[str, str]]: ...
    def wait(self, timeout: float | None = None) -> None: ...
    @property
    def is_running(self) -> bool: ...
    def stop(self) -> None: ...

@final
class Outcome:
    """What became of a frame: a verdict, and the frames that were sent for it."""

    @property
    def verdict(self) -> Verdict:
        """How its way ended."""
    @property
    def reason(self) -> DropReason | None:
        """Why it was dropped, if it was."""
    @property
    def for_host(self) -> bytes | None:
        """The frame that the host is to get, with the verdict `TO_HOST` and no other: the one that was
        processed, or in its place the datagram that its fragment completed, or the packet that was translated
        to an address of the host's."""
    @property
    def longest_fragment(self) -> int | None:
        """Length of the longest fragment that `for_host` was put together from, in bytes from its IP header on;
        `None` where it came whole. Who routes such a packet cuts it into pieces that are no longer."""
    @property
    def frames(self) -> list[tuple[str, bytes]]:
        """What was sent: names of interfaces, and the frames. What timers sent that ended before the frame came
        is at the beginning."""
    @property
    def way(self) -> str:
        """The packet's way in the kernel model's stages; empty when nobody listened."""

@final
class Flow:
    """What is known of the packet that opens a connection."""

    @property
    def protocol(self) -> ProtocolName:
        """`tcp`, `udp` or `sctp`."""
    @property
    def client(self) -> Endpoint:
        """Who asks: address and port (CIP)."""
    @property
    def destination(self) -> Endpoint:
        """What is asked for: address and port (VIP)."""
    @property
    def time(self) -> float:
        """When it came, in seconds since the engine's origin."""

@final
class Services:
    """The virtual services of an engine."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: int | ServiceLike, /) -> Service:
        """A service by its place, or by anything that names it."""
    def __iter__(self) -> Iterator[Service]: ...
    @property
    def total(self) -> Statistics:
        """What was counted of all of them together."""
    @property
    def rates(self) -> Statistics:
        """How much of it there is in a second."""

@final
class Service:
    """One virtual service as an engine has it."""

    @property
    def protocol(self) -> ProtocolName: ...
    @property
    def address(self) -> ServiceAddress:
        """Address and port (VIP), or a block and a range of them."""
    @property
    def scheduler(self) -> str:
        """The name of the scheduler: ipvsadm's, or that of the user's class."""
    @property
    def scheduler_errors(self) -> int:
        """How often its scheduler, one of the user's, failed."""
    @property
    def mark(self) -> int | None:
        """The mark, when it is the service of one."""
    @property
    def flags(self) -> set[str]:
        """The options of the scheduler: `sh-port`, `mh-fallback`…"""
    @property
    def persistence(self) -> float | None:
        """Seconds that a client stays with its server after its latest new connection."""
    @property
    def netmask(self) -> IPv4Address | IPv6Address | None:
        """The bits of a client's address that tell clients apart for persistence."""
    @property
    def one_packet(self) -> bool:
        """Whether every UDP datagram is scheduled for itself."""
    @property
    def servers(self) -> Servers: ...
    @property
    def rates(self) -> Statistics:
        """How much there is of all that in a second: averages that follow the traffic within some 8 s."""
    @property
    def connections(self) -> int:
        """Connections scheduled so far."""
    @property
    def in_packets(self) -> int:
        """Packets from clients."""
    @property
    def in_bytes(self) -> int:
        """Their bytes, IP header included."""
    @property
    def out_packets(self) -> int:
        """Packets to clients that passed the director."""
    @property
    def out_bytes(self) -> int:
        """Their bytes, IP header included."""

@final
class Servers:
    """The real servers of a service, newest first: the order in which schedulers walk them.

    Every attribute is a NumPy column; indexing and iterating give `Server` objects.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> Server: ...
    def __iter__(self) -> Iterator[Server]: ...
    @property
    def address(self) -> NDArray[np.str_]:
        """`10.0.0.11:8080`."""
    @property
    def forwarding(self) -> NDArray[np.str_]:
        """`masquerading`, `gatewaying` or `tunneling`."""
    @property
    def weight(self) -> NDArray[np.uint32]:
        """The share, relative to the siblings'; 0: no new connections."""
    @property
    def upper_threshold(self) -> NDArray[np.uint32]:
        """The number of connections with which it gets no new ones; 0: no limit."""
    @property
    def lower_threshold(self) -> NDArray[np.uint32]:
        """The number below which it gets new ones again; 0: three quarters of the upper threshold."""
    @property
    def persistent(self) -> NDArray[np.uint32]:
        """Persistence templates that name it: clients, or groups of them, that stay with it."""
    @property
    def active(self) -> NDArray[np.uint32]:
        """Connections that count as active: TCP, established or opening."""
    @property
    def inactive(self) -> NDArray[np.uint32]:
        """All other connections."""
    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether a built-in scheduler would choose it: weight above 0 and not overloaded."""
    @property
    def overloaded(self) -> NDArray[np.bool_]:
        """Whether its upper connection threshold keeps new connections away."""
    @property
    def connections(self) -> NDArray[np.uint64]:
        """Connections scheduled so far."""
    @property
    def in_packets(self) -> NDArray[np.uint64]:
        """Packets from clients."""
    @property
    def in_bytes(self) -> NDArray[np.uint64]:
        """Their bytes, IP header included."""
    @property
    def out_packets(self) -> NDArray[np.uint64]:
        """Packets to clients that passed the director."""
    @property
    def out_bytes(self) -> NDArray[np.uint64]:
        """Their bytes, IP header included."""
    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name."""
    def to_pandas(self) -> Any:
        """All columns as a pandas `DataFrame`; pandas has to be installed."""

@final
class Server:
    """One real server as an engine has it."""

    @property
    def address(self) -> Endpoint:
        """Address and port (RIP)."""
    @property
    def forwarding(self) -> Forwarding: ...
    @property
    def weight(self) -> int:
        """The share, relative to the siblings'; 0: no new connections."""
    @property
    def upper_threshold(self) -> int:
        """The number of connections with which it gets no new ones; 0: no limit."""
    @property
    def lower_threshold(self) -> int:
        """The number below which it gets new ones again; 0: three quarters of the upper threshold."""
    @property
    def persistent(self) -> int:
        """Persistence templates that name it: clients, or groups of them, that stay with it."""
    @property
    def active(self) -> int:
        """Connections that count as active: TCP, established or opening."""
    @property
    def inactive(self) -> int:
        """All other connections."""
    @property
    def usable(self) -> bool:
        """Whether a built-in scheduler would choose it: weight above 0 and not overloaded."""
    @property
    def overloaded(self) -> bool:
        """Whether its upper connection threshold keeps new connections away."""
    @property
    def rates(self) -> Statistics:
        """How much there is of all that in a second: averages that follow the traffic within some 8 s."""
    @property
    def connections(self) -> int:
        """Connections scheduled so far."""
    @property
    def in_packets(self) -> int:
        """Packets from clients."""
    @property
    def in_bytes(self) -> int:
        """Their bytes, IP header included."""
    @property
    def out_packets(self) -> int:
        """Packets to clients that passed the director."""
    @property
    def out_bytes(self) -> int:
        """Their bytes, IP header included."""

@final
class Connections:
    """The connections of an engine at one moment.

    Every attribute is a NumPy column; indexing and iterating give `Connection` objects.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> Connection: ...
    def __iter__(self) -> Iterator[Connection]: ...
    @property
    def protocol(self) -> NDArray[np.str_]:
        """`tcp`, `udp` or `sctp`; `ip` for the persistence template of a mark."""
    @property
    def client(self) -> NDArray[np.str_]:
        """Who asked: address and port (CIP)."""
    @property
    def destination(self) -> NDArray[np.str_]:
        """What was asked for: address and port (VIP)."""
    @property
    def server(self) -> NDArray[np.str_]:
        """Who has it: address and port (RIP)."""
    @property
    def forwarding(self) -> NDArray[np.str_]:
        """How packets reach the server."""
    @property
    def state(self) -> NDArray[np.str_]:
        """`ESTABLISHED`, `FIN_WAIT`, …; `UDP`."""
    @property
    def active(self) -> NDArray[np.bool_]:
        """Whether its server counts it as active."""
    @property
    def expires(self) -> NDArray[np.float64]:
        """Seconds that are left of its life, if no packet comes."""
    @property
    def packets(self) -> NDArray[np.uint32]:
        """Packets from the client so far."""
    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name."""
    def to_pandas(self) -> Any:
        """All columns as a pandas `DataFrame`; pandas has to be installed."""

@final
class Connection:
    """One connection at one moment."""

    @property
    def protocol(self) -> str:
        """`tcp`, `udp` or `sctp`; `ip` for the persistence template of a mark."""
    @property
    def client(self) -> Endpoint:
        """Who asked: address and port (CIP)."""
    @property
    def destination(self) -> Endpoint:
        """What was asked for: address and port (VIP)."""
    @property
    def server(self) -> Endpoint:
        """Who has it: address and port (RIP)."""
    @property
    def forwarding(self) -> Forwarding:
        """How packets reach the server."""
    @property
    def state(self) -> str:
        """`ESTABLISHED`, `FIN_WAIT`, …; `UDP`."""
    @property
    def active(self) -> bool:
        """Whether its server counts it as active."""
    @property
    def expires(self) -> float:
        """Seconds that are left of its life, if no packet comes."""
    @property
    def packets(self) -> int:
        """Packets from the client so far."""
