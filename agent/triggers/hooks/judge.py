"""Judge: what one project makes of one event. Asks for what the payload does not tell only where it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.triggers import filters
from agent.triggers.filters import Push
from agent.triggers.hooks import approval
from agent.triggers.hooks.asking import build_of, pull_ref
from agent.triggers.hooks.event import COMMENT, PUSH, Event

WHOLE = 40
"""Digits of a commit id; Bitbucket tells the first 12 of a pull request's."""


class Looks(Protocol):
    """Finds out what a payload does not tell; each may take seconds, and raise what the server raises."""

    def change(self, project: Project, event: Event) -> tuple[Sequence[str], str]:
        """Return the paths that an event touched, and the message of its head commit."""
        ...

    def whole(self, project: Project, event: Event) -> str:
        """Return the whole id of the head commit."""
        ...

    def head(self, project: Project, event: Event) -> str | None:
        """Return what the ref of an event (of a pull request: its head) points to now; None: it is not there."""
        ...

    def role(self, project: Project, event: Event) -> str | None:
        """Return the role that the event's actor has now (`GITHUB_WRITE`); None: nobody can tell."""
        ...

    def waiting(self, project: Project, number: int) -> Event | None:
        """Return the event of pull request *number* that waits for approval."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What becomes of an event: a build (`request`), nothing, a longer look, or a wait for approval."""

    outcome: Literal["build", "nothing", "look", "approval"]
    reason: str
    request: BuildRequest | None = None


def judge(project: Project, event: Event, looks: Looks | None = None) -> Verdict:
    """Return what *project* makes of *event*; without *looks* it is `look` where the payload does not suffice.

    Raises `RequestInvalid` for a filter pattern that RE2 does not take, and what *looks* raises.
    """
    if event.event == COMMENT:
        return _comment(project, event, looks)
    return _judged(project, event, looks, None)


def _judged(project: Project, event: Event, looks: Looks | None, approved_by: Event | None) -> Verdict:
    if event.host == "bitbucket" and event.is_fork:
        return Verdict("nothing", "its commits lie in a fork, which Bitbucket does not show in this repository")
    made = filters.decide(project, _push(project, event, looks))
    if made.passes is False:
        return Verdict("nothing", made.reason)
    if made.passes is None:
        return Verdict("look", made.reason)
    permitted = _permitted(project, event, looks) if approved_by is None else Verdict("build", "it was approved")
    if permitted.outcome != "build":
        return permitted
    if event.head_sha and len(event.head_sha) < WHOLE:
        if looks is None:
            return Verdict("look", "the payload tells only the beginning of the commit's id")
        event = event.evolve(head_sha=looks.whole(project, event))
    if event.event == PUSH and event.tip is None:
        if looks is None:
            return Verdict("look", "the payload does not tell what the tag itself is")
        event = event.evolve(tip=looks.head(project, event))
        if event.tip is None:
            return Verdict("nothing", f"{event.head_ref} is gone")
    return Verdict("build", made.reason, build_of(project, event, approved_by))


def _permitted(project: Project, event: Event, looks: Looks | None) -> Verdict:
    answer, reason = approval.may_build(project, event)
    if answer == "yes":
        return Verdict("build", reason)
    if looks is None:
        return Verdict("look", f"a pull request that needs approval: {reason}")
    # A maintainer who reopens a stranger's pull request has not read it: its author has to hold a role as well.
    for login in dict.fromkeys((event.author, event.login)):
        person = event.evolve(login=login)
        held, reason = approval.holds_role(project, person, looks.role(project, person) if login else None)
        if not held:
            return Verdict("approval", reason)
    return Verdict("build", reason)


def _comment(project: Project, comment: Event, looks: Looks | None) -> Verdict:
    """Judge a `/codebuild_run(<sha>)`: of the commit that waits, that is still the head, by somebody who may."""
    if looks is None:
        return Verdict("look", "an approval: the commit and the role of its author are looked at")
    waiting = looks.waiting(project, comment.number or 0)
    if waiting is None or waiting.head_sha is None:
        return Verdict("nothing", f"pull request {comment.number} waits for no approval")
    if not (comment.approves or "").startswith(waiting.head_sha):
        return Verdict(
            "nothing", f"pull request {comment.number} waits at {waiting.head_sha}, not at {comment.approves}"
        )
    answer, reason = approval.may_approve(project, comment)
    if answer != "yes":
        held, reason = approval.holds_role(project, comment, looks.role(project, comment))
        if not held:
            return Verdict("nothing", reason)
    head = looks.head(project, waiting)
    if head != comment.approves:
        return Verdict(
            "nothing", f"the head of pull request {comment.number} is {head or 'gone'}, not {comment.approves}"
        )
    return _judged(project, waiting.evolve(head_sha=head), looks, comment)


def _push(project: Project, event: Event, looks: Looks | None) -> Push:
    return Push(
        event=event.event,
        head_ref=event.head_ref,
        base_ref=event.base_ref,
        actor=event.actor,
        repository=event.repository.name,
        organization=event.repository.organization,
        tag_name=event.tag_name,
        release_name=event.release_name,
        workflow_name=event.workflow_name,
        paths=event.paths,
        message=event.message,
        change=_once(project, event, looks) if looks and _has_commit(event) else None,
        later=looks is None and _has_commit(event),
    )


def _has_commit(event: Event) -> bool:
    return event.head_sha is not None and (event.head_ref is not None or pull_ref(event) is not None)


def _once(project: Project, event: Event, looks: Looks) -> Callable[[], tuple[Sequence[str], str]]:
    """Return what looks at the repository when it is called first."""
    found: list[tuple[Sequence[str], str]] = []

    def change() -> tuple[Sequence[str], str]:
        if not found:
            found.append(looks.change(project, event))
        return found[0]

    return change
