"""A daemon that opens private sources with the credentials of its settings; nothing of them shows or is left."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, buildspec

pytestmark = pytest.mark.docker

TOKEN = "glpat-s3cretT0ken"
SPEC = buildspec(
    "git clone -q $OTHER && cat other/file",
    "env; cat .git/config; ls -a",
    env={"git-credential-helper": "yes"},
)


def test_a_private_source_opens_with_the_credential_of_the_settings_and_nothing_of_it_is_left(
    aws: Cloud, debian: str, tmp_path: Path, new_daemon: Callable[..., Daemon]
) -> None:
    git = tmp_path / "git"
    Repository(git, "app").commit(**{"buildspec.yml": SPEC})
    Repository(git, "other").commit(file="from the other repository")
    name = f"ci/git-{tmp_path.name}"
    secret = aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"token": TOKEN}))
    shape = {"ServerType": "GITLAB_SELF_MANAGED", "AuthType": "PERSONAL_ACCESS_TOKEN", "Token": TOKEN}
    auth = aws.client("secretsmanager").create_secret(Name=f"{name}-auth", SecretString=json.dumps(shape))["ARN"]
    with git_http(git, ("oauth2", TOKEN)) as server:
        entry = {
            "host": server.url.removeprefix("http://"),
            "token": f"secretsmanager:{secret['ARN']}:token",
            "username": "oauth2",
            "allow_http": True,
        }
        daemon = new_daemon(environment=aws.environment, settings={"credentials": [entry]}).start()
        source = {"type": "GIT", "location": f"{server.url}/app.git"}
        variables = [{"name": "OTHER", "value": f"{server.url}/other.git"}]
        environment = {"environmentVariables": variables}
        project = daemon.project(debian, source=source, environment=environment, agent={"poll": 1})
        polled = daemon.nth(project, 1)
        by_secret = daemon.build(
            project,
            sourceAuthOverride={"type": "SECRETS_MANAGER", "resource": auth},
            buildspecOverride=buildspec("true"),
        )
        login = server.url.replace("://", f"://oauth2:{TOKEN}@")
        written = daemon.project(
            debian, source={**source, "location": f"{login}/app.git", "buildspec": buildspec("true")}
        )
        by_location = daemon.build(written)
        checked = daemon.cli("projects", "check", "--sources")
        server.login = ("oauth2", "another")
        refused = daemon.build(project, sourceVersion="refs/heads/main")
        doctor = daemon.cli("doctor", "--json")
    for build in (polled, by_secret, by_location):
        assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert "from the other repository" in daemon.text(polled)
    assert checked.stderr.decode().count("/app.git opens") == 2, checked.stderr
    assert refused["buildStatus"] == "FAILED"
    assert "the token of credentials[0] in agent.yml" in json.dumps(refused), refused
    looks = {one["name"]: one for one in json.loads(doctor.stdout)["checks"]}
    assert looks[f"source of {project}"]["status"] == "fail"
    assert "credentials[0]" in looks[f"source of {project}"]["remedy"]
    daemon.stop()
    said = [daemon.said()]
    with sqlite3.connect(daemon.state / "builds.db") as database:
        said += list(database.iterdump())
    said += [path.read_text(errors="replace") for path in daemon.state.rglob("*") if path.is_file()]
    assert not [text[:200] for text in said if TOKEN in text]
