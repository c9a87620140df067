"""Importing: CodeBuild's projects become files that pass the check, and say what a person must decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ProjectUnknown, SettingsInvalid
from agent.kit.marked_yaml import to_plain
from agent.settings.importing.answer import projects_in_answer, projects_of_codebuild
from agent.settings.importing.found import Found, Note
from agent.settings.importing.project import Imported, imported
from agent.settings.importing.template import projects_in_template
from agent.settings.importing.writing import written
from agent.settings.problems import read_text
from agent.settings.projects import load_projects
from tests.unit.settings.importing.samples import ANSWER, CDK, PLAIN


def from_answer(members: dict[str, Any]) -> Imported:
    return imported(Found(members, "a test", "answer.json"))


def from_template(tmp_path: Path, text: str, **given: str) -> Imported:
    file = tmp_path / "template.yml"
    file.write_text(text)
    (found,) = projects_in_template(file, {name.replace("__", "::"): value for name, value in given.items()})
    return imported(found)


def read_back(tmp_path: Path, text: str) -> dict[str, Any]:
    """Return the project that *text* is to the agent, which must have nothing against it."""
    directory = tmp_path / "projects.d"
    directory.mkdir(exist_ok=True)
    (directory / "it.yml").write_text(text)
    found = load_projects(directory)
    assert [str(problem) for problem in found.problems if problem.fatal] == []
    (project,) = found.projects.values()
    return project.wire()


def comment_above(text: str, member: str) -> str:
    """Return the comment that stands above the line that begins with *member*."""
    lines = text.splitlines()
    at = next(place for place, line in enumerate(lines) if line.strip().startswith(member))
    said = []
    while lines[at - 1].strip().startswith("#"):
        at -= 1
        said.insert(0, lines[at].strip(" #"))
    return " ".join(said)


def test_an_answer_of_codebuilds_becomes_a_file_that_passes_the_check(tmp_path: Path) -> None:
    project = read_back(tmp_path, from_answer(ANSWER).text)
    assert project["source"]["buildspec"] == "ci/buildspec.yml"
    assert project["environment"]["environmentVariables"][0]["value"] == "1.10"
    assert project["webhook"]["filterGroups"] == ANSWER["webhook"]["filterGroups"]
    assert project["artifacts"]["namespaceType"] == "BUILD_ID"


def test_what_only_an_answer_has_is_not_in_the_file() -> None:
    text = from_answer(ANSWER).text
    for word in ("payloadUrl", "lastModified", "s3cret", "alias/aws/s3", "secondarySources", "created"):
        assert word not in text


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("serviceRole:", "differs: the host's role"),
        ("vpcConfig:", "differs: builds run in the network of the host"),
        ("fleet:", "differs: reserved capacity"),
        ("image:", "differs: a curated image"),
        ("cache:", "differs: kept on this host"),
        ("privilegedMode:", "decide: whoever may change this buildspec"),
        ("- name: DB_PASSWORD", "decide: DB_PASSWORD looks like a secret"),
        ("auth:", "decide: CodeBuild's own credential"),
        ("webhook:", "decide: make a webhook"),
        ("buildType:", "decide: a plain build is started"),
    ],
)
def test_what_is_to_decide_is_said_above_it(member: str, words: str) -> None:
    assert words in comment_above(from_answer(ANSWER).text, member)


def test_what_is_left_out_is_said_at_the_top_and_told() -> None:
    made = from_answer(ANSWER)
    assert "# left out: someday: it is not known here" in made.text
    assert "# left out: buildBatchConfig" in made.text
    assert [problem.message for problem in made.problems] == ["someday: it is not known here"]


def test_the_same_project_makes_the_same_file() -> None:
    shuffled = dict(reversed(list(ANSWER.items())))
    assert from_answer(ANSWER).text == from_answer(shuffled).text


@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_an_answer_in_a_file_is_read_the_same_way(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"answer.{suffix}"
    file.write_text(json.dumps({"projects": [ANSWER], "projectsNotFound": []}))
    (found,) = projects_in_answer(file)
    assert read_back(tmp_path, imported(found).text) == read_back(tmp_path, from_answer(ANSWER).text)


def test_a_project_of_codepipeline_and_of_windows_still_passes_the_check(tmp_path: Path) -> None:
    made = from_answer(
        {
            **{name: ANSWER[name] for name in ("name", "serviceRole")},
            "source": {"type": "CODEPIPELINE", "buildspec": "b.yml"},
            "artifacts": {"type": "CODEPIPELINE", "name": "web"},
            "environment": {"type": "WINDOWS_EC2", "image": "x", "computeType": "BUILD_GENERAL1_MEDIUM"},
        }
    )
    project = read_back(tmp_path, made.text)
    assert (project["source"]["type"], project["artifacts"]["type"]) == ("CODEPIPELINE", "CODEPIPELINE")
    assert "put the custom action into its place" in made.text
    assert "was WINDOWS_EC2" in made.text


@pytest.mark.parametrize(
    "broken",
    [
        {"environment": None},
        {"environment": []},
        {"environment": {"image": "x", "computeType": "HUGE", "type": "LINUX_CONTAINER"}},
        {"environment": {"image": "x", "environmentVariables": [{"value": "no name"}, "text", {"name": "A"}]}},
        {"source": {"type": "S3"}},
        {"source": {"type": "GITHUB"}},
        {"source": {"type": "NO_SOURCE"}},
        {"source": {"type": "NEWHOST", "location": "x"}},
        {"source": "text"},
        {"artifacts": {"type": "S3"}},
        {"cache": {"type": "S3"}},
        {"timeoutInMinutes": "soon"},
        {"secondarySources": [{"type": "GITHUB", "location": "https://github.com/a/b"}]},
        {"secondarySources": [{"type": "S3", "sourceIdentifier": "x"}]},
        {"logsConfig": {"s3Logs": {"status": "ENABLED"}}},
        {"webhook": {"filterGroups": [[{"type": "EVENT", "pattern": "NEW_EVENT"}]]}},
        {"webhook": {"filterGroups": [[{"type": "HEAD_REF", "pattern": "("}]]}},
        {"webhook": "yes"},
        {"agent": {"unknown": 1}},
        {"tags": {"not": "a list"}},
    ],
    ids=str,
)
def test_whatever_an_answer_holds_the_file_passes_the_check(broken: dict[str, Any], tmp_path: Path) -> None:
    made = from_answer({**ANSWER, **broken})
    assert read_back(tmp_path, made.text)["name"] == "web"
    assert made.problems != ()


def test_a_filter_that_means_nothing_here_lets_nothing_in(tmp_path: Path) -> None:
    made = from_answer({**ANSWER, "webhook": {"filterGroups": [[{"type": "EVENT", "pattern": "NEW_EVENT"}]]}})
    groups = read_back(tmp_path, made.text)["webhook"]["filterGroups"]
    assert groups[0][1]["pattern"] == "^decide-ref$"


@pytest.mark.parametrize("name", ["../etc/passwd", "", "a/b", "-x", None, "x" * 200])
def test_a_name_that_no_project_can_have_is_refused(name: str | None) -> None:
    with pytest.raises(SettingsInvalid, match="name"):
        from_answer({**ANSWER, "name": name})


def test_functions_come_to_what_the_template_says(tmp_path: Path) -> None:
    made = from_template(tmp_path, PLAIN, AWS__Region="eu-central-1")
    project = read_back(tmp_path, made.text)
    values = {item["name"]: item for item in project["environment"]["environmentVariables"]}
    assert project["name"] == "web-test"
    assert project["source"]["location"] == "https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/web"
    assert project["artifacts"]["location"] == "acme-test-out"
    assert project["artifacts"]["name"] == "web-test"
    assert project["cache"]["modes"] == ["LOCAL_SOURCE_CACHE", "LOCAL_CUSTOM_CACHE"]
    assert project["environment"]["computeType"] == "BUILD_GENERAL1_SMALL"
    assert project["environment"]["privilegedMode"] is True
    assert values["COUNT"]["value"] == "010"
    assert values["LITERAL"]["value"] == "${Stage} test"
    assert values["PART"]["value"] == "b"
    assert values["API"] == {"name": "API", "value": "ci/token:key", "type": "SECRETS_MANAGER"}
    assert values["HOST"] == {"name": "HOST", "value": "/web/host", "type": "PARAMETER_STORE"}
    assert "ONLY_IN_PROD" not in values
    assert project["webhook"]["filterGroups"][0][1]["pattern"] == "^refs/heads/test$"


def test_a_value_that_is_given_wins_over_the_default(tmp_path: Path) -> None:
    project = read_back(tmp_path, from_template(tmp_path, PLAIN, Stage="prod", Subnets="a,b", Logs="acme-logs").text)
    assert project["name"] == "web-prod"
    assert project["environment"]["computeType"] == "BUILD_GENERAL1_LARGE"
    assert project["environment"]["privilegedMode"] is False
    assert project["vpcConfig"]["subnets"] == ["a", "b"]
    assert project["logsConfig"]["s3Logs"]["location"] == "acme-logs/web"
    assert project["environment"]["environmentVariables"][-1]["name"] == "ONLY_IN_PROD"


def test_what_has_no_value_is_a_placeholder_with_a_comment(tmp_path: Path) -> None:
    text = from_template(tmp_path, PLAIN).text
    assert "hunter2" not in text
    assert "location: decide-logs/web" in text
    assert "Logs has no value here" in comment_above(text, "location: decide-logs/web")
    assert "vpcId: decide-importvalue-net-vpc" in text
    assert "serviceRole: arn:aws:iam::decide-aws-accountid:role/web-build" in text


def test_a_template_that_the_cdk_wrote_is_read(tmp_path: Path) -> None:
    made = from_template(tmp_path, json.dumps(CDK), AWS__AccountId="123456789012")
    project = read_back(tmp_path, made.text)
    assert project["name"] == "Build45A36621"
    assert json.loads(project["source"]["buildspec"])["phases"]["build"]["commands"] == ['echo "hi"']
    repository = project["environment"]["environmentVariables"][0]["value"]
    assert repository == "123456789012.dkr.ecr.decide-aws-region.amazonaws.com/web"
    assert project["artifacts"]["location"] == "decide-bucket83908e77"
    assert "decide: the template leaves the name to AWS" in made.text


def test_triggers_that_are_switched_off_make_no_webhook(tmp_path: Path) -> None:
    assert "webhook" not in read_back(tmp_path, from_template(tmp_path, PLAIN.replace("Webhook: true", "")).text)


def a_template(name: str, rest: str = "") -> str:
    return (
        "Resources:\n  Pr:\n    Type: AWS::CodeBuild::Project\n    Properties:\n"
        f"      Description: {name}\n"
        "      Environment: {Image: x, Type: LINUX_CONTAINER, ComputeType: BUILD_GENERAL1_SMALL}\n"
        "      Source: {Type: GITHUB, Location: 'https://github.com/a/b'}\n" + rest
    )


@pytest.mark.parametrize(
    "name",
    [
        "!Ref Nobody",
        "!GetAtt Pr.Arn",
        "!GetAtt [Pr]",
        "!Sub ['${X}', {X: !Ref Pr}]",
        "!Sub {a: b}",
        "!Select [9, [a]]",
        "!Select [-1, [a]]",
        "!Select x",
        "!Split ['', a]",
        "!Join [a, !Ref Pr]",
        "!FindInMap [A, B, C]",
        "!If [Nobody, a, b]",
        "!If x",
        "!Base64 {a: b}",
        "!Transform {Name: 'AWS::Include'}",
        "!Cidr [a, b]",
        "{'Fn::ForEach::X': []}",
        "!Condition X",
        "!!python/object/apply:os.system ['touch /tmp/never']",
    ],
)
def test_a_function_that_cannot_be_answered_never_breaks_the_import(name: str, tmp_path: Path) -> None:
    made = from_template(tmp_path, a_template(name))
    assert read_back(tmp_path, made.text)["name"] == "Pr"


def test_resources_and_conditions_that_lead_in_circles_come_to_an_end(tmp_path: Path) -> None:
    bucket = "  B{}: {{Type: AWS::S3::Bucket, Properties: {{BucketName: !Ref B{}}}}}\n"
    chain = "".join(bucket.format(number, number + 1) for number in range(500))
    circle = "  C: {Type: AWS::S3::Bucket, Properties: {BucketName: !Sub '${C}'}}\n"
    conditions = "Conditions:\n  X: !Not [!Condition Y]\n  Y: !Not [!Condition X]\n"
    text = a_template("!Sub '${B0} ${C}'", chain + circle + conditions).replace("Image: x", "Image: !If [X, a, b]")
    assert read_back(tmp_path, from_template(tmp_path, text).text)["description"].startswith("decide-")


def test_functions_that_double_themselves_end_in_an_error(tmp_path: Path) -> None:
    text = "x" * 100
    for _ in range(20):
        text = f"!Sub ['${{X}}${{X}}', {{X: {text}}}]"
    with pytest.raises(SettingsInvalid, match="more than"):
        from_template(tmp_path, a_template(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Resources is missing"),
        ("- a", "Resources is missing"),
        ("Resources: {}", "no resource here is an AWS::CodeBuild::Project"),
        ("Resources: {P: {Type: AWS::CodeBuild::Project}}", ":1:13: P: Properties is missing"),
        ("a: [", "not valid YAML"),
        ("Resources: {P: 1}\nResources: {}", "stands here and in line 1"),
        ("\x00", "control characters"),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        from_template(tmp_path, text)


def test_a_parameter_that_the_template_does_not_have_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="did you mean 'Stage'"):
        from_template(tmp_path, PLAIN, Stagge="x")


@pytest.mark.parametrize(
    "content", ["", "text", "[1]", '{"projects": 1}', '{"projects": [1]}', '{"projects": [', "a: b: c"]
)
def test_what_is_no_answer_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(content)
    with pytest.raises(SettingsInvalid):
        projects_in_answer(file)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "yes", "No", "null", "~", "0x1F", "1e3", "1_000", "12:30:00", "2024-01-01", ".5", "-", "- a", "? a"),
        *("a: b", "a #b", "#a", "&a", "*a", "!a", "|", ">", "'a'", '"', "%a", "@a", "`a`", "{a}", "[a]", "a,b", "a:"),
        *(
            "a\nb",
            "a\n",
            "\na",
            " a\nb",
            "a\n\nb\n",
            "a\tb\nc",
            "a\nb  \nc",
            "\x85",
            "\u2028",
            "\x7f",
            "é",
            "\U0001f600",
        ),
        *("a\\b", "---", "...", "--- a\n...", "=", "<<", "$(rm)", "x" * 5000, "# a\nb: c\n", "a\r\nb"),
    ],
)
def test_every_text_is_read_back_as_it_was_written(text: str, tmp_path: Path) -> None:
    file = tmp_path / "it.yml"
    notes = [Note(("a", 0, "b"), "decide", text or "nothing")]
    file.write_text(written({"a": [{"b": text, "c": [text, [text]]}], "d": text}, notes, ["top"]), newline="")
    read, problems = read_text(file, "it")
    assert problems == []
    assert read is not None
    root = read.document.root
    assert to_plain(root) == {"a": [{"b": text, "c": [text, [text]]}], "d": text}


class Pages:
    """A CodeBuild with more projects than one answer holds; obeys `Clients`, and is its own client."""

    def __init__(self, count: int) -> None:
        self.names = [f"p{number}" for number in range(count)]
        self.asked: list[int] = []

    def client(self, service: str) -> Any:
        assert service == "codebuild"
        return self

    def list_projects(self, nextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803
        start = int(nextToken)
        more = {"nextToken": str(start + 100)} if start + 100 < len(self.names) else {}
        return {"projects": self.names[start : start + 100], **more}

    def batch_get_projects(self, names: list[str]) -> dict[str, Any]:
        self.asked.append(len(names))
        known = [name for name in names if name in self.names]
        return {
            "projects": [{**ANSWER, "name": name} for name in known],
            "projectsNotFound": sorted(set(names) - set(known)),
        }


def test_all_projects_of_an_account_are_asked_for_a_hundred_at_a_time() -> None:
    pages = Pages(250)
    assert len(projects_of_codebuild(pages, [])) == 250
    assert pages.asked == [100, 100, 50]


def test_a_project_that_codebuild_does_not_have_is_named() -> None:
    with pytest.raises(ProjectUnknown, match="nobody"):
        projects_of_codebuild(Pages(1), ["p0", "nobody"])
