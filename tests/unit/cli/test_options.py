"""Variables from the command line and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.options import env_file, variables
from agent.errors import UsageError


def test_a_variable_is_given_by_value_or_taken_from_the_environment() -> None:
    assert variables(["A=1=2", "B=", "C"], {"C": "here"}) == {"A": "1=2", "B": "", "C": "here"}


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match="C is not set"):
        variables(["C"], {})


@pytest.mark.parametrize("text", ["=x", "1A=x", "a b=x", ""])
def test_a_name_that_cannot_be_one_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        variables([text + "s3cret"], {})
    assert "s3cret" not in caught.value.message or "=" not in text


def test_a_file_of_variables_knows_comments_quotes_and_export(tmp_path: Path) -> None:
    file = tmp_path / "vars"
    file.write_text(
        '# first\n\nA=1\nexport B = two words # note\nC=\'it # is $HOME\'\nD="a\\nb \\"q\\" \\\\" # c\nE=\n'
        "F=x#y\nG=#none\n"
    )
    assert env_file(file) == {
        "A": "1",
        "B": "two words",
        "C": "it # is $HOME",
        "D": 'a\nb "q" \\',
        "E": "",
        "F": "x#y",
        "G": "",
    }


@pytest.mark.parametrize("line", ["novalue", "1A=x", "A='open", 'A="open\\"', "A='a' b", "a b=c"])
def test_a_line_that_makes_no_sense_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "vars"
    file.write_text(f"OK=1\n{line}\n")
    with pytest.raises(UsageError, match=r"vars:2: "):
        env_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nope: No such file"):
        env_file(tmp_path / "nope")
    (tmp_path / "bytes").write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        env_file(tmp_path / "bytes")
