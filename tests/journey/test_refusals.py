"""What the user named is not there, or says no: FAILED at once, with the name of it and what to do; nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, Json, buildspec, failure
from tests.journey.registry import refusing_registry

pytestmark = pytest.mark.docker

UPLOADING = {"type": "NO_SOURCE", "buildspec": buildspec("echo x > x", artifacts={"files": ["x"]})}
GREEN = buildspec("echo begun")


def _assert_refused(daemon: Daemon, build: Json, kind: str, code: str, *words: str) -> None:
    """FAILED in phase *kind* with *code*, every one of *words* in the message, said in the log, nothing left."""
    assert build["buildStatus"] == "FAILED", daemon.text(build)
    found = failure(build)
    assert found[:2] == (kind, code)
    assert all(word in found[2] for word in words), found[2]
    assert build["buildspecd"]["advice"]
    assert f"Phase context status code: {code} Message: " in daemon.text(build)
    daemon.assert_nothing_left(build)


def test_a_branch_that_is_not_there(daemon: Daemon, repository: Repository, busybox: str) -> None:
    repository.commit(**{"buildspec.yml": GREEN})
    project = daemon.project(busybox, source={"type": "GIT", "location": repository.url})
    build = daemon.build(project, sourceVersion="feature/gone")
    _assert_refused(daemon, build, "DOWNLOAD_SOURCE", "CLIENT_ERROR", "feature/gone", repository.url)


def test_a_commit_that_is_not_there(daemon: Daemon, repository: Repository, busybox: str) -> None:
    repository.commit(**{"buildspec.yml": GREEN})
    project = daemon.project(busybox, source={"type": "GIT", "location": repository.url})
    build = daemon.build(project, sourceVersion="d" * 40)
    _assert_refused(daemon, build, "DOWNLOAD_SOURCE", "CLIENT_ERROR", "d" * 40)


def test_a_repository_that_is_not_there(daemon: Daemon, busybox: str, tmp_path: Path) -> None:
    project = daemon.project(busybox, source={"type": "GIT", "location": f"file://{tmp_path}/gone.git"})
    build = daemon.build(project)
    _assert_refused(daemon, build, "DOWNLOAD_SOURCE", "CLIENT_ERROR", f"{tmp_path}/gone.git")


def test_a_git_server_that_does_not_let_us_in(
    daemon: Daemon, repository: Repository, busybox: str, tmp_path: Path
) -> None:
    repository.commit(**{"buildspec.yml": GREEN})
    with git_http(tmp_path / "git", login=("someone", "else")) as server:
        location = f"{server.url}/app.git"
        build = daemon.build(daemon.project(busybox, source={"type": "GIT", "location": location}))
    _assert_refused(daemon, build, "DOWNLOAD_SOURCE", "CLIENT_ERROR", location)


@pytest.mark.parametrize(("status", "word"), [(404, "manifest unknown"), (401, "no basic auth credentials")])
def test_an_image_that_the_registry_does_not_give(daemon: Daemon, status: int, word: str) -> None:
    with refusing_registry(status) as host:
        build = daemon.build(daemon.inline(f"{host}/team/app:1", "echo begun"))
    _assert_refused(daemon, build, "PROVISIONING", "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", f"{host}/team/app:1", word)
    assert "begun" not in daemon.text(build)


def test_an_image_that_may_not_be_pulled_and_is_not_here(daemon: Daemon) -> None:
    build = daemon.build(daemon.inline("never/pulled:1", "echo begun", agent={"pull": "never"}))
    _assert_refused(daemon, build, "PROVISIONING", "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", "never/pulled:1")


def test_an_image_name_that_is_none(daemon: Daemon) -> None:
    build = daemon.build(daemon.inline("UPPER case!", "echo begun"))
    _assert_refused(daemon, build, "PROVISIONING", "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", "UPPER case!")


def test_a_network_that_is_not_there(daemon: Daemon, busybox: str) -> None:
    build = daemon.build(daemon.inline(busybox, "echo begun", agent={"network": "gone-net"}))
    _assert_refused(daemon, build, "PROVISIONING", "CLIENT_ERROR", "gone-net")


def test_a_bucket_that_does_not_exist(daemon: Daemon, busybox: str) -> None:
    artifacts = {"type": "S3", "location": "journey-no-such-bucket", "packaging": "ZIP"}
    build = daemon.build(daemon.project(busybox, source=UPLOADING, artifacts=artifacts))
    _assert_refused(daemon, build, "UPLOAD_ARTIFACTS", "CLIENT_ERROR", "journey-no-such-bucket", "NoSuchBucket")
    assert "create the bucket journey-no-such-bucket" in build["buildspecd"]["advice"]


def test_a_bucket_whose_policy_says_no(aws: Cloud, daemon: Daemon, busybox: str) -> None:
    bucket = aws.bucket()
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    artifacts = {"type": "S3", "location": bucket, "packaging": "ZIP"}
    build = daemon.build(daemon.project(busybox, source=UPLOADING, artifacts=artifacts))
    _assert_refused(daemon, build, "UPLOAD_ARTIFACTS", "CLIENT_ERROR", f"s3://{bucket}/", "403")
    assert "s3:PutObject" in build["buildspecd"]["advice"]


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion", "gone"])
def test_a_key_that_cannot_be_used(aws: Cloud, daemon: Daemon, busybox: str, state: str) -> None:
    bucket, kms = aws.bucket(), aws.client("kms")
    key = (
        aws.key() if state != "gone" else "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000"
    )
    if state == "Disabled":
        kms.disable_key(KeyId=key.rpartition("/")[2])
    elif state == "PendingDeletion":
        kms.schedule_key_deletion(KeyId=key.rpartition("/")[2])
    artifacts = {"type": "S3", "location": bucket, "packaging": "ZIP"}
    build = daemon.build(daemon.project(busybox, source=UPLOADING, artifacts=artifacts, encryptionKey=key))
    _assert_refused(daemon, build, "UPLOAD_ARTIFACTS", "CLIENT_ERROR", key)
    assert aws.keys(bucket) == []


def test_artifacts_that_match_nothing(aws: Cloud, daemon: Daemon, busybox: str) -> None:
    bucket = aws.bucket()
    source = {"type": "NO_SOURCE", "buildspec": buildspec("echo", artifacts={"files": ["target/*.jar"]})}
    artifacts = {"type": "S3", "location": bucket, "packaging": "ZIP"}
    build = daemon.build(daemon.project(busybox, source=source, artifacts=artifacts))
    _assert_refused(daemon, build, "UPLOAD_ARTIFACTS", "CLIENT_ERROR", "no matching artifact paths found")


def test_a_cache_whose_bucket_is_gone_is_a_line_in_the_log_of_a_green_build(daemon: Daemon, busybox: str) -> None:
    spec = buildspec("mkdir deps; echo x > deps/x", cache={"paths": ["deps/**/*"]})
    build = daemon.build(
        daemon.project(
            busybox,
            source={"type": "NO_SOURCE", "buildspec": spec},
            cache={"type": "S3", "location": "journey-no-such-bucket/cache"},
        )
    )
    assert build["buildStatus"] == "SUCCEEDED"
    assert "Unable to upload cache: cannot write s3://journey-no-such-bucket/" in daemon.text(build)
    daemon.assert_nothing_left(build)


def test_what_the_build_needs_and_cannot_reach_is_named(daemon: Daemon, busybox: str) -> None:
    build = daemon.build(daemon.inline(busybox, "echo begun", agent={"preflight": ["db.invalid:5432"]}))
    _assert_refused(daemon, build, "PROVISIONING", "PREFLIGHT_FAILED", "db.invalid")
