"""Files depend on each other in one direction, in each crate and in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from imports import Crate, circles, folders, graphs, package_graph

GRAPHS = graphs()

ARROWS = [
    ("rust/core", "rust/core/src/pipeline/mod.rs", "rust/core/src/conn/table.rs"),  # by way of conn/mod.rs
    ("rust/core", "rust/core/src/packet/parse.rs", "rust/core/src/wire/ipv4.rs"),  # as `wire::ipv4::...`
    ("rust/director", "rust/director/src/upkeep.rs", "rust/director/src/plan.rs"),
    ("python/fastlvs", "python/fastlvs/service.py", "python/fastlvs/server.py"),
]


@pytest.mark.parametrize("name", GRAPHS)
def test_no_file_or_folder_depends_on_itself_by_way_of_others(name: str) -> None:
    assert circles(GRAPHS[name]) == []
    assert circles(folders(GRAPHS[name])) == []


@pytest.mark.parametrize(("name", "file", "other"), ARROWS)
def test_arrows_that_are_known_are_seen(name: str, file: str, other: str) -> None:
    assert other in GRAPHS[name][file]


def test_a_circle_in_a_crate_is_found(tmp_path: Path) -> None:
    """By way of a re-export, a renamed name, a path in the code; what tests and comments say is left out."""
    (tmp_path / "lib.rs").write_text("mod a;\nmod low;\nmod folder;\npub use a::First;\n")
    (tmp_path / "a.rs").write_text(
        "use crate::{folder::{Second as Other, third}, low::Low};\npub struct First(Other);\n"
        "fn f() { third::g(); }\n"
    )
    (tmp_path / "low.rs").write_text(
        'pub struct Low; // crate::First\nconst S: &str = "crate::First";\n'
        "#[cfg(test)]\nmod tests { use crate::First; }\n"
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mod.rs").write_text("mod second;\npub mod third;\npub use second::Second;\n")
    (tmp_path / "folder" / "second.rs").write_text("pub struct Second(Box<crate::First>);\n")
    (tmp_path / "folder" / "third.rs").write_text("pub fn g() { let _: super::super::low::Low; }\n")
    graph = Crate(tmp_path / "lib.rs").graph(tmp_path)
    assert graph == {
        "lib.rs": set(),
        "a.rs": {"folder/second.rs", "folder/third.rs", "low.rs"},
        "low.rs": set(),
        "folder/mod.rs": set(),
        "folder/second.rs": {"a.rs"},
        "folder/third.rs": {"low.rs"},
    }
    assert circles(graph) == [["a.rs", "folder/second.rs"]]


def test_a_circle_in_a_package_is_found(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text("from p.a import A\n")
    (package / "a.py").write_text("from p import b\n\nA = 1\n")
    (package / "b.py").write_text("def f():\n    from p.a import A\n    return A\n")
    graph = package_graph(package, tmp_path)
    assert graph == {"p/__init__.py": {"p/a.py"}, "p/a.py": {"p/b.py"}, "p/b.py": {"p/a.py"}}
    assert circles(graph) == [["p/a.py", "p/b.py"]]


def test_a_circle_of_folders_is_found() -> None:
    """Even where no file is in one."""
    graph = {
        "p/low.py": set(),
        "p/a/one.py": {"p/b/two.py"},
        "p/b/two.py": {"p/low.py"},
        "p/b/three.py": {"p/a/four.py"},
    }
    graph["p/a/four.py"] = {"p/a/one.py"}
    assert circles(graph) == []
    assert circles(folders(graph)) == [["p/a/", "p/b/"]]
