"""Which file uses which, in each Rust crate and the Python package, and where files or folders run in a circle.

    python3 tests/imports.py            # the circles, if there are any: then it ends with 1
    python3 tests/imports.py --edges    # every arrow, as "file -> file", before that

An arrow is drawn to the file that defines what is used, through whatever re-exports it on the way. A
``mod.rs``, ``lib.rs`` or ``__init__.py`` that passes names on depends on nothing by that; tests inside
Rust files are left out. What a macro makes up is not seen.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]

Graph = dict[str, set[str]]
"""A file's name, and the files that it uses."""

Steps = tuple[str, ...]
"""A path in Rust, without its colons."""

NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(?P<fence>#+)".*?"(?P=fence)|b?r?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'',
    re.S,
)
TEST = re.compile(r"#\[cfg\((?:test|all\(test[^\]]*)\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*\{")
CHILD = re.compile(r"^[^\S\n]*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.M)
USE = re.compile(r"\buse\s+([^;]+);")
ITEM = re.compile(
    r"\b(?:struct|enum|union|trait|fn|type|const|static|macro_rules!)\s+(?:mut\s+)?(?:r#)?([A-Za-z]\w*)"
)
PATH = re.compile(r"(?<![\w:$])\w+(?:\s*::\s*\w+)+")


@dataclass
class Module:
    """One file of a crate: what it holds, and what it names."""

    file: Path
    place: Steps
    items: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    aliases: dict[str, Steps] = field(default_factory=dict)
    globs: list[Steps] = field(default_factory=list)
    paths: set[Steps] = field(default_factory=set)


def block_end(text: str, start: int) -> int:
    """Behind the brace that closes the one before ``start``."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    return len(text)


def without_tests(text: str) -> str:
    """Rust without comments, literals and test modules."""
    text = NOISE.sub(" ", text)
    while found := TEST.search(text):
        text = text[: found.start()] + text[block_end(text, found.end()) :]
    return text


def outermost(text: str) -> str:
    """What stands in no braces."""
    depth, kept = 0, []
    for sign in text:
        depth -= sign == "}"
        if depth == 0:
            kept.append(sign)
        depth += sign == "{"
    return "".join(kept)


def use_tree(text: str, before: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """The paths of a ``use``, each with the name that it has from then on."""
    stem, opened, inner = text.strip().partition("{")
    path, _, alias = stem.partition(" as ")
    steps = before + tuple(step.strip() for step in path.split("::") if step.strip())
    if opened:
        for part in parts(inner.rstrip().removesuffix("}")):
            yield from use_tree(part, steps)
    else:
        steps = steps[:-1] if steps[-1] == "self" else steps
        yield steps, alias.strip() or steps[-1]


def parts(text: str) -> Iterator[str]:
    """What commas divide, those in braces aside."""
    depth, part = 0, ""
    for sign in text + ",":
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            if part.strip():
                yield part
            part = ""
        else:
            part += sign


def module(file: Path, place: Steps) -> Module:
    """Reads one file."""
    text = without_tests(file.read_text())
    made = Module(file, place, children=set(CHILD.findall(text)))
    public = re.compile(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]+);")
    shared = {name for found in public.findall(text) for _, name in use_tree(found)}
    for found in USE.findall(text):
        for steps, name in use_tree(found):
            if steps[-1] == "*":
                made.globs.append(steps[:-1])
            elif name != "_":
                made.aliases[name] = steps
    rest = USE.sub(" ", text)
    made.items = set(ITEM.findall(outermost(rest)))
    made.paths = {tuple(re.split(r"\s*::\s*", path)) for path in PATH.findall(rest)}
    # A name that was brought in by itself may be used without a path.
    made.paths |= {steps for name, steps in made.aliases.items() if name not in shared}
    return made


class Crate:
    """The files of a crate, by their place in its tree of modules."""

    def __init__(self, root: Path) -> None:
        self.modules: dict[Steps, Module] = {}
        waiting: list[tuple[Path, Steps]] = [(root, ())]
        while waiting:
            file, place = waiting.pop()
            self.modules[place] = read = module(file, place)
            folder = file.parent if file.stem in ("mod", "lib", "main") else file.parent / file.stem
            for child in read.children:
                nested = folder / child / "mod.rs"
                waiting.append((nested if nested.exists() else folder / f"{child}.rs", (*place, child)))

    def definition(
        self, at: Steps, path: Steps, seen: frozenset[tuple[Steps, Steps]] = frozenset()
    ) -> Steps | None:
        """The module that defines what ``path`` means in module ``at``; ``None`` if it is of another crate."""
        if (at, path) in seen:
            return None
        seen |= {(at, path)}
        first, *rest = path
        if first == "crate":
            return self.inside((), tuple(rest), seen)
        if first == "self":
            return self.inside(at, tuple(rest), seen)
        if first == "super":
            start = () if rest[:1] == ["super"] else ("self",)
            return self.definition(at[:-1], (*start, *rest), seen)
        here = self.modules[at]
        if first in here.children or first in here.aliases or first in here.items:
            return self.inside(at, path, seen)
        return None

    def inside(self, at: Steps, path: Steps, seen: frozenset[tuple[Steps, Steps]]) -> Steps | None:
        """The same of a path that begins in module ``at``."""
        here = self.modules[at]
        if not path:
            return at
        first, *rest = path
        if first in here.children:
            return self.inside((*at, first), tuple(rest), seen)
        if first in here.items:
            return at
        if first in here.aliases:
            return self.definition(at, (*here.aliases[first], *rest), seen)
        for glob in here.globs:
            found = self.definition(at, (*glob, *path), seen)
            if found is not None and found != at:
                return found
        return None

    def graph(self, under: Path) -> Graph:
        """Each file, and those that define what it uses."""
        names = {place: str(read.file.relative_to(under)) for place, read in self.modules.items()}
        graph: Graph = {name: set() for name in names.values()}
        for place, read in self.modules.items():
            for path in read.paths:
                target = self.definition(place, path)
                if target is None or target == place:
                    continue
                # A folder as a whole is no arrow: what is used of it has its own.
                if not (target and path[-1] == target[-1] and self.modules[target].children):
                    graph[names[place]].add(names[target])
        return graph


def package_graph(package: Path, under: Path) -> Graph:
    """The files of a Python package, and those that they import, for types included."""
    files = {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in sorted(package.rglob("*.py"))
    }
    known = files.keys() - {package.name}  # the package's own name only passes on what its files define
    graph: Graph = {}
    for path in files.values():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name in known}
            elif isinstance(node, ast.ImportFrom):
                # A package's own name stands for what its file lists, unless one of its files is meant.
                full = (f"{node.module}.{alias.name}" for alias in node.names)
                found |= {name if name in known else str(node.module) for name in full} & known
        name = str(path.relative_to(under))
        graph[name] = {str(files[module].relative_to(under)) for module in found} - {name}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The files that use each other by whatever way: Tarjan's strongly connected components of two and more."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def folders(graph: Graph) -> Graph:
    """The same for the folders at the top, each as one; files beside them stand for themselves."""
    top = min((Path(name).parent for name in graph), key=lambda folder: len(folder.parts))

    def place(name: str) -> str:
        inner = Path(name).relative_to(top).parts
        return str(top / inner[0]) + ("/" if len(inner) > 1 else "")

    made: Graph = {place(name): set() for name in graph}
    for name, others in graph.items():
        made[place(name)] |= {place(other) for other in others} - {place(name)}
    return made


def graphs(root: Path = ROOT) -> dict[str, Graph]:
    """Each crate's graph and the package's, by their names."""
    made = {}
    for crate in [*sorted((root / "rust").iterdir()), root / "benches" / "rust"]:
        for start in ("lib.rs", "main.rs"):
            if (crate / "src" / start).exists():
                made[str(crate.relative_to(root))] = Crate(crate / "src" / start).graph(root)
                break
    made["python/fastlvs"] = package_graph(root / "python" / "fastlvs", root)
    return made


def main() -> int:
    bad = 0
    for name, graph in graphs().items():
        arrows = sorted((file, other) for file, others in graph.items() for other in others)
        if "--edges" in sys.argv[1:]:
            print(*(f"{file} -> {other}" for file, other in arrows), sep="\n")
        of_files, of_folders = circles(graph), circles(folders(graph))
        print(
            f"{name}: {len(graph)} files, {len(arrows)} arrows, "
            f"{len(of_files)} circles of files, {len(of_folders)} of folders"
        )
        for circle in of_files + of_folders:
            bad += 1
            within = [(file, other) for file, other in arrows if joins(file, other, circle)]
            print(*(f"  {file} -> {other}" for file, other in within), sep="\n")
    return bool(bad)


def joins(file: str, other: str, circle: list[str]) -> bool:
    """Whether an arrow leads from one member of a circle to another."""
    ends = [
        next((m for m in circle if end == m or (m.endswith("/") and end.startswith(m))), "")
        for end in (file, other)
    ]
    return all(ends) and ends[0] != ends[1]


if __name__ == "__main__":
    sys.exit(main())
