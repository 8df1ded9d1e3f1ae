"""The reference names everything that there is, and nothing else."""

from __future__ import annotations

import argparse
import dataclasses
import re
import subprocess

import pytest

import api_page
import fastlvs
import fastlvs.lab
from fastlvs import _core, cli
from fastlvs.lab import director_program
from pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| (.+?) \|", re.M)

REASONS = dict(ROW.findall((REFERENCE / "drop-reasons.md").read_text()))


@pytest.mark.parametrize("reason", fastlvs.DropReason)
def test_drop_reasons_are_explained(reason: fastlvs.DropReason) -> None:
    assert REASONS.get(reason) == reason.about


def test_no_other_drop_reason_is_explained() -> None:
    assert set(REASONS) == set(_core.DROP_REASONS)


def test_every_name_of_the_package_is_on_its_page() -> None:
    """Classes and what they have. Run ``python tests/api_page.py`` to bring the page up to date."""
    written = api_page.PAGE.read_text()
    assert named(written) == named(api_page.page())
    for name in (*api_page.exported(api_page.PACKAGE), *api_page.exported(api_page.PACKAGE / "lab")):
        assert re.search(rf"^### `?{name}\b", written, re.M), name


def named(page: str) -> list[str]:
    """The headings, and each member without what is said about it."""
    return re.findall(r"^(?:#+ .+|- `[a-z_]+\(.*?\)(?: -> .+?)?`|- `[A-Za-z_]+: .+?`)", page, re.M)


@pytest.mark.parametrize(
    ("table", "kind", "only_here"),
    [
        ("[settings]", fastlvs.Settings, set()),
        ("[[service]]", fastlvs.VirtualService, {"mark", "ipv6"}),
        (
            "[[service]]\nprotocol='tcp'\naddress='192.0.2.1:80'\n[[service.server]]",
            fastlvs.RealServer,
            set(),
        ),
        ("[[mark]]", fastlvs.Mark, set()),
    ],
    ids=["settings", "service", "server", "mark"],
)
def test_files_say_what_python_says(table: str, kind: type, only_here: set[str]) -> None:
    """By the same names: an unknown key is answered with the known ones."""
    with pytest.raises(fastlvs.ConfigurationError) as caught:
        _core.Configuration.from_toml(f"{table}\nx = 1", "f")
    keys = set(caught.value.message.partition("expected one of ")[2].split(", "))
    names = {"server" if field.name == "servers" else field.name for field in dataclasses.fields(kind)}
    # In a file the address always tells whether a port was said.
    assert keys - only_here == names - {"own_port"}


@pytest.mark.parametrize("scheduler", _core.SCHEDULERS)
def test_schedulers_are_explained(scheduler: str) -> None:
    assert f"\n| `{scheduler}` |" in (ROOT / "docs/explanation/schedulers.md").read_text()
    for page in ("README.md", "docs/reference/configuration.md"):
        assert re.search(rf"\b{scheduler}\b", (ROOT / page).read_text()), page


@pytest.mark.parametrize("error", [fastlvs.FastlvsError, *fastlvs.FastlvsError.__subclasses__()])
def test_errors_have_their_exit_status(error: type[fastlvs.FastlvsError]) -> None:
    name = error.__name__ if error.__name__ in fastlvs.__all__ else f"lab.{error.__name__}"
    row = re.search(rf"^\| `{name}` \| `(\w+)` \| (\d) \|", (REFERENCE / "errors.md").read_text(), re.M)
    assert row is not None
    assert int(row[2]) == error.exit_code
    assert row[1] in {base.__name__ for base in error.__mro__[1:]}


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.__name__)
def test_commands_have_their_options(command: object) -> None:
    parsers = argparse.ArgumentParser().add_subparsers()
    command.add(parsers)  # type: ignore[attr-defined]
    text = (REFERENCE / "fastlvs.md").read_text()
    for name, parser in parsers.choices.items():
        _, found, section = text.partition(f"\n## fastlvs {name}\n")
        assert found, name
        section = section.partition("\n## ")[0]
        options = {option for action in parser._actions for option in action.option_strings}
        assert {option for option in options - {"-h", "--help"} if f"`{option}" not in section} == set()
        assert set(re.findall(r"--[a-z][a-z-]+", section)) - options <= ALSO.get(name, set())


ALSO = {"run": {"--rules", "--interface", "--capture"}}
"""Options that a section names to say that there are none."""


def test_the_program_has_its_options() -> None:
    help_text = subprocess.check_output([director_program(), "--help"], text=True, timeout=60)
    options = set(re.findall(r"--[a-z]+", help_text.partition("Options:")[2].partition("Examples:")[0]))
    page = (REFERENCE / "fastlvs-run.md").read_text()
    assert {option for option in options if f"`{option}" not in page} == set()
