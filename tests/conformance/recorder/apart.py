"""apart.py SEED ROUNDS OUT [NAME...]: IPv6 fragments that are not kept, since no other can follow them.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

import struct

import packets
from packets import ACK, FIN, RST, SYN, Env, Rec, chunk, ipx, l4, pay, rs_mac, scn, sctp

packets.SCN.clear()
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 15, 16, 19, 20, 21, 23, 25, 31, 33, 60, 101, 300, 1300]
CHUNKS = {SYN: 1, ACK: 0, FIN | ACK: 7, RST: 6}


def transport(proto, ends, flags, data):
    """A transport header and data."""
    if proto == 132:
        return sctp(*ends[2:], 7, chunk(CHUNKS[flags], 0, data))
    return l4(proto, *ends, data, **({"flags": flags} if proto == 6 else {}))


@scn
def apart(seed, i, rng, v6):
    """first and later fragments of every length, of connections and of none, from both sides"""
    e = Env(rng, True)
    fwd = "mgi"[i % 3]
    setup = e.setup(17, fwd) + e.setup(6, fwd) + e.setup(132, fwd)
    sysctl = {"sloppy_tcp": rng.randint(0, 1), "nat_icmp_send": rng.randint(0, 1)}
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl=sysctl)
    for n in range(70):
        proto = rng.choice([6, 6, 17, 17, 132])
        up = fwd != "m" or rng.random() < 0.65
        cport = e.cport + rng.randint(0, 3)
        ends = (e.cip, e.vip, cport, e.vport) if up else (e.rs[0], e.cip, e.rp, cport)
        flags = rng.choice([SYN, SYN, ACK, FIN | ACK, RST])
        whole = transport(proto, ends, flags, pay(rng, 1400))
        offset = rng.choice([0, 0, 0, 0, 8, 80])
        part = whole[offset : offset + rng.choice(LENGTHS)]
        more = rng.random() < 0.9
        fragment = struct.pack("!BBHI", proto, 0, offset | more, n + 100) + part
        if rng.random() < 0.2:
            p = ipx(*ends[:2], proto, transport(proto, ends, flags, b"whole"))
        elif rng.random() < 0.2:
            p = ipx(*ends[:2], 60, b"\x2c\0\1\4\0\0\0\0" + fragment)
        else:
            p = ipx(*ends[:2], 44, fragment, ttl=rng.choice([64, 64, 64, 1, 2]))
        r.inj("c" if up else "s", p, f"{len(part)} bytes at {offset}", None if up else rs_mac(e.rs[0]))
        if n % 6 == 5:
            r.conns()
    return r


if __name__ == "__main__":
    packets.main()
