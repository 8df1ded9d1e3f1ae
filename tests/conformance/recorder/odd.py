"""odd.py SEED ROUNDS OUT [NAME...]: what is rare: shared replies, port 0, edits of mh, scheduled errors.

To be put beside the recorder's packets.py and parts.py, whose parts it uses, and run in its guest as that is.
"""

from parts import error, name, other, packet

import packets
from packets import ACK, FIN, RST, SYN, Env, Rec, hp, rs_mac, scn

packets.SCN.clear()


@scn
def odd_shared(seed, i, rng, v6):
    """several VIPs or ports, all to one server, from the same client port; what comes first goes first"""
    e = Env(rng, v6)
    proto = rng.choice([6, 6, 17, 132])
    vips = [other(e.vip, n) for n in range(3)]
    kind = ["addresses", "mark", "addresses", "ports"][i % 4]
    mark = None
    if kind == "mark":
        services = [("mark", 7)]
        mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7]
        server = hp(e.rs[0], 0) if v6 else e.rs[0]
    elif kind == "ports":
        services = [(proto, vip, 0) for vip in vips]
        server = hp(e.rs[0], 0)
    else:
        services = [(proto, vip, e.vport) for vip in vips]
        server = hp(e.rs[0], e.rport)
    persist = " -p 60" if kind == "ports" or rng.random() < 0.2 else ""
    setup = []
    for s in services:
        setup += [f"-A {name(s, v6)} -s rr{persist}", f"-a {name(s, v6)} -r {server} -m"]
    sysctl = {
        "schedule_icmp": rng.randint(0, 1),
        "nat_icmp_send": rng.randint(0, 1),
        "conn_reuse_mode": rng.choice([0, 1, 1]),
    }
    r = Rec("packet", "", seed, rng, e.rs, mark=mark, setup=setup, sysctl=sysctl)
    rport = e.rport if kind == "addresses" else e.vport
    clients = [e.cport, e.cport ^ 1]
    for n in range(70):
        vip, cport = rng.choice(vips), rng.choice(clients)
        flags = rng.choice([SYN, SYN, ACK, ACK, FIN | ACK, RST])
        back = rng.choice([SYN | ACK, ACK, ACK, FIN | ACK, RST | ACK])
        match rng.choice("cccsssseEp"):
            case "c":
                r.inj(
                    "c",
                    packet(proto, e.cip, vip, cport, e.vport, flags, b"c" * rng.randint(0, 9)),
                    f"to {vip}",
                )
            case "s":
                reply = packet(proto, e.rs[0], e.cip, rport, cport, back, b"s" * rng.randint(0, 9))
                r.inj("s", reply, "reply", rs_mac(e.rs[0]))
            case "e":
                inner = packet(proto, e.cip, e.rs[0], cport, rport, ACK, b"quoted")
                error(r, "s", e.rs[0], e.cip, inner, "error from the server", rs_mac(e.rs[0]))
            case "E":
                inner = packet(proto, vip, e.cip, e.vport, cport, ACK, b"quoted")
                error(r, "c", e.cip, vip, inner, "error from the client")
            case "p":
                left = [row[8] for row in r.net.conns()]
                w = rng.choice([1, 3, 20, 90, 400])
                if all(w + 1 < x or w > 1.15 * x + 4 for x in left) and not (persist and w > 20):
                    r.wait(w, 0.5)
        if n % 10 == 9:
            r.conns()
    return r


