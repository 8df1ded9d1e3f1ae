"""The package's files depend on each other in one direction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import fastlvs

PACKAGE = Path(fastlvs.__file__).parent


def imported(name: str, path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the package that a file imports, for types included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                # A package's own name stands for what its file lists, unless one of its files is meant.
                yield module if module in known else node.module


def test_no_file_depends_on_itself_by_way_of_others() -> None:
    files = {
        ".".join(("fastlvs", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in PACKAGE.rglob("*.py")
    }
    graph = {name: set(imported(name, path, files.keys() - {"fastlvs"})) for name, path in files.items()}
    assert graph["fastlvs.service"] >= {"fastlvs.server", "fastlvs.schedulers"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files
