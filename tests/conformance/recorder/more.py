"""more.py SEED ROUNDS OUT [NAME...]: packet scenarios that the recorder's own do not have.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

import struct

import packets
from packets import (
    ACK,
    C_IP,
    C_IP6,
    FIN,
    G_MAC,
    RST,
    SG_IP,
    SYN,
    Env,
    Flow,
    Rec,
    chunk,
    csum,
    eth,
    frag4,
    frag6,
    hp,
    icmp4,
    icmp6,
    icmp_err,
    ip4,
    ip6,
    ipb,
    ipx,
    l4,
    pay,
    rs_mac,
    scn,
    sctp,
)

packets.SCN.clear()


def hopopt(p, opts):
    h = bytes([p[6], (len(opts) + 2) // 8 - 1]) + opts
    return p[:4] + struct.pack("!H", len(h) + len(p) - 40) + b"\0" + p[7:40] + h + p[40:]


@scn
def more_options6(seed, i, rng, v6):
    if not v6:
        return more_options4(seed, i, rng)
    e = Env(rng, True)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd))
    u = e.flow(r, 17)
    u.c(0, b"abc")
    for o in (
        b"\x01\x04\0\0\0\0",
        b"\0" * 6,
        b"\x01\x04\0\0\0\x09",
        b"\x01\x0c" + b"\0" * 12,
        b"\x05\x02\0\0\x01\0",
        b"\x1e\x02\0\0\x01\0",
        b"\x5e\x02\0\0\x01\0",
        b"\x9e\x02\0\0\x01\0",
        b"\x01\x01\0\x01\x01\0",
        b"\x01\x05\0\0\0\0",
    ):
        r.inj("c", hopopt(u.up(0, b"opt"), o), "hop by hop " + o.hex())
        if fwd == "m":
            r.inj("s", hopopt(u.down(0, b"opt"), o), "hop by hop " + o.hex(), rs_mac(u.rip))
    return r


def more_options4(seed, i, rng):
    e = Env(rng, False)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd))
    u = e.flow(r, 17)
    u.c(0, b"abc")
    for o in (
        b"\x07\x07\x08" + b"\1" * 4 + b"\0",
        b"\x07\x0b\x04" + b"\0" * 8 + b"\0",
        b"\x07\x07\x05" + b"\0" * 5,
        b"\x44\x08\x09\0\1\2\3\4",
        b"\x44\x08\x09\xf0\1\2\3\4",
        b"\x44\x0c\x05\x01" + b"\0" * 8,
        b"\x44\x0c\x05\x03" + ipb(e.vip) + b"\0" * 4,
        b"\x44\x0c\x05\x03\1\2\3\4" + b"\0" * 4,
        b"\x89\x07\x04\x0a\0\0\5\0",
        b"\x83\x07\x08\x0a\0\0\5\0",
        b"\x07\x02\0\0",
        b"\x63\x01\0\0",
        b"\x63\x04\0\0",
        b"\1\1\7\1",
    ):
        u.c(0, b"opt", opts=o, note="option " + o.hex())
        if fwd == "m":
            u.s(0, b"opt", opts=o, note="option " + o.hex())
    return r


@scn
def more_esp(seed, i, rng, v6):
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    e.vport = e.rport = e.cport = 500
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd))
    u = e.flow(r, 17)
    r.inj("c", ipx(e.cip, e.vip, 50, b"\0\0\0\1\0\0\0\1" + b"x" * 20), "esp without a connection")
    u.c(0, b"isakmp")
    r.conns()
    r.wait(20)
    for p in (50, 51):
        body = (
            b"\0\0\0\1\0\0\0\1" + b"x" * 20
            if p == 50
            else bytes([17, 4, 0, 0]) + b"\0\0\0\1\0\0\0\1" + b"y" * 12 + b"\1\2\3\4\0\x08\0\0"
        )
        r.inj("c", ipx(e.cip, e.vip, p, body), "proto %d" % p)
        r.conns()
        if fwd == "m":
            r.inj("s", ipx(e.rs[0], e.cip, p, body), "proto %d" % p, rs_mac(e.rs[0]))
        r.conns()
        r.inj("c", ipx(e.cip, e.vip, p, body, ttl=1), "proto %d ttl 1" % p)
    return r


@scn
def more_big_icmp(seed, i, rng, v6):
    """long ICMP errors about connections; fragmented ICMP errors"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs,
        mtu_s=1300 if i % 2 else 1500,
        mtu_c=1300 if i % 4 > 1 else 1500,
        setup=e.setup(17, fwd),
    )
    u = e.flow(r, 17)
    u.c(0, b"abc")
    if fwd == "m":
        u.s(0, b"abc")
    ty, co = (1, 4) if v6 else (3, 3)
    for n in (100, 1230, 1300, 1400):
        inner = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport, e.cport, pay(rng, n)))
        for df in (False, True):
            if v6:
                p = ip6(e.rtr, e.vip, 58, icmp6(e.rtr, e.vip, ty, co, b"\0" * 4, inner))
            else:
                p = ip4(e.rtr, e.vip, 1, icmp4(ty, co, b"\0" * 4, inner), df=df, ident=n)
            if len(p) <= r.d["mtu"][0]:
                r.inj("c", p, "error of %d bytes df %d" % (len(p), df))
        if fwd == "m" and not v6:
            inner = ipx(e.cip, e.rs[0], 17, l4(17, e.cip, e.rs[0], e.cport, e.rp, pay(rng, n)))
            for df in (False, True):
                p = ip4(SG_IP, e.cip, 1, icmp4(ty, co, b"\0" * 4, inner), df=df, ident=n + 1)
                if len(p) <= r.d["mtu"][1]:
                    r.inj("s", p, "error of %d bytes df %d" % (len(p), df))
    inner = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport, e.cport, pay(rng, 300)))
    p = (
        ip6(e.rtr, e.vip, 58, icmp6(e.rtr, e.vip, ty, co, b"\0" * 4, inner))
        if v6
        else ip4(e.rtr, e.vip, 1, icmp4(ty, co, b"\0" * 4, inner), df=False, ident=99)
    )
    for x in frag6(p, [200], 77) if v6 else frag4(p, [200]):
        r.inj("c", x, "fragmented error")
    if fwd == "m" and not v6:
        inner = ipx(e.cip, e.rs[0], 17, l4(17, e.cip, e.rs[0], e.cport, e.rp, pay(rng, 300)))
        p = ip4(SG_IP, e.cip, 1, icmp4(ty, co, b"\0" * 4, inner), df=False, ident=98)
        for x in frag4(p, [200]):
            r.inj("s", x, "fragmented error")
    return r


