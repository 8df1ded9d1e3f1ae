"""Links between the pages lead somewhere, and so do the commands that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import PAGES, ROOT, all_blocks, anchors, name, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
LAYOUT = (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}: no such heading"


def test_every_page_is_reached() -> None:
    """From the README, by links."""
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        paths = (link.partition("#")[0] for link in LINK.findall(prose(page)) if "://" not in link)
        ahead += [(page.parent / path).resolve() for path in paths if path]
    missed = {name(page) for page in PAGES if page not in seen}
    assert not missed


def test_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    code = "\n".join(block.text for block in all_blocks("sh"))
    text = "\n".join(prose(page) for page in PAGES)
    named = re.findall(r"^make (\w+)", code, re.M) + re.findall(r"`make (\w+)`", text)
    assert named
    assert set(named) <= targets


def test_the_layout_has_every_file_and_no_other() -> None:
    """Those in its table of files, against those at the top of each crate and of the package."""
    named = set()
    for row in re.findall(r"^\| (`[^|]+/[^|]+`) \|", LAYOUT, re.M):
        first, *others = re.findall(r"`([^`]+)`", row)
        start = ROOT if (ROOT / first).exists() else ROOT / "rust"
        for other in [first, *others]:
            # A name alone stands beside the first.
            path = start / other if "/" in other.rstrip("/") else (start / first).parent / other
            assert path.exists(), f"{row}: there is no {other}"
            named.add(path.resolve())
    faces = {"lib.rs", "testing.rs", "__init__.py", "__main__.py", "__pycache__"}
    for top in ("rust/core/src", "rust/io/src", "rust/director/src", "python/fastlvs"):
        there = {path for path in (ROOT / top).iterdir() if path.suffix in ("", ".rs", ".py")}
        missed = {path.name for path in there - named} - faces
        assert not missed, f"{top}: {sorted(missed)}"
