"""The lab itself: hosts that talk, counters that count, and nothing left behind."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

import fastlvs
from fastlvs import Forwarding, PlatformError, RealServer, Verdict, VirtualService
from fastlvs.lab import Captured, Lab, LabError, content, director_program, director_toml, topology
from fastlvs.lab import director as director_module
from fastlvs.lab.host import Host
from remote import Remote
from waiting import PATIENCE, wait_for

CLIENT = topology.CLIENT.address


def test_every_server_answers_by_its_name(lab: Lab) -> None:
    for port in (80, 8080):
        answers = [lab.client.http(f"http://{server.address}:{port}/") for server in lab.servers]
        assert [a.server for a in answers] == ["server1", "server2", "server3"]
        assert all(a.ok and a.body == f"{a.server}\n" for a in answers)


def test_contents_arrive_whole_both_ways(lab: Lab) -> None:
    size = 5_000_001
    digest = hashlib.sha256(content(size)).hexdigest()
    url = f"http://{lab.servers[0].address}"
    down = lab.client.http(f"{url}/bytes/{size}")
    assert (down.size, down.digest) == (size, digest)
    assert lab.client.http(url, upload=size).body == digest


def test_many_requests_at_once(lab: Lab) -> None:
    answers = lab.client.requests(f"http://{lab.servers[1].address}/", 200, concurrency=50)
    assert [a.server for a in answers if a.ok] == ["server2"] * 200


def test_a_request_without_answer_says_why(lab: Lab) -> None:
    refused = lab.client.http(f"http://{lab.servers[0].address}:9/")
    assert not refused.ok
    assert refused.error is not None
    assert "refused" in refused.error
    missing = lab.client.http(f"http://{lab.servers[0].address}/nothing")
    assert (missing.status, missing.ok, missing.error) == (404, False, None)


def test_who_does_not_answer_is_asked_no_more(lab: Lab) -> None:
    nobody = f"http://{lab.servers[0].address}:9/"
    assert len(lab.client.requests(nobody, 10, give_up=3)) == 3
    assert len(lab.client.requests(f"http://{lab.servers[0].address}/", 10, give_up=3)) == 10


def test_connections_are_held_until_all_are_answered(lab: Lab) -> None:
    """The director sees no FIN before the last answer."""
    with lab.director.capture("eth0") as seen:
        lab.client.requests(f"http://{lab.servers[0].address}/", 5, hold=True)
    sent = [ip[TCP] for ip in packets(seen) if TCP in ip and ip.src == CLIENT]
    # What was sent again, since an answer was late, counts once.
    order = dict.fromkeys((tcp.sport, str(tcp.flags)) for tcp in sent if tcp.flags.S or tcp.flags.F)
    assert [flags for _, flags in order] == ["S"] * 5 + ["FA"] * 5


def test_checksums_are_finished_by_the_stack_itself(namespaces: None) -> None:
    def whole(lab: Lab) -> list[bool]:
        with lab.servers[0].capture() as seen:
            lab.client.http(f"http://{lab.servers[0].address}/")
        sent = [Ether(captured.frame) for captured in seen if not captured.outgoing]
        # An answer to a FIN may come from no socket any more, and is whole in any case.
        asking = [frame for frame in sent if frame[TCP].flags.S or frame[TCP].payload]
        return [bytes(frame) == bytes(recomputed(bytes(frame))) for frame in asking]

    with Lab(ip_forward=True) as other:
        assert not any(whole(other)), "a veth pair leaves them unfinished"
        other.client.finish_checksums()
        assert all(whole(other))


def test_replies_from_the_server_itself_pass_the_director(lab: Lab) -> None:
    with lab.director.capture() as seen:
        lab.client.http(f"http://{lab.servers[2].address}/")
    sources = {IP(c.frame[14:]).src for c in seen if not c.outgoing}
    assert sources == {CLIENT, lab.servers[2].address}
    assert {c.interface for c in seen} == {"eth0", "eth1"}


def test_a_tunnelled_packet_is_unpacked_and_answered_past_the_director(lab: Lab) -> None:
    vip, server = lab.vips[Forwarding.TUN], lab.servers[0]
    inner = IP(src=CLIENT, dst=vip) / TCP(sport=41000, dport=80, flags="S", seq=7)
    outer = IP(src="10.1.0.1", dst=server.address, proto=4) / inner
    assert answers(lab, 41000, lambda: send(lab.director, server, bytes(outer))) == {(vip, "SA", 8)}


def test_a_routed_packet_for_the_vip_is_answered_past_the_director(lab: Lab) -> None:
    vip, server = lab.vips[Forwarding.DR], lab.servers[1]
    packet = IP(src=CLIENT, dst=vip) / TCP(sport=41001, dport=80, flags="S", seq=70)
    assert answers(lab, 41001, lambda: send(lab.director, server, bytes(packet))) == {(vip, "SA", 71)}


def test_damaged_packets_in_a_tunnel_go_nowhere(lab: Lab) -> None:
    if lab.tunnel != "decapsulator":
        pytest.skip("the kernel's own tunnel device does it here")
    vip, server = lab.vips[Forwarding.TUN], lab.servers[0]
    whole = bytes(IP(src=CLIENT, dst=vip) / TCP(sport=41002, dport=80, flags="S"))
    wrong_checksum, too_long, other_version = bytearray(whole), bytearray(whole), bytearray(whole)
    wrong_checksum[10] ^= 1
    too_long[2:4] = (2000).to_bytes(2, "big")
    other_version[0] = 0x65
    before = server.counters()["TcpInSegs"]

    def send_all() -> None:
        for inner in (wrong_checksum, too_long, other_version, whole[:12], b"", whole):
            send(lab.director, server, bytes(IP(src="10.1.0.1", dst=server.address, proto=4) / bytes(inner)))

    assert answers(lab, 41002, send_all) == {(vip, "SA", 1)}
    assert server.counters()["TcpInSegs"] == before + 1


def test_servers_say_nothing_of_the_vip(lab: Lab) -> None:
    """The same question is answered once the quieting is taken back: it is what keeps them quiet."""
    vip, asker, server = lab.vips[Forwarding.DR], lab.router, lab.servers[0]
    asker.shell(f"ip route add {vip}/32 dev eth1")
    try:
        assert neighbour(asker, vip, patience=1.0) is None
        server.shell("sysctl -qw net.ipv4.conf.eth0.arp_ignore=0")
        asker.shell("ip neigh flush dev eth1")
        assert neighbour(asker, vip, patience=PATIENCE) == topology.mac(server.address)
    finally:
        server.shell("sysctl -qw net.ipv4.conf.eth0.arp_ignore=1")
        asker.shell(f"ip route del {vip}/32 dev eth1; ip neigh flush dev eth1")


def test_a_wrong_checksum_is_counted(lab: Lab) -> None:
    server = lab.servers[0]
    before = server.counters()
    wrong = IP(src=CLIENT, dst=server.address) / TCP(sport=41003, dport=80, flags="S", chksum=1)
    send(lab.director, server, bytes(wrong))
    wait_for(lambda: server.counters()["TcpInCsumErrors"] == before["TcpInCsumErrors"] + 1)
    after = server.counters()
    assert {"TcpRetransSegs", "TcpOutRsts", "UdpInCsumErrors", "IpInHdrErrors"} < after.keys()


def test_an_engine_stands_where_the_director_stands(lab: Lab) -> None:
    server = lab.servers[0]
    with lab.director.capture("eth0") as seen:
        lab.client.http(f"http://{server.address}/")
    frame = Ether(next(c.frame for c in seen if Ether(c.frame)[IP].dst == server.address))
    frame[IP].dst = lab.vips[Forwarding.DR]
    del frame[IP].chksum  # scapy's sign for: compute it anew
    outcome = lab.engine([lab.service("dr", "rr", weights=(1,))]).process("eth0", bytes(frame))
    assert outcome.verdict is Verdict.FORWARD
    [(leg, sent)] = outcome.frames
    assert (leg, Ether(sent).dst) == ("eth1", topology.mac(server.address))


def test_the_vips_can_be_the_hosts_own(lab: Lab) -> None:
    with Lab(vips_on_host=True) as other:
        refused = other.client.http("http://10.0.0.81/")
        assert refused.error is not None
        assert "refused" in refused.error
        # The first lab, of the same addresses, is another world.
        assert lab.client.http(f"http://{lab.servers[0].address}/").ok


def test_what_fails_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"^client: `ip link show dev nowhere` failed \(1\): Device .nowhere"):
        lab.client.run("ip", "link", "show", "dev", "nowhere")
    with pytest.raises(LabError, match=r"longer than 0.3 s"):
        lab.client.run("sleep", "60", timeout=0.3)
    with pytest.raises(LabError, match=r"\(127\): no-such-program: No such file"):
        lab.client.run("no-such-program")


def test_closing_ends_everything(namespaces: None) -> None:
    lab = Lab()
    sleeper = lab.client.start("sleep", "600")
    assert alive(sleeper.pid)
    lab.close()
    assert sleeper.returncode == -signal.SIGKILL
    lab.close()


def test_nothing_outlives_a_program_that_is_killed(namespaces: None) -> None:
    script = textwrap.dedent("""\
        from fastlvs.lab import Lab
        lab = Lab()
        processes = [lab._sandbox._holder, *lab._sandbox._processes]
        print(*[process.pid for process in processes], flush=True)
        lab.client.run("sleep", "600", timeout=600)
        """)
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    inside = [int(pid) for pid in program.stdout.readline().split()]
    assert len(inside) >= 4
    assert all(map(alive, inside))
    program.kill()
    program.communicate(timeout=PATIENCE)
    wait_for(lambda: not any(map(alive, inside)))


def test_who_may_not_have_namespaces_is_told_what_would_permit_them(tmp_path: Path) -> None:
    """A user namespace in which no more are allowed, and no capabilities either."""
    script = (
        "echo 0 >/proc/sys/user/max_user_namespaces && "
        f'exec setpriv --bounding-set=-all {sys.executable} -c "import fastlvs.lab as l; l.Lab()"'
    )
    command = ["unshare", "-U", "--map-root-user", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert "CapabilityError" in done.stderr, done.stderr
    assert "`sysctl -w user.max_user_namespaces=10000`" in done.stderr


def test_services_become_a_file() -> None:
    servers = [RealServer("10.1.0.11:8080", weight=3), RealServer("10.1.0.12:80", forwarding="dr")]
    service = VirtualService("tcp", "10.0.0.81:80", "wrr", "nat", servers)
    parsed = tomllib.loads(director_toml([service, service], interfaces=["eth0", "eth1"]))
    assert parsed["director"] == {"interfaces": ["eth0", "eth1"]}
    assert (
        parsed["service"]
        == [
            {
                "protocol": "tcp",
                "address": "10.0.0.81:80",
                "scheduler": "wrr",
                "forwarding": "masquerading",
                "server": [
                    {"address": "10.1.0.11:8080", "weight": 3, "forwarding": "masquerading"},
                    {"address": "10.1.0.12:80", "weight": 1, "forwarding": "gatewaying"},
                ],
            }
        ]
        * 2
    )
    with pytest.raises(fastlvs.ConfigurationError, match="scheduler's name"):
        director_toml([VirtualService("tcp", "10.0.0.81:80", Chooser())])


class Chooser:
    """A scheduler that no file can name."""

    def select(self, flow: fastlvs.Flow, servers: fastlvs.Servers) -> int | None:
        return None


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of the director's program."""

    def replace(script: str) -> None:
        path = tmp_path / "program"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        monkeypatch.setattr(director_module, "director_program", lambda: str(path))

    return replace


