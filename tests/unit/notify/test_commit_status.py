"""Commit statuses: what each host is told of a build, once and in its own words, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kit.service import StopToken
from agent.model.build import Build, LogRecord
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.event import BuildEvent
from agent.model.phase import PhaseType
from agent.model.project import BuildStatusConfig, EnvironmentVariable, Source
from agent.model.status import Status
from agent.model.webhook import WebhookFacts
from agent.notify.commit import commit_status, expand
from agent.notify.delivery import Delivery
from agent.notify.githosts import call_for, host_of
from agent.notify.statusbook import StatusBook
from agent.notify.statusdesk import FIRST_REST_SECONDS, KEPT_SECONDS, Answer, StatusDesk, verdict_of
from agent.store.outbox import Outbox
from agent.store.statuses import Statuses
from tests.unit.notify.hosts import GitHosts
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, a_project, finished, left, started

SHA = "4e1243bd22c66e76c2ba9eddc1f91394e57f9f83"
OTHER = "b" * 40
SOURCES = {
    "github": Source(type="GITHUB", location="https://github.com/acme/web.git", report_build_status=True),
    "gitlab": Source(type="GITLAB", location="https://gitlab.com/acme/shop/web.git", report_build_status=True),
    "bitbucket": Source(type="BITBUCKET", location="https://bitbucket.org/acme/web", report_build_status=True),
}


@pytest.fixture
def hosts() -> Iterator[GitHosts]:
    hosts = GitHosts()
    yield hosts
    hosts.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def statuses(tmp_path: Path) -> Statuses:
    return Statuses(a_database(tmp_path))


@pytest.fixture
def desk(statuses: Statuses, hosts: GitHosts, clock: ManualClock) -> StatusDesk:
    return StatusDesk(statuses, hosts, clock)


def build_of(source: Source, number: int = 1, **members: Any) -> Build:
    return a_build(number, project=a_project("web", source=source), **{"source_version": SHA, **members})


def course(build: Build, end: Status = Status.SUCCEEDED) -> list[BuildEvent]:
    """Return all that a build tells, whose commit is known from DOWNLOAD_SOURCE on."""
    events, at = [started(build)], build.start_time
    for kind in list(PhaseType)[1:-1]:
        at += 1
        build = build.entered(kind, at)
        if kind is PhaseType.DOWNLOAD_SOURCE:
            build = build.evolve(resolved_source_version=SHA)
        events.append(left(build, at, Status.SUCCEEDED))
        build = events[-1].build
    return [*events, finished(build, at, end)]


def told_of(build: Build, end: Status = Status.SUCCEEDED) -> list[CommitStatus]:
    return [status for event in course(build, end) if (status := commit_status(event))]


def states_of(build: Build, end: Status = Status.SUCCEEDED) -> list[str]:
    return [status.state.value for status in told_of(build, end)]


def a_status(host: str, key: str = "web:1", state: CommitState = CommitState.SUCCEEDED, **members: Any) -> CommitStatus:
    found = host_of(SOURCES[host])
    assert found is not None
    given: dict[str, Any] = {
        "sha": SHA,
        "host": found.name,
        "context": "CI",
        "description": "Build succeeded",
        "at": NOON,
        **members,
    }
    return CommitStatus(key=key, source=SOURCES[host], state=state, **given)


def left_over(statuses: Statuses) -> list[CommitStatus]:
    return [status for host in statuses.hosts() for status in statuses.waiting(host)]


def test_a_build_of_a_named_commit_says_at_once_that_it_waits() -> None:
    assert states_of(build_of(SOURCES["github"])) == ["queued", "running", "running", "succeeded"]


def test_a_build_of_a_branch_says_nothing_before_its_commit_is_known() -> None:
    assert states_of(build_of(SOURCES["github"], source_version="refs/heads/main")) == ["running", "succeeded"]


def test_a_ref_with_its_commit_names_the_commit() -> None:
    build = build_of(SOURCES["github"], source_version=f"refs/pull/7/head^{{{SHA}}}")
    assert told_of(build)[0].sha == SHA


@pytest.mark.parametrize("version", ["refs/heads/a..b", "-x", "main", None])
def test_a_version_without_a_commit_is_no_commit(version: str | None) -> None:
    assert commit_status(started(build_of(SOURCES["github"], source_version=version))) is None


@pytest.mark.parametrize(
    ("end", "state", "words"),
    [
        (Status.SUCCEEDED, "succeeded", "Build succeeded for project web"),
        (Status.FAILED, "failed", "Build failed for project web"),
        (Status.TIMED_OUT, "failed", "Build timed out for project web"),
        (Status.FAULT, "faulted", "Build faulted for project web"),
        (Status.STOPPED, "stopped", "Build stopped for project web"),
    ],
)
def test_each_end_of_a_build_has_its_state_and_its_sentence(end: Status, state: str, words: str) -> None:
    last = told_of(build_of(SOURCES["github"]), end)[-1]
    assert (last.state.value, last.description) == (state, words)


def test_the_context_is_codebuilds_own_unless_the_project_names_one() -> None:
    assert told_of(build_of(SOURCES["github"]))[0].context == "AWS CodeBuild us-west-2 (web)"


def test_the_services_variables_are_expanded_and_the_users_are_not() -> None:
    config = BuildStatusConfig(
        context="ci/$AWS_REGION/${CODEBUILD_BUILD_NUMBER} $TOKEN $(id) `id`",
        target_url="https://ci/$CODEBUILD_BUILD_ID?at=$CODEBUILD_RESOLVED_SOURCE_VERSION",
    )
    build = build_of(
        SOURCES["github"].evolve(build_status_config=config),
        overrides=(EnvironmentVariable(name="TOKEN", value="hunter2"),),
    )
    last = told_of(build)[-1]
    assert last.context == "ci/us-west-2/1 $TOKEN $(id) `id`"
    assert last.url == f"https://ci/{build.id}?at={SHA}"


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    config = BuildStatusConfig(target_url="javascript:alert($CODEBUILD_BUILD_NUMBER)")
    assert told_of(build_of(SOURCES["github"].evolve(build_status_config=config)))[-1].url is None


def test_a_name_with_nothing_behind_it_stays_as_it_stands() -> None:
    assert expand("$A $ ${B} $$A ${ $", {"A": "1"}) == "1 $ ${B} $1 ${ $"


def test_the_link_leads_to_the_log_where_there_is_one() -> None:
    build = build_of(SOURCES["github"], logs=LogRecord(group_name="/aws/codebuild/web", stream_name="abc"))
    assert "log-group/$252Faws$252Fcodebuild$252Fweb/log-events/abc" in (told_of(build)[-1].url or "")
    assert told_of(build_of(SOURCES["github"]))[-1].url is None


def test_a_build_that_a_webhook_started_always_reports() -> None:
    quiet = SOURCES["github"].evolve(report_build_status=False)
    assert states_of(build_of(quiet)) == []
    assert states_of(build_of(quiet, webhook=WebhookFacts(event="PUSH"))) != []


@pytest.mark.parametrize(
    "source",
    [
        Source(type="CODECOMMIT", location="https://git-codecommit.us-east-1.amazonaws.com/v1/repos/web"),
        Source(type="S3", location="bucket/web.zip"),
        Source(type="GIT", location="https://git.example.com/acme/web.git"),
        Source(type="GIT", location="file:///srv/web.git"),
        Source(type="GITHUB", location="https://github.com/acme"),
        Source(type="GITHUB", location="https://github.com/acme/web/tree/main"),
        Source(type="GITHUB", location="https://github.com/acme/.."),
        Source(type="BITBUCKET", location="https://bitbucket.example.com/acme/web"),
        Source(type="GITHUB", location="-x"),
    ],
    ids=lambda source: f"{source.type}-{source.location}",
)
def test_a_source_that_takes_no_status_is_told_nothing(source: Source) -> None:
    assert states_of(build_of(source.evolve(report_build_status=True))) == []


@pytest.mark.parametrize(
    ("kind", "location", "address"),
    [
        ("GITHUB", "https://github.com/acme/web.git", f"https://api.github.com/repos/acme/web/statuses/{SHA}"),
        ("GITHUB", "git@github.com:acme/web.git", f"https://api.github.com/repos/acme/web/statuses/{SHA}"),
        ("GIT", "https://github.com/acme/web", f"https://api.github.com/repos/acme/web/statuses/{SHA}"),
        ("GITHUB_ENTERPRISE", "https://ghe:8443/a/w.git", f"https://ghe:8443/api/v3/repos/a/w/statuses/{SHA}"),
        ("GITHUB_ENTERPRISE", "ssh://git@ghe:2222/a/w", f"https://ghe/api/v3/repos/a/w/statuses/{SHA}"),
        ("GITHUB_ENTERPRISE", "https://acme.ghe.com/a/w", f"https://api.acme.ghe.com/repos/a/w/statuses/{SHA}"),
        ("GITLAB", "https://gitlab.com/a/b/w.git", f"https://gitlab.com/api/v4/projects/a%2Fb%2Fw/statuses/{SHA}"),
        ("GITLAB_SELF_MANAGED", "http://lab/a/w", f"http://lab/api/v4/projects/a%2Fw/statuses/{SHA}"),
        (
            "BITBUCKET",
            "https://me@bitbucket.org/a/w.git",
            f"https://api.bitbucket.org/2.0/repositories/a/w/commit/{SHA}/statuses/build",
        ),
    ],
)
def test_each_host_has_its_address(kind: Any, location: str, address: str) -> None:
    call = call_for(a_status("github").evolve(source=Source(type=kind, location=location)))
    assert call is not None
    assert call.url == address


def test_texts_are_cut_to_what_the_host_takes(hosts: GitHosts) -> None:
    for host in SOURCES:
        status = a_status(host, description="x" * 1000, context="y" * 1000, url="https://ci/" + "z" * 300)
        call = call_for(status)
        assert call is not None
        assert hosts.post(status.source, call.url, call.body).status == 201
    assert "target_url" not in next(told for told in hosts.told if told.host == "gitlab").body


def test_bitbucket_gets_the_link_that_it_insists_on() -> None:
    call = call_for(a_status("bitbucket"))
    assert call is not None
    assert call.body["url"] == f"https://bitbucket.org/acme/web/commits/{SHA}"
    assert call.body["key"] == "CI"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("github", ["pending", "pending", "pending", "failure"]),
        ("gitlab", ["pending", "running", "failed"]),  # it refuses the second `running`
        ("bitbucket", ["INPROGRESS", "INPROGRESS", "INPROGRESS", "FAILED"]),
    ],
)
def test_each_host_is_told_the_course_of_a_build_in_its_own_words(
    host: str, expected: list[str], hosts: GitHosts, statuses: Statuses, desk: StatusDesk
) -> None:
    for event in course(build_of(SOURCES[host]), Status.FAILED):
        StatusBook(statuses).deliver([event])
        desk.turn()
    assert hosts.states(host) == expected
    assert left_over(statuses) == []


def test_a_state_that_was_overtaken_is_not_told(hosts: GitHosts, statuses: Statuses, desk: StatusDesk) -> None:
    StatusBook(statuses).deliver(course(build_of(SOURCES["github"])))
    desk.turn()
    assert hosts.states("github") == ["success"]


def test_a_restart_in_the_middle_tells_the_rest_and_loses_nothing(
    tmp_path: Path, hosts: GitHosts, clock: ManualClock
) -> None:
    database = a_database(tmp_path)
    outbox = Outbox(database)
    for host, number in zip(SOURCES, (1, 2, 3), strict=True):
        for event in course(build_of(SOURCES[host], number))[:4]:
            outbox.add(event)
    delivery = Delivery(StatusBook(Statuses(database)), outbox, clock)
    delivery.turn()
    hosts.says["gitlab"] = [(503, {}, "down")]
    StatusDesk(Statuses(database), hosts, clock).turn()
    for host, number in zip(SOURCES, (1, 2, 3), strict=True):
        for event in course(build_of(SOURCES[host], number))[4:]:
            outbox.add(event)
    database.close()
    database = a_database(tmp_path)
    delivery = Delivery(StatusBook(Statuses(database)), Outbox(database), clock)
    while delivery.turn() == 0.0:
        pass
    StatusDesk(Statuses(database), hosts, clock).turn()
    assert [hosts.states(host)[-1] for host in SOURCES] == ["success", "success", "SUCCESSFUL"]
    assert left_over(Statuses(database)) == []


def test_a_host_that_is_down_holds_up_no_other(
    hosts: GitHosts, statuses: Statuses, desk: StatusDesk, clock: ManualClock
) -> None:
    hosts.says["github"] = [(502, {}, "bad gateway")] * 2
    statuses.put([a_status("github", "web:1"), a_status("github", "web:2"), a_status("gitlab", "web:3")])
    desk.turn()
    assert hosts.states("gitlab") == ["success"]
    assert len(hosts.asked) == 2  # the second one of the host that is down was not even tried
    desk.turn()
    assert len(hosts.asked) == 2
    clock.at += FIRST_REST_SECONDS
    desk.turn()
    clock.at += FIRST_REST_SECONDS
    desk.turn()
    assert hosts.states("github") == []  # the pause has grown
    clock.at += FIRST_REST_SECONDS
    desk.turn()
    assert hosts.states("github") == ["success", "success"]


@pytest.mark.parametrize("status", [429, 403])
def test_a_host_that_limits_the_rate_is_left_alone_for_as_long_as_it_asks(
    status: int, hosts: GitHosts, statuses: Statuses, desk: StatusDesk, clock: ManualClock
) -> None:
    hosts.says["github"] = [(status, {"Retry-After": "60"}, "You have exceeded a secondary rate limit")]
    statuses.put([a_status("github")])
    desk.turn()
    clock.at += 59
    desk.turn()
    assert hosts.states("github") == []
    clock.at += 1
    desk.turn()
    assert hosts.states("github") == ["success"]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 422])
def test_a_refusal_gives_up_this_build_and_no_other(
    status: int, hosts: GitHosts, statuses: Statuses, desk: StatusDesk
) -> None:
    hosts.says["github"] = [(status, {}, "Resource not accessible by integration")]
    statuses.put([a_status("github", "web:1", CommitState.RUNNING), a_status("github", "web:2", at=NOON + 1)])
    desk.turn()
    statuses.put([a_status("github", "web:1", at=NOON + 2)])
    desk.turn()
    assert hosts.states("github") == ["success"]
    assert len(hosts.asked) == 2
    assert left_over(statuses) == []


def test_a_commit_that_was_refused_says_nothing_of_the_one_that_it_turned_out_to_be(
    hosts: GitHosts, statuses: Statuses, desk: StatusDesk
) -> None:
    hosts.says["github"] = [(422, {}, "No commit found for SHA")]  # the object of an annotated tag
    statuses.put([a_status("github", state=CommitState.QUEUED)])
    desk.turn()
    statuses.put([a_status("github", sha=OTHER)])
    desk.turn()
    assert [(told.sha, told.state) for told in hosts.told] == [(OTHER, "success")]


def test_a_status_that_nobody_waits_for_any_more_is_dropped(
    hosts: GitHosts, statuses: Statuses, desk: StatusDesk, clock: ManualClock
) -> None:
    statuses.put([a_status("github")])
    clock.at += KEPT_SECONDS + 1
    desk.turn()
    assert hosts.asked == []
    assert left_over(statuses) == []


def test_what_waits_for_a_host_that_is_down_leaves_room_for_the_others(
    hosts: GitHosts, statuses: Statuses, desk: StatusDesk
) -> None:
    hosts.says["github"] = [(502, {}, "bad gateway")]
    statuses.put(a_status("github", f"web:{number}", at=NOON - 1) for number in range(1500))
    statuses.put([a_status("gitlab", "shop:1")])
    desk.turn()
    assert hosts.states("gitlab") == ["success"]
    assert len(hosts.asked) == 2


def test_nobody_at_home_is_tried_again_later(statuses: Statuses, clock: ManualClock) -> None:
    hosts = GitHosts()
    hosts.close()
    statuses.put([a_status("github")])
    StatusDesk(statuses, hosts, clock).turn()
    assert len(left_over(statuses)) == 1


def test_a_newer_status_is_not_dropped_with_the_one_that_was_told(statuses: Statuses) -> None:
    old, new = a_status("github", state=CommitState.RUNNING), a_status("github", at=NOON + 1)
    statuses.put([old])
    statuses.put([new])
    statuses.drop(old)
    assert left_over(statuses) == [new]


def test_the_service_tells_what_waits_and_ends_when_it_is_told_to(statuses: Statuses, hosts: GitHosts) -> None:
    stop = StopToken()

    def then(_: float) -> None:
        if len(hosts.told) == len(SOURCES):
            stop.set()

    statuses.put([a_status(host, f"web:{host}") for host in SOURCES])
    StatusDesk(statuses, hosts, ManualClock(then=then)).run(stop)
    assert {told.host for told in hosts.told} == set(SOURCES)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(201), "taken"),
        (Answer(200), "taken"),
        (Answer(400, 'Cannot transition status via :run from :running (Reason(s): Status "run")'), "taken"),
        (Answer(400, "no"), "never"),
        (Answer(301), "never"),
        (Answer(403), "never"),
        (Answer(403, "", 5.0), "later"),
        (Answer(409), "later"),
        (Answer(500), "later"),
    ],
)
def test_each_answer_has_its_verdict(answer: Answer, verdict: str) -> None:
    assert verdict_of(answer) == verdict


def test_the_name_of_a_host_is_that_of_its_api() -> None:
    host = host_of(SOURCES["github"])
    assert host is not None
    assert host.name == "api.github.com"
