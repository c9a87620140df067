"""Filters: which changes a project's `filterGroups` let through, and which filter decided (service.md 3.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.model.project import Project, WebhookFilter
from agent.triggers.patterns import compile_pattern, fits, found

__all__ = ["Decision", "Push", "compile_pattern", "decide", "groups_of", "judge", "lets_through", "passes"]

_CHANGE = frozenset({"FILE_PATH", "COMMIT_MESSAGE"})
_KNOWN_TO_GIT = frozenset({"EVENT", "HEAD_REF", "REPOSITORY_NAME"}) | _CHANGE
_SKIP_WORDS = ("[skip ci]", "[ci skip]", "[no ci]")
_MOST_WORDS = 3


@dataclass(frozen=True)
class Push:
    """A change that a filter may look at. None is what this trigger cannot know; no filter on it is ever true.

    `paths` and `message` are what the change touched and the message of its head commit. Where they are None, `change`
    is asked for both, at most when a filter needs it and all cheaper ones of its group hold. `later` says that somebody
    with more time will know.
    """

    event: str = "PUSH"
    head_ref: str | None = None
    base_ref: str | None = None
    actor: str | None = None
    repository: str | None = None
    organization: str | None = None
    tag_name: str | None = None
    release_name: str | None = None
    workflow_name: str | None = None
    paths: Sequence[str] | None = None
    message: str | None = None
    change: Callable[[], tuple[Sequence[str], str]] | None = None
    later: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether a change passes, and which filter decided it. None: only a look at the repository can tell."""

    passes: bool | None
    reason: str


def passes(project: Project, push: Push) -> bool:
    """Whether a project builds *push*: its filter groups, and `agent.skip_ci`."""
    return decide(project, push).passes is True


def decide(project: Project, push: Push) -> Decision:
    """Return what a project makes of *push*, with the reason: its filter groups, then `agent.skip_ci`.

    Raises `RequestInvalid` for a pattern that RE2 does not take.
    """
    made = judge(groups_of(project), push, strict_actor=project.agent.strict_actor_match)
    if made.passes is False or not project.agent.skip_ci or push.event != "PUSH":
        return made
    texts = _texts("COMMIT_MESSAGE", push)
    if texts is None:
        return Decision(None, "agent.skip_ci needs the commit's message") if push.later else made
    word = next((word for word in _SKIP_WORDS for text in texts if word in text.lower()), None)
    return Decision(False, f"the commit's message says {word}, and agent.skip_ci holds") if word else made


def lets_through(groups: Sequence[Sequence[WebhookFilter]], push: Push) -> bool:
    """Whether at least one group has all its filters true; with no groups every push passes, and nothing else.

    Patterns are searched for, not anchored; `excludeMatchedPattern` turns a filter round, but one about something
    unknown stays false. Raises `RequestInvalid` for a pattern outside of RE2's language.
    """
    return judge(groups, push, strict_actor=False).passes is True


def judge(groups: Sequence[Sequence[WebhookFilter]], push: Push, *, strict_actor: bool) -> Decision:
    """Return whether a group has all its filters true, and which filter decided.

    With *strict_actor* an ACTOR_ACCOUNT_ID pattern that lets in has to fit the whole id; one that keeps out is searched
    for all the same, which keeps out more. Raises `RequestInvalid` for a pattern outside of RE2's language.
    """
    if not groups:
        if push.event == "PUSH":
            return Decision(True, "there are no filter groups, so every push is built")
        return Decision(False, f"there are no filter groups, so pushes alone are built, and this is {push.event}")
    failures, waiting = [], ""
    for number, group in enumerate(groups, 1):
        made = _group(group, push, strict_actor)
        if made.passes:
            return Decision(True, f"group {number}: {made.reason}")
        if made.passes is None:
            waiting = waiting or f"group {number}: {made.reason}"
        failures.append(f"group {number}: {made.reason}")
    return Decision(None, waiting) if waiting else Decision(False, "; ".join(failures))


def groups_of(project: Project) -> tuple[tuple[WebhookFilter, ...], ...]:
    """Return the filter groups of a project; the old `branchFilter` counts as one on HEAD_REF (service.md 3.3)."""
    webhook = project.webhook
    if webhook is None:
        return ()
    if webhook.filter_groups or not webhook.branch_filter:
        return webhook.filter_groups
    branch = WebhookFilter(type="HEAD_REF", pattern=f"^refs/heads/(?:{webhook.branch_filter})$")
    return ((WebhookFilter(type="EVENT", pattern="PUSH"), branch),)


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


def _group(group: Sequence[WebhookFilter], push: Push, strict_actor: bool) -> Decision:
    cheap_first = sorted(group, key=lambda one: one.type in _CHANGE)
    waiting = ""
    for one in cheap_first:
        texts = _texts(one.type, push)
        if texts is None and push.later and one.type in _CHANGE:
            waiting = waiting or f"{one.type} needs a look at the repository"
            continue
        held, seen = _is_true(one, texts, push, strict_actor)
        if not held:
            return Decision(False, f"{_shown(one)} is not true of {seen}")
    if waiting:
        return Decision(None, waiting)
    return Decision(True, "all true: " + ", ".join(_shown(one) for one in group))


def _is_true(
    one: WebhookFilter, texts: Sequence[str] | None, push: Push, strict_actor: bool
) -> tuple[bool, str]:  # fmt: skip
    """Return whether a filter holds, and what it was held against."""
    if texts is None:
        return False, "what nobody knows of this event"
    if one.type == "EVENT":
        matched = push.event in _events(one.pattern)
    else:
        strictly = strict_actor and one.type == "ACTOR_ACCOUNT_ID" and not one.exclude_matched_pattern
        test = fits if strictly else found
        matched = any(test(one.pattern, text) for text in texts)
    more = f" and {len(texts) - _MOST_WORDS} more" if len(texts) > _MOST_WORDS else ""
    return matched is not one.exclude_matched_pattern, f"{[text[:100] for text in texts[:_MOST_WORDS]]}{more}"


def _shown(one: WebhookFilter) -> str:
    return f"{'not ' if one.exclude_matched_pattern else ''}{one.type} {one.pattern}"


def _texts(kind: str, push: Push) -> Sequence[str] | None:
    """Return what a filter of *kind* looks at; None where nobody knows (yet)."""
    if kind == "FILE_PATH":
        return push.paths if push.paths is not None or push.change is None else push.change()[0]
    if kind == "COMMIT_MESSAGE":
        message = push.message if push.message is not None or push.change is None else push.change()[1]
        return None if message is None else (message,)
    value = {
        "EVENT": push.event,
        "HEAD_REF": push.head_ref,
        "BASE_REF": push.base_ref,
        "ACTOR_ACCOUNT_ID": push.actor,
        "REPOSITORY_NAME": push.repository,
        "ORGANIZATION_NAME": push.organization,
        "TAG_NAME": push.tag_name,
        "RELEASE_NAME": push.release_name,
        "WORKFLOW_NAME": push.workflow_name,
    }.get(kind)
    return None if value is None else (value,)


def _events(pattern: str) -> frozenset[str]:
    return frozenset(word.strip() for word in pattern.split(","))
