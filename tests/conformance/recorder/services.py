"""services.py SEED ROUNDS OUT [NAME...]: scenarios about services that the recorder's own do not have.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

import packets
from packets import ACK, FIN, RST, SYN, Env, Flow, Rec, chunk, hp, ipb, ips, ipx, scn, sctp

packets.SCN.clear()


def persistent(r):
    lines = r.net.ipvsadm("-L", "-n", "--persistent-conn").split("\n")[3:]
    r.ev.append(["persistent", [line.rstrip() for line in lines if line.strip()]])


def clients(e, n):
    b = ipb(e.cip)
    return [ips(b[:-1] + bytes([(b[-1] + k) % 250 + 1])) for k in range(n)]


@scn
def ftp(seed, i, rng, v6):
    """A service on port 21, other ports of its VIP, one of all ports beside it, none to serve."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    e.vport, e.rport = 21, rng.choice([21, 2121])
    kept = rng.random() < 0.75
    mask = rng.choice(["", "-M 64" if v6 else "-M 255.255.255.0"])
    setup = e.setup(6, fwd, 3, opts=f"-p 60 {mask}" if kept else "", sched=rng.choice(["rr", "wlc"]))
    if rng.random() < 0.5:
        own = hp(e.vip, 8080)
        setup += [f"-A -t {own} -s rr", f"-a -t {own} -r {hp(e.rs[3], 8080)} -{fwd} -w 1"]
    if rng.random() < 0.5:
        every = hp(e.vip, 0)
        setup += [f"-A -t {every} -s rr -p 60 {mask}", f"-a -t {every} -r {hp(e.rs[3], 0)} -{fwd} -w 1"]
    r = Rec("packet", "", seed, rng, e.rs, setup=setup)
    for k, c in enumerate(clients(e, 3)):
        for n, port in enumerate(rng.sample([21, 20, 80, 1023, 1024, 8080, 50000, 65535], 6)):
            f = Flow(r, 6, c, 3000 + 10 * k + n, e.vip, port)
            f.c(SYN)
            f.c(ACK)
        Flow(r, 6, c, 20, e.vip, 21).c(SYN, note="from port 20")
        Flow(r, 17, c, 3999, e.vip, 50000).c(0, b"x", note="udp")
    r.conns()
    persistent(r)
    for k in range(3):
        r.cmd(f"-e -t {hp(e.vip, 21)} -r {hp(e.rs[k], e.rp)} -{fwd} -w 0")
    c = ips(ipb(e.cip)[:1] + bytes([ipb(e.cip)[1] ^ 1]) + ipb(e.cip)[2:])
    for port in (21, 20, 1024, 80):
        Flow(r, 6, c, 4000, e.vip, port).c(SYN, note="no server")
    return r


@scn
def service_edits(seed, i, rng, v6):
    """A service whose persistence, netmask, scheduler and flags change while it has clients."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    proto = rng.choice([6, 6, 17, 132])
    sv = {6: "-t", 17: "-u", 132: "--sctp-service"}[proto] + " " + hp(e.vip, e.vport)
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs,
        setup=e.setup(proto, fwd, 3),
        sysctl={"expire_quiescent_template": rng.choice([0, 1])},
    )
    masks = ["", "-M 64", "-M 112"] if v6 else ["", "-M 255.255.255.0", "-M 255.255.255.240"]
    port = [2000]

    def knock(n):
        for c in rng.sample(clients(e, 6), n):
            port[0] += 1
            if proto == 132:
                r.inj("c", ipx(c, e.vip, 132, sctp(port[0], e.vport, 0, chunk(1, 0, b"\0" * 16))), "INIT")
            else:
                Flow(r, proto, c, port[0], e.vip, e.vport).c(SYN if proto == 6 else 0)

    knock(3)
    for _ in range(6):
        ask = rng.random()
        if ask < 0.6:
            kept = f"-p {rng.choice([30, 100, 1000])} {rng.choice(masks)}" if rng.random() < 0.7 else ""
            sched = rng.choice(
                ["rr", "wrr", "wlc", "sh", "sh -b sh-port", "mh -b mh-fallback,mh-port", "lblc", "fo"]
            )
            ops = "-o" if proto == 17 and rng.random() < 0.4 else ""
            r.cmd(f"-E {sv} -s {sched} {kept} {ops}")
        elif ask < 0.8:
            k = rng.randrange(3)
            r.cmd(f"-e {sv} -r {hp(e.rs[k], e.rp)} -{fwd} -w {rng.choice([0, 1, 5])}")
        else:
            k = rng.randrange(3)
            r.cmd(f"-d {sv} -r {hp(e.rs[k], e.rp)}")
            knock(1)
            r.cmd(f"-a {sv} -r {hp(e.rs[k], e.rp)} -{fwd} -w {rng.choice([1, 2])}")
        knock(rng.choice([1, 2, 3]))
        r.conns()
        r.svcs()
    persistent(r)
    return r


@scn
def trash(seed, i, rng, v6):
    """A deleted server that comes back sooner or later: with its numbers, or as a new one."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=["--set 0 0 7", *e.setup(17, fwd, 2)])
    sv = "-u " + hp(e.vip, e.vport)
    for k in range(4):
        Flow(r, 17, e.cip, 2000 + k, e.vip, e.vport).c(0, b"x")
    r.wait(20)  # all of them are over
    if rng.random() < 0.5:
        r.cmd(f"-d {sv} -r {hp(e.rs[0], e.rp)}")
    else:
        r.cmd(f"-D {sv}", f"-A {sv} -s rr")
    r.wait(rng.choice([10, 50, 110, 118, 170, 200, 400]), 2)
    r.cmd(f"-a {sv} -r {hp(e.rs[0], e.rp)} -{fwd} -w 1")
    r.stats()
    Flow(r, 17, e.cip, 3000, e.vip, e.vport).c(0, b"x")
    r.conns()
    return r


