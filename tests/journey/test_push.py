"""The main road: a push becomes a build, whose log, artifact, cache, events and metrics are where they belong."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
import uuid
import zipfile

import pytest

from tests.fakes.repository import Repository
from tests.journey.cloud import ACCOUNT, REGION, Cloud
from tests.journey.daemon import Daemon, Json, buildspec, phase
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

CACHING = json.dumps(
    {
        "version": 0.2,
        "phases": {
            "install": {
                "commands": ["ls deps 2>/dev/null || mkdir deps", "test -f deps/tool || echo tool > deps/tool"]
            },
            "build": {
                "commands": [
                    "echo commit $CODEBUILD_RESOLVED_SOURCE_VERSION of $(cat file)",
                    "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; echo same; done",
                    "mkdir -p out/sub; cp file out/page.html; echo deep > out/sub/deep.txt",
                ]
            },
        },
        "artifacts": {"files": ["**/*"], "base-directory": "out"},
        "cache": {"paths": ["deps/**/*"]},
    }
)


def test_a_push_becomes_a_build_and_everything_it_leaves_is_where_it_belongs(
    aws: Cloud, daemon: Daemon, repository: Repository, busybox: str
) -> None:
    bucket, alias = aws.bucket(), f"alias/journey-{uuid.uuid4().hex[:8]}"
    key = aws.key(alias)
    name = f"push-{uuid.uuid4().hex[:10]}"
    queue = aws.events_queue(name)
    first = repository.commit("first", file="one", **{"buildspec.yml": CACHING})
    project = daemon.project(
        busybox,
        name=name,
        source={"type": "GIT", "location": repository.url},
        artifacts={"type": "S3", "location": bucket, "packaging": "ZIP", "name": "site.zip", "path": "sites"},
        cache={"type": "S3", "location": f"{bucket}/cache"},
        encryptionKey=alias,
        logsConfig={"s3Logs": {"status": "ENABLED", "location": f"{bucket}/build-logs"}},
        agent={"poll": 1},
    )

    build = daemon.nth(project, 1)
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert build["resolvedSourceVersion"] == first
    assert f"commit {first} of one" in daemon.text(build)
    daemon.assert_nothing_left(build)
    _assert_log_is_everywhere(aws, daemon, build, bucket)
    _assert_artifact_is_sealed(aws, build, bucket, key)
    assert build["buildspecd"]["cache"] == {"restored": "miss", "saved": True, "files": 0}
    _assert_events_and_metrics(aws, queue, project, build)
    counted = f'buildspecd_builds_ended_total{{project="{project}",status="SUCCEEDED"}} 1.0'
    until(lambda: counted in _figures(daemon), "the count of the build")

    second = repository.commit("second", file="two")
    again = daemon.nth(project, 2)
    assert (again["buildStatus"], again["resolvedSourceVersion"]) == ("SUCCEEDED", second)
    assert again["buildspecd"]["cache"] == {"restored": "hit", "saved": False, "files": 1}
    assert f"commit {second} of two" in daemon.text(again)
    assert again["artifacts"]["sha256sum"] != build["artifacts"]["sha256sum"]

    cache = next(name for name in aws.keys(bucket) if name.startswith("cache/"))
    before = aws.client("s3").head_object(Bucket=bucket, Key=cache)["LastModified"]
    repository.commit("third", file="two")
    third = daemon.nth(project, 3)
    assert third["artifacts"]["sha256sum"] == again["artifacts"]["sha256sum"]
    assert "Skip uploading the cache: it has not changed" in daemon.text(third)
    assert aws.client("s3").head_object(Bucket=bucket, Key=cache)["LastModified"] == before
    assert [one["buildNumber"] for one in daemon.builds(project)] == [1, 2, 3]


def _assert_log_is_everywhere(aws: Cloud, daemon: Daemon, build: Json, bucket: str) -> None:
    spool = daemon.log(build)
    stream = build["id"].partition(":")[2]
    group = f"/aws/codebuild/{build['projectName']}"
    assert (build["logs"]["groupName"], build["logs"]["streamName"]) == (group, stream)
    lines = [line or " " for line in spool.decode().removesuffix("\n").split("\n")]
    assert aws.lines(group, stream) == lines
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(1, 11)]
    assert aws.unzipped(bucket, f"build-logs/{stream}.gz") == spool
    assert build["buildspecd"]["logs"]["bytes"] == len(spool)
    assert build["buildspecd"]["logs"]["lines"] == len(lines)
    assert set(build["buildspecd"]["logs"]["delivered"].values()) == {len(spool)}
    assert build["buildspecd"]["logs"]["problems"] == {}


def _assert_artifact_is_sealed(aws: Cloud, build: Json, bucket: str, key: str) -> None:
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{bucket}/sites/site.zip"
    body, facts = aws.object(bucket, "sites/site.zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == ["page.html", "sub/deep.txt"]
        assert archive.read("page.html") == b"one"
    assert facts["ServerSideEncryption"] == "aws:kms"
    assert facts["SSEKMSKeyId"] == key
    assert facts["BucketKeyEnabled"] is True
    sha256, md5 = hashlib.sha256(body).hexdigest(), hashlib.md5(body).hexdigest()
    assert (build["artifacts"]["sha256sum"], build["artifacts"]["md5sum"]) == (sha256, md5)
    assert facts["Metadata"] == {
        "codebuild-buildarn": build["arn"],
        "codebuild-content-md5": md5,
        "codebuild-content-sha256": sha256,
    }
    for name in aws.keys(bucket):
        facts = aws.client("s3").head_object(Bucket=bucket, Key=name)
        assert facts["SSEKMSKeyId"] == key, f"{name} is not encrypted with the project's key"


def _assert_events_and_metrics(aws: Cloud, queue: str, project: str, build: Json) -> None:
    seen: list[Json] = []

    def told() -> bool:
        seen.extend(aws.received(queue))
        return any(event["detail"].get("build-status") == "SUCCEEDED" for event in seen)

    until(told, "the event of the build's end")
    states = [
        event["detail"]["build-status"] for event in seen if event["detail-type"] == "CodeBuild Build State Change"
    ]
    assert states == ["IN_PROGRESS", "SUCCEEDED"]
    ended = [event["detail"]["completed-phase"] for event in seen if event["detail-type"].endswith("Phase Change")]
    assert ended == [one["phaseType"] for one in build["phases"] if one["phaseType"] not in ("SUBMITTED", "COMPLETED")]
    assert {event["detail"]["build-id"] for event in seen} == {build["arn"]}
    assert build["arn"].startswith(f"arn:aws:codebuild:{REGION}:{ACCOUNT}:build/{project}:")
    wanted = {"Builds", "SucceededBuilds", "Duration", "BuildDuration", "UploadArtifactsDuration"}
    until(lambda: wanted <= aws.metrics(project), "the metrics of the build")
    assert "FailedBuilds" not in aws.metrics(project)
    every = {one["MetricName"] for one in aws.client("cloudwatch").list_metrics(Namespace="buildspecd")["Metrics"]}
    assert every >= {"DaemonHeartbeat", "QueueDepth", "RunningBuilds", "LogLagBytes", "HostDiskFreePercent"}


def _figures(daemon: Daemon) -> str:
    """Return what a scraper sees."""
    heard = [json.loads(line) for line in daemon.said().splitlines() if line.startswith("{")]
    ports = [line["port"] for line in heard if line.get("message") == "listening" and "port" in line]
    port = ports[-1]  # that of the daemon that runs now: others may have ended the first
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def test_a_build_is_of_exactly_the_commit_that_was_pushed_even_when_the_branch_moves_on(
    daemon: Daemon, repository: Repository, busybox: str
) -> None:
    spec = buildspec("echo built $(cat file) at $CODEBUILD_RESOLVED_SOURCE_VERSION")
    old = repository.commit("old", file="old", **{"buildspec.yml": spec})
    new = repository.commit("new", file="new")
    project = daemon.project(busybox, source={"type": "GIT", "location": repository.url})
    builds = [
        daemon.ask(project, sourceVersion=version) for version in (old, "main", new, "refs/heads/main^{" + old + "}")
    ]
    said = [daemon.text(daemon.ended(build)) for build in builds]
    assert f"built old at {old}" in said[0]
    assert all(f"built new at {new}" in text for text in said[1:3])
    assert f"built old at {old}" in said[3]


def test_a_red_build_still_uploads_what_post_build_left_and_saves_no_cache(
    aws: Cloud, daemon: Daemon, busybox: str
) -> None:
    bucket = aws.bucket()
    spec = json.dumps(
        {
            "version": 0.2,
            "phases": {
                "build": {"commands": ["echo before", "exit 3", "echo never"]},
                "post_build": {"commands": ["echo $CODEBUILD_BUILD_SUCCEEDING > state"]},
            },
            "artifacts": {"files": ["state"]},
            "cache": {"paths": ["state"]},
        }
    )
    project = daemon.project(
        busybox,
        source={"type": "NO_SOURCE", "buildspec": spec},
        artifacts={"type": "S3", "location": bucket, "packaging": "NONE", "name": "out"},
        cache={"type": "S3", "location": f"{bucket}/cache"},
    )
    build = daemon.build(project)
    assert build["buildStatus"] == "FAILED"
    assert phase(build, "BUILD")["contexts"][0] == {
        "statusCode": "COMMAND_EXECUTION_ERROR",
        "message": "Error while executing command: exit 3. Reason: exit status 3",
    }
    assert aws.keys(bucket) == ["out/state"]
    assert aws.object(bucket, "out/state")[0] == b"0\n"
    assert "never" not in daemon.text(build).replace("echo never", "")
    daemon.assert_nothing_left(build)