@scn
def more_gateway(seed, i, rng, v6):
    """the director is the gateway of DR and TUN servers: their replies pass"""
    e = Env(rng, v6)
    fwd = "gi"[i % 2]
    r = Rec("packet", "", seed, rng, e.rs, mtu_c=1300, setup=e.setup(6, fwd) + e.setup(17, fwd))
    for p in (6, 17):
        f = Flow(r, p, e.cip, e.cport, e.vip, e.vport, e.vip, e.vport)
        r.inj("c", f.up(SYN, b""))
        r.conns()
        mac = rs_mac(e.rs[0])
        r.inj("s", f.down(SYN | ACK, b""), "reply", mac)
        r.conns()
        r.inj("s", f.down(ACK, b"x", ttl=1), "reply ttl 1", mac)
        r.inj("s", f.down(ACK, pay(rng, 1350)), "reply too long", mac)
        if not v6:
            r.inj("s", f.down(ACK, pay(rng, 1350), df=False), "reply long", mac)
        r.inj("c", f.up(ACK, b"x"))
        r.inj("s", f.down(FIN | ACK, b""), "reply", mac)
        r.conns()
    return r


@scn
def more_local(seed, i, rng, v6):
    """local servers: fragments and errors"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    lo = C_IP6 if v6 else C_IP
    st = [
        *e.setup(6, fwd, 0),
        "-a -t {} -r {} -{}".format(hp(e.vip, e.vport), hp(lo, e.rport if fwd == "m" else e.vport), fwd),
    ]
    st += [
        *e.setup(17, fwd, 0),
        "-a -u {} -r {} -{}".format(hp(e.vip, e.vport), hp(lo, e.rport if fwd == "m" else e.vport), fwd),
    ]
    r = Rec("packet", "", seed, rng, e.rs, setup=st)
    e.flow(r, 6).c(SYN, ttl=1, note="ttl 1")
    u = e.flow(r, 17)
    p = u.up(0, pay(rng, 2000), **({} if v6 else {"df": False, "ident": 5}))
    for x in frag6(p, [1000], 66) if v6 else frag4(p, [1000]):
        r.inj("c", x, "fragment")
    r.conns()
    inner = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport, e.cport, pay(rng, 30)))
    ty, co = (1, 4) if v6 else (3, 3)
    r.inj("c", icmp_err(v6, e.rtr, e.vip, ty, co, b"\0" * 4, inner), "error about a reply")
    u.c(0, b"bad", badcsum=True)
    return r


@scn
def more_frag_tun(seed, i, rng, v6):
    e = Env(rng, v6)
    tt = ["", "--tun-type gue --tun-port 6080 --tun-csum", "--tun-type gre --tun-csum"][i % 3]
    o = Env(rng, not v6)
    mixed = i % 2
    dst = o.rs[0] if mixed else e.rs[0]
    st = [*e.setup(17, "i", 0), f"-a -u {hp(e.vip, e.vport)} -r {hp(dst, e.vport)} -i {tt}"]
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs + o.rs,
        mtu_s=rng.choice([1500, 1400]),
        setup=st,
        sysctl={} if i % 4 < 2 else {"pmtu_disc": 0},
    )
    u = e.flow(r, 17)
    for n, cut in (
        (100, [48]),
        (2000, [1400]),
        (2000, [1448 if v6 else 1480]),
        (3000, [1000, 1000]),
        (1300, [600]),
    ):
        p = u.up(0, pay(rng, n), **({} if v6 else {"df": False, "ident": n}))
        for x in frag6(p, cut, n) if v6 else frag4(p, cut):
            r.inj("c", x, "%d in %s" % (n, cut))
    if not v6 and not mixed:
        p = u.up(0, pay(rng, 900), df=False, ident=77)
        for x in frag4(p, [600]):
            x = bytearray(x)
            x[6] |= 0x40
            x[10:12] = b"\0\0"
            x[10:12] = struct.pack("!H", csum(bytes(x[:20])))
            r.inj("c", bytes(x), "fragment with DF")
        p = u.up(0, pay(rng, 900), df=False, ident=78)
        for k, x in enumerate(frag4(p, [600])):
            x = bytearray(x)
            x[1] = [2, 3][k]
            x[10:12] = b"\0\0"
            x[10:12] = struct.pack("!H", csum(bytes(x[:20])))
            r.inj("c", bytes(x), "fragment with ECN")
        p = u.up(0, pay(rng, 900), df=False, ident=79)
        for k, x in enumerate(frag4(p, [600])):
            x = bytearray(x)
            x[1] = [0, 3][k]
            x[10:12] = b"\0\0"
            x[10:12] = struct.pack("!H", csum(bytes(x[:20])))
            r.inj("c", bytes(x), "fragment with contradicting ECN")
    return r


@scn
def more_frag_bad(seed, i, rng, v6):
    """overlaps, repetitions, late fragments, time"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd))
    u = e.flow(r, 17)

    def K(k):
        return {} if v6 else {"df": False, "ident": k}

    def fr(p, sizes, k):
        return frag6(p, sizes, k) if v6 else frag4(p, sizes)

    a = fr(u.up(0, pay(rng, 1000), **K(1)), [400, 400], 1)
    for x in (a[0], a[0], a[2], a[1]):
        r.inj("c", x, "a fragment twice")
    b = fr(u.up(0, pay(rng, 1000), **K(2)), [400, 400], 2)
    c = fr(u.up(0, pay(rng, 1000), **K(2)), [320, 400], 2)
    for x in (b[0], c[1], b[1], b[2]):
        r.inj("c", x, "an overlap")
    d = fr(u.up(0, pay(rng, 1000), **K(3)), [400, 400], 3)
    for x in d[:2]:
        r.inj("c", x, "before the time")
    r.wait(29 if not v6 else 59)
    r.inj("c", d[2], "late, but in time")
    f = fr(u.up(0, pay(rng, 1000), **K(4)), [400, 400], 4)
    for x in f[1:]:
        r.inj("c", x, "before the time")
    r.wait(40 if not v6 else 75)
    r.inj("c", f[0], "too late")
    if fwd == "m":
        mac = rs_mac(e.rs[0])
        g = fr(u.down(0, pay(rng, 1000), **K(5)), [400, 400], 5)
        for x in (g[1], g[1], g[2], g[0]):
            r.inj("s", x, "a fragment twice", mac)
        h = fr(u.down(0, pay(rng, 1000), **K(6), ttl=1), [400, 400], 6)
        for x in h:
            r.inj("s", x, "ttl 1", mac)
    h = fr(u.up(0, pay(rng, 1000), **K(7), ttl=1), [400, 400], 7)
    for x in h:
        r.inj("c", x, "ttl 1")
    return r


