"""quotes.py SEED ROUNDS OUT [NAME...]: ICMP errors whose quotes are odd.

To be put beside the recorder's packets.py and parts.py, whose parts it uses, and run in its guest as that is.
"""

import struct

from parts import body, packet, whole_headers6

import packets
from packets import (
    ACK,
    C_IP,
    C_IP6,
    ERR4,
    ERR6,
    RST,
    S_IP,
    SYN,
    Env,
    Rec,
    csum,
    icmp_err,
    ipx,
    pay,
    rs_mac,
    scn,
)

packets.SCN.clear()
OPTIONS = [b"", b"", b"\1\1\1\0", b"\7\7\4\0\0\0\0\0", b"\x44\x0c\5\0" + bytes(8), b"\1" * 40]
EXTENSIONS = [
    (0, b"\0\0\1\4\0\0\0\0"),
    (60, b"\0\0\1\4\0\0\0\0"),
    (43, bytes(8)),
    (43, b"\0\0\0\1\0\0\0\0"),
    (51, b"\0\1" + bytes(10)),
    (135, b"\0\0\1\4\0\0\0\0"),
    (59, bytes(8)),
]
CUTS = [0, 1, 8, 19, 20, 21, 24, 27, 28, 39, 40, 44, 47, 48, 52]
DAMAGE = ["plain", "first", "later", "sum", "length", "ihl", "version", "cut", "mutated", "headers", "behind"]


@scn
def odd_quotes(seed, i, rng, v6):
    """errors about connections, from both sides, whose quotes are cut, damaged or of fragments"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    protos = (6, 17, 132)
    setup = [line for p in protos for line in e.setup(p, fwd, n=1, opts=rng.choice(["", " -p 60"]))]
    sysctl = {"schedule_icmp": rng.randint(0, 1), "nat_icmp_send": rng.randint(0, 1)}
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl=sysctl)
    for p in protos:
        r.inj("c", packet(p, e.cip, e.vip, e.cport, e.vport, SYN, b"k"), "opens")
    for n in range(60):
        side, how = rng.choice("cs"), rng.choice(DAMAGE)
        inner = damaged(quoted(e, side, rng, v6, n), how, rng, v6)
        kind, code = rng.choice(ERR6 if v6 else ERR4)
        if rng.random() < 0.1:
            kind, code = (
                rng.choice([5, 100, 127, 1, 2] if v6 else [3, 5, 12, 13, 17, 30, 11]),
                rng.randint(0, 20),
            )
        rest = rng.choice([bytes(4), struct.pack("!I", rng.choice([1280, 1300, 68, 1499, 40]))])
        if side == "c":
            src, dst = rng.choice([e.cip, e.rtr]), rng.choice([e.vip, e.vip, e.vip, C_IP6 if v6 else C_IP])
        else:
            src = rng.choice([e.rs[0], e.rs[1], "fd00:5::2" if v6 else "192.168.0.2"])
            dst = e.cip if v6 else rng.choice([e.cip, e.cip, S_IP, e.vip])
        p = bytearray(icmp_err(v6, src, dst, kind, code, rest, inner))
        if rng.random() < 0.06:
            p[42 if v6 else 22] ^= 1
        if rng.random() < 0.06:
            p[7 if v6 else 8] = 1
        if not v6:
            p[10:12] = bytes(2)
            p[10:12] = struct.pack("!H", csum(bytes(p[:20])))
        mac = rs_mac(e.rs[0]) if side == "s" and src == e.rs[0] else None
        r.inj(side, bytes(p), f"{how} {kind}/{code}", mac)
        if n % 20 == 19:
            r.conns()
    r.svcs()
    return r


def quoted(e, side, rng, v6, n):
    """A packet that a client's side or a server's may have got."""
    more = {"ttl": rng.choice([64, 1, 0, 63]), "tos": rng.choice([0, 3, 0x2E])}
    if not v6:
        more |= {"opts": rng.choice(OPTIONS), "df": rng.random() < 0.5, "ident": n}
    ends = (e.vip, e.cip, e.vport, e.cport) if side == "c" else (e.cip, e.rs[0], e.cport, e.rp)
    if rng.random() < 0.15:
        ends = (*ends[:2], ends[2] ^ rng.randint(0, 1), ends[3] ^ rng.randint(0, 1))
    proto = rng.choice([6, 17, 132])
    flags, data = rng.choice([ACK, SYN, RST]), pay(rng, rng.choice([0, 5, 40, 600]))
    return bytearray(ipx(*ends[:2], proto, body(proto, *ends, flags, data), **more))


def damaged(p, how, rng, v6):
    """What is quoted of a packet."""
    if how in ("first", "later") and v6:
        field = struct.pack("!H", (how == "later") * 80 | 1)
        p = whole_headers6(bytes(p), [(44, b"\0\0" + field + b"\0\0\0\7")])
    elif how in ("first", "later"):
        p[6:8] = struct.pack("!H", 0x2000 | (how == "later") * 10)
    elif how == "sum" and not v6:
        p[10] ^= 1
    elif how == "length":
        p[4 if v6 else 2] ^= rng.choice([1, 2, 0xFF])
    elif how == "ihl" and not v6:
        p[0] = 0x40 | rng.choice([4, 0, 6, 15])
    elif how == "version":
        p[0] = rng.choice([0, 4, 5, 6, 15]) << 4 | p[0] & 15
    elif how == "mutated":
        for _ in range(rng.randint(1, 3)):
            p[rng.randrange(min(len(p), 60))] ^= 1 << rng.randrange(8)
    elif how == "headers" and v6:
        p = whole_headers6(bytes(p), [rng.choice(EXTENSIONS) for _ in range(rng.randint(1, 3))])
    elif how == "behind":
        p += bytes(rng.randint(1, 30))
    if how == "cut":
        return bytes(p[: rng.choice(CUTS)])
    return bytes(p[: rng.choice([28, 48, 128, 548])] if rng.random() < 0.3 else p)


if __name__ == "__main__":
    packets.main()