def test_a_director_is_started_and_ended(lab: Lab, program: Callable[[str], None]) -> None:
    program(
        'trap "echo ended >&2; exit 0" TERM; cat "$1" >&2; ip -br link show dev eth1 >&2; '
        "echo fastlvs-run: ready: nothing at all; while :; do sleep 0.05; done"
    )
    with lab.run_director([lab.service("nat")]) as director:
        assert director.ready == "fastlvs-run: ready: nothing at all"
        assert director.running
        assert 'address = "10.0.0.81:80"' in director.log
        assert topology.mac("10.1.0.1") in director.log, "it runs on the director's host"
    assert not director.running


def test_a_director_that_is_not_ready_is_told(lab: Lab, program: Callable[[str], None]) -> None:
    program("echo no such interface >&2; exit 5")
    with pytest.raises(LabError, match="ended with status 5: no such interface"):
        lab.run_director([])
    program("sleep 60")
    with pytest.raises(LabError, match="is not ready: it said nothing"):
        lab.run_director([], timeout=0.3)


def test_a_director_has_to_end_well(lab: Lab, program: Callable[[str], None]) -> None:
    program('trap "exit 1" TERM; echo ready; while :; do sleep 0.05; done')
    with pytest.raises(LabError, match="ended with status 1"), lab.run_director([]):
        pass
    program('trap "" TERM; echo ready; while :; do sleep 0.05; done')
    director = lab.run_director([])
    with pytest.raises(LabError, match=r"did not end within 0.3 s"):
        director.stop(0.3)
    assert not director.running


