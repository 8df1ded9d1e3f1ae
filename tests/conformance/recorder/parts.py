"""What the recorders of rare things have in common: packets, errors, names."""

import struct

from packets import ACK, RST, SYN, chunk, hp, icmp_err, ipb, ips, ipx, l4, sctp

NAMES = {6: "-t", 17: "-u", 132: "--sctp-service"}
UNREACHABLE = {False: (3, 3), True: (1, 4)}
REST = b"\0" * 4


def body(proto, src, dst, sport, dport, flags=SYN, data=b""):
    """A transport header and data."""
    if proto == 132:
        kind = {SYN: 1, ACK: 0, SYN | ACK: 2, RST: 6}.get(flags, 0)
        return sctp(sport, dport, 7, chunk(kind, 0, b"\0" * 16))
    return l4(proto, src, dst, sport, dport, data, **({"flags": flags} if proto == 6 else {}))


def packet(proto, src, dst, sport, dport, flags=SYN, data=b"", **more):
    return ipx(src, dst, proto, body(proto, src, dst, sport, dport, flags, data), **more)


def error(r, leg, src, dst, inner, note, mac=None):
    """An error that says that a packet could not be delivered."""
    v6 = ":" in src
    return r.inj(leg, icmp_err(v6, src, dst, *UNREACHABLE[v6], REST, inner), note, mac)


def name(service, v6):
    """What ipvsadm calls a service: protocol, address and port, or a mark."""
    if service[0] == "mark":
        return f"-f {service[1]}" + (" -6" if v6 else "")
    return f"{NAMES[service[0]]} {hp(service[1], service[2])}"


def other(vip, n):
    """The nth address after a VIP."""
    return ips((int.from_bytes(ipb(vip), "big") + n).to_bytes(len(ipb(vip)), "big"))


def whole_headers6(inner, kinds):
    """An IPv6 packet with extension headers in front of its payload."""
    protocol, head = inner[6], b""
    for kind, header in reversed(kinds):
        head = bytes([protocol]) + header[1:] + head
        protocol = kind
    length = struct.pack("!H", len(inner) - 40 + len(head))
    return inner[:4] + length + bytes([protocol]) + inner[7:40] + head + inner[40:]


def frame(r, leg, raw, note):
    """A frame as it is."""
    r.ev.append(["in", leg, raw.hex(), note])
    r.log_out(r.net.xfer(leg, raw))
