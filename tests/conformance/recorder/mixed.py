"""mixed.py SEED ROUNDS OUT [NAME...]: anything at any time.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is.
"""

from services import persistent

import packets
from packets import (
    ACK,
    C_IP,
    C_IP6,
    FIN,
    PSH,
    RST,
    SYN,
    Env,
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
NAMES = {6: "-t", 17: "-u", 132: "--sctp-service"}
SCHEDULERS = [
    "rr",
    "wrr",
    "lc",
    "wlc",
    "sed",
    "nq",
    "sh",
    "sh -b sh-port,sh-fallback",
    "mh -b mh-fallback",
    "fo",
    "ovf",
]
SETTINGS = {
    "conn_reuse_mode": [0, 1, 1, 2, 3],
    "expire_nodest_conn": [0, 1],
    "expire_quiescent_template": [0, 1],
    "sloppy_tcp": [0, 0, 0, 1],
    "sloppy_sctp": [0, 0, 0, 1],
    "schedule_icmp": [0, 0, 1],
    "nat_icmp_send": [0, 0, 1],
    "secure_tcp": [0, 0, 0, 3],
    "pmtu_disc": [1, 1, 0],
    "drop_packet": [0, 0, 0, 0, 3],
}
TUNNELS = ["", "--tun-type gue --tun-port 6080", "--tun-type gre", "--tun-type gre --tun-csum"]
CHUNKS = [1, 1, 2, 10, 11, 0, 0, 3, 4, 6, 7, 8, 9, 14]


class Service:
    """A service, its servers, and what may be wished of them."""

    def __init__(self, t, proto, marked):
        rng, e = t.rng, t.e
        self.t, self.proto, self.marked = t, proto, marked
        self.vip = e.vip if rng.random() < 0.7 else ips(ipb(e.vip)[:-1] + bytes([rng.randint(1, 254)]))
        self.all_ports = not marked and rng.random() < 0.15
        self.port = 0 if self.all_ports or marked else rng.randint(1, 65535)
        six = " -6" if e.v6 else ""
        self.name = f"-f 7{six}" if marked else f"{NAMES[proto]} {hp(self.vip, self.port)}"
        self.servers = []
        for a in e.rs[: rng.randint(1, 4)]:
            fwd = rng.choice("mmgi")
            if rng.random() < 0.07:
                a = C_IP6 if e.v6 else C_IP  # the director itself
            port = 0 if marked or self.all_ports else rng.randint(1, 65535) if fwd == "m" else self.port
            if a not in [known for known, _, _ in self.servers]:
                self.servers.append((a, port, fwd))
        self.live = set()
        self.there = True

    def options(self):
        rng = self.t.rng
        words = f"-s {rng.choice(SCHEDULERS)}"
        if self.all_ports or rng.random() < 0.3:
            masks = ["", "-M 64", "-M 120"] if self.t.e.v6 else ["", "-M 255.255.255.0", "-M 255.255.255.248"]
            words += f" -p {rng.choice([20, 60, 100])} {rng.choice(masks)}"
        elif (self.proto == 17 or self.marked) and rng.random() < 0.2:
            words += " -o"
        return words

    def server(self, k):
        a, port, _ = self.servers[k]
        return f"{self.name} -r {a if self.marked and not self.t.e.v6 else hp(a, port)}"

    def values(self, k):
        rng = self.t.rng
        upper = rng.choice([0, 0, 0, 2, 4])
        method = f"-{self.servers[k][2]}"
        if method == "-i":
            method += " " + rng.choice(TUNNELS)
        return f"{method} -w {rng.choice([0, 1, 1, 2, 5])} -x {upper} -y {rng.randint(0, upper)}"

    def add(self, k):
        self.live.add(k)
        return f"-a {self.server(k)} {self.values(k)}"

    def setup(self):
        return [f"-A {self.name} {self.options()}", *(self.add(k) for k in range(len(self.servers)))]

    def edit(self):
        """Commands."""
        rng = self.t.rng
        k = rng.randrange(len(self.servers))
        ask = rng.random()
        if not self.there:
            self.there = True
            return self.setup()
        if ask < 0.05:
            self.there, self.live = False, set()
            return [f"-D {self.name}"]
        if ask < 0.1:
            return [f"-Z {self.name}"]
        return [self.edit_server(k, rng.random())]

    def edit_server(self, k, ask):
        if k not in self.live:
            return self.add(k)
        if ask < 0.4:
            return f"-e {self.server(k)} {self.values(k)}"
        if ask < 0.8:
            self.live.remove(k)
            return f"-d {self.server(k)}"
        return f"-E {self.name} {self.options()}"


class Talk:
    """A scenario on its way."""

    def __init__(self, seed, i, rng, v6):
        self.rng, self.e = rng, Env(rng, v6)
        marked = rng.random() < 0.3
        protos = rng.sample([6, 6, 17, 17, 132], rng.randint(1, 3))
        self.services = [Service(self, p, marked) for p in (protos[:1] if marked else dict.fromkeys(protos))]
        sy = {k: rng.choice(v) for k, v in SETTINGS.items() if rng.random() < 0.5}
        setup = [line for s in self.services for line in s.setup()]
        mark = [packets.VIP6_NET if v6 else packets.VIP_NET, 7] if marked else None
        mtus = {"mtu_c": rng.choice([1500, 1500, 1400]), "mtu_s": rng.choice([1500, 1500, 1400])}
        self.r = Rec("packet", "", seed, rng, self.e.rs, setup=setup, sysctl=sy, mark=mark, **mtus)
        if sy.get("secure_tcp") or sy.get("drop_packet"):
            self.r.wait(2.5, 0.5)
        b = ipb(self.e.cip)
        self.clients = [ips(b[:-1] + bytes([(b[-1] + 3 * k) % 250 + 1])) for k in range(4)]
        self.flows = []

    def body(self, proto, src, sport, dst, dport, size):
        rng = self.rng
        if proto == 132:
            kinds = [rng.choice(CHUNKS)] + [rng.choice(CHUNKS)] * (rng.random() < 0.3)
            return sctp(sport, dport, 7, b"".join(chunk(k, 0, bytes(16)) for k in kinds))
        flags = rng.choice([ACK, ACK, PSH | ACK, FIN | ACK, SYN, SYN | ACK, RST, 0])
        return l4(proto, src, dst, sport, dport, pay(rng, size), flags=flags, seq=rng.getrandbits(32))

    def first(self):
        """A client opens."""
        rng, s = self.rng, self.rng.choice(self.services)
        proto = rng.choice([6, 17, 132]) if s.marked else s.proto
        flow = [
            proto,
            rng.choice(self.clients),
            rng.randint(2000, 2040),
            s.vip,
            s.port or rng.choice([80, 443]),
            None,
            s,
        ]
        self.flows.append(flow)
        p, c, cp, v, vp = flow[:5]
        body = sctp(cp, vp, 0, chunk(1, 0, bytes(16))) if p == 132 else l4(p, c, v, cp, vp, b"", flags=SYN)
        self.heard(flow, self.r.inj("c", ipx(c, v, p, body), "first"))

    def heard(self, flow, out):
        for leg, frame in out:
            for a, port, fwd in flow[6].servers:
                if leg == "s" and frame[:6] == macb(rs_mac(a)):
                    flow[5] = (a, port or flow[4], fwd)

    def more(self):
        """A later packet of a client."""
        flow, rng = self.rng.choice(self.flows[-12:]), self.rng
        p, c, cp, v, vp = flow[:5]
        size = rng.choice([0, 0, 1, 20, 500, 1330, 1395, 1440])
        kw = {} if self.e.v6 else {"df": rng.random() < 0.6, "ident": rng.getrandbits(16)}
        q = ipx(c, v, p, self.body(p, c, cp, v, vp, size), ttl=rng.choice([64, 64, 64, 2, 1]), **kw)
        if len(q) > self.r.d["mtu"][0]:
            return
        self.heard(flow, self.r.inj("c", q))

    def back(self):
        """A packet of a server."""
        flow, rng = self.rng.choice(self.flows[-12:]), self.rng
        if not flow[5]:
            return
        p, c, cp, v, vp = flow[:5]
        a, port, fwd = flow[5]
        src, sport = (a, port) if fwd == "m" else (v, vp)
        size = rng.choice([0, 0, 1, 20, 500, 1330, 1395, 1440])
        kw = {} if self.e.v6 else {"df": rng.random() < 0.6, "ident": rng.getrandbits(16)}
        q = ipx(src, c, p, self.body(p, src, sport, c, cp, size), ttl=rng.choice([64, 64, 64, 2, 1]), **kw)
        if len(q) <= self.r.d["mtu"][1]:
            self.r.inj("s", q, "", rs_mac(a))

    def pieces(self):
        """A datagram in fragments."""
        flow, rng = self.rng.choice(self.flows[-12:]), self.rng
        p, c, cp, v, vp = flow[:5]
        if p != 17:
            return
        ident = rng.getrandbits(16)
        size, cut = rng.choice([(100, 48), (900, 600), (1500, 1000)])
        kw = {} if self.e.v6 else {"df": False, "ident": ident}
        q = ipx(c, v, p, l4(p, c, v, cp, vp, pay(rng, size)), **kw)
        for x in frag6(q, [cut], ident) if self.e.v6 else frag4(q, [cut]):
            out = self.r.inj("c", x, "fragment")
        self.heard(flow, out)

    def error(self):
        """An error about a packet of a flow, from either side."""
        flow, rng, v6 = self.rng.choice(self.flows[-12:]), self.rng, self.e.v6
        p, c, cp, v, vp = flow[:5]
        ty, co = rng.choice([(1, 4), (1, 0), (3, 0), (2, 0)] if v6 else [(3, 3), (3, 1), (3, 4), (11, 0)])
        rest = b"\0\0\5\0" if (ty, co) in ((2, 0), (3, 4)) else bytes(4)
        if rng.random() < 0.5 or not flow[5] or flow[5][2] != "m" or v6:
            inner = ipx(v, c, p, self.body(p, v, vp, c, cp, 20))
            self.r.inj("c", icmp_err(v6, self.e.rtr, v, ty, co, rest, inner), "error")
        else:
            a, port, _ = flow[5]
            inner = ipx(c, a, p, self.body(p, c, cp, a, port, 20))
            self.r.inj("s", icmp_err(v6, a, c, ty, co, rest, inner), "error", rs_mac(a))

    def change(self):
        """An edit."""
        if self.rng.random() < 0.2:
            name = self.rng.choice(list(SETTINGS))
            self.r.sysctl(name, self.rng.choice(SETTINGS[name]))
        else:
            # Servers that go or begin anew show what the kernel's last pass over the counters had seen: let
            # there be one.
            if all(row[8] > 4 for row in self.r.net.conns()):
                self.r.wait(2.2, 0.1)
            self.r.cmd(*self.rng.choice(self.services).edit())
        self.r.wait(0.02)

    def pause(self):
        """Time passes, never so much that it matters when the kernel's timers are late."""
        left = [row[8] for row in self.r.net.conns()]
        w = self.rng.choice([1, 2, 5, 15, 1200])
        if w == 1200:
            self.r.wait(w, 5)
            self.r.wait(4, 0.5)
        elif all(w + 1 < x for x in left):
            self.r.wait(w, 0.5)


@scn
def mixed(seed, i, rng, v6):
    t = Talk(seed, i, rng, v6)
    t.first()
    kinds = [Talk.first] * 6 + [Talk.more] * 8 + [Talk.back] * 7 + [Talk.error] * 2 + [Talk.change] * 2
    kinds += [Talk.pieces, Talk.pause]
    for n in range(90):
        rng.choice(kinds)(t)
        if n % 15 == 14:
            t.r.conns()
            t.r.svcs()
    persistent(t.r)
    return t.r


if __name__ == "__main__":
    packets.main()
