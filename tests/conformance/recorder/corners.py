"""corners.py SEED ROUNDS OUT [NAME...]: rules that meet.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

from services import persistent

import packets
from packets import (
    ACK,
    FIN,
    RST,
    SG_IP,
    SG_IP6,
    SYN,
    Env,
    Flow,
    Rec,
    chunk,
    frag4,
    frag6,
    hp,
    icmp_err,
    ipb,
    ips,
    ipx,
    l4,
    macb,
    pay,
    rs_mac,
    scn,
    sctp,
)

packets.SCN.clear()
TUNNELS = [
    "--tun-type ipip",
    "--tun-type gue --tun-port 6080 --tun-nocsum",
    "--tun-type gue --tun-port 6080 --tun-csum",
    "--tun-type gre --tun-nocsum",
    "--tun-type gre --tun-csum",
]
ROUTER_MAC = "02:00:00:00:01:02"


def relatives(address):
    """Addresses that agree with this one in ever fewer bits, from the last on."""
    b = bytearray(ipb(address))
    yield address
    for bit in (1, 4, 7, 9, 15, 17) if len(b) == 4 else (1, 7, 9, 15, 17, 40, 63, 65, 70):
        c = bytearray(b)
        c[len(b) - 1 - bit // 8] ^= 1 << bit % 8
        yield ips(bytes(c))


def reached(out, servers):
    for _, frame in out:
        for server in servers:
            if frame[:6] == macb(rs_mac(server)):
                return server
    return None


@scn
def persistent_marks(seed, i, rng, v6):
    """Clients of a mark who are remembered by prefix, in all protocols, and the mark's edits."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    bits = ["64", "128", "1", "57", "127"]
    dotted = ["255.255.255.0", "255.255.255.255", "128.0.0.0", "255.255.254.0", "255.255.255.240"]
    mask = [f"-M {m}" for m in (bits if v6 else dotted)]
    six = " -6" if v6 else ""
    names = [hp(a, 0) if v6 else a for a in e.rs[:3]]
    sched = rng.choice(["rr", "wrr", "wlc", "sh", "lc"])
    setup = [f"-A -f 7{six} -s {sched} -p 100 {mask[i % 5]}"] + [f"-a -f 7{six} -r {a} -{fwd}" for a in names]
    net = packets.VIP6_NET if v6 else packets.VIP_NET
    sy = {"expire_quiescent_template": i % 2, "expire_nodest_conn": i // 2 % 2}
    r = Rec("packet", "", seed, rng, e.rs, mark=[net, 7], setup=setup, sysctl=sy)
    port = [2000]

    def knock(client, protos=(6, 17, 132)):
        for proto in protos:
            port[0] += 1
            vip = ips(ipb(e.vip)[:-1] + bytes([rng.randint(1, 254)]))
            if proto == 132:
                p = sctp(port[0], e.vport, 0, chunk(1, 0, b"\0" * 16))
                r.inj("c", ipx(client, vip, 132, p), "INIT")
            else:
                Flow(r, proto, client, port[0], vip, e.vport).c(SYN if proto == 6 else 0)

    for client in relatives(e.cip):
        knock(client)
    r.conns()
    persistent(r)
    r.cmd(f"-E -f 7{six} -s {sched} -p 50 {mask[(i + 1) % 5]}")
    for client in relatives(e.cip):
        knock(client, (17,))
    r.conns()
    k = rng.randrange(3)
    r.cmd(f"-e -f 7{six} -r {names[k]} -{fwd} -w 0")
    for client in relatives(e.cip):
        knock(client, (6,))
    r.conns()
    k = (k + 1) % 3
    r.cmd(f"-d -f 7{six} -r {names[k]}")
    for client in relatives(e.cip):
        knock(client, (6, 17))
    r.conns()
    r.svcs()
    persistent(r)
    return r


@scn
def nodest_reuse(seed, i, rng, v6):
    """Openings and other packets on addresses in use, whose server is quiesced, gone or back."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    mode = [1, 0, 2, 3][i % 4]
    kept = "-p 200" if i % 5 == 3 else ""
    sy = {
        "conn_reuse_mode": mode,
        "expire_nodest_conn": 0 if i % 6 == 5 else 1,
        "expire_quiescent_template": i % 2,
    }
    setup = e.setup(6, fwd, 3, opts=kept) + e.setup(17, fwd, 3, opts=kept) + e.setup(132, fwd, 3, opts=kept)
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl=sy)
    ways = ["", "a", "af", "afF", "ar", "aF", "R"] if fwd == "m" else ["", "a", "af", "ar", "f"]
    after = {"SYN": SYN, "ACK": ACK, "FIN": FIN | ACK, "RST": RST}
    port = 2000
    for what in ("quiesced", "gone", "back"):
        flows = []
        for way in ways:
            for name in after:
                port += 1
                f = e.flow(r, 6, cport=port)
                f.rip = reached(f.c(SYN), e.rs) or e.rs[0]
                if fwd == "m" and way[:1] == "a":
                    f.s(SYN | ACK)
                for ch in way:
                    if ch.isupper():
                        f.s({"F": FIN | ACK, "R": RST}[ch])
                    else:
                        f.c({"a": ACK, "f": FIN | ACK, "r": RST}[ch])
                flows.append((f, name, way))
        port += 1
        u = e.flow(r, 17, cport=port)
        u.c(0, b"x")
        p = sctp(port, e.vport, 0, chunk(1, 0, b"\0" * 16))
        r.inj("c", ipx(e.cip, e.vip, 132, p), "INIT")
        r.wait(0.02)
        r.svcs()
        k = rng.randrange(3)
        for sv in ("-t", "-u", "--sctp-service"):
            name = f"{sv} {hp(e.vip, e.vport)} -r {hp(e.rs[k], e.rp)}"
            if what == "quiesced":
                r.cmd(f"-e {name} -{fwd} -w 0")
            else:
                r.cmd(f"-d {name}")
            if what == "back":
                r.cmd(f"-a {name} -{fwd} -w 1")
        for f, name, way in flows:
            f.c(after[name], note=f"{name} in {way or 'SYN'}, a server {what}")
            if fwd == "m":
                f.s(ACK, b"reply", note="reply")
        u.c(0, b"x")
        r.inj("c", ipx(e.cip, e.vip, 132, p), "INIT")
        r.wait(0.02)
        r.conns()
        r.svcs()
        for sv in ("-t", "-u", "--sctp-service"):
            name = f"{sv} {hp(e.vip, e.vport)} -r {hp(e.rs[k], e.rp)}"
            r.cmd((f"-a {name}" if what == "gone" else f"-e {name}") + f" -{fwd} -w 1")
    return r


@scn
def one_packet_errors(seed, i, rng, v6):
    """One-packet scheduling: replies, errors in both directions, time to live, lengths, fragments."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    marked = i % 4 == 3
    sy = {"nat_icmp_send": i % 2, "schedule_icmp": i // 2 % 2}
    six = " -6" if v6 else ""
    setup = e.setup(17, fwd, 2, opts="-o")
    mark = None
    if marked:
        e.rp = e.vport
        mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7]
        setup = [f"-A -f 7{six} -s rr -o"] + [
            f"-a -f 7{six} -r {hp(a, 0) if v6 else a} -{fwd}" for a in e.rs[:2]
        ]
    r = Rec("packet", "", seed, rng, e.rs, mtu_s=1400, mark=mark, setup=setup, sysctl=sy)
    ty, co = (1, 4) if v6 else (3, 3)
    rest = b"\0" * 4
    f = e.flow(r, 17)
    for _ in range(3):
        f.rip = reached(f.c(0, b"request"), e.rs) or e.rs[0]
        r.conns()
        if fwd == "m":
            f.s(0, b"reply")
            inner = ipx(e.cip, f.rip, 17, l4(17, e.cip, f.rip, e.cport, e.rp, b"request"))
            r.inj("s", icmp_err(v6, f.rip, e.cip, ty, co, rest, inner), "error of the server", rs_mac(f.rip))
            r.inj("s", icmp_err(v6, SG_IP6 if v6 else SG_IP, e.cip, ty, co, rest, inner), "error of a router")
        inner = ipx(e.vip, e.cip, 17, l4(17, e.vip, e.cip, e.vport, e.cport, b"reply"))
        r.inj("c", icmp_err(v6, e.rtr, e.vip, ty, co, rest, inner), "error about a reply")
        r.conns()
    f.c(0, b"x", ttl=1, note="ttl 1")
    f.c(0, pay(rng, 1450 - (20 if v6 else 0)), note="long")
    if not v6:
        f.c(0, pay(rng, 1450), df=False, ident=7, note="long, no DF")
    p = f.up(0, pay(rng, 1000)) if v6 else f.up(0, pay(rng, 1000), df=False, ident=9)
    for x in frag6(p, [400], 9) if v6 else frag4(p, [400]):
        r.inj("c", x, "in fragments")
    if marked:
        t = Flow(r, 6, e.cip, e.cport, e.vip, e.vport)
        t.c(SYN)
        t.c(ACK)
        r.conns()
        r.inj("c", ipx(e.cip, e.vip, 132, sctp(e.cport, e.vport, 0, chunk(1, 0, b"\0" * 16))), "INIT")
    r.conns()
    r.stats()
    return r


@scn
def narrow_tunnels(seed, i, rng, v6):
    """Tunnels of every kind over links and routes that leave little room."""
    e, o = Env(rng, v6), Env(rng, not v6)
    mixed = i % 2
    tunnel = TUNNELS[i // 2 % 5]
    routed = i % 3 == 2
    mtu = rng.choice([1290, 1320, 1332, 1400, 1492])
    server = o.rs[0] if mixed else e.rs[0]
    extra = ""
    if routed:
        six = ":" in server
        server = "fd00:77::5" if six else "172.16.3.5"
        via = "fd00:5::2" if six else "192.168.0.2"
        extra = f"route add {'fd00:77::/64' if six else '172.16.0.0/16'} via {via} mtu {mtu}"
    setup = []
    for proto, sv in ((6, "-t"), (17, "-u")):
        setup += [
            *e.setup(proto, "i", 0),
            f"-a {sv} {hp(e.vip, e.vport)} -r {hp(server, e.vport)} -i {tunnel}",
        ]
    sy = {"pmtu_disc": 0} if i % 4 > 1 else {}
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs + o.rs,
        mtu_s=1500 if routed else mtu,
        extra=extra,
        setup=setup,
        sysctl=sy,
    )
    t, u = e.flow(r, 6), e.flow(r, 17)
    t.c(SYN)
    over = (40 if ":" in server else 20) + [0, 12, 12, 4, 8][TUNNELS.index(tunnel)]
    hl = 40 if v6 else 20
    for n in (mtu - over - 1, mtu - over, mtu - over + 1, mtu - 20, mtu, 1500):
        u.c(0, pay(rng, n - hl - 8), note=f"length {n}")
        t.c(ACK, pay(rng, n - hl - 20), note=f"length {n}")
        if not v6:
            u.c(0, pay(rng, n - hl - 8), df=False, ident=n, note=f"length {n}, no DF")
            t.c(ACK, pay(rng, n - hl - 20), df=False, ident=n, note=f"length {n}, no DF")
    for size, cut in ((1200, 600), (1200, 800), (2000, 1200), (900, 48)):
        p = u.up(0, pay(rng, size)) if v6 else u.up(0, pay(rng, size), df=False, ident=size)
        for x in frag6(p, [cut], size) if v6 else frag4(p, [cut]):
            r.inj("c", x, f"{size} in {cut}")
    r.conns()
    r.stats()
    return r


@scn
def secured(seed, i, rng, v6):
    """secure_tcp switched on and off, by hand and of itself, under connections that go on."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    mode = [3, 2, 1, 0][i % 4]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(6, fwd, 1), sysctl={"secure_tcp": mode})
    ways = ["", "s", "sa", "saA", "safF", "sar", "R"] if fwd == "m" else ["", "a", "af", "ar"]
    port = 2000

    def go(f, way):
        for ch in way:
            if ch in "sAFR":
                f.s({"s": SYN | ACK, "A": ACK, "F": FIN | ACK, "R": RST}[ch])
            else:
                f.c({"a": ACK, "f": FIN | ACK, "r": RST}[ch])

    for then in (
        {"secure_tcp": 3},
        {"secure_tcp": 0},
        {"secure_tcp": 1, "amemthresh": 10000000},
        {"secure_tcp": 2},
    ):
        r.wait(2.5, 0.5)
        flows = []
        for way in ways:
            port += 1
            f = e.flow(r, 6, cport=port)
            f.c(SYN)
            go(f, way)
            flows.append(f)
        r.conns()
        for name, value in then.items():
            r.sysctl(name, value)
        for f in flows:
            f.c(ACK)
        r.wait(2.5, 0.5)
        r.conns()
        for f in flows:
            f.c(SYN)
            if fwd == "m":
                f.s(SYN | ACK)
        r.wait(0.02)
        r.conns()
        r.svcs()
    return r


if __name__ == "__main__":
    packets.main()
