"""The program ``fastlvs-run`` on a host: what it tells, how it reloads, how it ends, what it leaves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from scapy.layers.inet import TCP
from scapy.utils import rdpcap

from fastlvs import VirtualService
from fastlvs.lab import Lab, director_program, director_toml
from fastlvs.lab.sandbox import first_line
from remote import Remote
from waiting import PATIENCE, wait_for


def test_a_reload_changes_servers_and_a_bad_one_changes_nothing(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    one = service.with_servers(service.servers[:1])
    with lab.run_director([one]) as director:
        assert who(lab, service) == {"server1"}
        director.reload(director_toml([service]))
        wait_for(lambda: "reloaded" in director.log)
        assert who(lab, service) == {"server1", "server2", "server3"}
        director.reload(director_toml([one]) + "[nonsense]\n")
        wait_for(lambda: "reload refused" in director.log)
        assert re.search(r"director\.toml:\d+: nonsense: unknown key", director.log)
        assert who(lab, service) == {"server1", "server2", "server3"}


def test_rules_from_standard_input_are_served(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    rules = f"-A -t {service.address} -s rr\n" + "".join(
        f"-a -t {service.address} -r {server.address} -m -w 1\n" for server in service.servers[1:]
    )
    with program(lab, "--rules", "-", "--interface", "eth0", "--interface", "eth1", input=rules) as (
        process,
        ready,
    ):
        assert ready == "fastlvs-run: ready: 1 service, 2 real servers on eth0 eth1"
        assert who(lab, service) == {"server2", "server3"}
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert "cannot be read again" in process.stderr.read()


def test_a_service_manager_is_told(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "director.toml"
    file.write_text(director_toml([lab.service("nat")]))
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE)
    with manager, program(lab, str(file), environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as started:
        process, _ = started
        assert manager.recv(999).splitlines()[0] == b"READY=1"
        process.send_signal(signal.SIGHUP)
        reloading = manager.recv(999).splitlines()
        assert reloading[0] == b"RELOADING=1"
        assert reloading[1].startswith(b"MONOTONIC_USEC=")
        assert manager.recv(999).splitlines()[0] == b"READY=1"
        process.terminate()
        assert manager.recv(999).splitlines()[0] == b"STOPPING=1"
        assert process.wait(PATIENCE) == 0


def test_what_passes_is_captured(lab: Lab, tmp_path: Path) -> None:
    service = lab.service("nat", "rr")
    file, capture = tmp_path / "director.toml", tmp_path / "all.pcap"
    file.write_text(director_toml([service]))
    with program(lab, "--capture", str(capture), str(file)) as (process, _):
        assert lab.client.http(lab.url(service)).ok
        process.terminate()
        assert process.wait(PATIENCE) == 0
    starts = [p for p in rdpcap(str(capture)) if TCP in p and p[TCP].flags == "S"]
    # As the client sent it, as the server gets it; each as often as the client had to send it.
    ports = Counter(p[TCP].dport for p in starts)
    assert list(ports) == [80, 8080]
    assert ports[80] == ports[8080]
    assert all(abs(float(p.time) - time.time()) < 60 for p in starts)


def test_a_killed_director_leaves_a_table_that_the_next_one_removes(lab: Lab) -> None:
    service = lab.service("nat", "rr")
    director = lab.run_director([service])
    assert len(tables(lab)) == 1
    director.kill()
    left = tables(lab)
    assert len(left) == 1
    with lab.run_director([service]) as director:
        assert left[0] in director.log
        assert len(tables(lab)) == 1
        assert tables(lab) != left
        assert lab.client.http(lab.url(service)).ok
    assert tables(lab) == []


HELD = """
import socket
def ask(vip, what):
    s = socket.create_connection((vip, 80), timeout=30)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    s.sendall(f"GET {what} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    s.recv(1000)
    return s
def end(s, seconds, request=b""):
    # How it ends after at most so many seconds.
    s.settimeout(seconds)
    try:
        s.sendall(request)
        while s.recv(65536):
            pass
    except OSError as error:
        return type(error).__name__
    return "closed"
"""


@pytest.mark.parametrize("forwarding", ["nat", "dr", "tun"])
def test_clients_of_a_killed_director(lab: Lab, forwarding: str) -> None:
    """As the pages say: who sends is reset by the next director, who waits for a masqueraded server is not."""
    service = lab.service(forwarding)
    client = Remote(lab.client, HELD)
    director = lab.run_director([service])
    vip = str(service.address.address)
    client(f"idle, busy = ask({vip!r}, '/'), ask({vip!r}, '/bytes/1000000000')")
    director.kill()
    assert client("end(busy, 1)") == "TimeoutError"  # it has read what there was, and tells nobody any more
    with lab.run_director([service]):
        assert client("end(idle, 30, b'GET / HTTP/1.1\\r\\n')") == "ConnectionResetError"
        waits = forwarding == "nat"
        expected = "TimeoutError" if waits else "ConnectionResetError"
        assert client(f"end(busy, {3 if waits else 30})") == expected
    assert client.close() == 0


def test_without_capabilities_it_says_what_is_missing(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "director.toml"
    file.write_text(director_toml([lab.service("nat")]))
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
    ended = lab.director.run(*bare, director_program(), str(file), check=False)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "cap_net_admin" in ended.stderr.lower()
    checked = lab.director.run(*bare, director_program(), "--check", str(file), check=False)
    assert (checked.returncode, checked.stdout) == (0, f"{file}: 1 service, 3 real servers: good\n")


@pytest.mark.parametrize("name", ["lo", "nothing"])
def test_an_interface_that_cannot_be_served_is_named(lab: Lab, tmp_path: Path, name: str) -> None:
    file = tmp_path / "director.toml"
    file.write_text(director_toml([lab.service("nat")], interfaces=[name]))
    ended = lab.director.run(director_program(), str(file), check=False)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert f"interface {name}: " in ended.stderr
    assert tables(lab) == []


@pytest.mark.parametrize("where", ["full disk", "no reader", "nobody reads"])
def test_a_log_that_cannot_be_written_ends_nothing(lab: Lab, tmp_path: Path, where: str) -> None:
    service = lab.service("nat", "rr")
    file = tmp_path / "director.toml"
    file.write_text(director_toml([service]))
    reader, writer = os.pipe()
    if where == "nobody reads":
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
    stderr = os.open("/dev/full", os.O_WRONLY) if where == "full disk" else writer
    process = lab.director.start(director_program(), str(file), stdout=PIPE, stderr=stderr)
    try:
        assert first_line(process, PATIENCE).startswith("fastlvs-run: ready")
        os.close(writer)
        if where == "no reader":
            os.close(reader)
        one = service.with_servers(service.servers[:1])

        def served_by(servers: set[str]) -> Callable[[], bool]:
            return lambda: who(lab, service) == servers

        for services, servers in [([one], {"server1"}), ([service], {"server1", "server2", "server3"})] * 2:
            file.write_text(director_toml(services))
            process.send_signal(signal.SIGHUP)  # logged
            wait_for(served_by(servers))
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert tables(lab) == []
    finally:
        process.kill()
        process.wait(PATIENCE)


@contextmanager
def program(
    lab: Lab, *arguments: str, input: str = "", environment: dict[str, str] | None = None
) -> Iterator[tuple[Popen[str], str]]:
    """A ``fastlvs-run`` that is ready, and its line that says so."""
    settings = [f"{name}={value}" for name, value in (environment or {}).items()]
    command = ("env", *settings, director_program(), *arguments)
    process = lab.director.start(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(input)
        process.stdin.close()
        yield process, first_line(process, PATIENCE)
    finally:
        process.kill()
        process.wait(PATIENCE)


def who(lab: Lab, service: VirtualService) -> set[str | None]:
    """Who answers six requests."""
    answers = lab.client.requests(lab.url(service), 6)
    assert all(answer.ok for answer in answers), answers
    return {answer.server for answer in answers}


def tables(lab: Lab) -> list[str]:
    """The director's tables on its host."""
    return re.findall(r"table netdev (fastlvs-\d+)", lab.director.shell("nft list tables"))
