"""A job becomes a request: sources, artifacts and variables, as the action says."""

from __future__ import annotations

import json

import pytest

from agent.daemon.overrides import effective, variables
from agent.errors import RequestInvalid
from agent.model.pipelinejob import HandedArtifact, PipelineJob
from agent.model.project import Artifacts, Source
from agent.triggers.codepipeline import request
from agent.triggers.codepipeline.request import request_for
from tests.unit.store.samples import a_project


def job(inputs: str = "Main", outputs: str = "") -> PipelineJob:
    def places(names: str) -> tuple[HandedArtifact, ...]:
        return tuple(HandedArtifact(name=name, bucket="b", key=f"k/{name}") for name in names.split())

    return PipelineJob(id="7", pipeline="shop", inputs=places(inputs), outputs=places(outputs))


def test_the_pipeline_overrides_sources_and_artifacts_of_the_project() -> None:
    asked = request_for(
        job("my-lib Main", "One two-b"),
        {"ProjectName": "web", "PrimarySource": "Main", "TimeoutMinutes": "90", "BuildspecOverride": "ci.yml"},
    )
    project = effective(
        a_project(artifacts=Artifacts(type="S3", location="bucket", packaging="NONE"), encryption_key="ours"),
        asked.overrides,
    )
    assert project.source == Source(type="CODEPIPELINE", buildspec="ci.yml")
    assert [one.source_identifier for one in project.secondary_sources] == ["my_lib"]
    assert [one.source_version for one in project.secondary_source_versions] == ["arn:aws:s3:::b/k/my-lib"]
    assert project.artifacts.type == "NO_ARTIFACTS"
    assert [(one.artifact_identifier, one.packaging) for one in project.secondary_artifacts] == [
        ("One", "ZIP"),
        ("two_b", "ZIP"),
    ]
    assert (project.timeout_in_minutes, project.encryption_key) == (90, "ours")
    assert (asked.source_version, asked.dedupe_key) == ("arn:aws:s3:::b/k/Main", "codepipeline:7")
    assert asked.pipeline is not None
    assert [one.name for one in asked.pipeline.inputs] == ["Main", "my-lib"]


def test_one_output_is_the_primary_artifact_and_none_is_none() -> None:
    one = effective(a_project(), request_for(job(outputs="One"), {"ProjectName": "web"}).overrides)
    assert (one.artifacts.type, one.artifacts.packaging, one.secondary_artifacts) == ("CODEPIPELINE", "ZIP", ())
    none = effective(a_project(), request_for(job(), {"ProjectName": "web"}).overrides)
    assert none.artifacts.type == "NO_ARTIFACTS"


def test_variables_are_those_of_awss_own_action() -> None:
    text = json.dumps([{"name": "A", "value": "1"}, {"name": "B", "value": "/b", "type": "PARAMETER_STORE"}])
    asked = request_for(job(), {"ProjectName": "web", "EnvironmentVariables": text, "BatchEnabled": "false"})
    assert [(one.name, one.type) for one in variables(asked.overrides)] == [
        ("A", "PLAINTEXT"),
        ("B", "PARAMETER_STORE"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is no JSON at line 1"),
        ("{}", "is no JSON array"),
        ("[1]", "entry 1 is no JSON object"),
        ('[{"value": "hush"}]', "entry 1 has no name"),
        ('[{"name": "A", "value": 17}]', "entry 1 (A): its value is no JSON string"),
        ('[{"name": "A", "value": "hush", "type": "SECRET"}]', "entry 1 (A): its type is none of PLAINTEXT"),
        ('[{"name": "A", "value": "hush", "extra": 1}]', "entry 1 (A) has unknown members: extra"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_variables_that_make_no_sense_are_refused_without_their_values(text: str, message: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        request.variables(text)
    assert message in caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("asked", "configuration", "message"),
    [
        (job(""), {}, "the action has no input artifact"),
        (job("a b"), {}, "PrimarySource is missing from the action configuration, and there are 2 input artifacts"),
        (job("a-b a_b"), {"PrimarySource": "a-b"}, "the input artifacts a-b and a_b are the same as names"),
        (job("a", "x-y x_y"), {}, "the output artifacts x-y and x_y are the same as names"),
        (job().evolve(inputs=(HandedArtifact(name="a", bucket="", key=""),)), {}, "artifact a has no place in S3"),
    ],
)
def test_artifacts_that_make_no_sense_are_refused(
    asked: PipelineJob, configuration: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestInvalid) as caught:
        request_for(asked, {"ProjectName": "web", **configuration})
    assert message in caught.value.message
    assert caught.value.hint
