"""Random files: what is grown from the grammar, right and wrong, keeps the invariants of the fuzzer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.buildspec import grammar
from agent.buildspec.grammar import Key, Keys, Kind
from agent.buildspec.make import problems_of
from agent.buildspec.schema import buildspec_schema
from tests.fuzz.invariants import check

SEEDS = sorted((Path(__file__).parents[2] / "fuzz" / "seeds").iterdir())
EDITOR = jsonschema.Draft7Validator(buildspec_schema())
QUICK = settings(max_examples=40, derandomize=True, deadline=None)

NAMES = st.sampled_from(["a", "b", "A_1", "my-env", "$X", "a b", "python", ""])
WORDS = st.one_of(
    st.sampled_from(["a", "b", "**/*", "yes", "NO", "RETRY-2-x+", "ABORT", "JUNITXML", "restore", "", "x\ny", "\x1b"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5),
    st.none() | st.booleans() | st.integers(-1, 2000),
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)


PLAIN: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.VERSION: st.sampled_from([0.2, "0.2", 0.2, 0.1]),
    Kind.NUMBER: st.integers(0, 12),
    Kind.YES_NO: st.sampled_from(["yes", "no", True, False]),
    Kind.TEXTS: st.lists(st.sampled_from(["a", "b", "c d"]), min_size=1, max_size=3, unique=True),
    Kind.TABLE: st.dictionaries(NAMES, st.sampled_from(["a", "1.10", 3]), max_size=3),
    Kind.TABLE_OF_LISTS: st.dictionaries(NAMES, st.lists(st.sampled_from(["a", "b", 1]), max_size=3), max_size=2),
}


def value_of(key: Key) -> st.SearchStrategy[Any]:
    """Return values of the right kind."""
    if key.kind is Kind.TEXT:
        return st.sampled_from([*(key.values or ("a", "b")), "a"])
    if key.kind is Kind.SECTION:
        return tree_of(key.keys)
    if key.kind is Kind.NAMED_SECTIONS:
        return st.dictionaries(NAMES, tree_of(key.keys), max_size=2)
    if key.kind is Kind.SECTIONS:
        return st.lists(tree_of(key.keys), min_size=1, max_size=3)
    return PLAIN[key.kind]


def tree_of(keys: Keys) -> st.SearchStrategy[dict[str, Any]]:
    """Return sections that hold some of *keys*, mostly right."""
    values = {name: st.one_of(*[value_of(key)] * 4, ANYTHING) for name, key in keys.items()}
    required = {name: value for name, value in values.items() if keys[name].required}
    optional = {name: value for name, value in values.items() if not keys[name].required}
    return st.fixed_dictionaries(required, optional=optional)


FILES = tree_of(grammar.OLD_ROOT)


@QUICK
@given(FILES)
def test_a_file_grown_from_the_grammar_keeps_every_invariant(document: dict[str, Any]) -> None:
    check(json.dumps(document).encode())


@QUICK
@given(FILES)
def test_a_file_without_problems_has_none_in_an_editor(document: dict[str, Any]) -> None:
    if not problems_of(json.dumps(document), "b.yml", batch=True):
        assert list(EDITOR.iter_errors(document)) == []


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_every_seed_of_the_fuzzer_keeps_every_invariant(seed: Path) -> None:
    check(seed.read_bytes())
    check(seed.read_bytes().replace(b"\n", b"\r\n"))
    check(b"\xef\xbb\xbf" + seed.read_bytes())
    check(seed.read_text().encode("utf-16"))


FOUND = {
    "a directive and an empty document at the very end": b"%YAML 1.1\n---",
    "thousands of aliases of a long text": b"x: &a " + b"y" * 30_000 + b"\nz: [" + b"*a," * 8000 + b"]\n",
    "thousands of unknown keys that each resemble a known one": b"".join(
        b"runtime-verion%d: x\n" % number for number in range(2500)
    ),
    "hundreds of dependencies on builds that are not there": b"version: 0.2\nbatch:\n build-graph:\n"
    + b"".join(b" - {identifier: migration_tests_%d, depend-on: migration_test_%d}\n" % (n, n) for n in range(1000)),
    "hundreds of report groups of an unknown format": b"version: 0.2\nphases: {}\nreports:\n"
    + b"".join(b" g%d: {file-format: JUNIT-XMLS}\n" % number for number in range(1800)),
    "a name of a report group with many ways to read it": b"version: 0.2\nphases: {}\nreports: {"
    + b"$aaa" * 200
    + b"!: {files: [a]}}\n",
    "a matrix of a thousand builds with thousands of variables each": b"version: 0.2\nbatch: {build-matrix: {dynamic: "
    + b"{buildspec: [%b], env: {image: [%b], variables: {B: [%b]}}}, static: {env: {variables: {"
    % ((b"0,1,2,3,4,5,6,7,8,9",) * 3)
    + b"".join(b"A%d: ,\n" % number for number in range(6000))
    + b"}}}}}\n",
    "a key that forges a line of the log": (
        b'version: 0.2\nphases: {install: {runtime-versions: {"a\\n[Container] b": [x]}}}'
    ),
}
"""What was found once, by the fuzzer or by thinking."""


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_once_keeps_every_invariant(found: str) -> None:
    check(FOUND[found])
