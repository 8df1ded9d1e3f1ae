"""gone.py SEED ROUNDS OUT [NAME...]: servers and services that go, and what comes of no connection.

To be put beside the recorder's packets.py and parts.py, whose parts it uses, and run in its guest as that is.
"""

from parts import error, name, other, packet

import packets
from packets import ACK, C_IP, C_IP6, RST, S_IP, S_IP6, SYN, Env, Rec, hp, rs_mac, scn

packets.SCN.clear()


@scn
def odd_nodest(seed, i, rng, v6):
    """expire_nodest_conn, and what of servers, services and settings changes under connections"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    proto = rng.choice([6, 17])
    persist = rng.choice(["", "", "-p 600"])
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs,
        setup=e.setup(proto, fwd, n=3, opts=persist),
        sysctl={"expire_nodest_conn": 1},
    )
    key = name((proto, e.vip, e.vport), v6)
    there = set(e.rs[:3])
    for n in range(45):
        k = rng.randint(0, 5)
        server = rng.choice(e.rs[:3])
        end = hp(server, e.rp)
        match rng.choice("ooooccdaewtE"):
            case "o" | "c":
                flags = SYN if rng.random() < 0.6 else ACK
                r.inj("c", packet(proto, e.cip, e.vip, 2000 + k, e.vport, flags, b"k"))
            case "d" if server in there:
                if all(row[8] > 4 for row in r.net.conns()):
                    r.wait(2.2, 0.1)
                there.remove(server)
                r.cmd(f"-d {key} -r {end}")
            case "a" if server not in there:
                there.add(server)
                r.cmd(f"-a {key} -r {end} -{fwd} -w {rng.choice([0, 1, 2])}")
            case "e" if server in there:
                r.cmd(f"-e {key} -r {end} -{fwd} -w {rng.choice([0, 1, 2])}")
            case "E":
                r.cmd(f"-E {key} -s {rng.choice(['rr', 'wrr', 'lc'])} {persist}")
            case "w":
                r.sysctl("expire_nodest_conn", rng.randint(0, 1))
            case "t":
                left = [row[8] for row in r.net.conns()]
                w = rng.choice([1, 5, 30, 120])
                if all(w + 1 < x or w > 1.15 * x + 4 for x in left) and not persist:
                    r.wait(w, 0.5)
        r.wait(0.02)
        if n % 9 == 8:
            r.conns()
            r.svcs()
    r.cmd("-C")
    r.inj("c", packet(proto, e.cip, e.vip, 2000, e.vport, ACK, b"k"), "to nobody")
    r.conns()
    return r


@scn
def odd_cleared(seed, i, rng, v6):
    """what comes of connections when all services go, and when they return"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    setup = e.setup(17, fwd) + e.setup(6, fwd)
    sysctl = {"expire_nodest_conn": rng.randint(0, 1), "schedule_icmp": rng.randint(0, 1)}
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl=sysctl)

    def both(note):
        for proto in rng.sample([6, 17], 2):
            reply = packet(proto, e.rs[0], e.cip, e.rp, e.cport, ACK, b"s")
            r.inj("s", reply, f"reply, {note}", rs_mac(e.rs[0]))
            inner = packet(proto, e.cip, e.rs[0], e.cport, e.rp, ACK, b"quoted")
            error(r, "s", e.rs[0], e.cip, inner, f"error, {note}", rs_mac(e.rs[0]))
            r.inj("c", packet(proto, e.cip, e.vip, e.cport, e.vport, ACK, b"c"), note)
        r.conns()

    for proto in (6, 17):
        r.inj("c", packet(proto, e.cip, e.vip, e.cport, e.vport, SYN, b""), "first")
    both("there")
    r.wait(2.2, 0.1)
    if i % 2:
        r.cmd(f"-D {name((6, e.vip, e.vport), v6)}", f"-D {name((17, e.vip, e.vport), v6)}")
    else:
        r.cmd("-C")
    r.wait(0.02)
    both("no services")
    r.cmd("-A -f 9" + (" -6" if v6 else "") + " -s rr")
    both("another service")
    r.cmd(*setup)
    r.wait(0.02)
    both("again there")
    r.svcs()
    return r


@scn
def odd_unwanted(seed, i, rng, v6):
    """what servers send of no connection, to the director's own addresses and services too"""
    e = Env(rng, v6)
    setup = e.setup(6, "m") + e.setup(17, "m", n=2) + e.setup(132, "m")
    second = other(e.vip, 1)
    setup += [f"-A -t {hp(second, 443)} -s rr", f"-a -t {hp(second, 443)} -r {hp(e.rs[0], e.rp)} -m"]
    setup += [f"-A -u {hp(second, 443)} -s rr", f"-a -u {hp(second, 443)} -r {hp(e.rs[1], 443)} -g"]
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl={"nat_icmp_send": 1, "sloppy_tcp": i % 2})
    own = [C_IP6, S_IP6] if v6 else [C_IP, S_IP]
    for _ in range(45):
        proto, server = rng.choice([6, 6, 17, 17, 132]), rng.choice(e.rs[:2])
        to, port = rng.choice(
            [(e.vip, e.vport), (second, 443), (second, 9), (own[0], 80), (own[1], 80), (e.cip, e.cport)]
        )
        sport = rng.choice([e.rp, e.rp, e.rp, 443, e.rp ^ 1])
        p = packet(
            proto,
            server,
            to,
            sport,
            port,
            rng.choice([SYN, ACK, SYN | ACK, RST]),
            b"k",
            ttl=rng.choice([64, 64, 1]),
        )
        r.inj("s", p, f"to {to}", rs_mac(server))
        if rng.random() < 0.1:
            inner = packet(proto, to, server, port, sport, ACK, b"quoted")
            error(r, "s", server, to, inner, "error about no connection", rs_mac(server))
    r.conns()
    return r


if __name__ == "__main__":
    packets.main()
