"""A `director.toml` in Python: the services that it says are those that a program would write."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastlvs as lvs
from fastlvs.director import read_configuration
from fastlvs.lab import director_toml

FILE = """
[[service]]
protocol = "sctp"
address = "192.0.2.1:0"
scheduler = "mh"
flags = ["mh-port"]
persistence = 90
netmask = 24
timeouts = { sctp_established = 10 }
forwarding = "tun"

  [[service.server]]
  address = "2001:db8::11"
  tunnel = "gue"
  tunnel_port = 6080
  tunnel_flags = "csum"
  upper_threshold = 4
  lower_threshold = 2

[[service]]
mark = 7
ipv6 = true
one_packet = true

[[mark]]
mark = 7
destination = "2001:db8::/64"
protocol = "udp"
ports = "5000-5999"
"""

SERVICES = (
    lvs.VirtualService(
        "sctp",
        "192.0.2.1:0",
        "mh",
        "tun",
        [
            lvs.RealServer(
                "2001:db8::11",
                forwarding="tun",
                tunnel="gue",
                tunnel_port=6080,
                tunnel_flags="csum",
                upper_threshold=4,
                lower_threshold=2,
            )
        ],
        flags="mh-port",
        persistence=90,
        netmask="255.255.255.0",
        timeouts={"sctp_established": 10},
    ),
    lvs.VirtualService.of_mark(7, ipv6=True, one_packet=True),
)


def test_a_file_says_what_a_program_says(tmp_path: Path) -> None:
    file = tmp_path / "director.toml"
    file.write_text(FILE)
    _, services = read_configuration(file)
    assert services == SERVICES


def test_what_a_program_says_can_be_written_down(tmp_path: Path) -> None:
    file = tmp_path / "director.toml"
    mark = lvs.Mark(7, "2001:db8::/64", protocol="udp", ports=(5000, 5999), source="2001:db8:1::/48")
    file.write_text(director_toml(SERVICES, interfaces=["eth0"], marks=[mark]))
    _, services = read_configuration(file)
    assert services == SERVICES


BEFORE = [
    lvs.VirtualService(
        "tcp", f"192.0.2.{host}:80", "wrr", "nat", [lvs.RealServer("10.0.0.11:8080", weight=host)]
    )
    for host in (3, 5, 7)
]


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("", "", set()),
        ("[[service]]", "# another line\n[[service]]", set()),
        ("weight = 3", "weight = 4", {0}),
        ('scheduler = "wrr"', 'scheduler = "rr"', {0, 1, 2}),
    ],
)
def test_what_another_reading_says_in_the_same_words_is_the_same(
    tmp_path: Path, old: str, new: str, changed: set[int]
) -> None:
    file = tmp_path / "director.toml"
    text = director_toml(BEFORE, interfaces=["eth0"])
    assert old in text
    file.write_text(text)
    before = read_configuration(file)
    file.write_text(text.replace(old, new))
    after = read_configuration(file, before=before)
    assert after[1] == read_configuration(file)[1]
    places = {
        place for place, pair in enumerate(zip(before[1], after[1], strict=True)) if pair[0] is not pair[1]
    }
    assert places == changed


def test_services_that_change_places_are_known_again(tmp_path: Path) -> None:
    file = tmp_path / "director.toml"
    file.write_text(director_toml(BEFORE, interfaces=["eth0"]))
    before = read_configuration(file)
    file.write_text(
        director_toml([BEFORE[1], BEFORE[2].replace(scheduler="sh"), BEFORE[0]], interfaces=["eth0"])
    )
    _, after = read_configuration(file, before=before)
    assert (after[0], after[2]) == (before[1][1], before[1][0])
    assert after[0] is before[1][1]
    assert after[2] is before[1][0]
    assert after[1].scheduler == "sh"
