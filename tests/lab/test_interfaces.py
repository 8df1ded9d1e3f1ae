"""Interfaces that go and come back while a director serves them: it says so, and serves again."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastlvs.lab import Lab, director_program, director_toml, topology
from fastlvs.lab.director import DirectorProcess
from fastlvs.server import RealServer
from fastlvs.service import VirtualService
from remote import Remote
from waiting import PATIENCE, wait_for

GONE = "interface eth1 is gone"
BACK = "interface eth1 is there again, and is served"

OTHER_MAC = "02:00:0a:01:00:77"


@pytest.fixture
def lab(namespaces: None) -> Iterator[Lab]:
    """One of its own for each test: what becomes of its interfaces is lasting."""
    with Lab(ip_forward=True, ipv6=True) as made:
        yield made


def switch(lab: Lab, script: str) -> None:
    lab._sandbox.run(["sh", "-euc", script])


def unplug(lab: Lab, name: str = "eth1") -> None:
    lab.director.shell(f"ip link del {name}")


def plug(lab: Lab, name: str = "eth1", *, mac: str = "", options: str = "") -> None:
    """The interface as the lab made it, which is not up yet."""
    network = {"eth0": "outside", "eth1": "inside"}[name]
    mac = mac or topology.mac(lab.director.interfaces[name])
    peer = f"director-{name}"
    switch(
        lab,
        f"ip link add {name} netns director address {mac} {options} type veth peer name {peer} netns "
        f"{topology.SWITCH}; ip -n {topology.SWITCH} link set {peer} master {network} up",
    )


def number(lab: Lab) -> int:
    return int(json.loads(lab.director.run("ip", "-j", "link", "show", "eth1").stdout)[0]["ifindex"])


def configure(lab: Lab, name: str = "eth1", *, ipv4: bool = True) -> None:
    address = lab.director.interfaces[name]
    lines = [f"sysctl -qw net.ipv6.conf.{name}.dad_transmits=0 net.ipv6.conf.{name}.disable_ipv6=0"]
    lines += [f"ip address add {topology.ipv6(address)}/64 dev {name} nodad"]
    lines += [f"ip address add {address}/24 dev {name}"] if ipv4 else []
    lab.director.shell("\n".join(["set -eu", *lines, f"ip link set {name} up"]))


def served(lab: Lab, service: VirtualService) -> bool:
    """Whether six requests are answered by all three servers."""
    answers = lab.client.requests(lab.url(service), 6, give_up=1, timeout=2)
    return {answer.server for answer in answers if answer.ok} == {"server1", "server2", "server3"}


def serves(lab: Lab, service: VirtualService) -> Callable[[], bool]:
    return lambda: served(lab, service)


def says(director: DirectorProcess, text: str, times: int = 1) -> Callable[[], bool]:
    return lambda: director.log.count(text) >= times


def busy(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(lab: Lab, *services: VirtualService) -> Iterator[DirectorProcess]:
    """A director that serves, and that ends well, without a panic on any thread."""
    with lab.run_director(services, interfaces=["eth0", "eth1"]) as director:
        assert served(lab, services[0])
        yield director
        log = director.log
    assert "panic" not in log, log


@pytest.mark.parametrize("forwarding", ["nat", "dr", "tun"])
def test_one_that_is_made_again_is_served_again(lab: Lab, forwarding: str) -> None:
    service = lab.service(forwarding)
    with running(lab, service) as director:
        for times in (1, 2):
            unplug(lab)
            wait_for(says(director, GONE, times))
            assert not served(lab, service)
            plug(lab)
            configure(lab)
            wait_for(says(director, BACK, times))
            wait_for(serves(lab, service))


def test_all_of_them_go_and_nobody_is_busy_meanwhile(lab: Lab) -> None:
    service = lab.service("nat")
    with running(lab, service) as director:
        unplug(lab, "eth0")
        unplug(lab, "eth1")
        wait_for(says(director, GONE))
        wait_for(says(director, "interface eth0 is gone"))
        before = busy(director.pid)
        time.sleep(2)
        assert busy(director.pid) - before < 0.5
        assert director.running
        for name in ("eth1", "eth0"):
            plug(lab, name)
            configure(lab, name)
        wait_for(serves(lab, service))
        assert director.log.count("is there again, and is served") == 2


def test_one_that_comes_back_as_another(lab: Lab) -> None:
    """With another link-layer address, another number and, for now, IPv6 alone."""
    service, second = lab.service("nat"), lab.service("nat", ipv6=True)
    with running(lab, service, second) as director:
        unplug(lab)
        wait_for(says(director, GONE))
        plug(lab, mac=OTHER_MAC, options="index 4321")
        configure(lab, ipv4=False)
        wait_for(serves(lab, second))
        assert not served(lab, service)
        lab.director.shell("ip address add 10.1.0.1/24 dev eth1")
        wait_for(serves(lab, service))


def test_one_that_leaves_for_a_moment_and_keeps_its_number(lab: Lab) -> None:
    """The kernel's lists are the same before and after, but the rings are dead."""
    service = lab.service("nat")
    with running(lab, service) as director:
        before = number(lab)
        switch(
            lab,
            "ip -n director link set eth1 netns client; ip -n client link set eth1 netns director",
        )
        configure(lab)
        assert number(lab) == before
        wait_for(says(director, BACK))
        wait_for(serves(lab, service))


