"""Project files become projects; a mistake stops the project it stands in and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from agent.model.project import Project
from agent.settings.projects import ProjectFile, load_projects, read_project_file

MINIMAL: dict[str, Any] = {
    "name": "web",
    "source": {"type": "GIT", "location": "file:///srv/web.git"},
    "environment": {"image": "debian:12"},
}


def read(tmp_path: Path, text: str, name: str = "web.yml") -> ProjectFile:
    file = tmp_path / name
    file.write_text(text)
    return read_project_file(file)


def project(tmp_path: Path, **fields: Any) -> Project:
    found = read(tmp_path, json.dumps(MINIMAL | fields), "web.json").entries[0]
    assert found.project is not None, found.problems
    return found.project


def words(tmp_path: Path, **fields: Any) -> list[str]:
    found = read(tmp_path, json.dumps(MINIMAL | fields), "web.json")
    return [problem.message for problem in (*found.problems, *(p for entry in found.entries for p in entry.problems))]


def places(found: ProjectFile) -> list[str]:
    problems = [*found.problems, *(problem for entry in found.entries for problem in entry.problems)]
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in problems]


def test_a_schedule_is_one_or_a_list_of_expressions_or_objects(tmp_path: Path) -> None:
    for written in ("0 3 * * *", ["0 3 * * *"], {"cron": "0 3 * * *"}, [{"cron": "0 3 * * *", "timezone": "UTC"}]):
        (found,) = project(tmp_path, agent={"schedule": written}).agent.schedule
        assert (found.cron, found.timezone, found.name) == ("0 3 * * *", "UTC", None)
    assert project(tmp_path, agent={}).agent.schedule == ()


def test_a_wrong_schedule_is_told_with_its_place(tmp_path: Path) -> None:
    text = """\
name: web
source: {type: GIT, location: "file:///srv/web.git"}
environment: {image: "debian:12"}
agent:
  schedule:
    - 0 25 * * *
    - {cron: "rate(1 minutes)", timezone: Europe/Berln, name: x}
    - {cron: "0 0 * * *", name: x, zone: UTC}
"""
    (place,) = places(read(tmp_path, text))
    assert place.startswith("8:36: unknown key agent.schedule[2].zone; known are cron, timezone")
    found = read(tmp_path, text.replace(", zone: UTC", ""))
    assert found.entries[0].project is None
    zone = "there is no time zone 'Europe/Berln': expected one such as Europe/Berlin or UTC"
    assert places(found) == [
        "6:7: agent.schedule[0].cron: '0 25 * * *': bad hour",
        f"7:43: agent.schedule[1].timezone: {zone}",
        "7:14: agent.schedule[1].cron: 'rate(1 minutes)': write rate(1 minute)",
        "8:33: agent.schedule[2].name: 'x' stands twice among the schedules",
    ]


def test_a_small_project_has_codebuilds_defaults(tmp_path: Path) -> None:
    found = project(tmp_path)
    assert found.timeout_in_minutes == 60
    assert found.artifacts.type == "NO_ARTIFACTS"
    assert found.agent.network == "host"


def test_scalars_are_typed_by_their_field_and_not_by_yaml(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """\
name: web
source: {type: GIT, location: "file:///srv/web.git", gitCloneDepth: 1, reportBuildStatus: yes}
sourceVersion: 1.10
environment:
  image: debian:12
  privilegedMode: on
  environmentVariables: [{name: COUNTRY, value: NO}, {name: VERSION, value: 010}]
