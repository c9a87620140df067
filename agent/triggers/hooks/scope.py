"""Scope: a project that builds any repository of an organisation or group, and which one an event means. Pure.

CodeBuild's `scopeConfiguration` (service.md 3.1). Such a project has a placeholder for its location; each event puts
its own repository there. The address is made of the scope's own host and the repository's name, never taken from the
payload, so that no credential goes anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.errors import SourceRefused
from agent.model.project import EVERY_REPOSITORY, Project, ScopeConfiguration
from agent.source import url
from agent.triggers.hooks.event import Event

_HOMES = {"GITHUB": "github.com", "GITLAB": "gitlab.com"}
_OWN = ("GITHUB_ENTERPRISE", "GITLAB_SELF_MANAGED")
_KINDS = {
    "GITHUB_ORGANIZATION": ("GITHUB", "GITHUB_ENTERPRISE"),
    "GITHUB_GLOBAL": ("GITHUB", "GITHUB_ENTERPRISE"),
    "GITLAB_GROUP": ("GITLAB", "GITLAB_SELF_MANAGED"),
}
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.][A-Za-z0-9_.-]*)+")

Complaint = tuple[tuple[str, ...], str, bool]
"""Place in a project, what is wrong there, and whether the project cannot be used."""


def is_scoped(project: Project) -> bool:
    """Whether a project builds more than one repository."""
    return _scope(project) is not None


def bound(project: Project, event: Event) -> Project | None:
    """Return *project* with the event's repository as its source; None where the scope does not hold it."""
    scope, host = _scope(project), _host(project)
    name = event.repository.full_name
    if scope is None or host is None or _NAME.fullmatch(name) is None or {".", ".."} & set(name.split("/")):
        return None
    known = (_place(address) for address in event.repository.addresses)
    if (host.partition(":")[0].lower(), name.casefold()) not in known:
        return None
    inside = name.casefold().startswith(f"{scope.name.casefold().strip('/')}/")
    if scope.scope != "GITHUB_GLOBAL" and not inside:
        return None
    return project.evolve(source=project.source.evolve(location=f"https://{host}/{name}.git"))


def subject(project: Project) -> str:
    """Return under which name the events of a project are kept apart: of a bound one, each repository has its own."""
    if not is_scoped(project):
        return project.name
    path = urlsplit(project.source.location or "").path.strip("/").removesuffix(".git")
    return f"{project.name}@{path.casefold()}"


def complaints(project: Project) -> Iterator[Complaint]:
    """Yield what makes no sense about the scope of a project."""
    webhook, location = project.webhook, project.source.location
    scope = _scope(project)
    if scope is None or webhook is None:
        if location == EVERY_REPOSITORY:
            words = f"{EVERY_REPOSITORY} needs webhook.scopeConfiguration, which says whose repositories are built"
            yield ("source", "location"), words, True
        return
    here = ("webhook", "scopeConfiguration")
    if location != EVERY_REPOSITORY:
        words = f"with webhook.scopeConfiguration the location is {EVERY_REPOSITORY}: each event names its repository"
        yield ("source", "location"), words, True
    if project.source.type not in _KINDS[scope.scope]:
        words = f"{scope.scope} goes with a source of type {' or '.join(_KINDS[scope.scope])}"
        yield (*here, "scope"), f"{words}, not {project.source.type}", True
    elif (trouble := _domain_trouble(project, scope.domain)) is not None:
        yield (*here, "domain"), trouble, True
    if webhook.secret is None:
        yield ("webhook",), "a hook for so many repositories needs a secret: name it in webhook.secret", True
    if project.agent.poll:
        yield ("agent", "poll"), "repositories that only events name cannot be polled", True
    if project.agent.schedule:
        yield ("agent", "schedule"), "a schedule does not say which repository is to be built", True
    if project.source_version:
        yield ("sourceVersion",), "it is ignored: each event says what is built of its repository", False


def _domain_trouble(project: Project, domain: str | None) -> str | None:
    kind = project.source.type
    if kind in _OWN and domain is None:
        return f"domain is missing: name the host of {kind}, such as git.example.com"
    if domain is not None and _DOMAIN.fullmatch(domain) is None:
        return "expected the name of a host, such as git.example.com or git.example.com:8443, without https://"
    if kind in _HOMES and domain not in (None, _HOMES[kind]):
        return f"a source of type {kind} is at {_HOMES[kind]}"
    return None


def _scope(project: Project) -> ScopeConfiguration | None:
    return project.webhook.scope_configuration if project.webhook else None


def _host(project: Project) -> str | None:
    scope = _scope(project)
    return _HOMES.get(project.source.type) or (scope.domain if scope else None)


def _place(address: str) -> tuple[str, str]:
    """Return host and path of one of the addresses by which a payload names its repository."""
    try:
        found, _ = url.parse(address)
    except SourceRefused:
        return "", ""
    return found.host, found.path.strip("/").removesuffix(".git").casefold()
