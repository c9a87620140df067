"""Result files that nobody named: which are looked at, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.kit.tree import Tree
from agent.pipeline.discovery import LIMIT_SECONDS, Discovered, discover, wanted
from agent.reports.recognise import recognise

JUNIT = "<testsuite tests='0'/>"
CUCUMBER = '[{"keyword": "Feature", "name": "%s", "elements": [{"steps": []}]}]'


def a_tree(root: Path, **files: str) -> Tree:
    """Return a tree whose source directory `src` holds *files*; `__` stands for `/`, `_` for a dot."""
    for name, text in files.items():
        path = root / "src" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root, "/codebuild/output/src1/src", "src")


def found(tree: Tree, pattern: str = "**/*") -> Discovered:
    return discover(tree, pattern, recognise, lambda: 0.0)


@pytest.mark.parametrize(
    ("expanded", "pattern"),
    [
        (":", "**/*"),
        (None, "**/*"),
        ("true:", "**/*"),
        (":out/*.xml", "out/*.xml"),
        ("true:a:b", "a:b"),
        ("false:out", None),
        (" False :", None),
        ("no:", "**/*"),
    ],
)
def test_only_the_word_false_turns_the_search_off(expanded: str | None, pattern: str | None) -> None:
    assert wanted(expanded) == pattern


def test_files_are_told_by_name_and_content_and_sorted(tmp_path: Path) -> None:
    long = " " * 200_000
    tree = a_tree(
        tmp_path,
        z__a_xml=JUNIT,
        B_XML=JUNIT,
        package_json='{"name": "x"}' + long,
        features_json=CUCUMBER % ("x" * 5000),
        late_xml=f"<!--{'c' * 9000}-->{JUNIT}",
        later_xml=f"<!--{long}-->{JUNIT}",
        notes_txt=JUNIT,
        pom_xml="<project/>",
        empty_xml="",
    )
    assert found(tree).files == (
        ("B.XML", "JUNITXML"),
        ("features.json", "CUCUMBERJSON"),
        ("late.xml", "JUNITXML"),
        ("z/a.xml", "JUNITXML"),
    )


def test_what_no_test_run_writes_is_not_looked_at_and_nothing_outside_is(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, _git__x_xml=JUNIT, a__node_modules=JUNIT, ok_xml=JUNIT)
    (tmp_path / "src/node_modules/d").mkdir(parents=True)
    (tmp_path / "src/node_modules/d/x.xml").write_text(JUNIT)
    (tmp_path / "outside.xml").write_text(JUNIT)
    (tmp_path / "src/link.xml").symlink_to(tmp_path / "outside.xml")
    (tmp_path / "src/tree").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "src/fifo.xml")
    assert found(tree) == Discovered((("ok.xml", "JUNITXML"),))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("out", ["out/a.xml", "out/b/c.xml"]),
        ("./out/", ["out/a.xml", "out/b/c.xml"]),
        ("out/*", ["out/a.xml"]),
        ("out/a.xml", ["out/a.xml"]),
        (".", ["out/a.xml", "out/b/c.xml"]),
        ("../*", []),
        ("/etc/*", []),
        ("**/[", []),
    ],
)
def test_a_pattern_is_a_glob_or_a_directory_below_the_source(tmp_path: Path, pattern: str, names: list[str]) -> None:
    tree = a_tree(tmp_path, out__a_xml=JUNIT, out__b__c_xml=JUNIT)
    (tmp_path / "x.xml").write_text(JUNIT)
    assert [name for name, _ in found(tree, pattern).files] == names


def test_after_five_seconds_nothing_more_is_looked_at(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, **{f"d{number}__a_xml": JUNIT for number in range(50)})
    times = iter(range(1000))
    hits = discover(tree, "**/*", recognise, lambda: next(times))
    assert len(hits.files) < LIMIT_SECONDS
    assert discover(tree, "**/*", recognise, lambda: 0.0).files[-1] == ("d9/a.xml", "JUNITXML")