def test_one_that_goes_down_and_up(lab: Lab) -> None:
    service = lab.service("nat")
    with running(lab, service) as director:
        lab.director.shell("ip link set eth1 down")
        wait_for(says(director, "interface eth1 is down"))
        assert not served(lab, service)
        lab.director.shell("ip link set eth1 up")
        wait_for(says(director, BACK))
        wait_for(serves(lab, service))


def test_names_count_not_numbers(lab: Lab) -> None:
    """One that has another name is not served any more, and one that has its name by then is."""
    service = lab.service("nat")
    with running(lab, service) as director:
        lab.director.shell("ip link set eth1 down; ip link set eth1 name lan; ip link set lan up")
        wait_for(says(director, GONE))
        assert not served(lab, service)
        lab.director.shell("ip link set lan down; ip link set lan name eth1; ip link set eth1 up")
        wait_for(says(director, BACK))
        wait_for(serves(lab, service))


def test_one_that_is_no_ethernet_any_more(lab: Lab) -> None:
    service = lab.service("nat")
    with running(lab, service) as director:
        unplug(lab)
        lab.director.shell("ip tuntap add eth1 mode tun; ip link set eth1 up")
        wait_for(says(director, "interface eth1 is no Ethernet interface any more"))
        lab.director.shell("ip link del eth1")
        plug(lab)
        configure(lab)
        wait_for(serves(lab, service))


def test_its_vips_are_announced_again(lab: Lab) -> None:
    """Clients learn the new link-layer address at once, by IPv4 and IPv6."""
    service, second = lab.service("nat"), lab.service("nat", ipv6=True)
    with running(lab, service, second) as director:
        assert served(lab, second)
        unplug(lab, "eth0")
        wait_for(says(director, "interface eth0 is gone"))
        plug(lab, "eth0", mac=OTHER_MAC)
        configure(lab, "eth0")

        def known(service: VirtualService) -> bool:
            vip = service.address.address
            return OTHER_MAC in lab.client.run("ip", "neigh", "show", str(vip)).stdout

        wait_for(lambda: known(service) and known(second))
        lab.client.shell("ip neigh replace 10.0.0.1 lladdr " + OTHER_MAC + " dev eth0")
        wait_for(serves(lab, service))
        wait_for(serves(lab, second))


