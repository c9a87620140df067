"""Asking: an event of a git host becomes the request for one build (service.md 3.2, buildspec.md 7.1). Pure."""

from __future__ import annotations

from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.model.webhook import WebhookFacts
from agent.triggers.changes import Change, request_for
from agent.triggers.hooks.event import NO_COMMIT, PUSH, Event
from agent.triggers.hooks.scope import is_scoped, subject


def build_of(project: Project, event: Event, approved_by: Event | None = None) -> BuildRequest:
    """Return the request for a build of *event*. Its `dedupe_key` is the same whoever saw a push.

    A pull request of GitHub is built as `pr/7`, and of exactly the commit that the event told of; those of the other
    hosts as that commit. *approved_by* is the comment that had it built.
    """
    if event.event == PUSH and event.head_ref and event.head_sha:
        pushed = request_for(project, Change(event.head_ref, event.previous, event.tip or event.head_sha))
        asked = pushed.evolve(source_version=event.head_sha)
    else:
        asked = BuildRequest(
            project=project.name,
            source_version=_version(event),
            source_ref=_place(event),
            revision=event.head_sha,
            initiator=event.initiator,
            dedupe_key=_key(project, event, approved_by),
        )
    if is_scoped(project):  # *project* is bound, so its location is that of the event's repository
        key = (asked.dedupe_key or "").replace(f":{project.name}:", f":{subject(project)}:", 1)
        asked = asked.evolve(overrides={"sourceLocationOverride": project.source.location}, dedupe_key=key)
    return asked.evolve(initiator=event.initiator, webhook=facts_of(event))


def facts_of(event: Event) -> WebhookFacts:
    """Return what a build is told of the event."""
    is_push = event.event == PUSH
    return WebhookFacts(
        event=event.event,
        actor_account_id=event.actor,
        base_ref=event.base_ref,
        head_ref=event.head_ref,
        trigger=event.trigger,
        prev_commit=(event.previous or NO_COMMIT) if is_push else None,
        merge_commit=event.merge_commit,
    )


def pull_ref(event: Event) -> str | None:
    """Return the ref by which a server shows the head of a pull request; None where it shows none (Bitbucket)."""
    if event.host == "bitbucket":
        return None
    place = "merge-requests" if event.host == "gitlab" else "pull"
    return f"refs/{place}/{event.number}/head"


def _version(event: Event) -> str | None:
    if event.is_pull_request and event.host in ("github", "github_enterprise"):
        return f"pr/{event.number}"
    return event.head_sha or event.head_ref


def _place(event: Event) -> str | None:
    return pull_ref(event) if event.is_pull_request else event.head_ref


def _key(project: Project, event: Event, approved_by: Event | None) -> str:
    if approved_by is not None:
        return f"pr:{project.name}:{event.number}:approved-{approved_by.subject}:{event.head_sha}"
    if event.is_pull_request:
        return f"pr:{project.name}:{event.number}:{event.event}:{event.head_sha}"
    return f"hook:{project.name}:{event.host}:{event.event}:{event.head_ref}:{event.head_sha or '-'}:{event.subject}"
