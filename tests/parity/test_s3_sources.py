"""Sources of type S3 (service.md 2.2, buildspec.md 7.1 and 7.3): whole builds of ZIPs, versions and folders."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.model.project import Source, SourceVersion
from tests.parity.site import Site, spec
from tests.unit.source.zips import Item, Zip

pytestmark = pytest.mark.docker
TELL = "env | grep -E '^CODEBUILD_(SRC_DIR|SOURCE|RESOLVED)' | sort; pwd"


def uploaded(site: Site, bucket: str, key: str, *items: Item) -> str | None:
    """Put a ZIP of *items* into the bucket; return its version id."""
    answer: dict[str, Any] = site.workshop.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=Zip(items).bytes())
    return answer.get("VersionId")


def bucket_of(site: Site, *, versions: bool = False) -> str:
    """Make a bucket."""
    name, client = f"source-{site.place.name.lower().replace('_', '-')}", site.workshop.aws.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    if versions:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def test_an_older_version_of_a_zip_is_built_where_codebuild_puts_it(aws_site: Site) -> None:
    bucket = bucket_of(aws_site, versions=True)
    commands = [TELL, "cat text; ls -l run | cut -c1-10; readlink link"]
    buildspec = Item("buildspec.yml", spec(build=commands).encode(), deflate=True)
    files = [Item("run", b"x", mode=0o100755), Item("link", b"text", mode=0o120777)]
    old = uploaded(aws_site, bucket, "in/web.zip", buildspec, Item("text", b"old\n"), *files)
    uploaded(aws_site, bucket, "in/web.zip", buildspec, Item("text", b"new\n"))
    ended = aws_site.build(
        source=Source(type="S3", location=f"arn:aws:s3:::{bucket}/in/web.zip"), request={"source_version": old}
    )
    assert ended.status == "SUCCEEDED", ended.log
    assert re.fullmatch(r"/codebuild/output/src\d+/src", ended.source)
    assert ended.output == [
        f"CODEBUILD_SOURCE_REPO_URL=s3://{bucket}/in/web.zip",
        f"CODEBUILD_SOURCE_VERSION={old}",
        f"CODEBUILD_SRC_DIR={ended.source}",
        ended.source,
        "old",
        "-rwxr-xr-x",
        "text",
    ]
    after = ended.said_after(f"YAML location is {ended.source}/buildspec.yml")
    assert after[:2] == [
        "Setting HTTP client timeout to higher timeout for S3 source",
        "Processing environment variables",
    ]
    assert ended.build.resolved_source_version is None


def test_a_folder_and_a_secondary_zip_lie_side_by_side_and_the_newest_version_is_named(aws_site: Site) -> None:
    bucket = bucket_of(aws_site, versions=True)
    client = aws_site.workshop.aws.client("s3")
    script = spec(build=[TELL, "cat deep/er/file $CODEBUILD_SRC_DIR_lib/tool"])
    for key, body in {"src/buildspec.yml": script, "src/deep/er/file": "deep\n", "src/deep/": ""}.items():
        client.put_object(Bucket=bucket, Key=key, Body=body.encode())
    newest = uploaded(aws_site, bucket, "lib.zip", Item("tool", b"tool\n"))
    ended = aws_site.build(
        source=Source(type="S3", location=f"{bucket}/src/"),
        secondary_sources=(Source(type="S3", location=f"{bucket}/lib.zip", source_identifier="lib"),),
    )
    assert ended.status == "SUCCEEDED", ended.log
    root = ended.source.removesuffix("/s3/00")
    assert root != ended.source
    assert ended.output == [
        f"CODEBUILD_SOURCE_REPO_URL=s3://{bucket}/src/",
        f"CODEBUILD_SOURCE_REPO_URL_lib=s3://{bucket}/lib.zip",
        f"CODEBUILD_SOURCE_VERSION_lib={newest}",
        f"CODEBUILD_SRC_DIR={root}/s3/00",
        f"CODEBUILD_SRC_DIR_lib={root}/s3/01",
        f"{root}/s3/00",
        "deep",
        "tool",
    ]
    assert ended.build.project.secondary_source_versions == (
        SourceVersion(source_identifier="lib", source_version=str(newest)),
    )
    assert ended.lines.count("Setting HTTP client timeout to higher timeout for S3 source") == 1


def test_a_source_that_cannot_be_unpacked_ends_the_build_as_the_users_mistake(site: Site) -> None:
    (site.place / "evil.zip").write_bytes(Zip([Item("buildspec.yml", b"x"), Item("../evil", b"x")]).bytes())
    where = (site.place / "evil.zip").as_uri()
    ended = site.build(source=Source(type="S3", location=where))
    assert ended.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    code, message = ended.context("DOWNLOAD_SOURCE")
    assert code == "CLIENT_ERROR"
    assert message == f"{where} cannot be unpacked: '../evil' leads out of the source with .."
    assert not list(site.place.rglob("evil"))
