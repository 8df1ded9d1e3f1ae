"""Writes docs/reference/python.md from the package's docstrings: ``python tests/api_page.py``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "python.md"
PACKAGE = ROOT / "python" / "fastlvs"

HEAD = """\
# The Python package

Every public name, with its docstring. `python tests/api_page.py` writes this page; a test sees to it that no
name is missing.

Importing `fastlvs` needs no privilege and starts nothing. Times are seconds, addresses are `str` or `ipaddress`
objects. Every error is a [`FastlvsError`](errors.md). The package is typed (`py.typed`).
"""

SECTIONS = {
    "What is balanced": ("VirtualService", "RealServer", "Forwarding", "Endpoint", "EndpointRange", "Change"),
    "Run it": ("Director", "Engine", "Settings", "Interface", "Route", "Mark"),
    "Choose": ("Scheduler", "Flow", "Servers", "Server"),
    "Look": (
        *(
            "Services",
            "Service",
            "Connections",
            "Connection",
            "Statistics",
            "Outcome",
            "Verdict",
            "DropReason",
        ),
        *("Counters", "DirectorCounters"),
    ),
    "Errors": (
        *("FastlvsError", "ConfigurationError", "ArgumentError", "MissingError", "GenerationError"),
        *("StuckError", "CapabilityError", "InterfaceError", "PlatformError"),
    ),
}
"""The names of ``fastlvs``, in the order in which a reader needs them."""

LAB = ("Lab", "Host", "Answer", "Captured", "DirectorProcess", "LabError")
"""The classes of ``fastlvs.lab``."""

INHERITED = {"Director": "Balancer", "Engine": "Balancer", "DirectorCounters": "Counters"}
"""Whose methods a class shows as its own."""

Definition = ast.ClassDef | ast.FunctionDef


def page() -> str:
    """The text of the page."""
    known = {name: node for module in modules() for name, node in definitions(module)}
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [entry(known, name) for name in names]
    if others := set(exported(PACKAGE)).difference(*SECTIONS.values()):
        parts += ["## More\n", *(entry(known, name) for name in sorted(others))]
    parts.append("## Words for values\n\nWhat arguments may be, where a signature has one of these names.\n")
    parts.append("\n".join(sorted(aliases())) + "\n")
    parts.append("## The lab\n\n`from fastlvs.lab import Lab`: a network of real hosts on one machine.\n")
    parts += [entry(known, name) for name in LAB]
    parts += [entry(known, name) for name in exported(PACKAGE / "lab") if name not in LAB]
    return "\n".join(parts)


def exported(package: Path) -> list[str]:
    """What a package's ``__all__`` says."""
    source = (package / "__init__.py").read_text(encoding="utf-8")
    [names] = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return list(ast.literal_eval(names))


def modules() -> Iterator[ast.Module]:
    """The lab's own programs first: of two that have a name, the later one counts."""
    paths = sorted([*PACKAGE.rglob("*.py"), PACKAGE / "_core.pyi"])
    for path in sorted(paths, key=lambda path: path.parent.name != "programs"):
        yield ast.parse(path.read_text(encoding="utf-8"))


def definitions(module: ast.Module) -> Iterator[tuple[str, Definition]]:
    """What is public, with a docstring; the engine's inner classes have the names of those around them."""
    for node in module.body:
        if isinstance(node, Definition) and ast.get_docstring(node):
            inner = isinstance(node, ast.ClassDef) and node.name in ("Engine", "Director") and not node.bases
            if not inner:
                yield node.name, node


def entry(known: dict[str, Definition], name: str) -> str:
    node = known[name]
    if isinstance(node, ast.FunctionDef):
        return f"### `{signature(node, node.name)}`\n\n{text(node)}\n"
    lines = [f"### {name}\n"]
    constructor = next((n for n in functions(node) if n.name == "__init__"), None)
    if constructor is not None and name != "ConfigurationError":
        lines.append(f"```text\n{signature(constructor, name)}\n```\n")
    lines.append(text(node) + "\n")
    if constructor is not None and ast.get_docstring(constructor):
        lines.append(text(constructor) + "\n")
    members = list(described(node))
    if name in INHERITED:
        above = known[INHERITED[name]]
        assert isinstance(above, ast.ClassDef)
        members += [member for member in described(above) if member[0] not in dict(members)]
    if members and constructor is not None:
        lines.append("*Attributes and methods*\n")
    lines += [f"- `{shown}`{': ' if about else ''}{about}" for shown, about in members]
    return "\n".join(lines) + ("\n" if members else "")


