"""Auto-retry: a build that went wrong is queued once more with its end, up to the limit, and never against its user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.daemon.autoretry import AutoRetry
from agent.daemon.intake import Identity, Intake
from agent.errors import RequestInvalid
from agent.model.build import Build
from agent.model.phase import PhaseContext
from agent.model.pipelinejob import PipelineJob
from agent.model.project import AgentOptions, Project, Source
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from agent.web.shapes import build_json
from tests.unit.store.samples import ManualClock, a_database, a_project

MAIN = "refs/heads/main"


class Desk:
    """An intake and a recorder, wired as in the daemon."""

    def __init__(self, directory: Path, *, auto_retry_limit: int = 2, **members: Any) -> None:
        self.project: Project = a_project(auto_retry_limit=auto_retry_limit, **members)
        self.database, self.clock = a_database(directory), ManualClock()
        self.recorder = Recorder(self.database, self.clock)
        self.intake = Intake(
            self.database, self.recorder, {"web": self.project}.get, lambda: Identity("eu-west-1", "1"), self.clock
        )
        self.recorder.successor = AutoRetry(self.database, self.intake)

    def start(self, **members: object) -> Build:
        return self.intake.submit(
            BuildRequest.model_validate({"project": "web", "initiator": "alice", "source_ref": MAIN, **members})
        )

    def end(self, build: Build, status: Status = Status.FAILED) -> Build:
        return self.recorder.complete(self.recorder.leave(build, status, PhaseContext()), status)

    @property
    def newest(self) -> Build:
        return Builds(self.database).list()[0]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_failed_build_is_queued_again_up_to_the_limit_and_the_records_name_each_other(desk: Desk) -> None:
    variable = {"name": "A", "value": "1"}
    first = desk.start(source_version="main", overrides={"environmentVariablesOverride": [variable]})
    first = desk.end(desk.recorder.save(first.evolve(resolved_source_version="abc")))
    second = desk.newest
    assert (second.number, second.source_version, second.source_ref) == (2, "abc", MAIN)
    assert (second.project, second.overrides, second.retry_of) == (first.project, first.overrides, first.id)
    assert second.initiator == f"buildspecd/AWSCodeBuild-{first.uuid}"
    second = desk.end(second, Status.FAULT)
    third = desk.end(desk.newest)
    assert [place.build for place in Queue(desk.database).places()] == []
    assert [build_json(build)["autoRetryConfig"] for build in (first, second, third)] == [
        {"autoRetryLimit": 2, "autoRetryNumber": 0, "nextAutoRetry": second.arn},
        {"autoRetryLimit": 2, "autoRetryNumber": 1, "nextAutoRetry": third.arn, "previousAutoRetry": first.arn},
        {"autoRetryLimit": 2, "autoRetryNumber": 2, "previousAutoRetry": second.arn},
    ]
    assert Builds(desk.database).get(first.id) == first, "what was returned is what is stored"


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.STOPPED, Status.TIMED_OUT])
def test_a_build_that_was_stopped_or_never_left_the_queue_is_not_retried(desk: Desk, status: Status) -> None:
    assert desk.end(desk.start(), status).auto_retry.next is None
    assert desk.newest.number == 1


def test_a_stop_that_came_too_late_is_still_heeded(desk: Desk) -> None:
    build = desk.start()
    Queue(desk.database).ask_to_stop(build.id, "Build was stopped by a user")
    assert desk.end(build).auto_retry.next is None


def test_without_a_limit_nothing_is_retried_and_nothing_is_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path, auto_retry_limit=0)
    assert "autoRetryConfig" not in build_json(desk.end(desk.start()))
    assert desk.newest.number == 1


def test_a_start_request_has_the_last_word_on_the_limit(desk: Desk) -> None:
    assert desk.end(desk.start(overrides={"autoRetryLimitOverride": 0})).auto_retry.next is None
    ended = desk.end(desk.start(overrides={"autoRetryLimitOverride": 1}))
    assert ended.auto_retry.next == desk.newest.arn
    assert desk.end(desk.newest).auto_retry.next is None


def test_builds_of_a_pipeline_are_retried_by_the_pipeline(tmp_path: Path) -> None:
    desk = Desk(tmp_path, source=Source(type="CODEPIPELINE"))
    job = PipelineJob(id="1", pipeline="shop")
    ended = desk.end(desk.start(pipeline=job))
    assert ended.auto_retry.next is None
    with pytest.raises(RequestInvalid, match="made for a job of the pipeline shop"):
        desk.intake.again(ended)
    with pytest.raises(RequestInvalid, match="web is built by a pipeline"):
        desk.start()


def test_the_projects_role_is_the_initiator_in_the_session_of_the_failed_build(tmp_path: Path) -> None:
    desk = Desk(tmp_path, service_role="arn:aws:iam::1:role/path/builder")
    first = desk.end(desk.start())
    assert desk.newest.initiator == f"builder/AWSCodeBuild-{first.uuid}"


def test_a_retry_by_hand_begins_a_chain_of_its_own(desk: Desk) -> None:
    desk.end(desk.start())
    desk.end(desk.newest)
    by_hand = desk.intake.again(desk.end(desk.newest))
    assert (by_hand.auto_retry.number, by_hand.auto_retry.previous) == (0, None)


@pytest.mark.parametrize(("rule", "retried"), [("none", True), ("queued", False), ("running", False)])
def test_a_build_that_a_newer_one_of_its_branch_makes_needless_is_not_retried(
    tmp_path: Path, rule: str, retried: bool
) -> None:
    desk = Desk(tmp_path, agent=AgentOptions.model_validate({"supersede": rule}))
    older = desk.start()
    Queue(desk.database).claim(older.id, "me", desk.clock.now(), 60)
    newer = desk.start()
    desk.start(source_ref="refs/heads/other")
    assert (desk.end(older).auto_retry.next is not None) is retried
    assert Queue(desk.database).stop_reason(newer.id) == "", "a retry takes no newer build's place"


def test_the_end_and_the_retry_are_stored_together_or_not_at_all(desk: Desk) -> None:
    build = desk.recorder.leave(desk.start(), Status.FAILED)
    successor = desk.recorder.successor

    def cut_short(ended: Build) -> Build | None:
        successor(ended)
        raise KeyboardInterrupt

    desk.recorder.successor = cut_short
    with pytest.raises(KeyboardInterrupt):
        desk.recorder.complete(build, Status.FAILED)
    assert (desk.newest, len(Queue(desk.database).places())) == (build, 1)
    desk.recorder.successor = successor
    desk.recorder.complete(build, Status.FAILED)
    assert [place.build for place in Queue(desk.database).places()] == [desk.newest.id]
    told = [event.build.number for _, event in Outbox(desk.database).pending("x") if event.kind == "state"]
    assert told == [1, 2, 1]
    assert desk.newest.number == 2
