"""Deliveries: verified, taken once, stored before the answer; and what is looked at later (service.md 3.4)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.daemon.intake import Identity, Intake
from agent.errors import AwsUnavailable, BuildspecdError, GitUnavailable, RequestInvalid, Unavailable
from agent.model.build import Build
from agent.model.project import Environment, Project, Source, Webhook, WebhookFilter
from agent.model.secret import Secret
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.hooks import Hooks
from agent.triggers.hooks.backlog import Backlog
from agent.triggers.hooks.desk import REMEMBERED_SECONDS, Desk
from agent.triggers.hooks.event import Event, Host
from agent.triggers.hooks.secrets import SecretBook
from agent.triggers.hooks.signatures import MOST_BYTES, signature_of, verified
from tests.fakes import hooks
from tests.fakes.hooks import AFTER, HEAD, body_of
from tests.fakes.serving import running
from tests.unit.store.samples import ManualClock, a_database
from tests.unit.triggers.hooks.test_judge import Known

PULLS = WebhookFilter(type="EVENT", pattern="PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED")
PUSH = WebhookFilter(type="EVENT", pattern="PUSH")


def a_project(name: str = "shop", secret: str | None = "env:S", **more: Any) -> Project:
    given: dict[str, Any] = {"kind": "GITHUB", "location": hooks.GITHUB_URL, "groups": (), **more}
    return Project(
        name=name,
        source=Source(type=given["kind"], location=given["location"]),
        environment=Environment(image="i"),
        webhook=Webhook(filter_groups=given["groups"], secret=secret),
    )


class Office:
    """A desk with what stands around it."""

    def __init__(self, directory: Path, database: Database | None = None) -> None:
        self.database = database or a_database(directory)
        self.clock = ManualClock()
        self.projects: dict[str, Project] = {"shop": a_project()}
        self.secrets: dict[str, str | BuildspecdError] = {"env:S": "correct-horse"}
        self.followed: list[str] = []
        self.unsigned = False
        self.hooks = Hooks(self.database)
        self.looks = Known()
        self.intake = Intake(
            self.database,
            Recorder(self.database, self.clock),
            self.projects.get,
            lambda: Identity("eu-central-1", "123456789012"),
            self.clock,
        )
        self.book = SecretBook(self._follow, self.clock)
        self.desk = Desk(
            lambda: self.projects.values(),
            self.intake.submit,
            self.hooks,
            self.book,
            self.clock,
            unsigned_allowed=lambda: self.unsigned,
        )
        self.backlog = Backlog(
            self.hooks, self.projects.get, self.intake.submit, self.looks, self.book, self.desk.references, self.clock
        )

    def _follow(self, reference: str) -> Secret:
        self.followed.append(reference)
        found = self.secrets[reference]
        if isinstance(found, BuildspecdError):
            raise found
        return Secret(found)

    def deliver(
        self, kind: str, payload: Any, secret: str | None = "correct-horse", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        body = body_of(payload)
        given = hooks.github_headers(kind, body, secret) | {
            key.replace("_", "-"): text for key, text in headers.items()
        }
        return self.desk.receive("github", given, body)

    def builds(self) -> list[Build]:
        return Builds(self.database).list()

    def settle(self) -> None:
        for pending in self.hooks.due(self.clock.now()):
            self.backlog.settle(pending)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_signed_push_is_stored_before_the_answer(office: Office) -> None:
    status, answer = office.deliver("push", hooks.github_push())
    assert status == 202
    assert answer["projects"][0]["outcome"] == "started"
    assert [build.id for build in office.builds()] == [answer["projects"][0]["build"]]
    assert office.builds()[0].source_version == AFTER


@pytest.mark.parametrize(
    ("secret", "more"),
    [
        ("wrong", {}),
        (None, {}),
        (None, {"x_hub_signature": "sha1=" + "0" * 40}),
        (None, {"x_hub_signature_256": "sha256=" + "0" * 64}),
        (None, {"x_hub_signature_256": "sha256=\u00e9"}),
        (None, {"x_gitlab_token": "correct-horse"}),
    ],
)
def test_a_delivery_that_nobody_signed_is_refused_unread(
    office: Office, secret: str | None, more: Mapping[str, str]
) -> None:
    status, answer = office.deliver("push", {"not": "a payload"}, secret, **more)
    assert status == 401
    assert "correct-horse" not in str(answer)
    assert office.builds() == []


def test_one_changed_byte_is_noticed(office: Office) -> None:
    body = body_of(hooks.github_push())
    headers = hooks.github_headers("push", body, "correct-horse")
    assert office.desk.receive("github", headers, body[:-1])[0] == 401
    assert office.desk.receive("github", headers, body)[0] == 202


def test_a_signed_payload_of_a_wrong_shape_is_refused_by_its_member(office: Office) -> None:
    with pytest.raises(RequestInvalid, match="payload's ref is missing"):
        office.deliver("push", {"zen": "x"})
    status, answer = office.deliver("ping", {"zen": "x"})
    assert (status, answer["reason"]) == (200, "ping: the hook is set up")


def test_the_same_delivery_is_taken_once_also_under_another_id(office: Office) -> None:
    assert office.deliver("push", hooks.github_push(), x_github_delivery="one")[0] == 202
    assert office.deliver("push", hooks.github_push(), x_github_delivery="one")[1]["reason"].startswith("this delivery")
    assert office.deliver("push", hooks.github_push(), x_github_delivery="two")[1]["reason"].startswith("this delivery")
    office.clock.at += REMEMBERED_SECONDS + 1
    status, answer = office.deliver("push", hooks.github_push(), x_github_delivery="one")
    assert (status, answer["projects"][0]["reason"]) == (202, "it was built before")
    assert len(office.builds()) == 1


def test_a_delivery_that_started_nothing_may_come_again(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS,),))
    assert office.deliver("push", hooks.github_push(), x_github_delivery="one")[1]["result"] == "ignored"
    office.projects["shop"] = a_project()
    assert office.deliver("push", hooks.github_push(), x_github_delivery="one")[0] == 202


def test_each_project_needs_its_own_secret(office: Office) -> None:
    office.projects |= {"other": a_project("other", "env:T"), "third": a_project("third")}
    office.secrets["env:T"] = "battery-staple"
    first = office.deliver("push", hooks.github_push())[1]
    assert [one["project"] for one in first["projects"]] == ["shop", "third"]
    second = office.deliver("push", hooks.github_push(), "battery-staple", x_github_delivery="x")[1]
    assert [one["project"] for one in second["projects"]] == ["other"], "a second hook sends the very same body"


def test_a_project_of_another_repository_or_host_is_not_concerned(office: Office) -> None:
    office.projects["shop"] = a_project(location="https://github.com/octo/other")
    status, answer = office.deliver("push", hooks.github_push())
    assert (status, answer["result"]) == (200, "ignored")
    assert "octo/shop" in answer["reason"]
    office.projects["shop"] = a_project(kind="GITLAB")
    assert office.deliver("push", hooks.github_push())[0] == 401


def test_an_unsigned_delivery_is_taken_only_where_the_setting_says_so(office: Office) -> None:
    office.projects["shop"] = a_project(secret=None)
    assert office.deliver("push", hooks.github_push(), None)[0] == 401
    office.unsigned = True
    assert office.deliver("push", hooks.github_push(), None)[0] == 202
    office.projects["shop"] = a_project()
    assert office.deliver("push", hooks.github_push(after=HEAD), None)[0] == 401, "a project with a secret wants it"


@pytest.mark.parametrize("host", ["github_enterprise", "bitbucket", "gitlab"])
def test_every_host_has_its_own_proof(office: Office, host: Host) -> None:
    kind, url = {
        "github_enterprise": ("GITHUB_ENTERPRISE", hooks.GITHUB_URL),
        "bitbucket": ("BITBUCKET", hooks.BITBUCKET_URL),
        "gitlab": ("GITLAB", hooks.GITLAB_URL),
    }[host]
    office.projects["shop"] = a_project(kind=kind, location=url)
    payload = {"bitbucket": hooks.bitbucket_push(), "gitlab": hooks.gitlab_push()}.get(host, hooks.github_push())
    body = body_of(payload)

    def headers(secret: str) -> dict[str, str]:
        if host == "bitbucket":
            return hooks.bitbucket_headers("repo:push", body, secret)
        return (
            hooks.gitlab_headers("Push Hook", secret)
            if host == "gitlab"
            else hooks.github_headers("push", body, secret)
        )

    assert office.desk.receive(host, headers("wrong"), body)[0] == 401
    assert office.desk.receive(host, headers("correct-horse"), body)[0] == 202
    assert office.builds()[0].resolved_source_version in (AFTER, None)


def test_an_empty_secret_signs_nothing() -> None:
    body = b"{}"
    assert verified("github", [Secret("")], hooks.signed("", body).removeprefix("sha256="), body) == []
    assert verified("gitlab", [Secret("")], "", body) == []
    assert signature_of("gitlab", {}) is None
    with pytest.raises(RequestInvalid, match="too many"):
        verified("github", [Secret(str(number)) for number in range(30)], "0" * 64, bytes(MOST_BYTES // 29))


def test_a_secret_that_was_changed_is_read_again_when_a_signature_does_not_fit(office: Office) -> None:
    assert office.deliver("push", hooks.github_push())[0] == 202
    office.secrets["env:S"] = "new-horse"
    moved = hooks.github_push(before=AFTER, after=HEAD)
    assert office.deliver("push", moved, "new-horse")[0] == 401, "it was read a moment ago"
    office.clock.at += 31
    assert office.deliver("push", moved, "new-horse")[0] == 202
    reads = len(office.followed)
    for _ in range(50):
        assert office.deliver("push", moved, "guess")[0] == 401
    assert len(office.followed) <= reads + 1, "guessing does not make us ask AWS each time"


def test_a_secret_that_cannot_be_read_is_told_as_ours_and_nothing_is_stored(office: Office) -> None:
    office.secrets["env:S"] = AwsUnavailable("Secrets Manager does not answer")
    with pytest.raises(Unavailable, match="cannot be read"):
        office.deliver("push", hooks.github_push())
    office.secrets["env:S"] = "correct-horse"
    office.clock.at += 11
    assert office.deliver("push", hooks.github_push())[0] == 202
    office.secrets["env:S"] = AwsUnavailable("Secrets Manager does not answer")
    office.clock.at += 400
    assert office.deliver("push", hooks.github_push(before=AFTER, after=HEAD))[0] == 202, "the last value still holds"


def test_what_needs_a_longer_look_is_stored_and_judged_afterwards(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS, WebhookFilter(type="FILE_PATH", pattern="^src/")),))
    status, answer = office.deliver("pull_request", hooks.github_pull())
    assert (status, answer["projects"][0]["outcome"]) == (202, "later")
    assert office.builds() == []
    assert Hooks(office.database).backlog() == 1
    office.looks.paths = ["src/x"]
    office.settle()
    assert [build.source_version for build in office.builds()] == ["pr/7"]
    assert office.hooks.backlog() == 0


def test_a_look_that_fails_is_taken_again_and_in_the_end_given_up(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS, WebhookFilter(type="FILE_PATH", pattern="^src/")),))
    office.deliver("pull_request", hooks.github_pull())

    class Down(Known):
        def change(self, project: Project, event: Event) -> tuple[list[str], str]:
            raise GitUnavailable("the server is down")

    backlog = office.backlog
    backlog.looks = Down()
    office.settle()
    assert office.hooks.due(office.clock.now()) == []
    office.clock.at += 6
    assert office.hooks.due(office.clock.now())[0].attempts == 1
    backlog.looks = Known(paths=["src/x"])
    office.settle()
    assert len(office.builds()) == 1
    office.deliver("pull_request", hooks.github_pull("synchronize", head=AFTER))
    backlog.looks = Down()
    office.clock.at += REMEMBERED_SECONDS + 1
    office.settle()
    assert office.hooks.backlog() == 0
    assert len(office.builds()) == 1


def test_a_look_that_was_put_off_does_not_wait_for_a_clock_that_was_set_back(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS, WebhookFilter(type="FILE_PATH", pattern="^src/")),))
    office.deliver("pull_request", hooks.github_pull())
    office.clock.jumped = -86400.0
    office.looks.paths = ["src/x"]
    office.settle()
    assert [build.source_version for build in office.builds()] == ["pr/7"]


def test_a_fork_waits_until_somebody_who_may_approves_its_commit(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS,),))
    office.deliver("pull_request", hooks.github_pull(fork=True))
    office.settle()
    assert office.builds() == []
    assert office.looks.asked == ["role"]
    office.looks.pulls[7] = Event.model_validate_json(office.hooks.waiting("shop", 7) or "")
    office.deliver("issue_comment", hooks.github_comment())
    office.settle()
    assert office.builds() == [], "nobody knows who wrote that"
    office.looks.roles["boss"] = "GITHUB_ADMIN"
    comment = hooks.github_comment()
    comment["comment"]["id"] = 4243
    office.deliver("issue_comment", comment)
    office.settle()
    built = office.builds()[0]
    assert (built.source_version, built.resolved_source_version) == ("pr/7", HEAD)


def test_the_service_judges_what_an_earlier_one_left(office: Office) -> None:
    office.projects["shop"] = a_project(groups=((PULLS, WebhookFilter(type="FILE_PATH", pattern="^src/")),))
    office.looks.paths = ["src/x"]
    office.deliver("pull_request", hooks.github_pull())
    with running(office.backlog, lambda: office.hooks.backlog() == 0):
        assert len(office.builds()) == 1
        assert office.followed.count("env:S") >= 1


def test_deliveries_by_many_threads_are_all_taken_and_each_once(office: Office) -> None:
    def some(lane: int) -> None:
        for number in range(10):
            sha = f"{lane:020x}{number + 1:020x}"
            for _ in range(2):
                office.deliver("push", hooks.github_push(f"refs/heads/b{lane}-{number}", after=sha))

    lanes = [threading.Thread(target=some, args=(lane,)) for lane in range(4)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert len(office.builds()) == 40
    assert len({build.source_version for build in office.builds()}) == 40


def test_old_deliveries_are_forgotten(office: Office) -> None:
    now = office.clock.now()
    office.hooks.remember(["a"], now)
    office.hooks.prune(now - 1, now - 1)
    assert office.hooks.seen(["a"], 0)
    office.hooks.prune(now + 1, now + 1)
    assert not office.hooks.seen(["a"], 0)
