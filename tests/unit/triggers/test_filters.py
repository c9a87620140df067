"""Webhook filters (service.md 3.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.errors import RequestInvalid
from agent.model.project import AgentOptions, Environment, Project, Source, Webhook, WebhookFilter
from agent.triggers.filters import Push, compile_pattern, groups_of, judge, lets_through, passes, unsupported_filters


def one(kind: str, pattern: str, *, exclude: bool = False) -> WebhookFilter:
    return WebhookFilter(type=kind, pattern=pattern, exclude_matched_pattern=exclude)


PUSH = one("EVENT", "PUSH")


@pytest.mark.parametrize(
    ("pattern", "ref", "passes"),
    [
        ("^refs/heads/main$", "refs/heads/main", True),
        ("^refs/heads/main$", "refs/heads/main2", False),
        ("main", "refs/heads/domain", True),
        ("^refs/tags/v\\d+", "refs/tags/v12", True),
        ("^refs/heads/(feature|fix)/", "refs/heads/fix/x", True),
    ],
)
def test_a_pattern_is_searched_for_and_not_anchored(pattern: str, ref: str, passes: bool) -> None:
    assert lets_through([[PUSH, one("HEAD_REF", pattern)]], Push(head_ref=ref)) is passes
    assert lets_through([[PUSH, one("HEAD_REF", pattern, exclude=True)]], Push(head_ref=ref)) is not passes


def test_groups_are_an_or_of_ands() -> None:
    groups = [[PUSH, one("HEAD_REF", "^refs/heads/a$")], [PUSH, one("HEAD_REF", "^refs/heads/b$")]]
    assert lets_through(groups, Push(head_ref="refs/heads/b"))
    assert not lets_through(groups, Push(head_ref="refs/heads/c"))
    assert lets_through([], Push(head_ref="refs/heads/c"))


def test_events_are_a_list_of_exact_names() -> None:
    assert lets_through([[one("EVENT", "PULL_REQUEST_CREATED, PUSH")]], Push())
    assert not lets_through([[one("EVENT", "PUSHED,PULL_REQUEST_CREATED")]], Push())


def test_what_a_trigger_cannot_know_is_never_true_even_turned_round() -> None:
    for exclude in (False, True):
        assert not lets_through([[PUSH, one("ACTOR_ACCOUNT_ID", "1", exclude=exclude)]], Push(head_ref="refs/heads/a"))


def test_paths_and_message_are_asked_for_only_when_the_rest_of_the_group_holds() -> None:
    asked: list[int] = []

    def change() -> tuple[list[str], str]:
        asked.append(1)
        return ["src/a.py", "docs/b.md"], "fix: x [skip ci]"

    push = Push(head_ref="refs/heads/main", change=change)
    assert not lets_through([[one("FILE_PATH", "^src/"), one("HEAD_REF", "other"), PUSH]], push)
    assert asked == []
    assert lets_through([[PUSH, one("FILE_PATH", "^src/.*\\.py$")]], push)
    assert not lets_through([[PUSH, one("FILE_PATH", "^docs/", exclude=True)]], push)
    assert not lets_through([[PUSH, one("COMMIT_MESSAGE", r"\[skip ci\]", exclude=True)]], push)


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P<x>a)(?P=x)", "a*+", "a++", "a?+", "a{2,3}+", "(?>a)",
     "(a)(?(1)b|c)", "(", "[a", "a" * 2001],
)  # fmt: skip
def test_a_pattern_outside_of_re2_is_refused(pattern: str) -> None:
    with pytest.raises(RequestInvalid):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["[(?=]", r"\(\?=", "[]+]+", "[^]*]*", "a+?", "a{2,3}?", "(?:a|b)+", "(?i)main", "(?P<n>a)", r"\++", "[*+]+", "a}+",
     r"\\+"],
)  # fmt: skip
def test_a_pattern_that_only_looks_like_one_is_taken(pattern: str) -> None:
    assert compile_pattern(pattern).pattern == pattern


def project(*groups: tuple[WebhookFilter, ...], branch_filter: str | None = None) -> Project:
    return Project(
        name="shop",
        source=Source(type="GIT", location="https://h/shop.git"),
        environment=Environment(image="i"),
        webhook=Webhook(filter_groups=groups, branch_filter=branch_filter),
    )


def test_filters_that_polling_cannot_judge_are_told_of() -> None:
    sentences = unsupported_filters(
        project(
            (PUSH, one("HEAD_REF", "x"), one("FILE_PATH", "y")),
            (PUSH, one("BASE_REF", "z")),
            (one("EVENT", "RELEASED"),),
        )
    )
    assert len(sentences) == 2
    assert "BASE_REF" in sentences[0]
    assert "RELEASED" in sentences[1]


def test_the_old_branch_filter_is_one_on_the_whole_branch_name() -> None:
    groups = groups_of(project(branch_filter="rel-.*"))
    assert lets_through(groups, Push(head_ref="refs/heads/rel-1"))
    assert not lets_through(groups, Push(head_ref="refs/heads/my-rel-1"))


def test_without_groups_pushes_alone_are_built() -> None:
    assert not lets_through([], Push(event="PULL_REQUEST_CREATED"))
    assert passes(project(), Push(head_ref="refs/heads/x"))


def test_a_pattern_takes_no_longer_than_the_text_is_long() -> None:
    assert not lets_through([[PUSH, one("HEAD_REF", "(a+)+$")]], Push(head_ref="a" * 5000 + "!"))


def test_what_is_known_later_is_neither_true_nor_false() -> None:
    groups = [[PUSH, one("HEAD_REF", "main"), one("FILE_PATH", "^src/")]]
    push = Push(head_ref="refs/heads/main", later=True)
    assert judge(groups, push, strict_actor=True).passes is None
    assert judge(groups, replace(push, head_ref="refs/heads/x"), strict_actor=True).passes is False
    assert judge([*groups, [PUSH]], push, strict_actor=True).passes is True
    assert judge(groups, replace(push, paths=["src/a"]), strict_actor=True).passes is True


def test_polled_changes_obey_skip_ci_too() -> None:
    skipping = project().evolve(agent=AgentOptions(skip_ci=True))
    assert not passes(skipping, Push(change=lambda: ([], "x [ci skip]")))
    assert passes(skipping, Push(change=lambda: ([], "x")))
    assert passes(skipping, Push()), "nobody can say what the message is"
