"""Filters: which pushes a project's `filterGroups` let through (service.md 3.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agent.errors import RequestInvalid
from agent.model.project import Project, WebhookFilter

_LONGEST_PATTERN = 2000
_LONGEST_TEXT = 8192
_CHANGE = frozenset({"FILE_PATH", "COMMIT_MESSAGE"})
_KNOWN_TO_GIT = frozenset({"EVENT", "HEAD_REF", "REPOSITORY_NAME"}) | _CHANGE


@dataclass(frozen=True)
class Push:
    """A change that a filter may look at. None is what this trigger cannot know; no filter on it is ever true.

    `change` is asked at most when a filter needs it and all cheaper ones of its group hold: it gives the paths touched
    and the message of the head commit.
    """

    event: str = "PUSH"
    head_ref: str | None = None
    base_ref: str | None = None
    actor: str | None = None
    repository: str | None = None
    organization: str | None = None
    change: Callable[[], tuple[Sequence[str], str]] | None = None


def lets_through(groups: Sequence[Sequence[WebhookFilter]], push: Push) -> bool:
    """Whether at least one group has all its filters true; with no groups every push passes.

    Patterns are searched for, not anchored; `excludeMatchedPattern` turns a filter round, but one about something
    unknown stays false. Raises `RequestInvalid` for a pattern outside of RE2's language.
    """
    return not groups or any(_holds(group, push) for group in groups)


def groups_of(project: Project) -> tuple[tuple[WebhookFilter, ...], ...]:
    """Return the filter groups of a project; the old `branchFilter` counts as one on HEAD_REF (service.md 3.3)."""
    webhook = project.webhook
    if webhook is None:
        return ()
    if webhook.filter_groups or not webhook.branch_filter:
        return webhook.filter_groups
    return ((WebhookFilter(type="HEAD_REF", pattern=f"^refs/heads/(?:{webhook.branch_filter})$"),),)


def unsupported_filters(project: Project) -> tuple[str, ...]:
    """Return a sentence for each filter that can never be true of a change that polling found."""
    sentences = []
    for group in groups_of(project):
        for one in group:
            if one.type not in _KNOWN_TO_GIT:
                sentences.append(
                    f"{project.name}: filter {one.type} cannot be judged by polling; its group never matches"
                )
            elif one.type == "EVENT" and "PUSH" not in _events(one.pattern):
                sentences.append(
                    f"{project.name}: polling sees pushes only; a group on EVENT {one.pattern} never matches"
                )
    return tuple(dict.fromkeys(sentences))


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return *pattern* compiled, if RE2 would take it: no look-around, back-reference, possessive or atomic part.

    Raises `RequestInvalid`.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise RequestInvalid(f"filter pattern is longer than {_LONGEST_PATTERN} signs", hint="shorten the pattern")
    if reason := _outside_re2(pattern):
        raise RequestInvalid(f"filter pattern {pattern!r} uses {reason}", hint="use RE2 syntax, as CodeBuild does")
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise RequestInvalid(f"filter pattern {pattern!r} is not a regular expression: {error}") from None


def _outside_re2(pattern: str) -> str:
    """Name the construct that Python knows and RE2 does not; character classes and escaped signs are passed over."""
    index, opened, after_repeat = 0, -1, False
    while index < len(pattern):
        sign, rest = pattern[index], pattern[index:]
        if sign == "\\":
            if opened < 0 and re.match(r"\\[1-9]|\\k", rest):
                return "a back-reference"
            index += 2
            after_repeat = False
            continue
        if opened >= 0:
            if sign == "]" and pattern[opened + 1 : index] not in {"", "^"}:
                opened = -1
            index, after_repeat = index + 1, False
            continue
        if sign == "[":
            opened = index
        elif reason := _group_reason(rest):
            return reason
        elif sign == "+" and after_repeat:
            return "a possessive quantifier"
        after_repeat = sign in "*+?" or (sign == "}" and _closes_repeat(pattern[:index]))
        if sign == "(" and rest.startswith("(?"):
            index, after_repeat = index + 1, False
        index += 1
    return ""


def _group_reason(rest: str) -> str:
    if rest.startswith(("(?=", "(?!", "(?<=", "(?<!")):
        return "look-around"
    if rest.startswith("(?P="):
        return "a back-reference"
    if rest.startswith("(?>"):
        return "an atomic group"
    if rest.startswith(("(?(", "(?#")):
        return "a conditional or comment group"
    return ""


def _closes_repeat(before: str) -> bool:
    return re.search(r"\{\d*(,\d*)?$", before) is not None


def _holds(group: Sequence[WebhookFilter], push: Push) -> bool:
    cheap_first = sorted(group, key=lambda one: one.type in _CHANGE)
    return all(_is_true(one, push) for one in cheap_first)


def _is_true(one: WebhookFilter, push: Push) -> bool:
    texts = _texts(one.type, push)
    if texts is None:
        return False
    if one.type == "EVENT":
        matched = push.event in _events(one.pattern)
    else:
        pattern = compile_pattern(one.pattern)
        matched = any(pattern.search(text[:_LONGEST_TEXT]) is not None for text in texts)
    return matched is not one.exclude_matched_pattern


def _texts(kind: str, push: Push) -> Sequence[str] | None:
    """Return what a filter of *kind* looks at; None where nobody knows."""
    if kind in _CHANGE:
        if push.change is None:
            return None
        paths, message = push.change()
        return paths if kind == "FILE_PATH" else (message,)
    value = {
        "EVENT": push.event,
        "HEAD_REF": push.head_ref,
        "BASE_REF": push.base_ref,
        "ACTOR_ACCOUNT_ID": push.actor,
        "REPOSITORY_NAME": push.repository,
        "ORGANIZATION_NAME": push.organization,
    }.get(kind)
    return None if value is None else (value,)


def _events(pattern: str) -> frozenset[str]:
    return frozenset(word.strip() for word in pattern.split(","))
