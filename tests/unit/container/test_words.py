"""Words made from data mean in a real shell what they should."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.container.words import is_identifier, quote, shell_text, variables_only

SHELLS = [command for command in (["dash"], ["busybox", "ash"], ["bash"]) if shutil.which(command[0])]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NASTY = st.lists(st.sampled_from([*list("$`\"'\\{}()!*?~# \n\tX1_;&|<>"), "$X", "${X}", "$(echo no)"]), max_size=12)


def printed(shell: list[str], word: str) -> str:
    script = f"X='value of X'\nprintf '%s' {word}\n"
    return subprocess.run([*shell, "-s"], input=script.encode(), check=True, capture_output=True).stdout.decode()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[-1])
@settings(max_examples=60, deadline=None)
@given(text=st.one_of(TEXT, NASTY.map("".join)))
def test_a_quoted_text_means_itself(shell: list[str], text: str) -> None:
    assert printed(shell, quote(text)) == text


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[-1])
@settings(max_examples=60, deadline=None)
@given(parts=NASTY)
def test_only_variables_are_live(shell: list[str], parts: list[str]) -> None:
    text = "".join(parts)
    seen = printed(shell, variables_only(text))
    if "$X" not in text and "${X}" not in text and "$_" not in text:
        assert seen == text
    assert "no\n" not in seen


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dist/$VAR/${X}/**", '"dist/$VAR/${X}/**"'),
        ("$(id)`id`$$ $1 ${X:-y}", '"\\$(id)\\`id\\`\\$\\$ \\$1 \\${X:-y}"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("", '""'),
        ("a\0b", '"ab"'),
    ],
)
def test_variables_only_escapes_all_else(text: str, word: str) -> None:
    assert variables_only(text) == word


def test_the_whole_language_is_live_in_a_shell_text() -> None:
    assert printed(SHELLS[0], shell_text('a-$(echo "$X")\n')) == "a-value of X"


@pytest.mark.parametrize(
    ("name", "valid"), [("A_1", True), ("_", True), ("1A", False), ("a-b", False), ("", False), ("ä", False)]
)
def test_identifiers_are_those_of_posix(name: str, valid: bool) -> None:
    assert is_identifier(name) is valid
