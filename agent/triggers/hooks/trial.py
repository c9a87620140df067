"""Trial: what a delivery would start, and which filter decides; nothing is stored and no server is asked. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import RequestInvalid
from agent.model.project import EVERY_REPOSITORY, Project
from agent.model.request import BuildRequest
from agent.triggers.hooks.address import concerned, takes_hooks
from agent.triggers.hooks.event import Delivery, Event, Host
from agent.triggers.hooks.judge import judge
from agent.triggers.hooks.scope import bound, is_scoped

_OUTCOMES = {"build": "build", "nothing": "nothing", "look": "later", "approval": "nothing"}
_GITLAB = {
    "push": "Push Hook",
    "tag_push": "Tag Push Hook",
    "merge_request": "Merge Request Hook",
    "release": "Release Hook",
    "build": "Job Hook",
    "note": "Note Hook",
}
_HEADERS: Mapping[str, str] = {
    "github": "x-github-event",
    "github_enterprise": "x-github-event",
    "bitbucket": "x-event-key",
    "gitlab": "x-gitlab-event",
}


@dataclass(frozen=True)
class Finding:
    """What one project would make of one event: `build` (with the request), `later`, or `nothing`."""

    project: str
    event: Event
    outcome: str
    reason: str
    request: BuildRequest | None = None


def try_out(projects: Iterable[Project], host: Host, delivery: Delivery, *, forced: bool) -> list[Finding]:
    """Return what each of *projects* that the delivery concerns makes of it; all of them where *forced*."""
    listed = list(projects)
    found = []
    for event in delivery.events:
        for project in _forced(listed, event) if forced else concerned(listed, event):
            if project.source.location == EVERY_REPOSITORY:
                words = f"{event.repository.full_name} is not within its scope"
                found.append(Finding(project.name, event, "nothing", words))
                continue
            if not takes_hooks(project, host):
                found.append(Finding(project.name, event, "nothing", f"it has no webhook for {host}"))
                continue
            verdict = judge(project, event)
            found.append(Finding(project.name, event, _OUTCOMES[verdict.outcome], verdict.reason, verdict.request))
    return found


def _forced(projects: Iterable[Project], event: Event) -> list[Project]:
    return [(is_scoped(one) and bound(one, event)) or one for one in projects]


def host_of_headers(headers: Mapping[str, str]) -> Host | None:
    """Return which host sent these headers (names in lower case), None where they do not tell."""
    if "x-github-event" in headers:
        return "github_enterprise" if "x-github-enterprise-host" in headers else "github"
    if "x-event-key" in headers:
        return "bitbucket"
    return "gitlab" if "x-gitlab-event" in headers else None


def guessed(body: bytes, host: Host | None, event: str | None) -> tuple[Host, dict[str, str]]:
    """Return whose payload *body* looks like, and the header that names its event; *host* and *event* win where given.

    Raises `RequestInvalid` where the payload does not tell.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid("the payload is no JSON") from error
    members = document if isinstance(document, dict) else {}
    found = host or _host(members)
    kind = event or _event(members, found)
    if kind is None:
        raise RequestInvalid("the payload does not tell which event it is of", hint="say --event NAME")
    if found == "gitlab":
        kind = _GITLAB.get(kind, kind)
    if found == "bitbucket" and kind == "push":
        kind = "repo:push"
    return found, {_HEADERS[found]: kind}


def _host(members: Mapping[str, Any]) -> Host:
    if "object_kind" in members:
        return "gitlab"
    return "bitbucket" if "actor" in members and ("push" in members or "pullrequest" in members) else "github"


def _event(members: Mapping[str, Any], host: Host) -> str | None:
    if host == "gitlab":
        kind = members.get("object_kind")
        return str(kind) if kind else None
    if host == "bitbucket":
        if "comment" in members:
            return "pullrequest:comment_created"
        return "repo:push" if "push" in members else None
    for needed, kind in (
        ({"zen", "hook"}, "ping"),
        ({"issue", "comment"}, "issue_comment"),
        ({"action", "number", "pull_request"}, "pull_request"),
        ({"action", "release"}, "release"),
        ({"action", "workflow_job"}, "workflow_job"),
        ({"ref", "before", "after"}, "push"),
    ):
        if needed <= members.keys():
            return kind
    return None