@scn
def odd_port0(seed, i, rng, v6):
    """clients, services and servers of port 0"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    every = i // 3 % 2
    e.vport = 0 if every else e.vport
    setup = []
    for proto in (6, 17, 132):
        setup += e.setup(proto, fwd, n=2, opts="-p 90" if every else rng.choice(["", "", "-p 90"]))
    if not every and fwd == "m":
        setup = [line.replace(f":{e.rp} -m", ":0 -m") if rng.random() < 0.6 else line for line in setup]
    sysctl = {
        "schedule_icmp": rng.randint(0, 1),
        "nat_icmp_send": rng.randint(0, 1),
        "sloppy_tcp": rng.choice([0, 0, 1]),
    }
    r = Rec("packet", "", seed, rng, e.rs, setup=setup, sysctl=sysctl)
    r.svcs()
    ports = [0, 0, 1, 20, 21, 65535, e.cport]
    for n in range(60):
        proto, cport, to = rng.choice([6, 17, 132]), rng.choice(ports), e.vport or rng.choice([0, 53, 80])
        cip = other(e.cip, rng.randint(0, 1))
        server = rng.choice(e.rs[:2])
        rport = rng.choice([0, to, e.rp, e.rport])
        match rng.choice("cccsse"):
            case "c":
                flags = rng.choice([SYN, SYN, ACK, RST])
                r.inj("c", packet(proto, cip, e.vip, cport, to, flags, b"c"), f"from port {cport}")
            case "s":
                r.inj("s", packet(proto, server, cip, rport, cport, ACK, b"s"), "reply", rs_mac(server))
            case "e":
                if rng.random() < 0.5:
                    inner = packet(proto, e.vip, cip, to, cport, ACK, b"quoted")
                    error(r, "c", cip, e.vip, inner, "error from the client")
                else:
                    inner = packet(proto, cip, server, cport, rport, ACK, b"quoted")
                    error(r, "s", server, cip, inner, "error from the server", rs_mac(server))
        if n % 15 == 14:
            r.conns()
    return r


@scn
def odd_zero(seed, i, rng, v6):
    """persistence of marks and of all ports: packets to port 0 among others"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    mark, setup = None, []
    if i // 3 % 2:
        key = name(("mark", 7), v6)
        mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7]
        ports = [0, 0, 0] if fwd == "m" and rng.random() < 0.5 else [80, 81, 0]
        servers = [f"-a {key} -r {hp(a, p)} -{fwd}" for a, p in zip(e.rs, ports, strict=False)]
        setup = [f"-A {key} -s rr -p 90", *servers]
    else:
        rport = e.rport if fwd == "m" and i % 2 else 0
        for proto in (6, 17, 132):
            key = name((proto, e.vip, 0), v6)
            setup += [f"-A {key} -s rr -p 90"] + [f"-a {key} -r {hp(a, rport)} -{fwd}" for a in e.rs[:3]]
    r = Rec("packet", "", seed, rng, e.rs, mark=mark, setup=setup, sysctl={})
    r.svcs()
    for n in range(40):
        proto, cport = rng.choice([6, 17, 132]), rng.randint(2000, 2010)
        cip, vport = other(e.cip, rng.randint(0, 3)), rng.choice([0, 0, 53, 80])
        vip = other(e.vip, rng.randint(0, 1)) if mark else e.vip
        if rng.random() < 0.8:
            r.inj("c", packet(proto, cip, vip, cport, vport, rng.choice([SYN, SYN, ACK]), b"k"))
        else:
            rport = rng.choice([0, 80, vport, e.rport])
            reply = packet(proto, e.rs[0], cip, rport, cport, ACK, b"s")
            r.inj("s", reply, "reply", rs_mac(e.rs[0]))
        if n % 8 == 7:
            r.conns()
    r.conns()
    r.svcs()
    return r


@scn
def odd_template(seed, i, rng, v6):
    """replies and errors to client port 0 where there is a persistence template alone"""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    proto = [6, 17, 132][i // 3 % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(proto, fwd, n=2, opts="-p 90"), sysctl={})
    r.inj("c", packet(proto, e.cip, e.vip, e.cport, e.vport, SYN, b"k"), "opens")
    server = e.rs[1]
    r.conns()
    source, sport = (server, e.rp) if fwd == "m" else (e.vip, e.vport)
    for flags in (ACK, SYN | ACK, RST):
        r.inj("s", packet(proto, source, e.cip, sport, 0, flags, b"s"), "to port 0", rs_mac(server))
        r.conns()
        r.svcs()
    inner = packet(proto, e.cip, server, 0, e.rp, ACK, b"quoted")
    error(r, "s", server, e.cip, inner, "error from the server", rs_mac(server))
    r.stats()
    r.wait(12, 0.5)
    r.conns()
    r.svcs()
    return r


@scn
def odd_edits(seed, i, rng, v6):
    """mh and others while servers go, return and weigh nothing, some of the other family by tunnel"""
    e = Env(rng, v6)
    scheduler = ["mh", "mh -b mh-port", "mh -b mh-fallback", "sh", "dh", "wrr", "lblcr", "lc"][i % 8]
    mixed = i // 2 % 2
    six = Env(rng, not v6)
    servers = [(a, "i") for a in (e.rs[:2] + six.rs[:2] if mixed else e.rs)]
    if not mixed:
        servers = [(a, "mgi"[i % 3]) for a in e.rs]
    marked = i % 5 == 4
    service = ("mark", 7) if marked else (17, e.vip, e.vport)
    key = name(service, v6)
    mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7] if marked else None
    sysctl = {"expire_nodest_conn": rng.randint(0, 1)}
    r = Rec(
        "packet",
        "",
        seed,
        rng,
        e.rs,
        neigh=six.rs,
        mark=mark,
        setup=[f"-A {key} -s {scheduler}"],
        sysctl=sysctl,
    )
    port = 0 if marked else e.vport
    there = set()
    for n in range(26):
        at = rng.randrange(len(servers))
        address, fwd = servers[at]
        end = hp(address, rng.choice([port, 80]) if marked and fwd != "m" and rng.random() < 0.4 else port)
        weight = rng.choice([0, 0, 1, 1, 2, 5])
        verb = rng.choice("aaaaded")
        if verb == "a" and end not in there:
            there.add(end)
            r.cmd(f"-a {key} -r {end} -{fwd} -w {weight}")
        elif end in there:
            if verb == "d":
                there.remove(end)
            r.cmd(f"-d {key} -r {end}" if verb == "d" else f"-e {key} -r {end} -{fwd} -w {weight}")
        r.wait(0.02)
        for _ in range(rng.randint(1, 6)):
            cport = rng.randint(1024, 65535)
            cip = other(e.cip, rng.randint(0, 1000))
            r.inj("c", packet(17, cip, e.vip, cport, e.vport, data=b"k"))
        if n % 6 == 5:
            r.svcs()
    return r


