"""Approval: which pull requests are built unasked, which wait for `/codebuild_run(<sha>)` (service.md 3.5). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from agent.model.project import Project, PullRequestBuildPolicy
from agent.triggers.hooks.event import Event

RoleOf = Callable[[Project, Event], str | None]
"""Says which role the event's actor has now, as `approverRoles` names it (`GITHUB_WRITE`); None: nobody can tell."""

_COMMAND = re.compile(r"\s*/codebuild_run\(\s*([0-9a-fA-F]{40})\s*\)\s*")
_LADDERS = {
    "GITHUB": ("READ", "TRIAGE", "WRITE", "MAINTAIN", "ADMIN"),
    "GITLAB": ("GUEST", "PLANNER", "REPORTER", "DEVELOPER", "MAINTAINER", "OWNER"),
    "BITBUCKET": ("READ", "WRITE", "ADMIN"),
}
ROLES = tuple(f"{host}_{role}" for host, roles in _LADDERS.items() for role in roles)
"""Every word that `approverRoles` knows (service.md 3.5)."""
DEFAULT_ROLES = (
    *("GITHUB_WRITE", "GITHUB_MAINTAIN", "GITHUB_ADMIN", "GITLAB_DEVELOPER", "GITLAB_MAINTAINER", "GITLAB_OWNER"),
    *("BITBUCKET_WRITE", "BITBUCKET_ADMIN"),
)
"""Who approves where a project names nobody: whoever could push to the repository as well."""
_CAREFUL = PullRequestBuildPolicy(requires_comment_approval="FORK_PULL_REQUESTS")
"""What holds for a project without a policy: a stranger's code is not run unasked."""

Answer = Literal["yes", "no", "ask"]


def approved_commit(text: str | None) -> str | None:
    """Return the commit that a comment asks to be built; None: it is another comment. Nothing else may stand in it."""
    match = _COMMAND.fullmatch(text) if text and len(text) < 1000 else None
    return match[1].lower() if match else None


def may_build(project: Project, event: Event) -> tuple[Answer, str]:
    """Say whether a pull request is built unasked, with the reason; `ask`: the actor's role decides."""
    policy = policy_of(project)
    wants = policy.requires_comment_approval
    if not event.is_pull_request or wants == "DISABLED":
        return "yes", "no approval is asked for"
    if wants == "FORK_PULL_REQUESTS" and not event.is_fork:
        return "yes", "it comes from the repository itself"
    return _by_payload(policy, event)


def may_approve(project: Project, comment: Event) -> tuple[Answer, str]:
    """Say whether the writer of a comment may approve, with the reason; `ask`: the role decides."""
    return _by_payload(policy_of(project), comment)


def holds_role(project: Project, event: Event, role: str | None) -> tuple[bool, str]:
    """Say whether *role*, that of the event's actor, is one that approves, with the reason."""
    who = f"account {event.login or event.actor or 'unknown'}"
    if role is None:
        return False, f"nobody could say which role {who} has, so it waits for somebody who may approve it"
    if role in _approvers(policy_of(project)):
        return True, f"{who} has the role {role}"
    return False, f"{who} has the role {role}, which does not approve"


def policy_of(project: Project) -> PullRequestBuildPolicy:
    """Return the policy that holds for a project, also where it has none."""
    policy = project.webhook.pull_request_build_policy if project.webhook else None
    return policy or _CAREFUL


def _approvers(policy: PullRequestBuildPolicy) -> tuple[str, ...]:
    return policy.approver_roles if policy.approver_roles is not None else DEFAULT_ROLES


def _by_payload(policy: PullRequestBuildPolicy, event: Event) -> tuple[Answer, str]:
    """Judge by what the payload says: that somebody owns the repository (an admin) is a role, other words are none."""
    if event.association == "OWNER" and "GITHUB_ADMIN" in _approvers(policy):
        return "yes", "its author owns the repository"
    return "ask", "its author's role decides"
