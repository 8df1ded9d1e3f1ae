"""What is installed is whole, and building it without Rust says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def test_the_program_and_the_lab_come_with_the_package() -> None:
    installed = distribution("fastlvs")
    if json.loads(installed.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
        pytest.skip("installed in place, by `maturin develop` or `pip install -e`")
    files = {path.name: Path(str(path.locate())).resolve() for path in installed.files or ()}
    assert files["fastlvs-run"].parent == files["fastlvs"].parent
    said = subprocess.check_output([files["fastlvs-run"], "--version"], text=True, timeout=60)
    assert said == f"fastlvs-run {installed.version}\n"
    programs = {path.name for path in (ROOT / "python/fastlvs/lab/programs").glob("*.py")}
    assert programs <= set(files)


# What `rustc --version` prints where both programs are there, what the build has to say.
RUST = {
    "missing": (None, "not in PATH"),
    "old": ("rustc 1.85.1 (4eb161250 2025-03-15)", "Rust 1.85.1 is too old"),
    "strange": ("", "`rustc --version` failed"),
    "the oldest": ("rustc 1.88.0 (6b00bc388 2025-06-23)", None),
    "nightly": ("rustc 1.97.0-nightly (0123456 2026-05-05)", None),
    "next": ("rustc 2.0.0", None),
}


@pytest.mark.parametrize(("version", "said"), RUST.values(), ids=RUST.keys())
def test_building_needs_rust(version: str | None, said: str | None, tmp_path: Path) -> None:
    pytest.importorskip("maturin", reason="maturin, which builds the package, is not installed here")
    if version is not None:
        for name in ("cargo", "rustc"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho '{version}'\n")
            (tmp_path / name).chmod(0o755)
    ask = "import build_backend; print(build_backend.get_requires_for_build_wheel())"
    done = subprocess.run(
        [sys.executable, "-B", "-c", ask],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "packaging")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if said is None:
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    else:
        assert done.returncode == 1
        assert said in done.stderr
        assert "install Rust 1.88 or later" in done.stderr
        assert "Traceback" not in done.stderr
