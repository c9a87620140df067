"""Which input artifact is which source, and which output artifact is which artifact of the buildspec."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.app.handover import PipelineHandover
from agent.aws import AwsRefused
from agent.buildspec.make import make_plan
from agent.buildspec.plan import Plan
from agent.errors import ArtifactsMissing, SourceRefused, UserError
from agent.model.build import Build
from agent.model.pipelinejob import HandedArtifact, PipelineJob, StoredJob
from agent.model.project import Artifacts, Source
from agent.objects.book import NoBook
from agent.pipeline import handover
from agent.store.pipelinejobs import PipelineJobs
from agent.triggers.codepipeline.service import JobService
from tests.fakes.codepipeline import serving_codepipeline
from tests.unit.store.samples import ManualClock, a_build, a_database
from tests.unit.triggers.codepipeline.desk import INPUT, aws_at


def place(name: str) -> HandedArtifact:
    return HandedArtifact(name=name, bucket="b", key=f"k/{name}")


def of(*outputs: str, inputs: tuple[str, ...] = ("Main", "my-lib")) -> Build:
    job = PipelineJob(id="1", pipeline="shop", inputs=tuple(map(place, inputs)), outputs=tuple(map(place, outputs)))
    return a_build(pipeline=job)


PHASES = "version: 0.2\nphases: {build: {commands: [a]}}\n"


def plan(*names: str) -> Plan:
    made = "".join(f"\n    {name}: {{files: [x]}}" for name in names)
    artifacts = f"artifacts:\n  files: [y]\n  secondary-artifacts:{made}" if names else ""
    return make_plan(f"{PHASES}{artifacts}".encode(), name="b", location="b")


def test_the_first_input_is_the_primary_source_and_a_hyphen_counts_as_an_underscore() -> None:
    build = of()
    assert handover.input_for(build, Source(type="CODEPIPELINE")).name == "Main"
    assert handover.input_for(build, Source(type="CODEPIPELINE", source_identifier="my_lib")).name == "my-lib"
    with pytest.raises(SourceRefused, match="no input artifact is the source other"):
        handover.input_for(build, Source(type="CODEPIPELINE", source_identifier="other"))
    with pytest.raises(SourceRefused, match="of this build"):
        handover.input_for(a_build(), Source(type="CODEPIPELINE"))


def test_outputs_are_found_by_their_names_and_a_single_one_without() -> None:
    build = of("One", "two-b")
    assert handover.output_for(build, Artifacts(type="CODEPIPELINE", artifact_identifier="two_b")).name == "two-b"
    assert handover.output_for(of("One"), Artifacts(type="CODEPIPELINE")).name == "One"
    assert handover.written(build, "two-b") == "two_b"
    with pytest.raises(UserError, match="no output artifact"):
        handover.output_for(a_build(), Artifacts(type="CODEPIPELINE"))


def test_several_outputs_have_all_to_be_made_and_a_single_one_need_not() -> None:
    handover.check_outputs(of("One"), plan())
    handover.check_outputs(of("One", "Two"), plan("One", "Two"))
    with pytest.raises(ArtifactsMissing, match="makes no output artifact Two: its secondary-artifacts are: One, Three"):
        handover.check_outputs(of("One", "Two"), plan("One", "Three"))


def test_a_bucket_opens_with_the_credentials_of_the_job_as_long_as_it_is_wanted(tmp_path: Path) -> None:
    jobs, build = PipelineJobs(a_database(tmp_path)), a_build()
    with serving_codepipeline() as pipeline:
        job = pipeline.offer({}, [INPUT])
        aws = aws_at(pipeline.url)
        door = PipelineHandover(JobService(aws), jobs, aws, NoBook(), ManualClock())
        with pytest.raises(AwsRefused, match="no job of a pipeline belongs to build"):
            door(build, "b")
        job.state = "InProgress"
        jobs.put(StoredJob(job=PipelineJob(id=job.id, pipeline="shop"), nonce="1", state="building", build=build.id))
        assert door(build, "bucket").locate("key") == "arn:aws:s3:::bucket/key"
        assert door(build, "bucket") is not None
        assert len(pipeline.handed_out) == 2, "new ones each time"
        pipeline.time_out(job)
        with pytest.raises(AwsRefused, match="the pipeline gave up job"):
            door(build, "bucket")


def test_a_job_that_was_handed_back_is_waited_for(tmp_path: Path) -> None:
    jobs, build = PipelineJobs(a_database(tmp_path)), a_build()

    def comes_again(_: float) -> None:
        jobs.put(StoredJob(job=later, nonce="1", state="building", build=build.id))

    with serving_codepipeline() as pipeline:
        offered = pipeline.offer({}, [INPUT])
        offered.state = "InProgress"
        later = PipelineJob(id=offered.id, pipeline="shop")
        first = StoredJob(job=PipelineJob(id="before", pipeline="shop"), nonce="1", state="continuing", build=build.id)
        jobs.put(first)
        aws = aws_at(pipeline.url)
        door = PipelineHandover(JobService(aws), jobs, aws, NoBook(), ManualClock(then=comes_again))
        assert door(build, "bucket").locate("key") == "arn:aws:s3:::bucket/key"
