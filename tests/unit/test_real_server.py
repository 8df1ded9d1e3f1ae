"""What a real server is told to do, and the command line that prints it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from fastlvs import ConfigurationError
from fastlvs.cli import main
from fastlvs.real_server import Step, script, steps

RIP, VIP, ROUTER = "10.1.0.11", "192.0.2.10", "10.1.0.254"


def commands(todo: list[Step], *, undo: bool = False) -> list[str]:
    return [" ".join(step.undo if undo else step.command) for step in todo]


def test_nat_sends_replies_by_the_director() -> None:
    assert commands(steps("nat", rip=RIP, gateway="10.1.0.1", interface="ens3")) == [
        "ip route replace default via 10.1.0.1 dev ens3 table 5101",
        f"ip rule add from {RIP} lookup 5101",
    ]


def test_dr_takes_the_vip_and_keeps_quiet_about_it() -> None:
    quiet = [
        "sysctl -w net.ipv4.conf.eth0.arp_ignore=1",
        "sysctl -w net.ipv4.conf.eth0.arp_announce=2",
        f"ip address add {VIP}/32 dev lo",
    ]
    assert commands(steps("dr", rip=RIP, vip=VIP)) == quiet
    assert commands(steps("gate", rip=RIP, vip=VIP, gateway=ROUTER)) == [
        *quiet,
        f"ip route replace default via {ROUTER} table 5102",
        f"ip rule add from {VIP} lookup 5102",
    ]


def test_tun_unpacks_what_a_strict_filter_would_drop() -> None:
    assert commands(steps("tun", rip=RIP, vip=VIP)) == [
        "modprobe ipip",
        "ip link set tunl0 up",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
        "sysctl -w net.ipv4.conf.eth0.arp_ignore=1",
        "sysctl -w net.ipv4.conf.eth0.arp_announce=2",
        f"ip address add {VIP}/32 dev tunl0",
    ]


def test_ipv6_needs_no_quiet() -> None:
    rip, vip, router = "2001:db8:1::11", "2001:db8::10", "2001:db8:1::fe"
    address = f"ip address add {vip}/128 dev lo nodad"
    assert commands(steps("nat", rip=rip, gateway=router)) == [
        f"ip -6 route replace default via {router} dev eth0 table 5101",
        f"ip -6 rule add from {rip} lookup 5101",
    ]
    assert commands(steps("dr", rip=rip, vip=vip, gateway=router)) == [
        address,
        f"ip -6 route replace default via {router} table 5102",
        f"ip -6 rule add from {vip} lookup 5102",
    ]
    assert commands(steps("dr", rip=rip, vip=vip), undo=True) == [f"ip address del {vip}/128 dev lo"]


def test_a_tunnel_may_carry_another_family() -> None:
    rip, vip = "2001:db8:1::11", "2001:db8::10"
    made = [
        f"ip link add fastlvs0 type ip6tnl mode any local {rip}",
        "ip link set fastlvs0 up",
    ]
    own = f"ip address add {vip}/128 dev lo nodad"
    assert commands(steps("tun", rip=rip, vip=vip)) == [*made, own]
    assert commands(steps("tun", rip=RIP, vip=vip)) == ["modprobe sit", "ip link set sit0 up", own]
    assert commands(steps("tun", rip=rip, vip=VIP)) == [
        *made,
        "sysctl -w net.ipv4.conf.fastlvs0.rp_filter=2",
        "sysctl -w net.ipv4.conf.eth0.arp_ignore=1",
        "sysctl -w net.ipv4.conf.eth0.arp_announce=2",
        f"ip address add {VIP}/32 dev fastlvs0",
    ]


def test_undo_goes_backwards() -> None:
    text = script(steps("dr", rip=RIP, vip=VIP, gateway=ROUTER), undo=True)
    assert [line for line in text.splitlines()[2:] if line and line[0] != "#"] == [
        f"ip rule del from {VIP} lookup 5102",
        f"ip route del default via {ROUTER} table 5102",
        f"ip address del {VIP}/32 dev lo",
        "sysctl -w net.ipv4.conf.eth0.arp_announce=0",
        "sysctl -w net.ipv4.conf.eth0.arp_ignore=0",
    ]


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
def test_the_script_is_one_that_sh_reads(method: str, undo: bool) -> None:
    todo = steps(method, rip=RIP, vip=VIP, gateway=ROUTER)
    text = script(todo, undo=undo)
    done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line[:2] in ("# ", "#!") or line.split()[0] in ("set", "ip", "sysctl", "modprobe")
               for line in text.splitlines() if line)  # fmt: skip
    assert text.count("\n# ") >= len(todo), "each command has its reason"


@pytest.mark.parametrize(
    ("method", "addresses", "field"),
    [
        ("nat", {"rip": RIP}, "gateway"),
        ("dr", {"rip": RIP}, "vip"),
        ("tun", {"rip": RIP}, "vip"),
        ("dr", {"rip": RIP, "vip": "2001:db8::1"}, "vip"),
        ("dr", {"rip": RIP, "vip": VIP, "gateway": "2001:db8::1"}, "gateway"),
        ("tun", {"rip": RIP, "vip": "2001:db8::1", "gateway": ROUTER}, "gateway"),
        ("nat", {"rip": "2001:db8::1", "gateway": ROUTER}, "gateway"),
        ("dr", {"rip": "ten", "vip": VIP}, "rip"),
    ],
)
def test_a_wrong_address_is_named(method: str, addresses: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        steps(method, **addresses)
    assert caught.value.field == field


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["real-server", "dr", "--rip", RIP, "--vip", VIP]) == 0
    assert capsys.readouterr().out == script(steps("dr", rip=RIP, vip=VIP))
    assert main(["real-server", "dr", "--rip", RIP, "--vip", VIP, "--undo"]) == 0
    assert capsys.readouterr().out == script(steps("dr", rip=RIP, vip=VIP), undo=True)


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["real-server", "nat", "--rip", RIP]) == 3
    assert capsys.readouterr().err == "fastlvs: gateway: NAT needs the director's address on this network\n"
    with pytest.raises(SystemExit) as ended:
        main(["real-server", "masq", "--rip", RIP])
    assert ended.value.code == 2
