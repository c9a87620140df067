"""Hostile and random input: the answer is a plan or BuildspecInvalid, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buildspec import grammar
from agent.buildspec.make import make_plan, problems_of
from agent.buildspec.plan import Plan
from agent.errors import BuildspecInvalid
from tests.unit.buildspec.specs import WHOLE


def outcome(text: str | bytes) -> Plan | BuildspecInvalid:
    """Return the plan, or the refusal, which has a message, problems, and a code."""
    problems = problems_of(text, "buildspec.yml")
    try:
        plan = make_plan(text, name="buildspec.yml", location="/src/buildspec.yml")
    except BuildspecInvalid as error:
        checked(error, problems)
        return error
    assert not any(problem.fatal for problem in problems)
    return plan


def checked(error: BuildspecInvalid, problems: object) -> None:
    assert error.message
    assert error.code == "YAML_FILE_ERROR"
    assert list(error.problems) == problems
    assert any(problem.fatal for problem in error.problems)


HEAD = "version: 0.2\nphases:\n  build:\n    commands:\n"


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "deep flow": (HEAD + "      - " + "[" * 5000, "nested more than 64 levels deep at line 5"),
    "deep block": ("- " * 50_000, "nested more than 64 levels deep at line 1"),
    "alias bomb": (LAUGHS, "more than 100000 values after aliases are expanded at line 5"),
    "alias to itself": (HEAD + "      - &a [*a]\n", "anchor 'a' value contains itself at line 5"),
    "program": (b"\x7fELF\x02\x01\x01\x00\x00", "control characters are not allowed at line 1"),
    "latin-1": (b"version: 0.2\n# caf\xe9\n", "invalid UTF-8, not a text file in that encoding at line 2"),
    "nothing": (b"", "wrong number of container tags, expected 1"),
    "tab": (
        "version: 0.2\nphases:\n  build:\n\tcommands:\n",
        "found character that cannot start any token at line 4",
    ),
    "mapping as a command": (
        HEAD + "      - a: b\n",
        (
            "Expected Commands[0] to be of string type: found subkeys instead at line 5, "
            "value of the key tag on line 4 might be empty"
        ),
    ),
    "too big": ("x" * (1 << 20) + "x", "the text has more than 1048576 bytes at line 1"),
    "escaped null character": (HEAD + '      - "a\\0b"\n', "control characters are not allowed at line 5"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_with_a_clear_message(kind: str) -> None:
    text, message = HOSTILE[kind]
    refused = outcome(text)
    assert isinstance(refused, BuildspecInvalid)
    assert refused.message == message


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_random_text_is_a_plan_or_a_refusal(text: str | bytes) -> None:
    outcome(text)


KEYS = sorted(
    {
        *(*grammar.OLD_ROOT, *grammar.ENV, *grammar.PHASES, *grammar.INSTALL, *grammar.OLD_ARTIFACTS),
        *(*grammar.CACHE, *grammar.BATCH, *grammar.BATCH_GRAPH_TASK, *grammar.BATCH_DYNAMIC, *grammar.BATCH_FANOUT),
        *("plaintext", "static", "dynamic", "<<", "unknown"),
    }
)
SCALARS = st.sampled_from(
    ["", "~", "0.1", "0.2", "yes", "NO", "RETRY-3-x", "save", "'a: b'", "$X", "'\u00e9'", "*a", "&a b"]
)


def flow(value: object) -> str:
    """Write *value* in YAML's flow style; texts are YAML already."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


YAMLISH = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), YAMLISH, max_size=6))
def test_random_structures_of_known_keys_are_a_plan_or_a_refusal(tree: dict[str, object]) -> None:
    lines = (f"{key}: {flow(value)}\n" for key, value in tree.items())
    outcome("version: 0.2\n" + "".join(lines))


@given(st.data())
def test_a_valid_buildspec_with_a_part_changed_is_a_plan_or_a_refusal(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(begin, min(len(WHOLE), begin + 40)))
    inserted = data.draw(st.text(alphabet=st.sampled_from(" \n\t:-[]{}&*!|>'\"#%@`~a0$<,?\\"), max_size=12))
    outcome(WHOLE[:begin] + inserted + WHOLE[end:])


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1, max_size=5)
)
def test_commands_reach_the_plan_letter_by_letter(commands: list[str]) -> None:
    lines = ("      - '" + command.replace("'", "''") + "'\n" for command in commands)
    plan = outcome(HEAD + "".join(lines))
    if any(char in command for command in commands for char in "\u2028\u2029\ufeff\ufffe\uffff"):
        return  # line separators are folded, the others are not YAML
    assert isinstance(plan, Plan)
    assert list(plan.phases[2].commands) == commands