def test_a_missing_director_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="fastlvs-run"):
        director_program()
    beside = tmp_path / "fastlvs-run"
    beside.write_text("")
    beside.chmod(0o755)
    assert director_program() == str(beside)


def send(sender: Host, neighbour: Host, packet: bytes) -> None:
    """Puts an IP packet on the servers' network, addressed to a neighbour's interface, as a director does."""
    frame = Ether(dst=topology.mac(neighbour.address), src=topology.mac("10.1.0.1"), type=0x0800) / packet
    script = (
        "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth1', 0)); "
        "s.send(bytes.fromhex(sys.argv[1]))"
    )
    sender.run(sys.executable, "-I", "-S", "-c", script, bytes(frame).hex())


def answers(lab: Lab, port: int, act: Callable[[], None]) -> set[tuple[str, str, int]]:
    """Who answers to the client's `port` after `act`: address, TCP flags, the sequence number that is
    acknowledged. The director must not see the answers."""
    ear = Remote(lab.client, EAR)
    with lab.director.capture() as passing, lab.client.capture() as seen:
        act()
        ear(f"hear({port})")
    ear.close()
    found = [ip for ip in packets(seen) if TCP in ip and ip[TCP].dport == port]
    assert not [ip for ip in packets(passing) if TCP in ip and ip[TCP].dport == port]
    return {(ip.src, str(ip[TCP].flags), ip[TCP].ack) for ip in found}


EAR = """
import socket
ear = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
ear.settimeout(30)
def hear(port):
    "Waits for a segment to this port, which no socket has."
    while int.from_bytes(ear.recv(2048)[22:24], "big") != port:
        pass
"""


def recomputed(frame: bytes) -> Any:
    """The frame with the TCP checksum that it should have."""
    packet = Ether(frame)
    del packet[TCP].chksum  # scapy's sign for: compute it anew
    return packet


def packets(seen: list[Captured]) -> list[Any]:
    return [IP(captured.frame[14:]) for captured in seen]


def neighbour(host: Host, address: str, patience: float) -> str | None:
    """The link-layer address that `host` hears for `address` within so many seconds."""
    script = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', (sys.argv[1], 9))"
    host.run(sys.executable, "-I", "-S", "-c", script, address)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        words = host.run("ip", "neigh", "show", address, "dev", "eth1").stdout.split()
        if "lladdr" in words:
            return words[words.index("lladdr") + 1]
        time.sleep(0.02)
    return None


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or before it was read
        return False
