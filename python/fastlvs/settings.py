"""How an engine behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastlvs import checks
from fastlvs.timeouts import parse_timeouts

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an engine behaves, with the kernel's names and defaults. Times are seconds."""

    timeout_tcp: float = 900.0
    """How long an established TCP connection is kept after its last packet (``ipvsadm --set``)."""
    timeout_tcp_fin: float = 120.0
    """The same after the server's FIN."""
    timeout_udp: float = 300.0
    """The same for UDP."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """The same for any state: ``{"tcp_time_wait": 30.0, "sctp_established": 3600.0}``."""
    expire_nodest_conn: bool = False
    """Whether a connection whose real server was removed ends with its next packet, instead of having its
    packets dropped until it expires."""
    expire_quiescent_template: bool = False
    """Whether persistent clients of a server of weight 0 go to another one."""
    conn_reuse_mode: int = 1
    """Whether a SYN on the addresses of a closing connection starts a new one: 0 never, any other number in
    TIME_WAIT and CLOSE, 2 and 3 in FIN_WAIT too where only the client is seen."""
    sloppy_tcp: bool = False
    """Whether any TCP segment but a RST may start a connection."""
    sloppy_sctp: bool = False
    """Whether any SCTP chunk but an ABORT may start a connection."""
    schedule_icmp: bool = False
    """Whether an ICMP error about a packet of no connection, which a service's server may have sent, is given
    to a server."""
    nat_icmp_send: bool = False
    """Whether a masqueraded server is told that its packet belongs to no connection, instead of having it
    routed on as it is."""
    pmtu_disc: bool = True
    """Whether a client's "don't fragment" holds for the tunnel that its packet travels in."""
    drop_entry: int = 0
    """Whether half-open and idle connections are dropped at random: 0 never, 1 or 2 while memory is scarce, 3
    always."""
    drop_packet: int = 0
    """Whether some of the packets that would start a connection are dropped, the same way."""
    secure_tcp: int = 0
    """Whether TCP connections count as established only when the server has answered, the same way."""
    amemthresh: int = 1024
    """Memory is scarce when less than this is available, in pages of 4 KiB."""
    am_droprate: int = 10
    """``drop_packet=3`` drops one of so many."""
    lblc_expiration: float = 86400.0
    """How long lblc remembers a destination that nobody asks for."""
    lblcr_expiration: float = 86400.0
    """The same for lblcr, and how long a destination's set of servers stays as it is before it shrinks."""
    connection_limit: int = 200_000
    """The most connections that one worker keeps, persistence templates among them. The default is what the
    table grows to without a packet that waits for it longer than 0.1 s."""

    def __post_init__(self) -> None:
        for name in _SECONDS:
            object.__setattr__(self, name, checks.seconds(getattr(self, name), name))
        for name in _SWITCHES:
            object.__setattr__(self, name, checks.boolean(getattr(self, name), name))
        for name, most in _LIMITS.items():
            object.__setattr__(self, name, checks.integer(getattr(self, name), "a number", 0, most, name))
        object.__setattr__(self, "timeouts", dict(parse_timeouts(self.timeouts, "timeouts")))


_SECONDS = ("timeout_tcp", "timeout_tcp_fin", "timeout_udp", "lblc_expiration", "lblcr_expiration")
_SWITCHES = (
    *("expire_nodest_conn", "expire_quiescent_template", "sloppy_tcp", "sloppy_sctp"),
    *("schedule_icmp", "nat_icmp_send", "pmtu_disc"),
)
_LIMITS = {
    "conn_reuse_mode": 3,
    "drop_entry": 3,
    "drop_packet": 3,
    "secure_tcp": 3,
    "amemthresh": 2**31 - 1,
    "am_droprate": 2**31 - 1,
    "connection_limit": 2**32 - 1,
}