@scn
def zeroed(seed, i, rng, v6):
    """Counters that begin anew, of one service or all."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(6, fwd, 2) + e.setup(17, fwd, 2))
    f = [e.flow(r, p, cport=2000 + p) for p in (6, 17)]
    for _ in range(5):
        for g in f:
            g.c(SYN if g.proto == 6 else 0, b"x" * rng.randrange(5) if g.proto == 17 else b"")
        if rng.random() < 0.5:
            r.stats()
        r.cmd(rng.choice(["-Z", f"-Z -t {hp(e.vip, e.vport)}", f"-Z -u {hp(e.vip, e.vport)}"]))
        for g in f:
            g.c(ACK if g.proto == 6 else 0)
        r.stats()
    return r


@scn
def thresholds(seed, i, rng, v6):
    """Servers that are full, persistent clients or not, thresholds that change, servers that come back full."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    kept = rng.choice(["", "", "-p 300"])
    st = e.setup(
        17, fwd, 0, opts=kept, sched=rng.choice(["rr", "wrr", "lc", "sh -b sh-fallback", "mh", "dh"])
    )
    sv = "-u " + hp(e.vip, e.vport)

    def limits():
        upper = rng.choice([0, 2, 3, 5])
        return f"-x {upper} -y {rng.randrange(upper + 1)}"

    servers = [f"-a {sv} -r {hp(a, e.rp)} -{fwd} -w {rng.choice([1, 2])} {limits()}" for a in e.rs[:2]]
    st = ["--set 0 0 30", *st, *servers]
    r = Rec("packet", "", seed, rng, e.rs, setup=st)
    port = 2000
    for _ in range(8):
        for c in rng.sample(clients(e, 5), rng.choice([1, 2, 3])):
            port += 1
            Flow(r, 17, c, port, e.vip, e.vport).c(0)
        r.svcs()
        ask, k = rng.random(), rng.randrange(2)
        if ask < 0.4:
            r.cmd(f"-e {sv} -r {hp(e.rs[k], e.rp)} -{fwd} -w 1 {limits()}")
        elif ask < 0.6:
            r.cmd(f"-d {sv} -r {hp(e.rs[k], e.rp)}", f"-a {sv} -r {hp(e.rs[k], e.rp)} -{fwd} -w 1 {limits()}")
        elif ask < 0.8:
            r.wait(rng.choice([2, 40]))
    r.conns()
    persistent(r)
    return r


@scn
def outlived(seed, i, rng, v6):
    """Persistence that ends, or does not because of a connection that goes on."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(6, fwd, 3, opts="-p 20"))
    f = Flow(r, 6, e.cip, 2000, e.vip, e.vport)
    f.c(SYN)
    if rng.random() < 0.7:
        f.c(ACK)
    if rng.random() < 0.3:
        f.c(FIN | ACK)
    r.conns()
    r.wait(40)
    Flow(r, 6, e.cip, 2001, e.vip, e.vport).c(SYN, note="again")
    r.conns()
    if rng.random() < 0.5:
        f.c(RST)
    # In short steps: behind a leap, the kernel's timer for statistics may be late by more than a listing waits.
    r.wait(rng.choice([200, 300]), 2)
    Flow(r, 6, e.cip, 2002, e.vip, e.vport).c(SYN, note="and again")
    r.conns()
    persistent(r)
    return r


if __name__ == "__main__":
    packets.main()
