"""The director program between real TCP/IP stacks: every method, with and without offloads, big and many."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from fastlvs import Forwarding, RealServer, VirtualService
from fastlvs.lab import Lab, content
from fastlvs.lab.host import Host
from fastlvs.lab.sandbox import first_line
from waiting import PATIENCE, end, wait_for

SIZE = 20_000_000
DIGEST = hashlib.sha256(content(SIZE)).hexdigest()
METHODS = ("nat", "dr", "tun")
ERRORS = ("TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "IpInHdrErrors")


@pytest.fixture(scope="module", params=["offloads", "no offloads"])
def lab(request: pytest.FixtureRequest, namespaces: None) -> Iterator[Lab]:
    """A lab whose director cuts aggregates in hardware's stead, or whose kernel has to."""
    with Lab() as made:
        if request.param == "no offloads":
            for interface in made.director.interfaces:
                made.director.run("ethtool", "-K", interface, "tso", "off", "gso", "off")
        yield made


@pytest.mark.parametrize("method", METHODS)
def test_contents_arrive_whole_both_ways(lab: Lab, method: str) -> None:
    service = lab.service(method, "rr")
    with no_errors(lab), lab.run_director([service]):
        down = lab.client.http(lab.url(service, f"/bytes/{SIZE}"))
        assert (down.error, down.digest) == (None, DIGEST)
        up = lab.client.http(lab.url(service), upload=SIZE)
        assert (up.error, up.body) == (None, DIGEST)


@pytest.mark.parametrize("method", METHODS)
def test_all_of_many_requests_at_once_are_answered(lab: Lab, method: str) -> None:
    service = lab.service(method, "wlc")
    with no_errors(lab), lab.run_director([service]):
        said = lab.client.run("ab", "-q", "-n", "1000", "-c", "50", lab.url(service), timeout=120).stdout
    figures = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    assert figures["Complete requests"].strip() == "1000"
    assert figures["Failed requests"].strip() == "0"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_stream_is_not_reset(lab: Lab, direction: str) -> None:
    """iperf3 opens two connections to one port, so there is one server."""
    server = lab.servers[0]
    service = VirtualService("tcp", "10.0.0.81:5201", "rr", "nat", [RealServer((server.address, 5201))])
    listener = server.start("iperf3", "-s", "-p", "5201", stdout=DEVNULL)
    reverse = ["-R"] if direction == "down" else []
    try:
        wait_for(lambda: server.run("ss", "-Hltn", "sport = 5201").stdout)
        with no_errors(lab), lab.run_director([service]):
            said = lab.client.run("iperf3", "-c", "10.0.0.81", "-t", "2", "-J", *reverse, timeout=60).stdout
        result = json.loads(said)
        assert "error" not in result
        assert result["end"]["sum_received"]["seconds"] > 1.9
    finally:
        end(listener)


@pytest.mark.parametrize("method", METHODS)
def test_datagrams_are_balanced_and_answered(lab: Lab, method: str) -> None:
    port = 8080 if method == "nat" else 5300
    echoes = [start_echo(server, server.name, port) for server in lab.servers]
    service = lab.service(method, "rr", protocol="udp", port=5300)
    try:
        with no_errors(lab), lab.run_director([service]):
            vip = lab.vips[Forwarding(method)]
            said = lab.client.run("python3", "-I", "-S", "-c", ASK, vip, "5300", "9").stdout.split()
        assert sorted(said) == [s.name for s in lab.servers for _ in range(3)]
    finally:
        end(*echoes)


@pytest.mark.parametrize("method", METHODS)
def test_checksums_are_right_on_the_wire(method: str, namespaces: None, tmp_path: Path) -> None:
    """The endpoints finish their checksums themselves, so that tshark can judge every frame."""
    size = 2_000_000
    with Lab() as lab:
        for host in (lab.client, *lab.servers):
            host.run("ethtool", "-K", "eth0", "tx", "off")
        service = lab.service(method, "rr", weights=(1,))
        with lab.run_director([service]):
            files = {host.name: tmp_path / f"{host.name}.pcap" for host in (lab.client, lab.servers[0])}
            taps = [tap(host, files[host.name]) for host in (lab.client, lab.servers[0])]
            assert lab.client.http(lab.url(service, f"/bytes/{size}")).size == size
            assert lab.client.http(lab.url(service), upload=size).ok
            for process in taps:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=PATIENCE)
    for file in files.values():
        wrong = "tcp.checksum.status == 0 || ip.checksum.status == 0"
        assert judge(file, "tcp.checksum.status == 1 && ip.checksum.status == 1") > 100
        assert judge(file, wrong) == 0


def tap(host: Host, file: Path) -> Popen[str]:
    """Writes down what passes a host's first interface."""
    command = [
        "tcpdump",
        "-i",
        "eth0",
        "-U",
        "-w",
        str(file),
        "-Z",
        "root",
        "--immediate-mode",
        "tcp or proto 4",
    ]
    if os.geteuid() != 0:
        command[command.index("-Z") : command.index("-Z") + 2] = []
    process = host.start(*command, stderr=PIPE)
    assert process.stderr is not None
    assert "listening on" in process.stderr.readline()
    return process


def judge(file: Path, question: str) -> int:
    """How many frames of a capture answer to a display filter of tshark."""
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command = ["tshark", "-r", str(file), *checks, "-Y", question, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return len(done.stdout.split())


@contextmanager
def no_errors(lab: Lab) -> Iterator[None]:
    """No host sees a wrong checksum or header, and the director's host resets nothing.

    Endpoints may: one that closed with data unread does, and one whose peer repeats its FIN too late.
    """
    before = {host.name: host.counters() for host in lab.hosts}
    yield
    after = {host.name: host.counters() for host in lab.hosts}
    watched = [(host, name) for host in after for name in ERRORS] + [("director", "TcpOutRsts")]
    grown = {(host, name): after[host][name] - before[host][name] for host, name in watched}
    assert not any(grown.values()), grown


ECHO = """
import socket, sys
IP_PKTINFO = 8
with socket.socket(type=socket.SOCK_DGRAM) as echo:
    echo.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    echo.bind(("", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        _, ancillary, _, asker = echo.recvmsg(2048, 64)
        # Answers from the address that was asked: the VIP, with DR and TUN.
        pktinfo = bytes(4) + ancillary[0][2][8:12] + bytes(4)
        echo.sendmsg([sys.argv[1].encode()], [(socket.IPPROTO_IP, IP_PKTINFO, pktinfo)], 0, asker)
"""

ASK = """
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.settimeout(30)
        asker.connect((sys.argv[1], int(sys.argv[2])))
        asker.send(b"who?")
        print(asker.recv(2048).decode())
"""


def start_echo(server: Host, name: str, port: int) -> Popen[str]:
    """Answers every datagram with the server's name."""
    process = server.start("python3", "-I", "-S", "-c", ECHO, name, str(port), stdout=PIPE)
    assert first_line(process, PATIENCE) == "ready"
    return process