@scn
def more_malformed(seed, i, rng, v6):
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(6, fwd) + e.setup(17, fwd) + e.setup(132, fwd))
    t, u = e.flow(r, 6), e.flow(r, 17)
    hl = 40 if v6 else 20

    def put(p, b, at):
        return p[:at] + b + p[at + len(b) :]

    def l4put(p, b, at):
        return put(p, b, hl + at)

    def trunc(p, n):
        p = p[: hl + n]
        if v6:
            return put(p, struct.pack("!H", n), 4)
        p = put(p, struct.pack("!H", hl + n), 2)
        p = put(p, b"\0\0", 10)
        return put(p, struct.pack("!H", csum(p[:20])), 10)

    def both(p, q, note):
        r.inj("c", p, note)
        if fwd == "m" and q is not None:
            r.inj("s", q, note, rs_mac(e.rs[0]))

    r.inj("c", l4put(t.up(SYN), b"\x40", 12), "tcp doff 4, new")
    r.conns()
    r.inj("c", l4put(t.up(SYN), b"\x60", 12), "tcp doff 6 beyond, new")
    r.conns()
    t.c(SYN)
    both(l4put(t.up(ACK, b"abcd"), b"\x40", 12), l4put(t.down(SYN | ACK, b"abcd"), b"\x40", 12), "tcp doff 4")
    both(l4put(t.up(ACK, b"abcd"), b"\xf0", 12), l4put(t.down(ACK, b"abcd"), b"\xf0", 12), "tcp doff 15")
    for n in (19, 13, 8, 4, 3, 0):
        both(trunc(t.up(ACK), n), trunc(t.down(ACK), n), "tcp of %d bytes" % n)
    r.conns()
    for n, what in ((7, "short"), (100, "long"), (0, "zero")):
        x = e.flow(r, 17, cport=(e.cport + n + 1) % 60000 + 1024)
        r.inj("c", l4put(x.up(0, b"abcd"), struct.pack("!H", n), 4), f"udp length {what}, new")
    r.conns()
    u.c(0, b"x")
    for n, what in ((7, "short"), (100, "long"), (0, "zero"), (9, "of part")):
        both(
            l4put(u.up(0, b"abcd"), struct.pack("!H", n), 4),
            l4put(u.down(0, b"abcd"), struct.pack("!H", n), 4),
            f"udp length {what}",
        )
        if n != 9:
            both(
                l4put(u.up(0, b"abcd", nocsum=True), struct.pack("!H", n), 4),
                l4put(u.down(0, b"abcd", nocsum=True), struct.pack("!H", n), 4),
                f"udp length {what} no checksum",
            )
    for n in (7, 4, 3, 0):
        both(trunc(u.up(0, b"abcd"), n), trunc(u.down(0, b"abcd"), n), "udp of %d bytes" % n)
    x = ipx(e.cip, e.vip, 132, sctp(e.cport, e.vport, 0, chunk(1, 0, b"\0" * 16)))
    for n in (16, 15, 12, 11, 4):
        r.inj("c", trunc(x, n), "sctp of %d bytes" % n)
    r.conns()
    x = ipx(e.cip, e.vip, 58 if v6 else 1, b"\3\3\0\0\0\0\0\0" + t.down(ACK))
    for n in (7, 4, 0, 8, 20, 27, 28):
        r.inj("c", trunc(x, n), "icmp of %d bytes" % n)
    if not v6:
        for src in (
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            e.vip,
            "10.0.0.255",
            "10.0.0.1",
        ):
            r.inj("c", ipx(src, e.vip, 17, l4(17, src, e.vip, 777, e.vport, b"src")), "source " + src)
        for dst in ("255.255.255.255", "10.0.0.255", "224.0.0.5", "0.0.0.0", "127.0.0.1"):
            r.inj("c", ipx(e.cip, dst, 17, l4(17, e.cip, dst, 777, e.vport, b"dst")), "destination " + dst)
        p = u.up(0, b"abcd")
        r.inj("c", put(p, b"\x55", 8), "wrong header checksum")
        for b, at in ((b"\x44", 0), (b"\x55", 0), (b"\0\x13", 2), (b"\1\0", 2)):
            q = put(put(p, b, at), b"\0\0", 10)
            q = put(q, struct.pack("!H", csum(q[:20])), 10)
            r.inj("c", q, "ip header %s at %d" % (b.hex(), at))
    else:
        for src in ("::1", "ff02::5", "fe80::5", e.vip, "fd00:c::1"):
            r.inj("c", ipx(src, e.vip, 17, l4(17, src, e.vip, 777, e.vport, b"src")), "source " + src)
        for dst in ("::1", "ff02::1", "ff05::5"):
            r.inj("c", ipx(e.cip, dst, 17, l4(17, e.cip, dst, 777, e.vport, b"dst")), "destination " + dst)
        p = u.up(0, b"abcd")
        r.inj("c", put(p, b"\1\0", 4), "payload length beyond")
        r.inj("c", put(p, b"\x55", 0), "version 5")
    for macs_ in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "02:00:00:00:00:77"):
        fr = eth(macs_, G_MAC, u.up(0, b"mac"))
        r.ev.append(["in", "c", fr.hex(), "link-layer destination " + macs_])
        r.log_out(r.net.xfer("c", fr))
    return r


