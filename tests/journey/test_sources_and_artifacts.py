"""More than one source, more than one artifact, and paths that lie elsewhere in the container."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, buildspec

pytestmark = pytest.mark.docker


def _zip(aws: Cloud, bucket: str, key: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(aws.object(bucket, key)[0])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_secondary_artifacts_and_a_name_that_the_build_makes_up(aws: Cloud, daemon: Daemon, busybox: str) -> None:
    bucket, other = aws.bucket(), aws.bucket()
    spec = buildspec(
        "mkdir -p web docs/api; echo w > web/w; echo d > docs/api/d; export VERSION=1.2; echo r > report",
        artifacts={
            "files": ["**/*"],
            "base-directory": "web",
            "name": "site-$VERSION-$(cat report)-$CODEBUILD_BUILD_NUMBER.zip",
            "secondary-artifacts": {
                "docs": {"files": ["docs/**/*"], "discard-paths": "yes", "name": "docs-$VERSION"},
                "report": {"files": ["report"]},
                "unknown": {"files": ["report"]},
            },
        },
    )
    secondary = {"type": "S3", "location": other, "namespaceType": "BUILD_ID", "packaging": "ZIP"}
    build = daemon.build(
        daemon.project(
            busybox,
            source={"type": "NO_SOURCE", "buildspec": spec},
            artifacts={"type": "S3", "location": bucket, "packaging": "ZIP", "overrideArtifactName": True, "path": "p"},
            secondaryArtifacts=[
                {**secondary, "artifactIdentifier": "docs", "overrideArtifactName": True},
                {**secondary, "artifactIdentifier": "report", "encryptionDisabled": True, "packaging": "NONE"},
            ],
        )
    )
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    uuid = build["id"].partition(":")[2]
    assert aws.keys(bucket) == ["p/site-1.2-r-1.zip"]
    assert aws.keys(other) == [f"{uuid}/docs-1.2", f"{uuid}/report/report"]
    assert _zip(aws, bucket, "p/site-1.2-r-1.zip") == {"w": b"w\n"}
    assert _zip(aws, other, f"{uuid}/docs-1.2") == {"d": b"d\n"}
    assert "ServerSideEncryption" not in aws.object(other, f"{uuid}/report/report")[1]
    made = {one["artifactIdentifier"]: one["location"] for one in build["secondaryArtifacts"]}
    assert made == {
        "docs": f"arn:aws:s3:::{other}/{uuid}/docs-1.2",
        "report": f"arn:aws:s3:::{other}/{uuid}/report",
    }
    assert "the project has no secondary artifact unknown" in daemon.text(build)


def test_secondary_sources_lie_where_their_variables_say(daemon: Daemon, debian: str, tmp_path: Path) -> None:
    main, tools = Repository(tmp_path / "git", "app"), Repository(tmp_path / "git", "tools")
    tools.commit("one", version="one")
    wanted = tools.head
    tools.commit("two", version="two")
    head = main.commit(
        file="main",
        **{
            "buildspec.yml": buildspec(
                "echo main $(cat file) tools $(cat $CODEBUILD_SRC_DIR_tools/version)",
                "echo heads $(git rev-parse HEAD) $(git -C $CODEBUILD_SRC_DIR_tools rev-parse HEAD)",
                "test $PWD = $CODEBUILD_SRC_DIR && echo at home",
                artifacts={"files": ["version"], "base-directory": "$CODEBUILD_SRC_DIR_tools"},
            )
        },
    )
    out = tmp_path / "artifacts"
    with git_http(tmp_path / "git") as server:
        build = daemon.build(
            daemon.project(
                debian,
                source={"type": "GIT", "location": main.url},
                secondarySources=[{"type": "GIT", "location": f"{server.url}/tools.git", "sourceIdentifier": "tools"}],
                secondarySourceVersions=[{"sourceIdentifier": "tools", "sourceVersion": wanted}],
                artifacts={"type": "S3", "location": out.as_uri(), "name": "a"},
            )
        )
    text = daemon.text(build)
    assert build["buildStatus"] == "SUCCEEDED", text
    assert "\nmain main tools one\n" in text
    assert f"\nheads {head} {wanted}\n" in text
    assert "\nat home\n" in text
    assert (out / "a" / "version").read_text() == "one"


def test_submodules_come_along_where_the_project_wants_them(daemon: Daemon, debian: str, tmp_path: Path) -> None:
    inner, outer = Repository(tmp_path / "git", "inner"), Repository(tmp_path / "git", "outer")
    inner.commit("pinned", lib="pinned")
    with git_http(tmp_path / "git") as server:
        outer.commit(**{"buildspec.yml": buildspec("cat lib/lib 2>/dev/null || echo none", "git submodule status")})
        outer.run("-c", "protocol.file.allow=always", "submodule", "add", "-q", f"{server.url}/inner.git", "lib")
        outer.commit("with a submodule", file="x")
        inner.commit("moved on", lib="moved on")
        source = {"type": "GIT", "location": f"{server.url}/outer.git"}
        with_them = daemon.project(debian, source={**source, "gitSubmodulesConfig": {"fetchSubmodules": True}})
        without = daemon.project(debian, source=source)
        builds = [daemon.build(with_them), daemon.build(without)]
    assert {build["buildStatus"] for build in builds} == {"SUCCEEDED"}, daemon.text(builds[0])
    assert "\npinned\n" in daemon.text(builds[0])
    assert "\nnone\n" in daemon.text(builds[1])


def test_variables_that_the_buildspec_exports_are_in_the_build(daemon: Daemon, busybox: str) -> None:
    spec = json.dumps(
        {
            "version": 0.2,
            "env": {"variables": {"KEPT": "as it was"}, "exported-variables": ["KEPT", "MADE", "NEVER_SET", "AWS_X"]},
            "phases": {
                "build": {"commands": ["export MADE=\"two  words\nand a 'line'\"", "AWS_X=1"]},
                "post_build": {"commands": ["MADE=$MADE!"]},
            },
        }
    )
    build = daemon.build(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    assert build["exportedEnvironmentVariables"] == [
        {"name": "KEPT", "value": "as it was"},
        {"name": "MADE", "value": "two  words\nand a 'line'!"},
    ]
    assert "warning: exported-variables: NEVER_SET is not set" in daemon.text(build)


def test_what_lies_outside_the_source_is_cached_and_uploaded_too(aws: Cloud, daemon: Daemon, busybox: str) -> None:
    bucket = aws.bucket()
    spec = buildspec(
        "cat /root/.m2/deep/jar 2>/dev/null || { mkdir -p /root/.m2/deep; echo fetched > /root/.m2/deep/jar; }",
        "test -x /root/.m2/tool && echo still executable || { echo t > /root/.m2/tool; chmod 755 /root/.m2/tool; }",
        "mkdir -p /opt/out/sub; echo absolute > /opt/out/sub/file; mkdir -p kept; echo k > kept/k",
        artifacts={"files": ["/opt/out/**/*", "kept/k"]},
        cache={"paths": ["/root/.m2/**/*", "kept/**/*"]},
    )
    project = daemon.project(
        busybox,
        source={"type": "NO_SOURCE", "buildspec": spec},
        artifacts={"type": "S3", "location": bucket, "packaging": "ZIP", "name": "a.zip"},
        cache={"type": "S3", "location": f"{bucket}/cache"},
    )
    first = daemon.build(project)
    assert first["buildStatus"] == "SUCCEEDED", daemon.text(first)
    assert _zip(aws, bucket, "a.zip") == {"opt/out/sub/file": b"absolute\n", "kept/k": b"k\n"}
    assert first["buildspecd"]["cache"] == {"restored": "miss", "saved": True, "files": 0}
    second = daemon.build(project)
    assert second["buildspecd"]["cache"]["restored"] == "hit"
    assert "\nfetched\n" in daemon.text(second)
    assert "\nstill executable\n" in daemon.text(second)
    assert second["buildspecd"]["cache"]["saved"] is False, daemon.text(second)


def test_a_cache_with_a_key_is_found_by_the_key_and_else_by_a_fallback(
    aws: Cloud, daemon: Daemon, repository: Repository, busybox: str
) -> None:
    bucket = aws.bucket()
    spec = buildspec(
        "cat deps/made 2>/dev/null || echo cold; mkdir -p deps; cat lock > deps/made",
        cache={"key": "deps-$(cat lock)", "fallback-keys": ["deps-"], "paths": ["deps/**/*"]},
    )
    repository.commit(lock="one", **{"buildspec.yml": spec})
    project = daemon.project(
        busybox,
        source={"type": "GIT", "location": repository.url},
        cache={"type": "S3", "location": f"{bucket}/cache"},
    )
    cold, same = daemon.build(project), daemon.build(project)
    repository.commit(lock="two")
    moved = daemon.build(project)
    assert [build["buildspecd"]["cache"]["restored"] for build in (cold, same, moved)] == ["miss", "hit", "hit"]
    assert [build["buildspecd"]["cache"]["saved"] for build in (cold, same, moved)] == [True, False, True]
    assert "\ncold\n" in daemon.text(cold)
    assert "with the key deps-one" in daemon.text(same)
    assert "with a fallback of the key deps-two" in daemon.text(moved)
