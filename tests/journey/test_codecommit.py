"""A push to CodeCommit, told by an event, is built with the role of this host, whose keys end and are renewed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.codecommit import REGION, codecommit
from tests.fakes.repository import Repository
from tests.journey.cloud import ACCOUNT, Cloud
from tests.journey.daemon import Daemon, failure
from tests.journey.test_events import empty
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

BUILDSPEC = "version: 0.2\nphases: {build: {commands: [cat what]}}\n"


def told_by_events(aws: Cloud) -> str:
    """Have EventBridge put the pushes of CodeCommit into a queue; return its URL."""
    name = f"q-{uuid.uuid4().hex[:10]}"
    queue = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.codecommit"], "detail-type": ["CodeCommit Repository State Change"]}
    aws.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    aws.client("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return str(queue)


def tell(aws: Cloud, repository: str, old: str | None, new: str) -> None:
    """Say what CodeCommit says of a push to main."""
    arn = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{repository}"
    detail: dict[str, Any] = {
        "callerUserArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/dev/ada", "commitId": new,
        "event": "referenceUpdated" if old else "referenceCreated", "referenceFullName": "refs/heads/main",
        "referenceName": "main", "referenceType": "branch", "repositoryId": str(uuid.uuid4()),
        "repositoryName": repository, **({"oldCommitId": old} if old else {}),
    }  # fmt: skip
    aws.client("events").put_events(
        Entries=[
            {
                "Source": "aws.codecommit",
                "DetailType": "CodeCommit Repository State Change",
                "Detail": json.dumps(detail),
                "Resources": [arn],
            }
        ]
    )


def test_a_push_to_codecommit_is_built_through_its_event_with_the_role_of_the_host(
    aws: Cloud, busybox: str, new_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    repository = Repository(tmp_path / "region" / "v1" / "repos", name)
    first = repository.commit("one", **{"buildspec.yml": BUILDSPEC, "what": "number one\n"})
    repository.bare.rename(repository.bare.with_suffix(""))
    repository.bare = repository.bare.with_suffix("")
    queue = told_by_events(aws)
    with codecommit(tmp_path / "region") as region:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        there = {key: value for key, value in aws.environment.items() if key not in keys}
        settings = {"queue": {"url": queue, "wait": "1s"}, "git": {"ca_file": str(region.ca_file)}}
        daemon = new_daemon(environment={**there, **region.environment}, settings=settings).start()
        source = {"type": "CODECOMMIT", "location": region.location(name)}
        project = daemon.project(busybox, source=source, sourceVersion="refs/heads/main")
        tell(aws, name, None, first)
        build = daemon.nth(project, 1)
        assert (build["buildStatus"], build.get("resolvedSourceVersion")) == ("SUCCEEDED", first), (
            daemon.text(build) + daemon.said()
        )
        assert "\nnumber one\n" in daemon.text(build)
        assert build["initiator"] == "buildspecd/sqs"

        region.role.end()
        second = repository.commit("two", what="number two\n")
        tell(aws, name, first, second)
        tell(aws, name, first, second)
        build = daemon.nth(project, 2)
        assert (build["buildStatus"], build.get("resolvedSourceVersion")) == ("SUCCEEDED", second), (
            daemon.text(build) + daemon.said()
        )
        until(lambda: empty(aws, queue), "an empty queue")
        assert len(daemon.builds(project)) == 2
        assert len(set(region.server.entered)) >= 2, "credentials ended between two builds, and new ones were used"
        assert "expired token" not in region.server.refused

        region.server.allowed = False
        third = repository.commit("three", what="number three\n")
        build = daemon.build(project, sourceVersion=third)
        kind, code, message = failure(build)
        assert (kind, code) == ("DOWNLOAD_SOURCE", "CLIENT_ERROR")
        assert f"{region.location(name)}: unable to access" in message
        assert "this host's role, which needs codecommit:GitPull" in build["buildspecd"]["advice"]

        region.server.allowed, region.server.offset = True, 7200.0
        build = daemon.build(project, sourceVersion=third)
        assert "signature expired" in region.server.refused
        assert "and a right clock" in build["buildspecd"]["advice"]

        said = daemon.said() + "".join(daemon.text(one) for one in daemon.builds(project))
        for given in region.role.given:
            assert given.secret_key not in said
            assert given.token
            assert given.token not in said