@scn
def more_gone_icmp(seed, i, rng, v6):
    """errors about connections whose server is quiesced or gone"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(17, fwd), sysctl={"expire_nodest_conn": i // 3 % 2})
    u = e.flow(r, 17)
    u.c(0, b"abc")
    ty, co = (1, 4) if v6 else (3, 3)

    def errs(note):
        inner = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport, e.cport, b"reply"))
        r.inj("c", icmp_err(v6, e.rtr, e.vip, ty, co, b"\0" * 4, inner), note)
        if not v6:
            d = e.rs[0] if fwd == "m" else e.vip
            inner = ipx(e.cip, d, 17, l4(17, e.cip, d, e.cport, e.rp if fwd == "m" else e.vport, b"request"))
            r.inj("s", icmp_err(v6, SG_IP, e.cip, ty, co, b"\0" * 4, inner), note)
        r.conns()

    errs("server there")
    sv = "-u " + hp(e.vip, e.vport)
    r.cmd(f"-e {sv} -r {hp(e.rs[0], e.rp)} -{fwd} -w 0")
    errs("server quiesced")
    r.cmd(f"-d {sv} -r {hp(e.rs[0], e.rp)}")
    errs("server gone")
    r.svcs()
    return r


@scn
def more_routes(seed, i, rng, v6):
    """servers behind a router, on a route with an MTU, on a second network; a VIP of a local route"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    if v6:
        far, net, second, vips = "fd00:77::5", "fd00:77::/64", "fd00:6::1/64", "fd00:88::/64"
        e.vip, near, via = "fd00:88::9", "fd00:6::7", "fd00:5::2"
    else:
        far, net, second, vips = "172.16.3.5", "172.16.0.0/16", "192.0.2.1/24", "172.31.0.0/16"
        e.vip, near, via = "172.31.4.4", "192.0.2.7", "192.168.0.2"
    extra = [
        f"addr add {second} dev s" + (" nodad" if v6 else ""),
        f"route add {net} via {via} mtu 1400",
        f"route add local {vips} dev lo",
        f"neigh add {near} lladdr {rs_mac(near)} dev s nud permanent",
    ]
    setup = e.setup(6, fwd, rs=[far, near]) + e.setup(17, fwd, rs=[far, near])
    r = Rec("packet", "", seed, rng, e.rs, extra="\n".join(extra), setup=setup)
    for k, server in ((1, near), (0, far)):
        t = Flow(r, 6, e.cip, e.cport ^ k, e.vip, e.vport, server, e.rp)
        u = Flow(r, 17, e.cip, e.cport ^ k, e.vip, e.vport, server, e.rp)
        t.c(SYN)
        u.c(0, b"x")
        for n in (1300, 1380, 1399, 1400, 1401, 1460, 1500):
            size = n - (48 if v6 else 28)
            u.c(0, pay(rng, size), note=f"length {n}")
            if not v6:
                u.c(0, pay(rng, size), df=False, ident=n, note=f"length {n}, no DF")
        if fwd == "m":
            mac = rs_mac(near) if server == near else "02:00:00:00:01:02"
            r.inj("s", t.down(SYN | ACK), "reply", mac)
            r.inj("s", u.down(0, pay(rng, 1400)), "reply", mac)
            r.inj("s", u.down(0, b"x", ttl=1), "reply ttl 1", mac)
    r.conns()
    g = Flow(r, 17, e.cip, e.cport, far, 1234, far, 1234)
    g.c(0, pay(rng, 1400), note="past the director")
    g.c(0, pay(rng, 1330), note="past the director")
    h = Flow(r, 17, e.cip, e.cport, second.partition("/")[0], 1234)
    h.c(0, b"x", note="to the second address")
    return r