def test_the_kernel_is_kept_away_again(lab: Lab) -> None:
    """The rules are bound to what there is now: no client meets a reset of the host's."""
    service = lab.service("nat")
    with running(lab, service) as director:
        lab.director.shell("ip address add 10.0.0.81/32 dev lo")  # the kernel would reset
        wait_for(serves(lab, service))
        before = lab.director.counters()["TcpOutRsts"]
        for name in ("eth0", "eth1"):
            unplug(lab, name)
            wait_for(says(director, f"interface {name} is gone"))
            if name == "eth0":
                # Rules are made anew meanwhile, without the one that is away.
                lab.director.run("nft", "flush", "ruleset")
                wait_for(lambda: "fastlvs" in lab.director.run("nft", "list", "tables").stdout)
            plug(lab, name)
            configure(lab, name)
            wait_for(says(director, f"interface {name} is there again, and is served"))
            wait_for(serves(lab, service))
        rules = lab.director.run("nft", "list", "ruleset").stdout
        assert re.search(r'hook ingress devices = \{ "?eth0"?, "?eth1"? \}', rules), rules
        assert lab.director.counters()["TcpOutRsts"] == before


def test_a_server_on_this_host_is_translated_again(lab: Lab) -> None:
    """What it answers is moved by the number of the interface that it leaves by."""
    lab.director.start_program("web.py", "serve", "director", "8080")
    service = lab.service("nat").with_servers([RealServer("10.1.0.1:8080")])

    def answers() -> bool:
        return lab.client.http(lab.url(service), timeout=2).server == "director"

    with lab.run_director([service], interfaces=["eth0", "eth1"]) as director:
        assert answers()
        unplug(lab, "eth0")
        wait_for(says(director, "interface eth0 is gone"))
        plug(lab, "eth0")
        configure(lab, "eth0")
        wait_for(answers)


def test_a_reload_meanwhile_is_not_called_good(lab: Lab, tmp_path: Path) -> None:
    """Nor is the status that the service manager has."""
    service = lab.service("nat")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE)
    degraded = "1 service, 3 real servers on eth0 eth1; degraded: interface eth1 is gone"

    def status() -> str:
        while True:
            for line in manager.recv(4096).decode().splitlines():
                if line.startswith("STATUS="):
                    return line.removeprefix("STATUS=")

    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    file, log = tmp_path / "director.toml", tmp_path / "log"
    file.write_text(director_toml([service], interfaces=["eth0", "eth1"]))
    with manager, log.open("w") as written:
        process = lab.director.start(director_program(), str(file), stderr=written, env=environment)
        try:
            assert status() == "1 service, 3 real servers on eth0 eth1"
            unplug(lab)
            assert status() == degraded
            process.send_signal(1)
            assert status() == degraded
            assert re.search(rf"WARN reloaded {file}: {re.escape(degraded)}", log.read_text())
            plug(lab)
            configure(lab)
            while status() != "1 service, 3 real servers on eth0 eth1":
                pass
            process.send_signal(1)
            wait_for(lambda: re.search(r"INFO reloaded .*: 1 service, 3 real servers\n", log.read_text()))
            file.write_text(director_toml([service], interfaces=["eth0", "eth9"]))
            process.send_signal(1)
            wait_for(
                lambda: "eth0 eth1 are served on, not eth0 eth9: that takes a restart" in log.read_text()
            )
            unplug(lab)
            assert process.poll() is None
            process.terminate()
            assert process.wait(PATIENCE) == 0
            again = lab.director.run(director_program(), str(file), check=False)
            assert (again.returncode, "interface eth9: there is none" in again.stderr) == (5, True)
        finally:
            process.kill()
            process.wait(PATIENCE)


def test_python_names_what_is_missing(lab: Lab) -> None:
    remote = Remote(
        lab.director,
        "import fastlvs as lvs\n"
        "web = lvs.VirtualService('tcp', '10.0.0.81:80', 'rr', 'nat', [lvs.RealServer('10.1.0.11:8080')])\n"
        "director = lvs.Director(['eth0', 'eth1'], [web])",
    )
    assert remote("director.missing_interfaces") == {}
    unplug(lab)
    wait_for(lambda: remote("director.missing_interfaces") == {"eth1": "is gone"})
    assert remote("director.interfaces") == ["eth0", "eth1"]
    plug(lab)
    wait_for(lambda: remote("director.missing_interfaces") == {"eth1": "is down"})
    configure(lab)
    wait_for(lambda: remote("director.missing_interfaces") == {})
    wait_for(lambda: lab.client.http("http://10.0.0.81/", timeout=2).ok)
    remote("director.stop()")
    assert remote.close() == 0
