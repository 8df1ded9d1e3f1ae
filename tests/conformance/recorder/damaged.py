"""damaged.py SEED ROUNDS OUT [NAME...]: damaged fragments, odd headers, ways that are too narrow.

To be put beside the recorder's packets.py and parts.py, whose parts it uses, and run in its guest as that is.
"""

import struct

from parts import body, frame, packet, whole_headers6

import packets
from packets import (
    ACK,
    G_MAC,
    S_IP,
    S_IP6,
    SYN,
    Env,
    Rec,
    csum,
    eth,
    frag4,
    frag6,
    icmp_err,
    ip4,
    ipx,
    pay,
    rs_mac,
    scn,
)

packets.SCN.clear()


@scn
def odd_fragments(seed, i, rng, v6):
    """fragments with damage of every kind: ends, lengths, overlaps, congestion bits, order, time"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd) + e.setup(6, fwd), sysctl={})
    u = e.flow(r, 17)
    u.c(0, b"first")
    for n in range(14):
        up = fwd != "m" or rng.random() < 0.6
        size = rng.randint(200, 1400)
        ends = (e.cip, e.vip, e.cport, e.vport) if up else (e.rs[0], e.cip, e.rp, e.cport)
        data = body(17, *ends, data=pay(rng, size))
        df = rng.random() < 0.1
        whole = ipx(*ends[:2], 17, data, df=df, ident=n + 100)
        if v6 and rng.random() < 0.3:
            kinds = [(60, b"\0\0\1\4\0\0\0\0")]
            kinds += [(43, b"\0\0\0\0\0\0\0\0"), (60, b"\0\0\1\4\0\0\0\0")] if rng.random() < 0.3 else []
            whole = whole_headers6(whole, kinds)
        cuts = [8 * rng.randint(1, size // 16) for _ in range(rng.randint(1, 3))]
        pieces = frag6(whole, cuts, n + 100) if v6 else frag4(whole, cuts)
        ecn = rng.choice([None, None, *range(4)])
        changed = []
        for p in pieces:
            p = bytearray(p)
            bits = rng.randint(0, 3) if ecn is None and rng.random() < 0.3 else ecn or 0
            if v6:
                p[1] |= bits << 4
            else:
                p[1] |= bits
                p[10:12] = b"\0\0"
                p[10:12] = struct.pack("!H", csum(bytes(p[:20])))
            changed.append(bytes(p))
        damage = rng.choice(["none", "order", "twice", "gap", "first", "end", "odd", "cut", "overlap"])
        if damage == "order":
            rng.shuffle(changed)
        elif damage == "twice":
            changed.insert(0, rng.choice(changed))
        elif damage == "gap":
            changed.pop(rng.randrange(len(changed)))
        elif damage == "first":
            changed = changed[:1]
        elif damage in ("end", "odd", "cut", "overlap"):
            k = rng.randrange(len(changed))
            changed.insert(rng.randint(0, len(changed)), damaged(changed[k], damage, v6, rng))
        for p in changed:
            leg = "c" if up else "s"
            r.inj(leg, p, f"{damage}", None if up else rs_mac(e.rs[0]))
        if rng.random() < 0.25:
            # Not so that a datagram's time is over just then: the kernel's timers are late.
            w = rng.choice([1, 5, 75])
            r.wait(w, 0.5)
    r.wait(75, 0.5)
    return r


def damaged(piece, how, v6, rng):
    """A fragment whose offset, end or length is wrong."""
    p = bytearray(piece)
    if how == "cut":  # shorter than a transport header, or than it says
        keep = (48 if v6 else 20) + rng.choice([0, 4, 8, 12])
        p = p[:keep] if len(p) > keep else p
    elif how == "odd":
        p = p[: len(p) - rng.randint(1, 7)]
    elif v6:
        at = 40 if p[6] == 44 else 48
        (field,) = struct.unpack("!H", p[at + 2 : at + 4])
        field = field ^ 1 if how == "end" else field + 8 & 0xFFFF
        p[at + 2 : at + 4] = struct.pack("!H", field)
    else:
        (field,) = struct.unpack("!H", p[6:8])
        p[6:8] = struct.pack("!H", field ^ 0x2000 if how == "end" else field + 1)
    if v6:
        p[4:6] = struct.pack("!H", len(p) - 40)
    else:
        p[2:4] = struct.pack("!H", len(p))
        p[10:12] = b"\0\0"
        p[10:12] = struct.pack("!H", csum(bytes(p[:20])))
    return bytes(p)


@scn
def odd_headers(seed, i, rng, v6):
    """odd sources, headers that cannot be walked, priority tags and other VLANs' tags"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(6, fwd) + e.setup(17, fwd))
    sources = (
        ["::", "::1", "ff02::1", "::7", "::ffff:1.2.3.4", "fd00:c::77"]
        if v6
        else ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "10.0.0.77"]
    )
    for source in sources:
        for proto in (6, 17):
            r.inj("c", packet(proto, source, e.vip, e.cport, e.vport, SYN, b"k"), f"from {source}")
    for proto in (6, 17):
        for data in (b"", b"k" * 9):
            p = packet(proto, e.cip, e.vip, e.cport, e.vport, rng.choice([SYN, ACK]), data)
            if v6:
                lengths = [(60, n) for n in (0, 1, 2, 20)] + [(0, n) for n in (0, 1, 20)]
                lengths += [(51, n) for n in (0, 1, 2, 4, 5, 6, 30)] + [(43, 0), (43, 9), (135, 0), (139, 0)]
                for kind, units in lengths:
                    room = 8 * (units + 1) if kind != 51 else 4 * (units + 2)
                    fill = b"\1" + bytes([room - 4]) + bytes(room - 4) if kind in (0, 60) else bytes(room - 2)
                    header = bytes([0, units]) + fill
                    whole = rng.random() < 0.7
                    r.inj(
                        "c",
                        whole_headers6(p, [(kind, header if whole else header[:8])]),
                        f"header {kind}, {units}",
                    )
                many = [(60, b"\0\0\1\4\0\0\0\0")] * rng.choice([3, 7, 8, 9, 20])
                r.inj("c", whole_headers6(p, many), "many headers")
            else:
                header = bytes([proto, 4]) + bytes(22)
                r.inj("c", ip4(e.cip, e.vip, 51, header + p[20:]), "behind an authentication header")
            for tag in (0, 0x2000, 0xE000, 1, 5, 0x2005, 4095):
                plain = eth(packets.macs(packets.macb("02:00:00:00:00:01")), G_MAC, p)
                tagged = plain[:12] + struct.pack("!HH", 0x8100, tag) + plain[12:]
                frame(r, "c", tagged, f"tag {tag:04x}")
            frame(r, "c", plain[:12] + b"\x88\xa8\0\0" + plain[12:], "a service tag of 0")
    if fwd == "m":
        for tag in (0, 0x2000, 5):
            plain = eth(
                "02:00:00:00:01:01", rs_mac(e.rs[0]), packet(17, e.rs[0], e.cip, e.rp, e.cport, data=b"k")
            )
            frame(r, "s", plain[:12] + struct.pack("!HH", 0x8100, tag) + plain[12:], f"reply, tag {tag:04x}")
    return r


