"""Asking for builds: what a start may override, a retry, a stop, the order of the queue, and who gives way to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.errors import BuildspecdError
from tests.fakes.repository import Repository
from tests.images import docker
from tests.journey.daemon import Daemon, Json, buildspec, failure, phase
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

DaemonMaker = Callable[..., Daemon]
WAITING = buildspec("echo begun; until test -e proceed; do usleep 20000; done; echo on")


def _proceed(daemon: Daemon, build: Json) -> Json:
    (daemon.workspace(build) / "proceed").touch()
    return daemon.ended(build)


def _until_begun(daemon: Daemon, build: Json) -> None:
    daemon.until_said(build, "\nbegun\n")


def test_a_start_may_override_version_image_variables_and_buildspec(
    daemon: Daemon, repository: Repository, busybox: str, debian: str
) -> None:
    spec = buildspec("echo file is $(cat file), A=$A B=$B", "which bash || echo no bash")
    repository.commit("main", file="main", **{"buildspec.yml": spec})
    repository.run("checkout", "-q", "-b", "feature/x")
    feature = repository.commit("feature", file="feature")
    repository.push("HEAD:refs/heads/feature/x")
    repository.run("tag", "-a", "v1", "-m", "one", "HEAD")
    repository.push("v1")
    project = daemon.project(
        busybox,
        source={"type": "GIT", "location": repository.url},
        sourceVersion="main",
        environment={"environmentVariables": [{"name": "A", "value": "project"}, {"name": "B", "value": "project"}]},
    )
    asked: dict[str, Json] = {
        "plain": {},
        "branch": {"sourceVersion": "feature/x"},
        "tag": {"sourceVersion": "v1"},
        "image": {"imageOverride": debian},
        "variables": {"environmentVariablesOverride": [{"name": "A", "value": "start $HOME 'q'"}]},
        "buildspec": {"buildspecOverride": buildspec("echo another A=$A")},
    }
    builds = {name: daemon.ask(project, **members) for name, members in asked.items()}
    ended = {name: daemon.ended(build) for name, build in builds.items()}
    said = {name: daemon.text(build) for name, build in ended.items()}
    assert {build["buildStatus"] for build in ended.values()} == {"SUCCEEDED"}, said
    assert "\nfile is main, A=project B=project\n" in said["plain"]
    assert "\nno bash\n" in said["plain"]
    assert "\nfile is feature, A=project B=project\n" in said["branch"]
    assert ended["branch"]["resolvedSourceVersion"] == feature
    assert "\nfile is feature, A=project B=project\n" in said["tag"]
    assert "/bash\n" in said["image"]
    assert ended["image"]["environment"]["image"] == debian
    assert "\nfile is main, A=start $HOME 'q' B=project\n" in said["variables"]
    assert "\nanother A=project\n" in said["buildspec"]


def test_a_start_that_makes_no_sense_is_refused_with_the_reason_and_makes_no_build(
    daemon: Daemon, busybox: str
) -> None:
    project = daemon.inline(busybox, "echo begun")
    wrong: tuple[Json, ...] = (
        {"noSuchMember": 1},
        {"timeoutInMinutesOverride": -1},
        {"environmentVariablesOverride": [{"name": "A"}]},
        {"sourceTypeOverride": "FTP"},
        {"imageOverride": ""},
    )
    for members in wrong:
        with pytest.raises(BuildspecdError) as raised:
            daemon.ask(project, **members)
        assert next(iter(members)).removesuffix("Override")[:5].lower() in raised.value.message.lower()
    with pytest.raises(BuildspecdError, match="no-such-project"):
        daemon.ask("no-such-project")
    assert daemon.builds(project) == []


def test_the_same_token_starts_one_build(daemon: Daemon, busybox: str) -> None:
    project = daemon.inline(busybox, "echo begun")
    first = daemon.ask(project, idempotencyToken="t1")
    assert daemon.ask(project, idempotencyToken="t1")["id"] == first["id"]
    with pytest.raises(BuildspecdError, match="Request parameter mismatch for idempotency token t1"):
        daemon.ask(project, idempotencyToken="t1", sourceVersion="other")
    daemon.ended(first)
    assert len(daemon.builds(project)) == 1


def test_a_retry_is_the_same_build_once_more_even_when_branch_and_project_have_moved_on(
    daemon: Daemon, repository: Repository, busybox: str
) -> None:
    old = repository.commit(file="old", **{"buildspec.yml": buildspec("echo file is $(cat file), A=$A")})
    project = daemon.project(busybox, source={"type": "GIT", "location": repository.url})
    variables = [{"name": "A", "value": "from the start"}]
    first = daemon.build(project, environmentVariablesOverride=variables)
    repository.commit(file="new")
    done = daemon.cli("retry", first["id"])
    assert done.returncode == 0, done.stderr
    again = daemon.nth(project, 2)
    assert again["id"] == done.stdout.decode().strip()
    assert (again["resolvedSourceVersion"], again["buildspecd"]["retryOf"]) == (old, first["id"])
    assert "\nfile is old, A=from the start\n" in daemon.text(again)


def test_a_running_build_is_stopped_at_once_and_runs_nothing_more(daemon: Daemon, busybox: str) -> None:
    spec = (
        "version: 0.2\nphases:\n  build:\n    commands: [echo begun, sleep 600, echo never]\n"
        "    finally: [echo never]\n  post_build:\n    commands: [echo never]\nartifacts:\n  files: ['**/*']\n"
    )
    build = daemon.ask(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    _until_begun(daemon, build)
    done = daemon.cli("stop", build["id"])
    assert done.returncode == 0, done.stderr
    build = daemon.ended(build, 15)
    assert (build["buildStatus"], build["currentPhase"]) == ("STOPPED", "COMPLETED")
    assert phase(build, "BUILD")["phaseStatus"] == "STOPPED"
    assert [one["phaseType"] for one in build["phases"]][-3:] == ["BUILD", "FINALIZING", "COMPLETED"]
    assert "\nnever\n" not in daemon.text(build)
    daemon.assert_nothing_left(build)
    again = daemon.cli("stop", build["id"])
    assert (again.returncode, b"has ended already: STOPPED" in again.stderr) == (0, True)


def test_start_follow_shows_the_log_and_ends_with_the_exit_code_of_the_build(daemon: Daemon, busybox: str) -> None:
    done = daemon.cli("start", daemon.inline(busybox, "echo shown", "exit 9"), "--follow")
    assert done.returncode == 1
    assert b"\nshown\n" in done.stdout
    assert b"Phase complete: BUILD State: FAILED" in done.stdout


def test_builds_wait_their_turn_in_the_order_in_which_they_were_asked_for(
    busybox: str, new_daemon: DaemonMaker
) -> None:
    daemon = new_daemon(settings={"builds": {"max_concurrent": 1, "stop_grace": "1s"}}).start()
    project = daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": WAITING})
    other = daemon.inline(busybox, "echo other")
    first = daemon.ask(project)
    _until_begun(daemon, first)
    second, third, fourth = daemon.ask(other), daemon.ask(other), daemon.ask(other)
    assert {daemon.show(build)["currentPhase"] for build in (second, third, fourth)} == {"QUEUED"}

    daemon.client.call("StopBuild", id=third["id"])
    third = daemon.ended(third)
    assert third["buildStatus"] == "STOPPED"
    assert failure(third)[0] == "QUEUED"
    assert [one["phaseType"] for one in third["phases"]][-1] == "COMPLETED"
    daemon.assert_nothing_left(third)

    ended = [_proceed(daemon, first), daemon.ended(second), daemon.ended(fourth)]
    assert {build["buildStatus"] for build in ended} == {"SUCCEEDED"}
    starts = [phase(build, "PROVISIONING")["startTime"] for build in ended]
    assert starts == sorted(starts)
    assert starts[1] >= phase(ended[0], "FINALIZING")["startTime"]
    assert starts[2] >= phase(ended[1], "FINALIZING")["startTime"]


def test_a_project_at_its_own_limit_does_not_hold_up_others(daemon: Daemon, busybox: str) -> None:
    slow = daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": WAITING}, concurrentBuildLimit=1)
    first, second = daemon.ask(slow), daemon.ask(slow)
    _until_begun(daemon, first)
    assert daemon.build(daemon.inline(busybox, "echo quick"))["buildStatus"] == "SUCCEEDED"
    assert daemon.show(second)["currentPhase"] == "QUEUED"
    _proceed(daemon, first)
    _until_begun(daemon, second)
    assert _proceed(daemon, second)["buildStatus"] == "SUCCEEDED"


def test_a_newer_push_takes_the_place_of_one_that_waits(daemon: Daemon, repository: Repository, busybox: str) -> None:
    repository.commit("one", **{"buildspec.yml": WAITING})
    project = daemon.project(
        busybox,
        source={"type": "GIT", "location": repository.url},
        concurrentBuildLimit=1,
        agent={"poll": 1, "supersede": "queued"},
    )
    first = until(lambda: daemon.builds(project), "the first build")[0]
    _until_begun(daemon, first)
    repository.commit("two", file="two")
    until(lambda: len(daemon.builds(project)) == 2, "the second build")
    head = repository.commit("three", file="three")
    second = daemon.nth(project, 2)
    assert (second["buildStatus"], failure(second)[0]) == ("STOPPED", "QUEUED")
    assert second["buildspecd"]["stopReason"] == "superseded by build 3 of the same branch"
    assert _proceed(daemon, first)["buildStatus"] == "SUCCEEDED"
    third = daemon.builds(project)[2]
    _until_begun(daemon, third)
    third = _proceed(daemon, third)
    assert (third["buildStatus"], third["resolvedSourceVersion"]) == ("SUCCEEDED", head)


def test_a_newer_push_stops_one_that_runs_where_the_project_says_so(
    daemon: Daemon, repository: Repository, busybox: str
) -> None:
    repository.commit("one", **{"buildspec.yml": buildspec("echo begun", "test $(cat file) = two || sleep 600")})
    project = daemon.project(
        busybox,
        source={"type": "GIT", "location": repository.url},
        agent={"poll": 1, "supersede": "running"},
    )
    first = until(lambda: daemon.builds(project), "the first build")[0]
    _until_begun(daemon, first)
    repository.commit("two", file="two")
    assert daemon.nth(project, 2)["buildStatus"] == "SUCCEEDED"
    first = daemon.ended(first)
    assert first["buildStatus"] == "STOPPED"
    assert "superseded by build 2" in failure(first)[2]
    daemon.assert_nothing_left(first)


def test_nothing_that_is_not_ours_is_touched(daemon: Daemon, busybox: str) -> None:
    stranger = docker("run", "--detach", "--label", "buildspecd.build=x:y", busybox, "sleep", "600")
    try:
        build = daemon.build(daemon.inline(busybox, "echo begun"))
        assert build["buildStatus"] == "SUCCEEDED"
        assert docker("inspect", "--format", "{{.State.Running}}", stranger) == "true"
    finally:
        docker("rm", "--force", stranger)
