"""What is down: tried again, then our fault and not the user's, with the name of what is down; nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.torture.cloud import CloudServer, Fault
from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, Json, buildspec, failure, phase
from tests.journey.registry import dead_port, refusing_registry
from tests.journey.relay import Relay
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

HANGING = {"hang events:PutEvents", "hang cloudwatch:PutMetricData"}
TOLD = 11
"""Events of a build: its start, nine phases, its end."""


@pytest.mark.slow
def test_what_does_not_answer_is_tried_four_times_and_then_a_fault_of_ours(
    daemon: Daemon, repository: Repository, busybox: str, tmp_path: Path
) -> None:
    repository.commit(**{"buildspec.yml": buildspec("echo begun")})
    port = dead_port()
    with git_http(tmp_path / "git") as server, refusing_registry(503) as sick:
        server.status = 503
        projects = {
            f"127.0.0.1:{port}": daemon.project(busybox, source=_git(f"http://127.0.0.1:{port}/app.git")),
            "503": daemon.project(busybox, source=_git(f"{server.url}/app.git")),
            f"127.0.0.1:{port}/app:1": daemon.inline(f"127.0.0.1:{port}/app:1", "echo begun"),
            f"{sick}/app:1": daemon.inline(f"{sick}/app:1", "echo begun"),
        }
        builds = {name: daemon.ask(project) for name, project in projects.items()}
        ended = {name: daemon.ended(build, 90) for name, build in builds.items()}
    codes = {name: failure(build)[:2] for name, build in ended.items()}
    assert codes == {
        f"127.0.0.1:{port}": ("DOWNLOAD_SOURCE", "GIT_UNAVAILABLE"),
        "503": ("DOWNLOAD_SOURCE", "GIT_UNAVAILABLE"),
        f"127.0.0.1:{port}/app:1": ("PROVISIONING", "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"),
        f"{sick}/app:1": ("PROVISIONING", "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"),
    }
    for name, build in ended.items():
        assert build["buildStatus"] == "FAULT"
        assert name in failure(build)[2]
        assert build["buildspecd"]["advice"]
        assert "begun" not in daemon.text(build)
        assert daemon.text(build).count("Phase context status code: ") <= 2
        assert phase(build, failure(build)[0])["durationInSeconds"] >= 20
        daemon.assert_nothing_left(build)
    assert len([path for path, _ in server.requests if "info/refs" in path]) >= 4


def test_a_git_server_that_comes_back_between_two_tries_costs_a_second_and_no_build(
    daemon: Daemon, repository: Repository, busybox: str, tmp_path: Path
) -> None:
    head = repository.commit(**{"buildspec.yml": buildspec("echo begun")})
    with git_http(tmp_path / "git") as server:
        server.status = 503
        build = daemon.ask(daemon.project(busybox, source=_git(f"{server.url}/app.git")))
        until(lambda: server.requests, "the first try")
        server.status = 0
        build = daemon.ended(build)
    assert (build["buildStatus"], build["resolvedSourceVersion"]) == ("SUCCEEDED", head)


def test_an_outage_of_the_log_store_delays_no_build_and_loses_no_line(
    aws: Cloud, busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    bucket, port = aws.bucket(), dead_port()
    environment = {**aws.environment, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}
    daemon = new_daemon(environment=environment, settings={"events": None, "metrics": None}).start()
    logs = {"s3Logs": {"status": "ENABLED", "location": f"{bucket}/logs"}, "cloudWatchLogs": {"status": "DISABLED"}}
    project = daemon.inline(busybox, "echo begun", logsConfig=logs)
    with Relay(("127.0.0.1", port), ("127.0.0.1", int(aws.url.rpartition(":")[2]))) as relay:
        build = daemon.ask(project)
        until(lambda: daemon.show(build)["currentPhase"] == "FINALIZING", "the end of the commands")
        assert "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED" in daemon.text(build)
        until(lambda: daemon.containers(build) == [], "the end of the container")
        relay.up()
        build = daemon.ended(build)
    assert build["buildStatus"] == "SUCCEEDED"
    assert build["buildspecd"]["logs"]["problems"] == {}
    stream = build["id"].partition(":")[2]
    assert aws.unzipped(bucket, f"logs/{stream}.gz") == daemon.log(build)
    daemon.assert_nothing_left(build)


def test_events_and_metrics_that_are_never_answered_hold_up_no_build_and_are_told_after_a_kill(
    aws: Cloud, busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    with CloudServer(seed=1) as mute:
        for service in ("events", "cloudwatch"):
            mute.add(Fault("hang", service))
        there = {f"AWS_ENDPOINT_URL_{name}": mute.url for name in ("EVENTBRIDGE", "CLOUDWATCH")}
        daemon = new_daemon(environment={**aws.environment, **there}).start()
        project = daemon.inline(busybox, "echo begun")
        builds = [daemon.build(project) for _ in range(2)]
        assert [build["buildStatus"] for build in builds] == ["SUCCEEDED"] * 2
        assert (mute.events(), mute.metrics()) == ([], [])
        until(lambda: set(mute.places()) >= HANGING, "calls that hang")
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait(10)
        mute.clear()
        daemon.start()
        until(lambda: len(_words(mute, builds[-1])) >= TOLD, "the events of the last build")
        for build in builds:
            words = _words(mute, build)
            assert (words[0], words[-1], len(words)) == ("IN_PROGRESS", "SUCCEEDED", TOLD), words
            assert words[1:-1] == [one["phaseType"] for one in daemon.show(build)["phases"][1:-1]]
        until(lambda: len(_counted(mute, "SucceededBuilds", project)) == 2, "the metrics of the last build")
        assert len(_counted(mute, "Builds", project)) == 2


def _words(mute: CloudServer, build: Json) -> list[str]:
    """Return what was told of a build: statuses, and the phases that were over."""
    told = [entry["Detail"] for entry in mute.events() if entry["Resources"] == [build["arn"]]]
    return [str(one.get("completed-phase") or one["build-status"]) for one in told]


def _counted(mute: CloudServer, metric: str, project: str) -> list[Json]:
    mine = [{"Name": "ProjectName", "Value": project}]
    return [one for one in mute.metrics() if (one["MetricName"], one["Dimensions"]) == (metric, mine)]


def _git(location: str) -> dict[str, str]:
    return {"type": "GIT", "location": location}
