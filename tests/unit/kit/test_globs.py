"""Globs: CodeBuild's patterns (buildspec.md 10.2)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.globs import Globs, static_prefix, tidy


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("file", "file"),
        ("a/b/file", "a/b/file"),
        ("dir/*", "dir/x"),
        ("**/*", "top"),
        ("**/*", "a/b/c"),
        ("**/*", ".hidden/.x"),
        ("**", "a/b"),
        ("dir/**/*", "dir/x"),
        ("dir/**/*", "dir/a/b/x"),
        ("**/.*", "a/.env"),
        ("**/.*/**/*", ".git/config"),
        ("**/.*/**/*", "a/.git/b/c"),
        ("**/node_modules/**/*", "x/node_modules/y/z"),
        ("*/my-file-3.txt", "my-subdirectory/my-file-3.txt"),
        ("./x/./y", "x/y"),
        ("a/../b", "b"),
        ("a?c", "abc"),
        ("[a-c]x", "bx"),
        ("[!a]x", "bx"),
        ("{a,b}", "{a,b}"),
        ("*", "-rf"),
        ("*", "two\nlines"),
        ("*.t", "with space.t"),
        ("*", "bad\udcff"),
        (r"\*", "*"),
        ("a/**/b/**/c", "a/x/b/y/z/c"),
        ("**/**/x", "x"),
        ("@(a)", "@(a)"),
        ("!x", "!x"),
        ("a|b", "a|b"),
        ("[x", "[x"),
    ],
)
def test_a_pattern_matches(pattern: str, name: str) -> None:
    assert Globs([pattern]).matches(name) == 1


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("dir", "dir/x"),
        ("dir/", "dir"),
        ("dir/*", "dir/a/x"),
        ("*", "a/b"),
        ("a?c", "a/c"),
        ("[a/]x", "/x"),
        ("{a,b}", "a"),
        ("**/.*", "a/x"),
        ("File", "file"),
        ("a|b", "a"),
        ("", "x"),
        (".", "x"),
        ("*.txt", "x.txt\n"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, name: str) -> None:
    assert Globs([pattern]).matches(name) == 0


def test_each_pattern_has_its_bit() -> None:
    globs = Globs(["*.c", "**/*.h", "a/*"])
    assert globs.matches("x.c") == 0b001
    assert globs.matches("a/x.h") == 0b110
    assert globs.matches("b/x") == 0


def test_a_pattern_that_leads_out_is_refused() -> None:
    for pattern in ("/etc/*", "../x", "a/../../x", ".."):
        with pytest.raises(ValueError, match="not a relative pattern"):
            Globs([pattern])


def test_the_static_prefix_ends_before_the_first_wildcard() -> None:
    assert static_prefix("a/b/*.c") == ("a/b", "*.c")
    assert static_prefix("/root/.m2/**/*") == ("/root/.m2", "**/*")
    assert static_prefix("/*/x") == ("/", "*/x")
    assert static_prefix("a/b") == ("a/b", "")
    assert static_prefix("*") == ("", "*")


def test_tidying_keeps_what_a_path_means() -> None:
    assert tidy("./a//b/") == "a/b/"
    assert tidy("/a/../../b") == "/b"
    assert tidy("../../x") == "../../x"
    assert tidy(".") == ""


def _reference(pattern: str) -> re.Pattern[str]:
    """The same rules as one regular expression, for patterns of `a`, `*` and `**`."""
    text = ""
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            text += ".+" if last else "(?:[^/]+/)*"
        else:
            text += part.replace("*", "[^/]*" if len(part) > 1 else "[^/]+") + ("" if last else "/")
    return re.compile(text, re.DOTALL)


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=5).map("/".join),
    st.lists(st.sampled_from(["a", "b", "ab", ".x"]), min_size=1, max_size=5).map("/".join),
)
def test_any_pattern_agrees_with_a_plain_regular_expression(pattern: str, name: str) -> None:
    assert bool(Globs([pattern]).matches(name)) == bool(_reference(pattern).fullmatch(name))
