"""Links between the pages lead somewhere, and so do the commands that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import PAGES, ROOT, all_blocks, anchors, name, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")


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
