"""tables.py SEED ROUNDS OUT [NAME...]: every event in every state of TCP and SCTP, chunks that come together.

To be put beside the recorder's packets.py, whose parts it uses, and run in its guest as that is. Six rounds
have all methods and modes.
"""

import json
import random
import sys
from pathlib import Path

import packets
from packets import ACK, FIN, PSH, RST, SYN, WARP, Env, Rec, chunk, frame_in_c, frame_in_s, ipx, rs_mac, sctp

FL = {
    "S": SYN,
    "A": ACK,
    "F": FIN | ACK,
    "R": RST,
    "SA": SYN | ACK,
    "P": PSH | ACK,
    "RA": RST | ACK,
    "f": FIN,
    "0": 0,
}
INIT = b"\0\0\0\5\0\1\0\0\0\5\0\5\0\0\0\1"
CH = {
    "DATA": (0, b"\0\0\0\1\0\0\0\0\0\0\0\0x"),
    "INIT": (1, INIT),
    "INIT_ACK": (2, INIT + b"\0\7\0\10abcd"),
    "SACK": (3, b"\0" * 12),
    "HB": (4, b"\0\1\0\4"),
    "HB_ACK": (5, b"\0\1\0\4"),
    "ABORT": (6, b""),
    "SHUTDOWN": (7, b"\0\0\0\1"),
    "SHUT_ACK": (8, b""),
    "ERROR": (9, b"\0\1\0\4"),
    "COOKIE": (10, b"abcd"),
    "COOKIE_ACK": (11, b""),
    "SHUT_COMP": (14, b""),
}

# Steps that lead to a state; "s" comes from the server.
TCP_WAYS = {
    "SYN_RECV": "cS",
    "SYNACK": "cS sSA",
    "ESTABLISHED": "cS sSA cA sA",
    "FIN_WAIT": "cS sSA cA sA sF",
    "CLOSE_WAIT": "cS sSA cA sA cF",
    "TIME_WAIT": "cS sSA cA sA cF sF",
    "CLOSE": "cS sSA cA sA sR",
    "SYN_SENT": "cS sSA cA sA sR sS",
}
TCP_WAYS_IN = {
    "SYN_RECV": "cS",
    "ESTABLISHED": "cS cA",
    "FIN_WAIT": "cS cA cF",
    "TIME_WAIT": "cS cF",
    "CLOSE": "cS cA cR",
}
SCTP_WAYS = {
    "INIT1": "cINIT",
    "INIT": "cINIT cINIT",
    "COOKIE_SENT": "cINIT sINIT_ACK",
    "COOKIE_REPLIED": "cINIT sINIT_ACK cCOOKIE",
    "COOKIE_WAIT": "cINIT sINIT",
    "COOKIE": "cINIT sINIT cINIT_ACK",
    "COOKIE_ECHOED": "cINIT sINIT cINIT_ACK sCOOKIE",
    "ESTABLISHED": "cINIT sINIT_ACK cCOOKIE sCOOKIE_ACK",
    "SHUTDOWN_SENT": "cINIT sINIT_ACK cCOOKIE sCOOKIE_ACK sSHUTDOWN",
    "SHUTDOWN_RECEIVED": "cINIT sINIT_ACK cCOOKIE sCOOKIE_ACK cSHUTDOWN",
    "SHUTDOWN_ACK_SENT": "cINIT sINIT_ACK cCOOKIE sCOOKIE_ACK cSHUTDOWN sSHUT_ACK",
    "REJECTED": "cINIT sABORT",
    "CLOSED": "cINIT sINIT_ACK cCOOKIE sCOOKIE_ACK cABORT",
}
SCTP_WAYS_IN = {
    "INIT1": "cINIT",
    "INIT": "cINIT cINIT",
    "COOKIE": "cINIT cINIT_ACK",
    "COOKIE_REPLIED": "cINIT cCOOKIE",
    "ESTABLISHED": "cINIT cCOOKIE cDATA",
    "SHUTDOWN_RECEIVED": "cINIT cCOOKIE cDATA cSHUTDOWN",
    "CLOSED": "cINIT cCOOKIE cDATA cABORT",
}


def snap(r, port, client):
    """State and time of the connection that was not told to go, and the server's counters."""
    rows = r.net.conns()
    found = [row for row in rows if row[2] == port and row[1] == client and row[8]]
    told = any(row[8] == 0 for row in rows)
    if told:
        WARP.advance(0.02)
    st = [found[0][7], found[0][8]] if found else None
    return ([*st, "t0.02"] if st and told else st), [[x[4], x[5]] for _, ds in r.net.svcs() for x in ds]


def walk(r, port, steps, packet):
    """A flow from its first packet on: what came out, its state, the server's counters."""
    seq = []
    for d, what in steps:
        p = packet(port, d, what)
        out = r.net.xfer(d, frame_in_c(p) if d == "c" else frame_in_s(p, rs_mac(r.server)))
        st, cnt = snap(r, port, r.client)
        seq.append([d, what, "".join(sorted(leg for leg, _ in out)), st, cnt[0] if cnt else None])
    r.ev.append(["seq", r.client, port, seq])


def sweep(r, ways, events, directions, packet):
    port = 2000
    for way in ways.values():
        for d in directions:
            for event in events:
                port += 1
                steps = [(s[0], s[1:]) for s in way.split()]
                # What follows shows that the state was the one that was written.
                walk(r, port, [*steps, (d, event), ("c", events[0])], packet)


