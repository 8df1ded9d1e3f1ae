"""late.py SEED ROUNDS OUT [NAME...]: datagrams of which something never comes.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

import struct

import packets
from packets import C_IP, C_IP6, Env, Rec, icmp_err, ipx, l4, pay, rs_mac, scn

packets.SCN.clear()
FOREVER = 75
"""Seconds after which nobody waits for a fragment any more."""
PADDED = b"\0\0\1\4\0\0\0\0"
"""An IPv6 extension header of options that say nothing."""


def piece(src, dst, proto, part, offset, more, ident, *, ttl=64, tos=0, options=b"", extension=None):
    """A fragment: ``part`` of a datagram, at ``offset``, behind an IPv6 header of the type ``extension``."""
    if ":" not in src:
        return packets.ip4(
            src, dst, proto, part, ttl=ttl, tos=tos, ident=ident, df=False, mf=more, fo=offset, opts=options
        )
    part = struct.pack("!BBHI", proto, 0, offset | more, ident) + part
    if extension is None:
        return ipx(src, dst, 44, part, ttl=ttl, tos=tos)
    return ipx(src, dst, extension, b"\x2c" + PADDED[1:] + part, ttl=ttl, tos=tos)


def udp(src, dst, sport, dport, data):
    return l4(17, src, dst, sport, dport, data)


@scn
def late_fragments(seed, i, rng, v6):
    """first fragments of every kind, whose datagrams never are complete"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    setup = e.setup(17, fwd) + e.setup(6, fwd)
    route = f"-6 route add {e.cip}/128 via fd00:c::2" if v6 else f"route add {e.cip}/32 via 10.0.0.2"
    extra = f"{route} mtu {1280 if v6 else 560}" if i % 2 else ""
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, extra=extra)
    e.flow(r, 17).c(0, b"first")
    own = C_IP6 if v6 else C_IP
    tcp = l4(6, e.cip, e.vip, e.cport, e.vport, pay(rng, 400), flags=2)
    echo = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 7, 7) + pay(rng, 400)
    error = icmp_err(v6, e.cip, e.vip, *((1, 4) if v6 else (3, 3)), bytes(4), pay(rng, 400))
    error = error[40 if v6 else 20 :]
    icmp = 58 if v6 else 1
    cases = [
        (e.vip, 17, None, 8),
        (e.vip, 17, None, 16),
        (e.vip, 17, None, 496),
        (e.vip, 17, None, 1256 if not v6 else 1200),
        (e.vip, 6, tcp, 24),
        (e.vip, 6, tcp, 200),
        (e.vip, icmp, echo, 104),
        (e.vip, icmp, error, 104),
        (e.vip, 132, pay(rng, 600), 200),
        (e.vip, 47, pay(rng, 600), 200),
        (e.vip, 253, pay(rng, 600), 200),
        (own, 17, None, 200),
        (own, icmp, echo, 200),
        (e.rs[1], 17, None, 200),
    ]
    rng.shuffle(cases)
    for n, (to, proto, data, length) in enumerate(cases):
        data = data or udp(e.cip, to, e.cport, e.vport, pay(rng, 1400))
        more = {"ttl": rng.choice([64, 64, 200, 2]), "tos": rng.choice([0, 0, 0xFF, 0x2E, 1])}
        if v6:
            more["extension"] = rng.choice([None, None, 0, 60])
        elif rng.random() < 0.3:
            more["options"] = b"\1\1\1\0"
        uneven = not v6 and rng.random() < 0.3
        first = piece(e.cip, to, proto, data[: length + 5 * uneven], 0, 1, n + 100, **more)
        later = piece(e.cip, to, proto, data[-96:], len(data) - 96 & ~7, 1, n + 100)
        again = piece(e.cip, to, proto, data[:length], 0, 1, n + 100, ttl=63, tos=4)
        follows = piece(e.cip, to, proto, data[length : length + 8], length, 1, n + 100)
        order = rng.choice(["f", "f", "fl", "lf", "ffa", "fa", "l", "fn", "nf"])
        kinds = {"f": first, "l": later, "a": again, "n": follows}
        for kind in order:
            r.inj("c", kinds[kind], f"{n} to {to} of {proto}: {kind}")
        if rng.random() < 0.4:
            r.wait(rng.choice([1, 2]), 0.5)
    for n, (src, dst) in enumerate([(e.rs[0], e.cip), (e.rs[0], e.vip), (e.rs[0], own), (e.rs[1], e.cip)]):
        data = udp(src, dst, e.rp, e.cport, pay(rng, 700))
        more = {"ttl": rng.choice([64, 2]), "tos": rng.choice([0, 0xFF])}
        first = piece(src, dst, 17, data[:304], 0, 1, n + 200, **more)
        r.inj("s", first, f"a server's to {dst}", rs_mac(src))
    r.wait(FOREVER, 0.5)
    r.svcs()
    return r


@scn
def late_overlaps(seed, i, rng, v6):
    """datagrams that were given up, or completed, before their time was over"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd))
    for n in range(12):
        data = udp(e.cip, e.vip, e.cport, e.vport, pay(rng, 300))

        def part(start, end, ident=n + 300, data=data):
            return piece(e.cip, e.vip, 17, data[start:end], start, end < len(data), ident)

        last = part(200, len(data))
        steps = {
            "overlap": [part(0, 104), part(96, 200)],
            "overlap, begun anew": [part(0, 104), part(96, 200), part(0, 104)],
            "complete, begun anew": [part(0, 200), last, part(0, 200)],
            "last first": [last, part(0, 104)],
            "last again": [last, part(0, 104), last],
            "another end": [part(0, 104), last, part(208, len(data))],
        }
        name = list(steps)[n % len(steps)]
        for p in steps[name]:
            r.inj("c", p, name)
            if rng.random() < 0.3:
                r.wait(rng.choice([1, 5]), 0.5)
    r.wait(FOREVER, 0.5)
    return r


if __name__ == "__main__":
    packets.main()
