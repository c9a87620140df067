"""Projects for whole organisations and groups: which repository is built, from where, and what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.errors import RequestInvalid
from agent.model.build import Build
from agent.model.project import EVERY_REPOSITORY, AgentOptions, Project, Schedule, ScopeConfiguration, WebhookFilter
from agent.model.request import BuildRequest
from agent.settings.checks import findings
from agent.store.queue import Queue
from agent.triggers.hooks.bitbucket import bitbucket
from agent.triggers.hooks.desk import READERS
from agent.triggers.hooks.event import Event, Host
from agent.triggers.hooks.scope import bound, subject
from agent.triggers.hooks.trial import try_out
from agent.triggers.target import PollTarget
from tests.fakes import hooks
from tests.fakes.hooks import body_of
from tests.unit.triggers.hooks.test_desk import Office, a_project

PUSH = WebhookFilter(type="EVENT", pattern="PUSH,PULL_REQUEST_CREATED")


def scoped(
    kind: str = "GITHUB", scope: str = "GITHUB_ORGANIZATION", name: str = "octo", domain: str | None = None, **more: Any
) -> Project:
    project = a_project(kind=kind, location=EVERY_REPOSITORY, groups=more.pop("groups", ()))
    assert project.webhook is not None
    found = ScopeConfiguration(name=name, scope=scope, domain=domain)  # type: ignore[arg-type]
    return project.evolve(webhook=project.webhook.evolve(scope_configuration=found), **more)


def pushed(repository: str = "octo/shop", host: str = "github.com", **more: Any) -> dict[str, Any]:
    payload = hooks.github_push(url=f"https://{host}/{repository}.git", **more)
    payload["repository"] |= {"full_name": repository, "name": repository.rpartition("/")[2], "ssh_url": None}
    return payload


def event_of(payload: Any, host: Host = "github", kind: str = "push") -> Event:
    headers = {"x-github-event": kind, "x-gitlab-event": kind}
    return READERS[host](headers, body_of(payload)).events[0]


def location(project: Project, event: Event) -> str | None:
    found = bound(project, event)
    return found and found.source.location


def test_any_repository_of_an_organisation_is_the_source_and_none_of_another() -> None:
    project = scoped()
    assert location(project, event_of(pushed("octo/shop"))) == "https://github.com/octo/shop.git"
    assert location(project, event_of(pushed("Octo/Web"))) == "https://github.com/Octo/Web.git"
    for other in ("octopus/shop", "evil/octo", "oct/o"):
        assert location(project, event_of(pushed(other))) is None
    assert location(scoped(scope="GITHUB_GLOBAL", name="world"), event_of(pushed("any/thing")))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("evil.example", "octo/shop"),
        ("github.com.evil.example", "octo/shop"),
        ("github.com@evil.example", "octo/shop"),
        ("github.com", "octo/../../etc"),
        ("github.com", "octo/shop?x=@evil.example"),
        ("github.com", "octo/-x"),
        ("github.com", "octo/shop\nx"),
        ("github.com", "octo"),
    ],
)
def test_the_source_is_never_at_another_host_than_that_of_the_scope(host: str, name: str) -> None:
    assert location(scoped(), event_of(pushed(name, host))) is None


def test_a_host_of_one_s_own_is_named_by_its_domain_port_included() -> None:
    project = scoped("GITHUB_ENTERPRISE", domain="git.example.com:8443")
    event = event_of(pushed("octo/shop", "git.example.com:8443"), "github_enterprise")
    assert location(project, event) == "https://git.example.com:8443/octo/shop.git"
    assert location(project, event_of(pushed("octo/shop"), "github_enterprise")) is None


def test_a_group_of_gitlab_holds_its_groups_within() -> None:
    event = event_of(hooks.gitlab_push(), "gitlab", "Push Hook")
    for name, inside in (("octo", True), ("octo/sub", True), ("/Octo/", True), ("sub", False), ("oct", False)):
        project = scoped("GITLAB", "GITLAB_GROUP", name)
        assert location(project, event) == ("https://gitlab.com/octo/sub/shop.git" if inside else None)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    found = Office(tmp_path)
    found.projects["shop"] = scoped(groups=((PUSH,),))
    return found


def places(builds: list[Build]) -> set[str | None]:
    return {build.project.source.location for build in builds}


def test_the_same_push_in_two_repositories_is_two_builds_and_twice_in_one_is_one(office: Office) -> None:
    for repository in ("octo/shop", "octo/web"):
        for number in range(2):
            payload = pushed(repository, extra=number)  # another body, so another delivery
            assert office.deliver("push", payload)[0] == 202
    assert office.deliver("push", pushed("evil/web"))[1]["result"] == "ignored"
    assert len(office.builds()) == 2
    assert places(office.builds()) == {"https://github.com/octo/shop.git", "https://github.com/octo/web.git"}


def test_the_repository_s_name_decides_where_a_filter_asks_for_it(office: Office) -> None:
    named = WebhookFilter(type="REPOSITORY_NAME", pattern="^web$")
    office.projects["shop"] = scoped(groups=((PUSH, named),))
    for repository in ("octo/shop", "octo/web"):
        office.deliver("push", pushed(repository))
    assert places(office.builds()) == {"https://github.com/octo/web.git"}
    owned = WebhookFilter(type="ORGANIZATION_NAME", pattern="^octo$")
    office.projects["shop"] = scoped(scope="GITHUB_GLOBAL", name="world", groups=((PUSH, owned),))
    for repository in ("octo/api", "evil/api"):
        owner = {"login": repository.partition("/")[0]}
        office.deliver("push", pushed(repository, organization=owner))
    assert "https://github.com/octo/api.git" in places(office.builds())
    assert "https://github.com/evil/api.git" not in places(office.builds())


def test_a_branch_of_another_repository_is_not_superseded(office: Office) -> None:
    office.projects["shop"] = scoped(agent=AgentOptions(supersede="queued"))
    for repository in ("octo/shop", "octo/web"):
        office.deliver("push", pushed(repository))
    office.deliver("push", pushed("octo/web", before=hooks.AFTER, after=hooks.HEAD))
    asked = {place.build for place in Queue(office.database).places() if place.stop}
    assert places([build for build in office.builds() if build.id in asked]) == {"https://github.com/octo/web.git"}


def test_pull_requests_of_one_number_wait_for_approval_each_in_its_own_repository(office: Office) -> None:
    for repository in ("octo/shop", "octo/web"):
        payload = hooks.github_pull(url=f"https://github.com/{repository}.git", fork=True)
        payload["repository"] |= {"full_name": repository, "name": repository.rpartition("/")[2]}
        assert office.deliver("pull_request", payload)[1]["projects"][0]["outcome"] == "later"
    office.settle()
    assert office.builds() == []
    assert office.hooks.waiting("shop@octo/shop", 7)
    assert office.hooks.waiting("shop@octo/web", 7)


def test_it_is_not_polled_and_not_started_without_the_name_of_a_repository(office: Office) -> None:
    project = office.projects["shop"]
    assert not PollTarget(project, 30).is_polled
    with pytest.raises(RequestInvalid, match="names none"):
        office.intake.submit(BuildRequest(project="shop", initiator="me"))
    chosen = {"sourceLocationOverride": "https://github.com/octo/shop.git"}
    build = office.intake.submit(BuildRequest(project="shop", initiator="me", overrides=chosen))
    assert build.project.source.location == "https://github.com/octo/shop.git"
    assert subject(a_project()) == "shop"


def test_a_trial_says_what_it_would_build_and_what_is_out_of_scope() -> None:
    project = scoped()
    delivery = READERS["github"]({"x-github-event": "push"}, body_of(pushed("octo/web")))
    (found,) = try_out([project], "github", delivery, forced=False)
    assert found.request is not None
    assert found.request.overrides == {"sourceLocationOverride": "https://github.com/octo/web.git"}
    delivery = READERS["github"]({"x-github-event": "push"}, body_of(pushed("evil/web")))
    (found,) = try_out([project], "github", delivery, forced=True)
    assert (found.outcome, found.reason) == ("nothing", "evil/web is not within its scope")


def wrong(project: Project) -> list[str]:
    return [".".join(map(str, one.loc)) for one in findings(project) if one.fatal]


def test_what_makes_no_sense_about_a_scope_is_said_with_its_place() -> None:
    assert wrong(scoped(groups=((PUSH,),))) == []
    assert wrong(a_project(location=EVERY_REPOSITORY)) == ["source.location"]
    real = scoped()
    assert wrong(real.evolve(source=real.source.evolve(location=hooks.GITHUB_URL))) == ["source.location"]
    assert wrong(scoped("BITBUCKET")) == ["webhook.scopeConfiguration.scope"]
    assert wrong(scoped("GITHUB", "GITLAB_GROUP")) == ["webhook.scopeConfiguration.scope"]
    for kind, domain in (
        ("GITHUB_ENTERPRISE", None),
        ("GITHUB_ENTERPRISE", "https://git.example.com"),
        ("GITHUB_ENTERPRISE", "git.example.com/x"),
        ("GITHUB_ENTERPRISE", "user@git.example.com"),
        ("GITHUB", "evil.example"),
    ):
        assert wrong(scoped(kind, domain=domain)) == ["webhook.scopeConfiguration.domain"]
    assert real.webhook is not None
    assert wrong(real.evolve(webhook=real.webhook.evolve(secret=None))) == ["webhook"]
    assert wrong(scoped(agent=AgentOptions(poll=30))) == ["agent.poll"]
    assert wrong(scoped(agent=AgentOptions(schedule=(Schedule(cron="0 3 * * *"),)))) == ["agent.schedule"]
    assert wrong(scoped(agent=AgentOptions(poll=0))) == []


def test_a_hook_of_bitbucket_concerns_no_such_project() -> None:
    headers = {"x-event-key": "repo:push"}
    events = bitbucket(headers, body_of(hooks.bitbucket_push())).events
    assert all(bound(scoped(), event) is None for event in events)