@scn
def more_unwanted(seed, i, rng, v6):
    """nat_icmp_send: packets of a real server that belong to no connection, of every protocol"""
    e = Env(rng, v6)
    setup = e.setup(6, "m") + e.setup(17, "m") + e.setup(132, "m")
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl={"nat_icmp_send": 1})

    def s(packet, note, mac=None):
        r.inj("s", packet, note, mac or rs_mac(e.rs[0]))

    for ttl in (64, 1):
        for proto in (6, 17):
            f = e.flow(r, proto)
            s(f.down(ACK, b"x", ttl=ttl), f"protocol {proto}, ttl {ttl}")
            s(f.down(RST, b"", ttl=ttl), f"protocol {proto}, RST, ttl {ttl}")
        for t in (0, 1, 6):
            p = sctp(e.rp, e.cport, 7, chunk(t, 0, b"\0" * 16))
            s(ipx(e.rs[0], e.cip, 132, p, ttl=ttl), f"SCTP chunk {t}, ttl {ttl}")
    s(ipx(e.rs[0], e.cip, 132, sctp(e.rp, e.cport, 7, b"")), "SCTP without a chunk")
    s(ipx(e.rs[0], e.cip, 47, b"\0\0\x08\0" + b"x" * 20), "GRE")
    o = Flow(r, 17, e.cip, e.cport, e.vip, e.vport, e.rs[0], e.rp % 60000 + 1)
    s(o.down(0, b"x"), "from another port")
    o = Flow(r, 17, e.cip, e.cport, e.vip, e.vport, e.rs[1], e.rp)
    s(o.down(0, b"x"), "from another host", rs_mac(e.rs[1]))
    f = e.flow(r, 17)
    p = f.down(0, pay(rng, 1000)) if v6 else f.down(0, pay(rng, 1000), df=False, ident=9)
    for x in frag6(p, [400], 9) if v6 else frag4(p, [400]):
        s(x, "in fragments")
    s(f.down(0, pay(rng, 1400)), "long")
    return r