def tcp_table(seed, i, rng, v6):
    e = Env(rng, v6)
    fwd = "mgmgmi"[i % 6]
    sy = {"secure_tcp": 3} if i % 4 < 2 else {}
    r = Rec("state", "", seed, rng, e.rs, setup=e.setup(6, fwd, 1), sysctl=sy)
    r.d.update(proto=6, fwd=fwd)
    r.client, r.server = e.cip, e.rs[0]
    if sy:
        r.wait(2.5, 0.5)

    def packet(port, d, what):
        f = e.flow(r, 6, cport=port)
        return f.up(FL[what]) if d == "c" else f.down(FL[what])

    both = fwd == "m"
    sweep(
        r,
        TCP_WAYS if both else TCP_WAYS_IN,
        ["A", "S", "F", "R", "0", "SA", "RA", "f"],
        "cs" if both else "c",
        packet,
    )
    return r


def sctp_table(seed, i, rng, v6):
    e = Env(rng, v6)
    fwd = "mgmgmi"[i % 6]
    r = Rec(
        "state",
        "",
        seed,
        rng,
        e.rs,
        setup=e.setup(132, fwd, 1),
        sysctl={"sloppy_sctp": 1} if i % 4 > 1 else {},
    )
    r.d.update(proto=132, fwd=fwd)
    r.client, r.server = e.cip, e.rs[0]

    def packet(port, d, what):
        kind, body = CH[what]
        c = chunk(kind, 0, body)
        if d == "c":
            return ipx(e.cip, e.vip, 132, sctp(port, e.vport, 1, c))
        return ipx(e.rs[0], e.cip, 132, sctp(e.rp, port, 1, c))

    both = fwd == "m"
    sweep(r, SCTP_WAYS if both else SCTP_WAYS_IN, list(CH), "cs" if both else "c", packet)
    return r


def sctp_bundles(seed, i, rng, v6):
    """Several chunks in a packet, chunks of unknown kinds, chunks that lie about their length."""
    e = Env(rng, v6)
    fwd = "mgi"[i % 3]
    r = Rec("packet", "", seed, rng, e.rs, setup=e.setup(132, fwd, 1), sysctl={"sloppy_sctp": i // 3 % 2})
    port = [3000]

    def send(d, body, note):
        if d == "c":
            r.inj("c", ipx(e.cip, e.vip, 132, sctp(port[0], e.vport, 1, body)), note)
        elif fwd == "m":
            r.inj("s", ipx(e.rs[0], e.cip, 132, sctp(e.rp, port[0], 1, body)), note, rs_mac(e.rs[0]))

    def of(name):
        kind, body = CH[name]
        return chunk(kind, 0, body)

    lying = {
        "length 0": b"\x0a\0\0\0" + of("ABORT"),
        "length 3": b"\x0a\0\0\3" + of("ABORT"),
        "length 4": b"\x0a\0\0\4" + of("ABORT"),
        "length 5": b"\x0a\0\0\5x\0\0\0" + of("ABORT"),
        "length 7": b"\x0b\0\0\7xyz\0" + of("ABORT"),
        "length beyond": b"\x0a\0\0\x40" + of("ABORT"),
        "second cut": b"\x0a\0\0\4" + of("ABORT")[:2],
        "second one byte": b"\x0b\0\0\4" + of("ABORT")[:1],
        "second of length 0": b"\x0a\0\0\4\6\0\0\0",
        "unknown kind": chunk(0xC1, 0, b"abcd"),
        "unknown kind and abort": chunk(0x81, 0, b"") + of("ABORT"),
    }
    bundles = [
        ("COOKIE", "DATA"),
        ("COOKIE", "ABORT"),
        ("COOKIE", "ERROR", "ABORT"),
        ("COOKIE_ACK", "ABORT"),
        ("COOKIE_ACK", "DATA"),
        ("DATA", "ABORT"),
        ("DATA", "SHUTDOWN"),
        ("SACK", "DATA", "DATA"),
        ("SACK", "SHUT_ACK"),
        ("SHUTDOWN", "ABORT"),
        ("INIT", "ABORT"),
        ("INIT_ACK", "ABORT"),
        ("ERROR", "COOKIE"),
        ("ABORT", "INIT"),
    ]
    tries = [("+".join(b), b"".join(map(of, b))) for b in bundles] + list(lying.items())
    for d in "cs" if fwd == "m" else "c":
        for name, body in tries:
            port[0] += 1
            send("c", of("INIT"), "INIT")
            send("s", of("INIT_ACK"), "INIT ACK")
            send(d, body, name)
            send("s" if d == "c" else "c", of("DATA"), "DATA")
        r.conns()
    port[0] += 1
    for name, body in tries:
        port[0] += 1
        send("c", body, name + " without a connection")
    r.conns()
    r.svcs()
    return r


def main():
    seed, rounds, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    packets.init_main()
    WARP.freeze()
    with Path(path).open("w") as f:
        for scenario in (tcp_table, sctp_table, sctp_bundles):
            if sys.argv[4:] and scenario.__name__ not in sys.argv[4:]:
                continue
            for i in range(rounds):
                v6 = i % 5 == 4
                name = "%s-%s-%02d-v%d" % (scenario.__name__, seed, i, 6 if v6 else 4)
                r = scenario(seed, i, random.Random(name), v6)
                r.d["id"] = name
                d = r.end()
                f.write(json.dumps(d, separators=(",", ":")) + "\n")
                f.flush()
                print("state", name, len(d["ev"]), d.get("err", ""), flush=True)


if __name__ == "__main__":
    main()
