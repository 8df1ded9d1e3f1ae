"""What `pip install .` and `pip wheel .` call (PEP 517, PEP 660): maturin, with the program beside the module.

maturin builds `fastlvs._core`. `fastlvs-run` is a program of its own, which maturin takes from the data folder:
here cargo builds it first, in the target folder that maturin uses too, so that what both need is built once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import maturin
from maturin import build_sdist, prepare_metadata_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "fastlvs-run"
DATA = ROOT / "fastlvs._core.data"
"""Where maturin looks for more to install: the module's name, `.data`. It is there only during a build, so that
`maturin develop` never picks up an old program."""

Settings = dict[str, object] | None


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Builds the program, then the wheel that carries it."""
    with _program():
        return str(maturin.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Like `build_wheel`, with the Python sources left where they are."""
    with _program():
        return str(maturin.build_editable(wheel_directory, config_settings, metadata_directory))


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Nothing more than `pyproject.toml` says, but Rust, which is asked for here: before anything is built."""
    _require_rust()
    return []


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


@contextmanager
def _program() -> Iterator[None]:
    """The program, built and laid where maturin picks it up, for as long as the block lasts."""
    _require_rust()
    if (ROOT / "PKG-INFO").exists():
        # All files of a source distribution have one old date, by which cargo would take whatever a shared
        # CARGO_TARGET_DIR holds of this version for up to date.
        for source in (ROOT / "rust").rglob("*.rs"):
            source.touch()
    command = ["cargo", "build", "--release", "--locked", "--package", PROGRAM]
    messages = ["--message-format", "json-render-diagnostics"]
    built = subprocess.run([*command, *messages], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise SystemExit(f"fastlvs: `{' '.join(command)}` failed with exit status {built.returncode}")
    artifacts = (json.loads(line) for line in built.stdout.splitlines())
    # Cargo tells where it put it: CARGO_TARGET_DIR, a configured target folder or triple change that.
    paths = [path for path in (artifact.get("executable") for artifact in artifacts) if path]
    scripts = DATA / "scripts"
    try:
        scripts.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(path for path in paths if Path(path).name == PROGRAM), scripts)
        yield
    finally:
        shutil.rmtree(DATA, ignore_errors=True)


def _require_rust() -> None:
    """Ends the build, with what to do, where Rust is missing or too old for the workspace."""
    with (ROOT / "Cargo.toml").open("rb") as file:
        needed = tomllib.load(file)["workspace"]["package"]["rust-version"]
    advice = f"install Rust {needed} or later, from your distribution or with rustup"
    if not (shutil.which("cargo") and shutil.which("rustc")):
        raise SystemExit(f"fastlvs: cargo and rustc, which build it, are not in PATH: {advice}")
    said = subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    words = said.stdout.split()
    if said.returncode or len(words) < 2:
        raise SystemExit(f"fastlvs: `rustc --version` failed: {said.stderr.strip()}: {advice}")
    if _numbers(words[1]) < _numbers(needed):
        raise SystemExit(f"fastlvs: Rust {words[1]} is too old: {advice}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("-")[0].split(".")[:2])