@scn
def odd_room(seed, i, rng, v6):
    """errors about ways whose MTU was learnt, about what is too long, late or unwanted"""
    e = Env(rng, v6)
    setup = e.setup(6, "m") + e.setup(
        17, "i", ropts=rng.choice(["", "--tun-type gre", "--tun-type gue --tun-port 6000"])
    )
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl={"pmtu_disc": rng.choice([1, 1, 0])})
    e.rp = e.vport
    for _ in range(14):
        size = rng.choice([10, 300, 500, 548, 600, 900, 1300, 1400])
        mtu = rng.choice([300, 552, 560, 576, 600, 700, 1000, 1280, 1300, 1400])
        p = packet(
            17,
            e.cip,
            e.vip,
            e.cport,
            e.vport,
            data=pay(rng, size),
            ttl=rng.choice([64, 64, 1]),
            tos=rng.choice([0, 3, 0x2E]),
        )
        out = r.inj("c", p, f"{size} bytes")
        tunnels = [b for leg, b in out if leg == "s"]
        if tunnels and rng.random() < 0.5:
            own = S_IP6 if v6 else S_IP
            kind = (2, 0, struct.pack("!I", mtu)) if v6 else (3, 4, struct.pack("!HH", 0, mtu))
            quote = tunnels[0][14 : 14 + rng.choice([48, 128, 548, 1200])]
            sender = rng.choice([e.rs[0], "fd00:5::2" if v6 else "192.168.0.2"])
            r.inj("s", icmp_err(v6, sender, own, *kind, quote), f"the tunnel takes {mtu}")
        q = packet(
            6,
            e.rs[0],
            rng.choice([e.cip, e.rs[1]]),
            rng.choice([e.rp, 9]),
            e.cport,
            ACK,
            pay(rng, size),
            ttl=rng.choice([64, 1]),
        )
        r.inj("s", q, "from the server", rs_mac(e.rs[0]))
        w = rng.choice([0, 0, 1])
        if w:
            r.wait(w, 0.5)
    return r


if __name__ == "__main__":
    packets.main()
