"""What a project makes of an event: filters, approval, and the request that follows (service.md 3.3, 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.model.project import (
    AgentOptions,
    Environment,
    Project,
    PullRequestBuildPolicy,
    Source,
    Webhook,
    WebhookFilter,
)
from agent.triggers.hooks.address import concerned, spelling
from agent.triggers.hooks.bitbucket import bitbucket
from agent.triggers.hooks.event import Event
from agent.triggers.hooks.github import github
from agent.triggers.hooks.gitlab import gitlab
from agent.triggers.hooks.judge import judge
from tests.fakes import hooks
from tests.fakes.hooks import AFTER, BEFORE, HEAD, body_of


def one(kind: str, pattern: str, *, exclude: bool = False) -> WebhookFilter:
    return WebhookFilter(type=kind, pattern=pattern, exclude_matched_pattern=exclude)


PUSH = one("EVENT", "PUSH")
PULLS = one("EVENT", "PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_MERGED")


def project(*groups: Sequence[WebhookFilter], policy: str = "", roles: Any = None, **options: Any) -> Project:
    given = PullRequestBuildPolicy(requires_comment_approval=policy, approver_roles=roles) if policy else None
    return Project(
        name="shop",
        source=Source(type="GITHUB", location=hooks.GITHUB_URL),
        environment=Environment(image="i"),
        webhook=Webhook(filter_groups=tuple(map(tuple, groups)), pull_request_build_policy=given, secret="env:S"),
        agent=AgentOptions(**options),
    )


def event(kind: str, payload: Any) -> Event:
    body = body_of(payload)
    return github(hooks.github_headers(kind, body), body).events[0]


def push(**given: Any) -> Event:
    return event("push", hooks.github_push(**given))


def pull(*args: Any, **given: Any) -> Event:
    return event("pull_request", hooks.github_pull(*args, **given))


@dataclass
class Known:
    """A `Looks` that knows what it is given, and remembers what it was asked."""

    paths: Sequence[str] = ()
    message: str = ""
    at: str | None = HEAD
    roles: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, Event] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def change(self, project: Project, event: Event) -> tuple[Sequence[str], str]:
        self.asked.append("change")
        return self.paths, self.message

    def whole(self, project: Project, event: Event) -> str:
        self.asked.append("whole")
        return HEAD

    def head(self, project: Project, event: Event) -> str | None:
        self.asked.append("head")
        return self.at

    def role(self, project: Project, event: Event) -> str | None:
        self.asked.append("role")
        return self.roles.get(event.login or "")

    def waiting(self, project: Project, number: int) -> Event | None:
        return self.pulls.get(number)


def test_a_push_asks_for_the_build_that_polling_would_ask_for() -> None:
    request = judge(project(), push()).request
    assert request is not None
    assert request.dedupe_key == f"git:shop:refs/heads/main:{BEFORE}..{AFTER}"
    assert (request.source_version, request.source_ref) == (AFTER, "refs/heads/main")
    assert request.previous_revision == BEFORE
    assert request.initiator == "GitHub-Hookshot/044aadd"
    assert request.webhook is not None
    assert request.webhook.variables() == {
        "CODEBUILD_WEBHOOK_EVENT": "PUSH",
        "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "7001",
        "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/main",
        "CODEBUILD_WEBHOOK_TRIGGER": "branch/main",
        "CODEBUILD_WEBHOOK_PREV_COMMIT": BEFORE,
    }


def test_a_pull_request_of_github_is_built_by_its_name_at_the_commit_of_the_event() -> None:
    request = judge(project([PULLS]), pull()).request
    assert request is not None
    assert (request.source_version, request.revision, request.source_ref) == ("pr/7", HEAD, "refs/pull/7/head")
    assert request.dedupe_key == f"pr:shop:7:PULL_REQUEST_CREATED:{HEAD}"
    assert request.webhook is not None
    assert request.webhook.variables() == {
        "CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_CREATED",
        "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "7001",
        "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main",
        "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature/x",
        "CODEBUILD_WEBHOOK_TRIGGER": "pr/7",
    }


def test_pull_requests_of_the_others_are_built_as_their_commit() -> None:
    body = body_of(hooks.gitlab_merge())
    merge = gitlab(hooks.gitlab_headers("Merge Request Hook"), body).events[0]
    request = judge(project([PULLS]), merge).request
    assert request is not None
    assert (request.source_version, request.source_ref) == (HEAD, "refs/merge-requests/7/head")
    body = body_of(hooks.bitbucket_pull())
    short = bitbucket(hooks.bitbucket_headers("pullrequest:created", body), body).events[0]
    assert judge(project([PULLS]), short).outcome == "look", "Bitbucket tells the beginning of a commit's id"
    request = judge(project([PULLS]), short, Known()).request
    assert request is not None
    assert (request.source_version, request.source_ref) == (HEAD, None)


def test_a_tag_of_bitbucket_is_looked_at_for_what_polling_would_call_it() -> None:
    body = body_of(hooks.bitbucket_push((None, hooks.bitbucket_ref("v1", AFTER, "tag"))))
    tag = bitbucket(hooks.bitbucket_headers("repo:push", body), body).events[0]
    assert judge(project(), tag).outcome == "look"
    request = judge(project(), tag, Known(at="e" * 40)).request
    assert request is not None
    assert (request.source_version, request.dedupe_key) == (AFTER, f"git:shop:refs/tags/v1:-..{'e' * 40}")
    assert judge(project(), tag, Known(at=None)).reason == "refs/tags/v1 is gone"


@pytest.mark.parametrize(
    ("group", "outcome"),
    [
        ([PUSH, one("HEAD_REF", "^refs/heads/main$")], "build"),
        ([PUSH, one("HEAD_REF", "^refs/heads/rel")], "nothing"),
        ([PUSH, one("FILE_PATH", "^src/")], "build"),
        ([PUSH, one("FILE_PATH", "^web/")], "nothing"),
        ([PUSH, one("COMMIT_MESSAGE", "^fix:")], "build"),
        ([PUSH, one("COMMIT_MESSAGE", "^fix:", exclude=True)], "nothing"),
        ([PUSH, one("BASE_REF", "main")], "nothing"),
        ([PUSH, one("REPOSITORY_NAME", "^shop$")], "build"),
        ([PULLS], "nothing"),
    ],
)
def test_filters_of_a_push_are_judged_by_the_payload(group: list[WebhookFilter], outcome: str) -> None:
    assert judge(project(group), push()).outcome == outcome


def test_the_filters_of_releases_and_jobs() -> None:
    release = event("release", hooks.github_release())
    job = event("workflow_job", hooks.github_job())
    released = one("EVENT", "RELEASED")
    request = judge(project([released, one("TAG_NAME", "^v1"), one("RELEASE_NAME", "One")]), release).request
    assert request is not None
    assert (request.source_version, request.source_ref) == ("refs/tags/v1.0", "refs/tags/v1.0")
    assert judge(project([released, one("TAG_NAME", "^v2")]), release).outcome == "nothing"
    queued = one("EVENT", "WORKFLOW_JOB_QUEUED")
    assert judge(project([queued, one("WORKFLOW_NAME", "Deploy")]), job).outcome == "build"
    assert judge(project(), release).reason.startswith("there are no filter groups, so pushes alone")


def test_what_a_pull_request_touches_is_looked_at_when_nothing_cheaper_decides() -> None:
    group = [PULLS, one("BASE_REF", "^refs/heads/main$"), one("FILE_PATH", "^src/")]
    assert judge(project(group), pull()).outcome == "look"
    assert judge(project([*group, one("HEAD_REF", "other")]), pull()).outcome == "nothing"
    looks = Known(paths=["docs/a"])
    assert judge(project(group), pull(), looks).outcome == "nothing"
    assert looks.asked == ["change"]
    assert judge(project(group, [PULLS]), pull()).outcome == "build", "another group lets it through without a look"


def test_an_account_filter_has_to_fit_the_whole_number_unless_codebuild_is_taken_at_its_word() -> None:
    group = [PUSH, one("ACTOR_ACCOUNT_ID", "700")]
    assert judge(project(group), push()).outcome == "nothing"
    assert judge(project(group, strict_actor_match=False), push()).outcome == "build"
    assert judge(project([PUSH, one("ACTOR_ACCOUNT_ID", "7001|7002")]), push()).outcome == "build"
    shut = [PUSH, one("ACTOR_ACCOUNT_ID", "700", exclude=True)]
    assert judge(project(shut), push()).outcome == "nothing", "what keeps out is searched for"


def test_skip_ci_keeps_a_push_from_being_built_where_the_project_says_so() -> None:
    payload = hooks.github_push()
    payload["head_commit"]["message"] = "docs [Skip CI]"
    skipping = event("push", payload)
    assert judge(project(), skipping).outcome == "build"
    assert "agent.skip_ci" in judge(project(skip_ci=True), skipping).reason
    assert judge(project(skip_ci=True), push()).outcome == "build"


def test_the_reason_names_the_filter_that_decided() -> None:
    made = judge(project([PUSH, one("HEAD_REF", "^refs/heads/rel")], [PULLS]), push())
    assert made.reason == (
        "group 1: HEAD_REF ^refs/heads/rel is not true of ['refs/heads/main']; group 2: "
        "EVENT PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_MERGED is not true of ['PUSH']"
    )


def test_a_fork_is_not_built_unasked() -> None:
    fork = pull(fork=True)
    assert judge(project([PULLS]), fork).outcome == "look"
    assert judge(project([PULLS]), fork, Known()).outcome == "approval"
    assert judge(project([PULLS]), fork, Known(roles={"ada": "GITHUB_READ"})).outcome == "approval"
    assert judge(project([PULLS]), fork, Known(roles={"ada": "GITHUB_WRITE"})).outcome == "build"
    assert judge(project([PULLS], policy="DISABLED"), fork).outcome == "build"
    only = {"policy": "FORK_PULL_REQUESTS", "roles": ("GITHUB_ADMIN",)}
    assert judge(project([PULLS], **only), fork, Known(roles={"ada": "GITHUB_WRITE"})).outcome == "approval"
    assert judge(project([PULLS], **only), pull(fork=True, association="OWNER")).outcome == "build"
    reopened = hooks.github_pull("reopened", fork=True)
    reopened["sender"] = {"login": "boss", "id": 1}
    again, groups = event("pull_request", reopened), [one("EVENT", "PULL_REQUEST_REOPENED")]
    boss, ada = {"boss": "GITHUB_ADMIN"}, {"ada": "GITHUB_WRITE"}
    assert judge(project(groups), again, Known(roles=boss)).outcome == "approval", "reopening is not approving"
    assert judge(project(groups), again, Known(roles=boss | ada)).outcome == "build"
    body = body_of(hooks.bitbucket_pull(fork=True))
    elsewhere = bitbucket(hooks.bitbucket_headers("pullrequest:created", body), body).events[0]
    assert "fork" in judge(project([PULLS], policy="DISABLED"), elsewhere).reason


def test_where_all_pull_requests_need_approval_those_of_the_repository_do_too() -> None:
    careful = project([PULLS], policy="ALL_PULL_REQUESTS")
    assert judge(careful, pull(), Known()).outcome == "approval"
    assert judge(careful, pull(association="OWNER")).outcome == "build"
    for word in ("MEMBER", "COLLABORATOR", "CONTRIBUTOR"):
        assert judge(careful, pull(association=word)).outcome == "look", "that is no role"


def test_a_comment_has_the_commit_built_that_waits_and_no_other() -> None:
    fork, boss = pull(fork=True), {"boss": "GITHUB_MAINTAIN"}
    comment = event("issue_comment", hooks.github_comment())
    assert judge(project([PULLS]), comment).outcome == "look"
    request = judge(project([PULLS]), comment, Known(pulls={7: fork}, roles=boss)).request
    assert request is not None
    assert (request.source_version, request.revision) == ("pr/7", HEAD)
    assert request.dedupe_key == f"pr:shop:7:approved-4242:{HEAD}"
    assert request.webhook is not None
    assert request.webhook.event == "PULL_REQUEST_CREATED"

    def reason(looks: Known, sha: str = HEAD) -> str:
        made = judge(project([PULLS]), event("issue_comment", hooks.github_comment(sha)), looks)
        assert made.outcome == "nothing"
        return made.reason

    assert "waits for no approval" in reason(Known(roles=boss))
    assert "not at" in reason(Known(pulls={7: fork}, roles=boss), BEFORE)
    assert "the head of pull request 7 is" in reason(Known(pulls={7: fork}, roles=boss, at=AFTER))
    assert "nobody could say which role" in reason(Known(pulls={7: fork}))
    assert "does not approve" in reason(Known(pulls={7: fork}, roles={"boss": "GITHUB_TRIAGE"}))


@pytest.mark.parametrize(
    "location",
    ["https://github.com/octo/shop", "http://GitHub.com/Octo/Shop.git/", "git@github.com:octo/shop.git",
     "ssh://git@github.com:22/octo/shop", "https://user@github.com/octo/shop.git"],
)  # fmt: skip
def test_one_repository_has_many_spellings(location: str) -> None:
    assert spelling(location) == ("github.com", "octo/shop")
    found = project().evolve(source=Source(type="GITHUB", location=location))
    assert concerned([found], push()) == [found]
    assert concerned([project().evolve(source=Source(type="GIT", location="https://h/octo/shop"))], push()) == []