@scn
def more_marked(seed, i, rng, v6):
    """services of a mark and of every port: SCTP, fragments, errors about connections and about none"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    marked = i // 3 % 2 == 0
    six = " -6" if v6 else ""
    servers = e.rs[:2] if marked and not v6 else [hp(a, 0) for a in e.rs[:2]]
    ports = [f"{t} {hp(e.vip, 0)}" for t in ("-t", "-u", "--sctp-service")]
    names = [f"-f 7{six}"] if marked else ports
    setup = []
    for k in names:
        setup += [f"-A {k} -s rr -p 60"] + [f"-a {k} -r {a} -{fwd}" for a in servers]
    mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7] if marked else None
    r = Rec("packet", "", seed, rng, e.rs, mark=mark, setup=setup, sysctl={"schedule_icmp": i % 2})
    ty, co = (1, 4) if v6 else (3, 3)
    rest = b"\0" * 4
    for proto in (6, 17, 132):
        f = Flow(r, proto, e.cip, e.cport, e.vip, e.vport, e.rs[0], e.vport)
        if proto == 132:
            p = sctp(e.cport, e.vport, 0, chunk(1, 0, b"\0" * 16))
            out = r.inj("c", ipx(e.cip, e.vip, 132, p), "SCTP INIT")
            inner = ipx(e.vip, e.cip, 132, sctp(e.vport, e.cport, 7, chunk(0, 3, b"\0" * 16)))
        else:
            out = f.c(SYN if proto == 6 else 0, b"" if proto == 6 else b"ab")
            inner = ipx(e.vip, e.cip, proto, l4(proto, e.vip, e.cip, e.vport, e.cport, b"reply", flags=ACK))
        for _, b in out:
            for q in e.rs[:2]:
                if b[0:6] == packets.macb(rs_mac(q)):
                    f.rip = q
        r.inj(
            "c",
            icmp_err(v6, e.rtr, e.vip, ty, co, rest, inner),
            f"error from the client's side, protocol {proto}",
        )
        if fwd == "m":
            if proto == 132:
                inner = ipx(e.cip, f.rip, 132, sctp(e.cport, e.vport, 7, chunk(0, 3, b"\0" * 16)))
            else:
                inner = ipx(
                    e.cip, f.rip, proto, l4(proto, e.cip, f.rip, e.cport, e.vport, b"request", flags=ACK)
                )
            note = f"error from the server, protocol {proto}"
            r.inj("s", icmp_err(v6, f.rip, e.cip, ty, co, rest, inner), note, rs_mac(f.rip))
        stranger = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport ^ 1, e.cport ^ 1, b"reply"))
        r.inj("c", icmp_err(v6, e.rtr, e.vip, ty, co, rest, stranger), "error about no connection")
        r.conns()
    f = Flow(r, 17, e.cip, e.cport ^ 2, e.vip, e.vport ^ 2, e.rs[0], e.vport)
    p = f.up(0, pay(rng, 1000)) if v6 else f.up(0, pay(rng, 1000), df=False, ident=9)
    for x in frag6(p, [400], 9) if v6 else frag4(p, [400]):
        r.inj("c", x, "in fragments")
    r.conns()
    r.svcs()
    return r


if __name__ == "__main__":
    packets.main()
