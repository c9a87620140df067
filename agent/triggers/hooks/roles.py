"""Roles: what somebody may do in a repository, as its host's API says it now (service.md 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from agent.errors import GitUnavailable, SourceRefused
from agent.kit.logging import get_logger
from agent.model.project import Project, Source
from agent.triggers.hooks.event import Event

_GITLAB_LEVELS = {10: "GUEST", 15: "PLANNER", 20: "REPORTER", 30: "DEVELOPER", 40: "MAINTAINER", 50: "OWNER"}
_GITHUB_ROLES = frozenset({"READ", "TRIAGE", "WRITE", "MAINTAIN", "ADMIN"})
_BITBUCKET_ROLES = frozenset({"READ", "WRITE", "ADMIN"})
_NEEDS = {
    "github": "the token or app needs the permission 'Metadata: read' on the repository",
    "gitlab": "the token needs the scope read_api (read_repository does not do), of a member of the project",
    "bitbucket": "Bitbucket tells permissions to admins of the repository only: the token has to be one's",
}
"""What the documentation of each host asks of who looks up somebody's role."""
_log = get_logger("webhooks")


class Place(Protocol):
    """Where a repository is at its host's API: kind `github`, `gitlab` or `bitbucket`, no slash at the end of `api`."""

    @property
    def kind(self) -> str: ...

    @property
    def api(self) -> str: ...

    @property
    def repository(self) -> str: ...


class Answer(Protocol):
    """What an API said; `body` is its JSON."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> Any: ...


@dataclass(frozen=True)
class Roles:
    """A `RoleOf`. *place* finds a source at its host's API, *ask* gets an address with the login of a source.

    Raises `GitUnavailable` where the host does not answer. A host that says no, or no login: nobody can tell.
    """

    place: Callable[[Source], Place | None]
    ask: Callable[[Source, str], Answer]

    def __call__(self, project: Project, event: Event) -> str | None:
        """Return the role of the event's actor as `approverRoles` names it, None where nobody can tell."""
        place = self.place(project.source)
        if place is None or not event.login:
            return None
        address = address_of(place, event.login)
        try:
            answer = self.ask(project.source, address)
        except SourceRefused as error:
            _log.warning("a role cannot be looked up", project=project.name, error=error.message, hint=error.hint)
            return None
        if answer.status == 404:
            return None
        if answer.status != 200:
            _log.warning(
                "a role cannot be looked up",
                project=project.name,
                address=address,
                status=answer.status,
                hint=_NEEDS.get(place.kind, ""),
            )
            if answer.status in (408, 425, 429):
                raise GitUnavailable(f"{address}: HTTP {answer.status}")
            return None
        return role_in(place, answer.body)


def address_of(place: Place, login: str) -> str:
    """Return where the role of *login* (of GitLab and Bitbucket: the account's id) is asked for. Pure."""
    who = quote(login, safe="")
    if place.kind == "github":
        return f"{place.api}/repos/{quote(place.repository)}/collaborators/{who}/permission"
    if place.kind == "gitlab":
        return f"{place.api}/projects/{quote(place.repository, safe='')}/members/all/{who}"
    workspace, _, slug = place.repository.partition("/")
    query = quote(f'user.account_id="{login}"', safe="")
    return f"{place.api}/workspaces/{quote(workspace)}/permissions/repositories/{quote(slug)}?q={query}"


def role_in(place: Place, body: Any) -> str | None:
    """Return the role that an answer names, None for one that makes no sense. Pure."""
    if not isinstance(body, Mapping):
        return None
    if place.kind == "github":
        return _github(body)
    if place.kind == "gitlab":
        level = body.get("access_level")
        active = body.get("state", "active") == "active"
        name = _GITLAB_LEVELS.get(level) if isinstance(level, int) and active else None
        return f"GITLAB_{name}" if name else None
    values = body.get("values")
    first = values[0] if isinstance(values, list) and len(values) == 1 else None
    word = str(first.get("permission", "")).upper() if isinstance(first, Mapping) else ""
    return f"BITBUCKET_{word}" if word in _BITBUCKET_ROLES else None


def _github(body: Mapping[str, Any]) -> str | None:
    """Prefer `role_name`, which knows triage and maintain; for a role of a company's own the basic one holds."""
    for name in ("role_name", "permission"):
        word = str(body.get(name, "")).upper()
        if word in _GITHUB_ROLES:
            return f"GITHUB_{word}"
    return None