@scn
def odd_quoted(seed, i, rng, v6):
    """errors that are scheduled: by every scheduler, from every port"""
    e = Env(rng, v6)
    scheduler = ["dh", "lblc", "lblcr", "sh", "mh", "rr", "wrr", "sh -b sh-port", "mh -b mh-port"][i % 9]
    fwd = "mgi"[i // 2 % 3]
    e.rp = e.rport if fwd == "m" else e.vport
    marked = i % 4 == 3
    protos = [6, 17, 132]
    mark, setup = None, []
    persist = rng.choice(["", "", " -p 60"])
    if marked:
        mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7]
        key = name(("mark", 7), v6)
        setup = [f"-A {key} -s {scheduler}{persist}"] + [f"-a {key} -r {hp(a, 0)} -{fwd}" for a in e.rs]
    else:
        for proto in protos:
            setup += e.setup(proto, fwd, n=4, sched=scheduler, opts=persist)
    r = Rec("packet", "", seed, rng, e.rs, mark=mark, setup=setup, sysctl={"schedule_icmp": 1})
    for _ in range(40):
        proto, cip = rng.choice(protos), other(e.cip, rng.randint(0, 30))
        cport = rng.choice([20, 21, 0, rng.randint(1, 65535), rng.randint(1, 65535)])
        if rng.random() < 0.3:
            r.inj("c", packet(proto, cip, e.vip, cport, e.vport, SYN, b"k"), "a packet")
        else:
            inner = packet(proto, e.vip, cip, e.vport, cport, ACK, b"quoted")
            error(r, "c", rng.choice([cip, e.rtr]), e.vip, inner, f"quotes port {cport}")
    r.conns()
    return r


@scn
def odd_mark_ports(seed, i, rng, v6):
    """a mark's servers by DR and TUN with ports of their own, the same address twice"""
    e = Env(rng, v6)
    fwd = "gi"[i % 2]
    scheduler = ["rr", "mh", "wrr", "sh", "lc", "dh"][i % 6]
    key = name(("mark", 7), v6)
    ends = [hp(e.rs[0], 80), hp(e.rs[0], 81), hp(e.rs[1], 443), hp(e.rs[2], 0)]
    setup = [f"-A {key} -s {scheduler}" + rng.choice(["", " -p 60", " -o"])]
    setup += [f"-a {key} -r {end} -{fwd} -w {rng.randint(1, 3)}" for end in ends]
    mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7]
    r = Rec(
        "packet", "", seed, rng, e.rs, mark=mark, setup=setup, sysctl={"schedule_icmp": rng.randint(0, 1)}
    )
    r.svcs()
    for n in range(30):
        proto, cport = rng.choice([6, 17, 132]), rng.randint(2000, 2010)
        cip, vport = other(e.cip, rng.randint(0, 5)), rng.choice([53, 80, 81])
        if rng.random() < 0.8:
            r.inj("c", packet(proto, cip, e.vip, cport, vport, rng.choice([SYN, ACK]), b"k"))
        else:
            error(r, "c", cip, e.vip, packet(proto, e.vip, cip, vport, cport, ACK, b"q"), "error")
        if n % 8 == 7:
            r.wait(2.2, 0.1)
            end = rng.choice(ends)
            r.cmd(f"-d {key} -r {end}", f"-a {key} -r {end} -{fwd} -w {rng.randint(0, 2)}")
    r.conns()
    return r


if __name__ == "__main__":
    packets.main()