description: null
secondarySources:
agent: {poll: 1m30s, resources: {cpus: 1.5, memory: 512}}
""",
    ).entries[0]
    assert found.problems == ()
    assert found.project is not None
    assert found.project.source.report_build_status is True
    assert found.project.source_version == "1.10"
    assert [variable.value for variable in found.project.environment.environment_variables] == ["NO", "010"]
    assert found.project.secondary_sources == ()
    assert found.project.agent.poll == 90.0


def test_every_mistake_of_a_file_is_reported_with_its_place(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """\
name: web
source: {type: GIT, lokation: file:///srv/web.git}
environment:
  imge: debian:12
  environmentVariables:
    - {name: A, value: b, typ: PLAINTEXT}
timeoutInMinutes: soon
artifacts: {type: ZIP}
agents: {}
""",
    )
    assert found.entries[0].project is None
    assert places(found) == [
        "2:21: unknown key source.lokation; did you mean 'location'?",
        "3:1: environment.image is missing",
        "4:3: unknown key environment.imge; did you mean 'image'?",
        "6:27: unknown key environment.environmentVariables[0].typ; did you mean 'type'?",
        "7:19: timeoutInMinutes: expected a number, not 'soon'",
        "8:19: artifacts.type: expected 'S3', 'NO_ARTIFACTS' or 'CODEPIPELINE', not 'ZIP'",
        "9:1: unknown key agents; did you mean 'agent'?",
    ]


def test_the_answer_of_batch_get_projects_can_be_pasted_in(tmp_path: Path) -> None:
    answer = {"projects": [MINIMAL | everything_read_only(), MINIMAL | {"name": "api"}], "projectsNotFound": ["x"]}
    found = read(tmp_path, json.dumps(answer, indent="\t"), "pasted.json")
    assert places(found) == []
    assert [entry.project and entry.project.name for entry in found.entries] == ["web", "api"]


def everything_read_only() -> dict[str, Any]:
    return {
        "arn": "arn:aws:codebuild:eu-central-1:123456789012:project/web",
        "created": 1700000000.5,
        "lastModified": "2023-11-14T22:13:20+00:00",
        "badge": {"badgeEnabled": False},
        "webhook": {"url": "x", "payloadUrl": "y", "status": "ACTIVE", "lastModifiedSecret": 1.0},
        "projectVisibility": "PRIVATE",
        "publicProjectAlias": "x",
        "resourceAccessRole": "y",
        "buildBatchConfig": {"restrictions": {"maximumBuildsAllowed": 5}},
    }


def test_every_member_of_codebuilds_project_is_known(tmp_path: Path) -> None:
    shape = botocore.session.get_session().get_service_model("codebuild").shape_for("Project")
    samples = {"string": "1", "boolean": False, "integer": 5, "long": 5, "timestamp": 1.0}

    def sample(of: Any) -> Any:
        if of.type_name == "structure":
            return {name: sample(member) for name, member in of.members.items()}
        if of.type_name == "list":
            return [sample(of.member)]
        return of.enum[0] if getattr(of, "enum", None) else samples[of.type_name]

    found = read(tmp_path, json.dumps(sample(shape)), "all.json")
    unknown = [line for line in places(found) if "unknown key" in line or "missing" in line]
    assert unknown == []


def test_a_character_that_json_escapes_as_a_pair_is_read(tmp_path: Path) -> None:
    text = json.dumps(MINIMAL | {"description": "rocket \U0001f680 \\ud83d"})
    found = read(tmp_path, text, "web.json").entries[0].project
    assert found is not None
    assert found.description == "rocket \U0001f680 \\ud83d"


def test_a_list_of_projects_loses_only_the_wrong_one(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([MINIMAL, {"name": "api"}, "word", MINIMAL | {"name": "c3"}]), "all.json")
    assert [entry.name for entry in found.entries] == ["web", "api", None, "c3"]
    assert [entry.project is not None for entry in found.entries] == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0:0: the file is empty: it should hold a project"),
        ("word", "1:1: expected a project, not 'word'"),
        ("name: [", "1:8: not valid YAML or JSON: did not find expected node content"),
        ("name: a1\nname: b2", "2:1: the key 'name' stands here and in line 1"),
        ("name: a1\n---\nname: b2", "0:0: more than one YAML document: write a list instead of '---' between them"),
        ("projects: []\nnextToken: x", "2:1: unknown key nextToken; beside projects only projectsNotFound may stand"),
        ("projects: word", "1:11: projects: expected a list"),
    ],
)
def test_a_file_that_makes_no_sense_is_broken_as_a_whole(tmp_path: Path, text: str, message: str) -> None:
    found = read(tmp_path, text)
    assert found.broken
    assert found.entries == ()
    assert places(found) == [message]


GIT = MINIMAL["source"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": {"type": "GITHUB"}}, "source.location: location is missing: a source of type GITHUB needs it"),
        ({"source": {"type": "S3"}}, "source.location: location is missing: a source of type S3 needs it"),
        ({"source": {"type": "S3", "location": "bucket"}}, "source.location: not an object or a folder of a bucket"),
        (
            {"source": {"type": "S3", "location": "bucket/src/"}, "sourceVersion": "v1"},
            "sourceVersion: Source version should be empty for S3 folder source location",
        ),
        ({"source": {"type": "CODEPIPELINE"}}, "artifacts.type: source and artifacts are both of type CODEPIPELINE"),
        (
            {"secondarySources": [{"type": "CODEPIPELINE", "sourceIdentifier": "a"}]},
            "secondarySources[0].type: a pipeline names its further input artifacts itself",
        ),
        ({"source": {"type": "NO_SOURCE"}}, "source.buildspec: a project without source needs its buildspec written"),
        ({"secondarySources": [GIT]}, "secondarySources[0]: sourceIdentifier is missing"),
        (
            {"secondarySources": [GIT | {"sourceIdentifier": "a"}] * 2},
            "secondarySources[1].sourceIdentifier: 'a' stands",
        ),
        (
            {"secondarySourceVersions": [{"sourceIdentifier": "a", "sourceVersion": "v"}]},
            "secondarySourceVersions[0].sourceIdentifier: no secondary source is called 'a'",
        ),
        ({"artifacts": {"type": "S3"}}, "artifacts.location: location is missing"),
        ({"artifacts": {"type": "CODEPIPELINE"}}, "artifacts.type: source and artifacts are both of type CODEPIPELINE"),
        (
            {"secondaryArtifacts": [{"type": "CODEPIPELINE", "artifactIdentifier": "a"}]},
            "secondaryArtifacts[0].type: a pipeline names its further output artifacts itself",
        ),
        (
            {"secondaryArtifacts": [{"type": "S3", "location": "b"}]},
            "secondaryArtifacts[0]: artifactIdentifier is missing",
        ),
        ({"cache": {"type": "S3"}}, "cache.location: location is missing"),
        ({"logsConfig": {"s3Logs": {"status": "ENABLED"}}}, "logsConfig.s3Logs.location: location is missing"),
        ({"environment": {"image": "x", "type": "WINDOWS_CONTAINER"}}, "environment.type: WINDOWS_CONTAINER cannot be"),
        ({"environment": {"image": "x", "type": "LINUX"}}, "environment.type: expected one of LINUX_CONTAINER,"),
        ({"environment": {"image": "x", "computeType": "SMALL"}}, "environment.computeType: expected one of"),
        (
            {"source": GIT | {"auth": {"type": "SECRETS_MANAGER", "resource": "hunter2"}}},
            "source.auth: resource must be the ARN of a secret",
        ),
        ({"webhook": {"secret": "env:NOT A NAME"}}, "webhook.secret: expected env:NAME"),
        (
            {"webhook": {"filterGroups": [[{"type": "HEAD_REF", "pattern": "("}]]}},
            "webhook.filterGroups[0]: a filter group needs a filter of type EVENT",
        ),
        (
            {"webhook": {"filterGroups": [[{"type": "EVENT", "pattern": "PUSHED"}]]}},
            "webhook.filterGroups[0][0].pattern: expected one of PUSH,",
        ),
        (
            {
                "webhook": {
                    "filterGroups": [[{"type": "EVENT", "pattern": "PUSH"}, {"type": "HEAD_REF", "pattern": "("}]]
                }
            },
            "webhook.filterGroups[0][1].pattern: not a regular expression",
        ),
        ({"agent": {"preflight": ["db"]}}, "agent.preflight[0]: expected HOST:PORT such as db.internal:5432, not 'db'"),
        ({"agent": {"log_retention_days": 31}}, "agent.log_retention_days: CloudWatch knows 1, 3, 5"),
        (
            {"webhook": {"pullRequestBuildPolicy": {"requiresCommentApproval": "DISABLED", "approverRoles": ["BOSS"]}}},
            "webhook.pullRequestBuildPolicy.approverRoles[0]: expected one of GITHUB_READ",
        ),
    ],
)
def test_what_must_hold_between_fields_is_checked(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    found = read(tmp_path, json.dumps(MINIMAL | fields), "web.json")
    assert found.entries[0].project is None
    assert any(line.startswith(message) for line in words(tmp_path, **fields)), words(tmp_path, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"webhook": {"secret": "hunter2"}}, "webhook.secret: the secret itself stands here"),
        (
            {"source": GIT | {"location": "https://me:hunter2@host/x.git"}},
            "source.location: the address holds a password",
        ),
        (
            {"source": GIT | {"auth": {"type": "CODECONNECTIONS", "resource": "arn:aws:codeconnections:x"}}},
            "source.auth.type: CODECONNECTIONS opens sources for AWS alone",
        ),
        (
            {"source": {"type": "GITHUB", "location": "https://github.com/a/b", "insecureSsl": True}},
            "source.insecureSsl: insecureSsl holds for GIT, GITHUB_ENTERPRISE, GITLAB_SELF_MANAGED only",
        ),
        ({"cache": {"type": "LOCAL"}}, "cache.modes: a LOCAL cache without modes keeps nothing"),
        ({"webhook": {"buildType": "BUILD_BATCH"}}, "webhook.buildType: BUILD_BATCH: a plain build is started instead"),
        (
            {"environment": {"image": "x", "environmentVariables": [{"name": "CODEBUILD_X", "value": "1"}]}},
            "environment.environmentVariables[0].name: CODEBUILD_X: names that start with CODEBUILD_",
        ),
        ({"fileSystemLocations": [{"type": "EFS"}]}, "fileSystemLocations: EFS file systems are not mounted"),
    ],
)
def test_what_is_odd_is_a_warning_and_the_project_is_used(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    assert project(tmp_path, **fields).name == "web"
    found = words(tmp_path, **fields)
    assert found[0].startswith(message)
    assert "hunter2" not in found[0]


def test_an_account_filter_that_matches_part_of_a_number_is_warned_of(tmp_path: Path) -> None:
    def warned(pattern: str) -> bool:
        group = [{"type": "EVENT", "pattern": "PUSH"}, {"type": "ACTOR_ACCOUNT_ID", "pattern": pattern}]
        return any("without ^ and $" in line for line in words(tmp_path, webhook={"filterGroups": [group]}))

    assert warned("123")
    assert warned("^123$|456")
    assert not warned("^123$|^456$")
    assert not warned("^(123|456)$")


def test_a_wrong_file_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(json.dumps(MINIMAL))
    (tmp_path / "b.yaml").write_text("name: [")
    (tmp_path / "c.json").write_text(json.dumps(MINIMAL | {"name": "api"}))
    (tmp_path / ".d.yml").write_text("an editor's leftover")
    (tmp_path / "e.yml.example").write_text("not read")
    found = load_projects(tmp_path)
    assert sorted(found.projects) == ["api", "web"]
    assert [Path(problem.file).name for problem in found.problems] == ["b.yaml"]


def test_a_name_taken_by_an_earlier_file_is_a_problem_of_the_later(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(json.dumps(MINIMAL | {"description": "first"}))
    (tmp_path / "b.yml").write_text(json.dumps([MINIMAL]))
    found = load_projects(tmp_path)
    assert found.projects["web"].description == "first"
    assert [problem.message for problem in found.problems] == [
        f"a project 'web' stands already in {tmp_path}/a.yml; this one is not used"
    ]


def test_a_directory_that_is_not_there_is_said_and_no_failure(tmp_path: Path) -> None:
    found = load_projects(tmp_path / "none")
    assert found.projects == {}
    assert [problem.fatal for problem in found.problems] == [False]
