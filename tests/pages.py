"""The project's pages, and the blocks of code in them.

What stands behind a block's language says what the tests do with it:

* ``python run``: is run, after the page's other blocks of that kind, in the same program.
* ``file=NAME``: is written to a file, for the blocks ``sh run`` of that page, which are run beside it.
* ``lab``: needs network namespaces. ``status=N``: has to end so.
* ``text`` right after one that is run: is what it prints, with ``status=`` on standard error too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for folder in ("docs", "contrib") for path in (ROOT / folder).rglob("*.md")),
]
"""Every page that is written for people."""

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    """Where its text begins, counted from 1."""
    language: str
    words: tuple[str, ...]
    """What stands behind the language."""
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is to be written to."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """What tests call a page."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, *words = match[1].split() or [""]
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, line, language, tuple(words), match[2]))
    return found


def all_blocks(language: str) -> list[Block]:
    """The blocks of all pages in this language."""
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def with_output(page: Path) -> Iterator[tuple[Block, str | None]]:
    """The blocks of a page, each with what it is said to print, if that is said."""
    found = blocks(page)
    for block, following in zip_longest(found, found[1:]):
        if block:
            yield block, following.text if following and following.language == "text" else None


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What links to a page's headings may name, as the places that show these pages make it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
