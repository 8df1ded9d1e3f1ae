"""odd.py SEED ROUNDS OUT [NAME...]: what is rare: shared replies, port 0, damaged fragments, odd headers.

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
    S_IP,
    S_IP6,
    SYN,
    Env,
    Rec,
    chunk,
    csum,
    eth,
    frag4,
    frag6,
    hp,
    icmp_err,
    ip4,
    ipb,
    ips,
    ipx,
    l4,
    pay,
    rs_mac,
    scn,
    sctp,
)

packets.SCN.clear()
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


def whole_headers6(inner, kinds):
    """An IPv6 packet with extension headers in front of its payload."""
    protocol, head = inner[6], b""
    for kind, header in reversed(kinds):
        head = bytes([protocol]) + header[1:] + head
        protocol = kind
    length = struct.pack("!H", len(inner) - 40 + len(head))
    return inner[:4] + length + bytes([protocol]) + inner[7:40] + head + inner[40:]


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


def frame(r, leg, raw, note):
    """A frame as it is."""
    r.ev.append(["in", leg, raw.hex(), note])
    r.log_out(r.net.xfer(leg, raw))


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
