"""How a frame's way through the engine ends."""

from __future__ import annotations

from enum import StrEnum

from fastlvs import _core, checks

__all__ = ["DropReason", "Verdict"]


class Verdict(StrEnum):
    """What became of a frame."""

    FORWARD = "forward"
    """Sent on, to a real server or back to a client."""
    REPLY = "reply"
    """Answered by the director: an ICMP error, an ARP reply, what a host says for an owned address."""
    TO_HOST = "to_host"
    """Not the engine's: whatever the host's own stack makes of it."""
    QUEUED = "queued"
    """A fragment, kept until the others of its datagram have come."""
    DROP = "drop"
    """Ended here, for a :class:`DropReason`."""

    @classmethod
    def _missing_(cls, value: object) -> Verdict:
        raise checks.refused(f"a verdict: {' '.join(cls)}", value)


class DropReason(StrEnum):
    """Why a frame was dropped. The values are stable: metric labels and anchors in the docs."""

    TRUNCATED = "truncated"
    MALFORMED_ETHERNET = "malformed_ethernet"
    MALFORMED_ARP = "malformed_arp"
    MALFORMED_IPV4 = "malformed_ipv4"
    IPV4_CHECKSUM = "ipv4_checksum"
    MALFORMED_IPV6 = "malformed_ipv6"
    MALFORMED_TCP = "malformed_tcp"
    MALFORMED_UDP = "malformed_udp"
    MALFORMED_SCTP = "malformed_sctp"
    MALFORMED_ICMP = "malformed_icmp"
    MARTIAN_SOURCE = "martian_source"
    FRAGMENT = "fragment"
    SOURCE_ROUTE = "source_route"
    NO_CONNECTION = "no_connection"
    ICMP_CHECKSUM = "icmp_checksum"
    PATH_MTU = "path_mtu"
    NO_SERVER = "no_server"
    DROP_PACKET = "drop_packet"
    SERVER_GONE = "server_gone"
    NO_ROUTE = "no_route"
    NEIGHBOUR_UNKNOWN = "neighbour_unknown"
    TTL_EXPIRED = "ttl_expired"
    TOO_BIG = "too_big"
    CONNECTION_LIMIT = "connection_limit"
    TX_FULL = "tx_full"
    LOCAL_SERVER = "local_server"
    LOCAL_CLIENT = "local_client"
    HOST_SILENT = "host_silent"

    @classmethod
    def _missing_(cls, value: object) -> DropReason:
        raise checks.refused(f"a drop reason: {' '.join(cls)}", value)

    @property
    def about(self) -> str:
        """One sentence about it."""
        return _core.DROP_REASONS[self]