def described(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Fields, properties and methods, each with what is said about it."""
    for place, statement in enumerate(node.body):
        if isinstance(statement, ast.AnnAssign | ast.Assign):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            field = ast.unparse(target)
            if field.startswith("_"):
                continue
            value = statement.value
            default = f" = {ast.unparse(value)}" if isinstance(value, ast.Constant | ast.Name) else ""
            kind = f": {ast.unparse(statement.annotation)}" if isinstance(statement, ast.AnnAssign) else ""
            following = node.body[place + 1] if place + 1 < len(node.body) else None
            yield field + kind + default, indented(string(following))
        elif isinstance(statement, ast.FunctionDef) and not statement.name.startswith("_"):
            if any(ast.unparse(d).endswith(".setter") for d in statement.decorator_list):
                continue
            about = indented(text(statement))
            if "property" in map(ast.unparse, statement.decorator_list):
                returns = f": {ast.unparse(statement.returns)}" if statement.returns else ""
                yield statement.name + returns, about
            else:
                yield signature(statement, statement.name), about


def functions(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (statement for statement in node.body if isinstance(statement, ast.FunctionDef))


def signature(node: ast.FunctionDef, name: str) -> str:
    """``name(arguments) -> result``, without ``self``."""
    arguments = [
        argument for argument in split(ast.unparse(node.args)) if argument not in ("self", "cls", "/")
    ]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    if node.name == "__init__" and len(arguments) > 2:
        return "\n    ".join((f"{name}(", *(f"{argument}," for argument in arguments))) + "\n)"
    return f"{name}({', '.join(arguments)}){returns}"


def split(arguments: str) -> list[str]:
    """Arguments, one by one, with blanks around the sign before a default."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [re.sub(r"^([^=]*:[^=]*)=", r"\1 = ", part.strip()) for part in parts if part]


def aliases() -> Iterator[str]:
    """The names of types, with what their modules say about them."""
    for module in modules():
        for node, following in pairwise(module.body):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
                if ast.unparse(node.target).startswith("_"):
                    continue
                about = string(following) or (f"`{ast.unparse(node.value)}`" if node.value else "")
                yield f"- `{ast.unparse(node.target)}`: {indented(about)}"


def string(node: ast.stmt | None) -> str:
    """The text of a string that stands alone, as those below fields do."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return markdown(cleandoc(node.value.value))
    return ""


def text(node: Definition) -> str:
    return markdown(cleandoc(ast.get_docstring(node) or ""))


def markdown(docstring: str) -> str:
    """A docstring's reStructuredText as Markdown."""
    docstring = re.sub(r":\w+:`[~.]?([^`]+)`", r"`\1`", docstring)
    docstring = re.sub(r"``([^`]+)``", r"`\1`", docstring)
    lines, example, listed = [], False, False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            if example:
                lines.append("```\n")
            example = listed = False
        if line.startswith(("Args:", "Returns:", "Raises:")):
            lines += [f"*{line.removesuffix(':')}*\n"]
            listed = True
        elif line.endswith("::"):
            lines += [line[:-1] if line != "::" else "", "", "```python"]
            example = True
        elif listed and line.startswith("    ") and not line.startswith("     "):
            name, colon, about = line.strip().partition(": ")
            lines.append(f"- `{name}`: {about}" if colon else f"- {line.strip()}")
        elif listed:
            lines.append(f"  {line.strip()}" if line.strip() else "")
        elif example:
            lines += [line.removeprefix("    ")] if line or lines[-1] != "```python" else []
        else:
            lines.append(line)
    if example:
        lines.append("```")
    return "\n".join(lines).strip()


def indented(about: str) -> str:
    """As a list's item holds it."""
    return about.replace("\n", "\n  ").replace("\n  \n", "\n\n")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
