"""The job worker: a job becomes one build, and the end of the build the end of the job."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from agent.aws import AwsRefused
from agent.errors import AwsUnavailable
from agent.kit.service import StopToken
from agent.model.build import ExportedVariable
from agent.model.cause import Cause
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.triggers.codepipeline.service import ActionType, JobService
from tests.fakes.codepipeline import CodePipeline
from tests.unit.store.samples import ManualClock
from tests.unit.triggers.codepipeline.desk import EXPORTED, LINK, Desk, aws_at, offered


def test_a_job_is_acknowledged_built_and_told_with_its_variables(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk.turn()
    (build,) = desk.builds
    assert job.state == "InProgress"
    assert (build.initiator, build.project.source.type) == ("codepipeline/shop", "CODEPIPELINE")
    assert build.source_version == "arn:aws:s3:::in-bucket/shop/Source/abc"
    assert build.resolved_source_version == "4f1d"
    desk.turn()
    assert job.state == "InProgress", "it is told at the end, and not before"
    desk.end(build, exported=EXPORTED)
    desk.turn()
    assert job.state == "Succeeded"
    assert job.told["outputVariables"] == {"VERSION": "1.2"}
    assert job.told["executionDetails"] == {
        "summary": f"build 1 of web succeeded; log: {LINK}",
        "externalExecutionId": build.id,
        "percentComplete": 100,
    }
    assert desk.jobs.open() == []


def test_a_red_build_fails_its_job_with_cause_and_link(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk.turn()
    message = "Error while executing command: false. Reason: exit status 1"
    desk.end(desk.builds[0], Status.FAILED, message, cause=Cause.COMMAND_FAILED, advice="read the log")
    desk.turn()
    told = job.told["failureDetails"]
    assert (job.state, told["type"]) == ("Failed", "JobFailed")
    assert message in told["message"]
    assert "COMMAND_FAILED" in told["message"]
    assert told["message"].endswith(f"read the log; log: {LINK}")
    assert told["externalExecutionId"] == desk.builds[0].id


@pytest.mark.parametrize(
    ("status", "cause", "kind"),
    [
        (Status.FAILED, Cause.SOURCE_NOT_FOUND, "ConfigurationError"),
        (Status.FAILED, Cause.SOURCE_INVALID, "ConfigurationError"),
        (Status.FAILED, Cause.KMS_DENIED, "ConfigurationError"),
        (Status.FAULT, Cause.CREDENTIALS_EXPIRED, "ConfigurationError"),
        (Status.FAILED, Cause.ARTIFACTS_MISSING, "ConfigurationError"),
        (Status.FAULT, Cause.ENGINE_UNAVAILABLE, "SystemUnavailable"),
        (Status.STOPPED, Cause.STOPPED_BY_USER, "JobFailed"),
    ],
)
def test_who_has_to_mend_it_decides_the_type_of_a_failure(
    desk: Desk, pipeline: CodePipeline, status: Status, cause: Cause, kind: str
) -> None:
    job = offered(pipeline)
    desk.turn()
    desk.end(desk.builds[0], status, "x" * 20_000, cause=cause)
    desk.turn()
    assert job.told["failureDetails"]["type"] == kind


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"ProjectName": "nobody"}, "Project cannot be found"),
        ({"ProjectName": " "}, "ProjectName is missing"),
        ({"EnvironmentVariables": "{broken"}, "EnvironmentVariables of the action configuration is no JSON at line 1"),
        ({"BatchEnabled": "true"}, "BatchEnabled: batch builds are not run"),
        ({"PrimarySource": "Other"}, "PrimarySource 'Other' is no input artifact"),
        ({"TimeoutMinutes": "soon"}, "TimeoutMinutes is no number"),
    ],
)
def test_what_can_be_no_build_is_told_at_once_with_the_reason(
    desk: Desk, pipeline: CodePipeline, configuration: dict[str, str], message: str
) -> None:
    job = offered(pipeline, **configuration)
    desk.turn()
    told = job.told["failureDetails"]
    assert (job.state, told["type"]) == ("Failed", "ConfigurationError")
    assert message in told["message"]
    assert (desk.builds, desk.jobs.open()) == ([], [])


def test_an_action_without_a_configuration_is_told_what_it_lacks(desk: Desk, pipeline: CodePipeline) -> None:
    job = pipeline.offer({}, [])
    desk.turn()
    assert "ProjectName is missing from the action configuration" in job.told["failureDetails"]["message"]


def test_only_as_many_jobs_are_taken_as_there_are_places(tmp_path: Path, pipeline: CodePipeline) -> None:
    jobs = [offered(pipeline) for _ in range(5)]
    desk = Desk(tmp_path, pipeline, places=2)
    desk.turn()
    assert [job.state for job in jobs] == ["InProgress"] * 2 + ["Queued"] * 3
    asked = pipeline.calls.count("PollForJobs")
    desk.turn(1)
    assert pipeline.calls.count("PollForJobs") == asked, "nobody asks without a place"
    desk.end(desk.builds[0])
    desk.turn()
    assert [job.state for job in jobs].count("InProgress") == 2


def test_a_place_that_comes_free_is_filled_at_once(tmp_path: Path, pipeline: CodePipeline) -> None:
    first, second = offered(pipeline), offered(pipeline)
    desk = Desk(tmp_path, pipeline, places=1)
    desk.turn()
    for _ in range(3):
        desk.turn(10)
    assert pipeline.calls.count("PollForJobs") == 1
    desk.end(desk.builds[0])
    desk.turn(1)
    assert (first.state, second.state) == ("Succeeded", "InProgress")


def test_an_agent_of_a_pool_takes_no_other_jobs_and_none_while_it_drains(
    tmp_path: Path, pipeline: CodePipeline
) -> None:
    ours, others = offered(pipeline, Pool="large"), offered(pipeline, Pool="small")
    desk = Desk(tmp_path, pipeline, pool="large")
    desk.paused = True
    desk.turn()
    assert ours.state == "Queued"
    desk.paused = False
    desk.turn()
    assert (ours.state, others.state) == ("InProgress", "Queued")


def test_a_job_that_somebody_else_was_given_meanwhile_is_dropped(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    pipeline.refuse["AcknowledgeJob"] = "ThrottlingException"
    with pytest.raises(AwsUnavailable):
        desk.turn()
    assert [one.state for one in desk.jobs.open()] == ["taken"]
    del pipeline.refuse["AcknowledgeJob"]
    job.nonce, job.state = "another", "InProgress"
    desk.turn()
    assert (desk.builds, desk.jobs.open(), job.told) == ([], [], {})


def test_a_job_that_is_handed_out_again_to_us_is_taken_with_its_new_nonce(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    pipeline.refuse["AcknowledgeJob"] = "ThrottlingException"
    with pytest.raises(AwsUnavailable):
        desk.turn()
    del pipeline.refuse["AcknowledgeJob"]
    pipeline.redeliver()
    desk.turn()  # the old nonce is refused, and the job is asked for again
    desk.turn()
    assert job.state == "InProgress"
    assert len(desk.builds) == 1


def test_a_build_is_stopped_when_the_pipeline_gives_its_job_up(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk.turn()
    desk.begin(desk.builds[0])
    pipeline.time_out(job)
    desk.turn(61)
    assert "The pipeline gave up the job of this build (shop, Compile)" in desk.queue.stop_reason(desk.builds[0].id)
    assert desk.jobs.open() == []


def test_an_end_that_comes_too_late_is_nobodys_loss(desk: Desk, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk.turn()
    desk.end(desk.builds[0])
    pipeline.time_out(job)
    desk.turn()
    assert (job.told, desk.jobs.open()) == ({}, [])


def test_a_long_build_goes_on_in_another_job(tmp_path: Path, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk = Desk(tmp_path, pipeline, continue_after=600, places=1)
    desk.turn()
    build = desk.begin(desk.builds[0])
    desk.turn(300)
    assert job.state == "InProgress"
    desk.turn(301)
    assert job.state == "Succeeded"
    assert job.told["executionDetails"]["percentComplete"] == 50
    assert LINK in job.told["executionDetails"]["summary"]
    strange = offered(pipeline)
    desk.turn()
    later = pipeline.last(job)
    assert (later.state, [one.state for one in desk.jobs.open()]) == ("InProgress", ["building"])
    assert strange.state == "Queued", "there is no place for another one"
    desk.end(build, exported=EXPORTED)
    desk.turn()
    assert (later.state, later.told["outputVariables"]) == ("Succeeded", {"VERSION": "1.2"})
    assert [one.id for one in desk.builds][-1:] == [build.id]


def test_a_job_that_goes_on_with_another_agent_is_left_to_it(tmp_path: Path, pipeline: CodePipeline) -> None:
    job = pipeline.offer({"ProjectName": "web"}, [], token="buildspecd:another:1")
    desk = Desk(tmp_path, pipeline)
    desk.turn()
    assert (job.state, desk.builds, desk.jobs.open()) == ("Dispatched", [], [])


def test_no_job_is_handed_back_while_its_artifacts_are_on_their_way(tmp_path: Path, pipeline: CodePipeline) -> None:
    job = offered(pipeline)
    desk = Desk(tmp_path, pipeline, continue_after=600)
    desk.turn()
    build = desk.recorder.leave(desk.begin(desk.builds[0]), Status.SUCCEEDED)
    desk.recorder.enter(build, PhaseType.UPLOAD_ARTIFACTS)
    desk.turn(700)
    assert job.state == "InProgress"


def test_exported_variables_that_are_too_large_are_told_and_names_that_cannot_be_are_left_out(
    desk: Desk, pipeline: CodePipeline
) -> None:
    large, odd = offered(pipeline), offered(pipeline)
    desk.turn()
    second, first = desk.builds
    desk.end(first, exported=(ExportedVariable(name="A", value="x" * 122_880),))
    desk.end(second, exported=(*EXPORTED, ExportedVariable(name="a.b", value="1")))
    desk.turn()
    assert "its exported variables take 122881 bytes" in large.told["failureDetails"]["message"]
    assert odd.told["outputVariables"] == {"VERSION": "1.2"}
    assert "not output variables, for their names: a.b" in odd.told["executionDetails"]["summary"]


def test_trouble_is_waited_for_longer_each_time_and_is_over_when_it_is_over(
    tmp_path: Path, pipeline: CodePipeline
) -> None:
    stop, waits = StopToken(), list[float]()

    def then(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            pipeline.refuse.clear()
        if not pipeline.refuse and len(waits) > 3:
            stop.set()

    desk = Desk(tmp_path, pipeline, clock=ManualClock(then=then))
    pipeline.refuse["PollForJobs"] = "ActionTypeNotFoundException"
    desk.worker.run(stop)
    assert [2 <= waits[0] <= 2.5, 4 <= waits[1] <= 5, 8 <= waits[2] <= 10] == [True] * 3
    assert desk.worker.trouble == ""


def test_a_server_that_refuses_everything_names_the_permission(tmp_path: Path, pipeline: CodePipeline) -> None:
    pipeline.refuse["PollForJobs"] = "AccessDeniedException"
    with pytest.raises(AwsRefused) as raised:
        Desk(tmp_path, pipeline).turn()
    assert "codepipeline:PollForJobs" in raised.value.hint


def test_a_server_that_accepts_and_never_answers_is_waited_for_so_long_and_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        service = JobService(aws_at(url), patience=0.2)
        with pytest.raises(AwsUnavailable) as raised:
            service.poll(ActionType("Build", "Own", "1"), 1, None)
        assert "asking for jobs of Custom/Build/Own/1" in raised.value.message
        assert url in raised.value.message
        with pytest.raises(AwsUnavailable) as raised:
            service.keys("j-1")
        assert "looking at job j-1" in raised.value.message


def test_credentials_are_new_each_time_and_in_no_store_and_no_message(
    desk: Desk, pipeline: CodePipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = offered(pipeline)
    desk.turn()
    keys = desk.worker.service.keys(job.id)
    assert keys.access == pipeline.handed_out[-1]
    assert "secret-" not in repr(keys)
    assert aws_at(pipeline.url).with_keys(keys).frozen_keys() == (keys.access, keys.secret, keys.token)
    desk.end(desk.builds[0])
    desk.turn()
    desk.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"ASIA" not in kept
    assert "ASIA" not in caplog.text + json.dumps(job.told)
