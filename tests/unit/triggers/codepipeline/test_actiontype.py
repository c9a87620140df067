"""The custom action type: created once, shown, and checked without taking a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.aws import AwsRefused
from agent.cli.main import main
from agent.triggers.codepipeline.actiontype import ActionTypes, snippet
from agent.triggers.codepipeline.service import ActionType
from tests.fakes.codepipeline import CodePipeline
from tests.unit.triggers.codepipeline.desk import aws_at, offered

KIND = ActionType("Build", "Own", "1")


def test_an_action_type_is_created_once_and_found_behind_others(pipeline: CodePipeline) -> None:
    types = ActionTypes(aws_at(pipeline.url))
    assert types.create(ActionType("Test", "Own", "1"), None, None)
    assert types.create(KIND, "https://own/{ExternalExecutionId}", None)
    assert not types.create(KIND, None, None)
    known = types.find(KIND)
    assert known is not None
    assert known["settings"]["executionUrlTemplate"] == "https://own/{ExternalExecutionId}"
    assert "{Config:ProjectName}" in known["settings"]["entityUrlTemplate"]
    assert snippet(KIND, "large")["configuration"] == {"ProjectName": "my-project", "Pool": "large"}


def test_one_that_is_there_and_differs_is_left_alone_and_told(pipeline: CodePipeline) -> None:
    pipeline.action_types.append({"id": KIND.wire(), "actionConfigurationProperties": []})
    pipeline.action_types[0].update(inputArtifactDetails={"minimumCount": 0, "maximumCount": 5})
    pipeline.action_types[0].update(outputArtifactDetails={"minimumCount": 0, "maximumCount": 5})
    with pytest.raises(AwsRefused, match="differs: it has no ProjectName") as caught:
        ActionTypes(aws_at(pipeline.url)).create(KIND, None, None)
    assert "--action-version" in caught.value.hint


def test_a_check_tries_every_permission_and_takes_no_job(pipeline: CodePipeline) -> None:
    job, types = offered(pipeline, Pool="large"), ActionTypes(aws_at(pipeline.url))
    types.create(KIND, None, None)
    assert [item.ok for item in types.check(KIND, "large")] == [True] * 6
    assert job.state == "Queued"
    pipeline.refuse.update(AcknowledgeJob="AccessDeniedException", ListActionTypes="AccessDeniedException")
    bad = {item.name: item.remedy for item in types.check(KIND, None) if not item.ok}
    assert "codepipeline:ListActionTypes" in bad["action type"]
    assert bad["AcknowledgeJob"] == "allow codepipeline:AcknowledgeJob (aws/agent-policy.yml)"
    assert len(bad) == 2


def test_the_commands_install_show_and_check(
    tmp_path: Path, pipeline: CodePipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    config = tmp_path / "agent.yml"
    aws = {"region": "us-east-1", "endpoint_url": pipeline.url}
    config.write_text(json.dumps({"aws": aws, "pipeline": {"pool": "large"}}))
    assert main(["pipeline", "install", "--config", str(config)]) == 2
    assert "set pipeline.action.provider" in capsys.readouterr().err
    own = ["--provider", "Own", "--config", str(config)]
    assert main(["pipeline", "show", *own]) == 2
    assert main(["pipeline", "check", "--json", *own]) == 3
    assert main(["pipeline", "install", *own]) == 0
    assert "Custom/Build/Own/1 was created" in capsys.readouterr().err
    assert main(["pipeline", "show", *own]) == 0
    assert json.loads(capsys.readouterr().out)["actionTypeId"] == KIND.wire()
    assert main(["pipeline", "check", *own]) == 0
    assert "this agent takes jobs of the pool large" in " ".join(capsys.readouterr().out.split())
