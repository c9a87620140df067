"""Patterns of `on-failure: RETRY-...`: what is refused, and what CodeBuild's own expressions do not have."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from agent.buildspec.patterns import PatternMistake, doubts
from tests.unit.buildspec.specs import invalid, phase_with, plan_of

RIGHT = [
    *(".*", "a b", "b*", "(a|b)+", "(|a)", "()*", "a|b||", "[a-z]", "[]a]", "[^]]", "[[:alpha:]_]", "[a-]", "[-a]"),
    *("(?i)abc", "(?:x)?", "(?P<n>x)", "(?-i)x", "(?i-s:x)", "a{2,3}", "a{2,}?", "a{x}", "x{,3}", "a*?", r"\d+\s\w"),
    *(r"\bx\B", r"\Ax\z", r"\x41", r"\x{41}", r"\pL", r"\p{Greek}", r"\Qa(b\E", r"\Qa(b", r"[\d.]", r"[\x41-\x5a]"),
    *(r"\[", r"[a\]b]", r"\/", r"\_", "é+", "exit status (1|2)", r"(timed out|reset by peer)\.$"),
]
WRONG = {
    "(a": "a ( is not closed (character 1)",
    "x(a(b)": "a ( is not closed (character 2)",
    "a)": "a ) closes nothing (character 2)",
    "*a": "nothing stands before * that could be repeated (character 1)",
    "a|+": "nothing stands before + that could be repeated (character 3)",
    "(?": "nothing is known that begins with (? (character 1)",
    "(?z)": "nothing is known that begins with (?z (character 1)",
    "^*": "nothing stands before * that could be repeated (character 2)",
    "{2}": "nothing stands before { that could be repeated (character 1)",
    "a**": "two operators of repetition follow each other (character 3)",
    "a{2}{3}": "two operators of repetition follow each other (character 5)",
    "a{3,2}": "the second count is smaller than the first (character 2)",
    "a{1001}": "more than 1000 repetitions (character 2)",
    "[a": "a [ is not closed (character 1)",
    "x[]": "a [ is not closed (character 2)",
    "[z-a]": "the range z-a is the wrong way round (character 2)",
    r"[\d-z]": "a range between sets of characters (character 2)",
    "[[:foo:]]": "there is no class of characters called [:foo:] (character 2)",
    "a\\": "a backslash with nothing behind it (character 2)",
    r"\y": r"\y is not known (character 1)",
    r"\x": r"\x is not known (character 1)",
    r"[\b]": r"\b is not known (character 2)",
    r"(a)\2": "there is no group 2 (character 4)",
    "(?P=n)": "there is no group n (character 1)",
    "(?#c": "a ( is not closed (character 1)",
}
DOUBTFUL = {
    "a(?=b)": "a look-ahead (character 2)",
    "(?!b)c": "a look-ahead (character 1)",
    "(?<=b)c": "a look-behind (character 1)",
    "(?>a)": "an atomic group (character 1)",
    "a++": "a possessive repetition (character 3)",
    r"(a)\1": "a back-reference (character 4)",
    "(?P<n>a)(?P=n)": "a back-reference (character 9)",
    "(?#c)a": "a comment (character 1)",
    r"a\Z": r"\Z (character 2)",
    "a\nb": "a line break, though the output is compared line by line",
}


@pytest.mark.parametrize("pattern", RIGHT)
def test_a_pattern_that_everybody_takes_is_right(pattern: str) -> None:
    assert doubts(pattern) == ()


@pytest.mark.parametrize("pattern", WRONG)
def test_a_pattern_that_nobody_takes_is_refused_at_its_character(pattern: str) -> None:
    with pytest.raises(PatternMistake) as refused:
        doubts(pattern)
    assert str(refused.value) == WRONG[pattern]


@pytest.mark.parametrize("pattern", DOUBTFUL)
def test_what_codebuild_has_not_is_named_with_its_character(pattern: str) -> None:
    assert doubts(pattern) == (DOUBTFUL[pattern],)


def test_grep_takes_every_pattern_that_is_right() -> None:
    grep = shutil.which("grep")
    if grep is None or subprocess.run([grep, "-qP", "x"], input=b"x", capture_output=True).returncode:
        pytest.skip("this grep knows no -P")
    refused = [
        pattern
        for pattern in RIGHT
        if subprocess.run([grep, "-qP", "-e", pattern], input=b"x", capture_output=True, env={"LC_ALL": "C"}).returncode
        > 1
    ]
    assert refused == []


def test_a_pattern_of_two_thousand_groups_is_read_at_once() -> None:
    assert doubts("(" * 2000 + ")" * 2000) == ()


def test_a_wrong_pattern_is_refused_with_its_place_in_the_file() -> None:
    error = invalid(phase_with("on-failure: RETRY-2-(timeout", "commands: [make]"))
    assert error.message == (
        "invalid on-failure value 'RETRY-2-(timeout' in phases.build at line 4: "
        "its pattern `(timeout` is not a regular expression: a ( is not closed (character 1)"
    )
    assert (error.problems[0].line, error.problems[0].column) == (4, 17)


def test_a_doubtful_pattern_runs_with_a_warning() -> None:
    plan = plan_of(phase_with("on-failure: 'RETRY-a(?!b)'", "commands: [make]"))
    assert plan.notices == (
        (
            "the pattern of phases.build.on-failure holds a look-ahead (character 2): "
            "CodeBuild knows it not, and neither does every image's grep (line 4)"
        ),
    )
