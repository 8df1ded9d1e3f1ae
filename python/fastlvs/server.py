"""Real servers as they are to be, as plain values, and how packets reach them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal, TypeAlias, get_args

from fastlvs import checks
from fastlvs.network import Endpoint, EndpointLike

__all__ = ["Forwarding", "ForwardingLike", "RealServer", "parse_forwarding"]

Tunnel: TypeAlias = Literal["ipip", "gue", "gre"]
"""What a tunnel is made of (``ipvsadm --tun-type``)."""

TunnelFlags: TypeAlias = Literal["nocsum", "csum", "remcsum"]
"""What of a tunnel is checked (``ipvsadm --tun-nocsum``, ``--tun-csum``, ``--tun-remcsum``)."""

TUNNELS: tuple[Tunnel, ...] = get_args(Tunnel)
TUNNEL_FLAGS: tuple[TunnelFlags, ...] = get_args(TunnelFlags)


class Forwarding(StrEnum):
    """How packets reach a real server. ``Forwarding("nat")`` takes every word that ipvsadm or people use."""

    MASQUERADING = "masquerading"
    """NAT: destination address and port are rewritten; replies have to pass the director."""
    GATEWAYING = "gatewaying"
    """Direct routing: only the link-layer destination changes; the server holds the VIP too."""
    TUNNELING = "tunneling"
    """The packet travels in an IP packet of its own to a server that may be on any network."""

    NAT = MASQUERADING
    DR = GATEWAYING
    TUN = TUNNELING

    @classmethod
    def _missing_(cls, value: object) -> Forwarding:
        return parse_forwarding(value)

    def __repr__(self) -> str:
        return f"Forwarding.{self.name}"


_WORDS = {
    **{method.value: method for method in Forwarding},
    "nat": Forwarding.NAT,
    "masq": Forwarding.NAT,
    "-m": Forwarding.NAT,
    "dr": Forwarding.DR,
    "gate": Forwarding.DR,
    "route": Forwarding.DR,
    "-g": Forwarding.DR,
    "tun": Forwarding.TUN,
    "tunnel": Forwarding.TUN,
    "ipip": Forwarding.TUN,
    "-i": Forwarding.TUN,
}

ForwardingLike: TypeAlias = Forwarding | str
"""A :class:`Forwarding`, or a word for one: ``"nat"``, ``"masq"``, ``"dr"``, ``"gate"``, ``"tun"``…"""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class RealServer:
    """A real server as it is to be."""

    address: Endpoint
    """Address and port (RIP)."""
    weight: int
    """Its share, relative to its siblings'; 0: no new connections."""
    forwarding: Forwarding | None
    """How packets reach it; ``None``: as the service says."""
    tunnel: Tunnel
    """What a tunnel to it puts between the outer IP header and the packet: nothing, UDP and GUE, or GRE."""
    tunnel_port: int
    """The UDP port where it takes GUE."""
    tunnel_flags: TunnelFlags
    """Whether GUE's or GRE's checksum is computed. ``"remcsum"`` is ``"csum"`` for packets whose own checksum
    is finished, and the engine finishes all."""
    upper_threshold: int
    """With so many connections it gets no new ones; 0: no limit."""
    lower_threshold: int
    """Below so many it gets new ones again; 0: three quarters of the upper threshold."""
    own_port: bool
    """Whether its port was said, be it 0: each packet's own, then. Else it is the service's."""

    def __init__(
        self,
        address: EndpointLike,
        weight: int = 1,
        forwarding: ForwardingLike | None = None,
        *,
        tunnel: Tunnel = "ipip",
        tunnel_port: int = 0,
        tunnel_flags: TunnelFlags = "nocsum",
        upper_threshold: int = 0,
        lower_threshold: int = 0,
        own_port: bool | None = None,
    ) -> None:
        field = ("real server", address)
        for name, value, words in (("tunnel", tunnel, TUNNELS), ("tunnel_flags", tunnel_flags, TUNNEL_FLAGS)):
            if not isinstance(value, str) or value not in words:
                raise checks.refused(f"{name} to be one of {', '.join(words)}", value, *field)
        port = checks.integer(tunnel_port, "tunnel_port", 0, 65535, *field)
        if (tunnel == "gue") != bool(port):
            expected = "tunnel_port from 1 to 65535 with tunnel='gue' alone"
            raise checks.refused(expected, tunnel_port, *field)
        upper = checks.integer(upper_threshold, "an upper threshold", 0, checks.LONGEST, *field)
        lower = checks.integer(lower_threshold, "a lower threshold", 0, checks.LONGEST, *field)
        if lower > upper:
            raise checks.refused(f"a lower threshold up to {upper}, the upper", lower, *field)
        set_field = object.__setattr__
        set_field(self, "address", Endpoint.parse(address, "real server"))
        own_port = Endpoint.has_port(address) if own_port is None else own_port
        set_field(self, "own_port", checks.boolean(own_port, *field, "own_port"))
        set_field(self, "weight", checks.integer(weight, "a weight", 0, checks.LONGEST, *field))
        set_field(self, "forwarding", None if forwarding is None else parse_forwarding(forwarding, *field))
        set_field(self, "tunnel", tunnel)
        set_field(self, "tunnel_port", port)
        set_field(self, "tunnel_flags", tunnel_flags)
        set_field(self, "upper_threshold", upper)
        set_field(self, "lower_threshold", lower)

    def replace(self, **changes: Any) -> RealServer:
        """The same server with other values: ``server.replace(weight=0)``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        checks.arguments(changes, values)
        if "address" in changes:
            del values["own_port"]
        return RealServer(**(values | changes))

    def __repr__(self) -> str:
        address = str(self.address if self.own_port else self.address.address)
        weight = "" if self.weight == 1 else f", weight={self.weight}"
        forwarding = "" if self.forwarding is None else f', forwarding="{self.forwarding}"'
        tunnel = "" if self.tunnel == "ipip" else f', tunnel="{self.tunnel}"'
        tunnel += f", tunnel_port={self.tunnel_port}" if self.tunnel_port else ""
        tunnel += "" if self.tunnel_flags == "nocsum" else f', tunnel_flags="{self.tunnel_flags}"'
        upper = f", upper_threshold={self.upper_threshold}" if self.upper_threshold else ""
        lower = f", lower_threshold={self.lower_threshold}" if self.lower_threshold else ""
        return f'RealServer("{address}"{weight}{forwarding}{tunnel}{upper}{lower})'


def parse_forwarding(value: object, *field: object) -> Forwarding:
    """The forwarding method that ``value`` names; ``field`` is what an error calls it."""
    method = _WORDS.get(value.lower()) if isinstance(value, str) else None
    if method is None:
        raise checks.refused(
            "a forwarding method: nat, dr or tun, or ipvsadm's words for them", value, *field
        )
    return method
