"""A source in S3 that is watched: each new version is built, once."""

from __future__ import annotations

import pytest

from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, buildspec
from tests.unit.source.zips import Item, Zip

pytestmark = pytest.mark.docker


def upload(aws: Cloud, bucket: str, text: str) -> str:
    """Put a ZIP that prints *text* into the bucket; return its version id."""
    spec = buildspec("cat text", "echo version $CODEBUILD_SOURCE_VERSION")
    data = Zip([Item("buildspec.yml", spec.encode()), Item("text", text.encode() + b"\n")]).bytes()
    answer = aws.client("s3").put_object(Bucket=bucket, Key="in/web.zip", Body=data)
    return str(answer["VersionId"])


def test_each_new_version_of_an_object_is_built_once_also_over_a_restart(
    aws: Cloud, daemon: Daemon, busybox: str
) -> None:
    bucket = aws.bucket()
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = upload(aws, bucket, "one")
    project = daemon.project(busybox, source={"type": "S3", "location": f"{bucket}/in/web.zip"}, agent={"poll": 1})
    build = daemon.nth(project, 1)
    assert (build["buildStatus"], build["sourceVersion"]) == ("SUCCEEDED", first), daemon.text(build)
    assert "resolvedSourceVersion" not in build
    assert "\none\n\n" in daemon.text(build)
    daemon.assert_nothing_left(build)
    daemon.restart()
    second = upload(aws, bucket, "two")
    build = daemon.nth(project, 2)
    assert (build["buildStatus"], build["sourceVersion"]) == ("SUCCEEDED", second), daemon.text(build)
    assert f"\nversion {second}\n" in daemon.text(build)
    assert len(daemon.builds(project)) == 2
