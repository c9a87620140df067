"""Where sources lie below the root."""

from __future__ import annotations

import pytest

from agent.model.project import Source
from agent.source.layout import source_path, source_paths


@pytest.mark.parametrize(
    ("kind", "location", "path"),
    [
        ("GITHUB", "https://github.com/acme/shop.git", "src/github.com/acme/shop"),
        ("GITHUB", "https://token@github.com/acme/shop", "src/github.com/acme/shop"),
        ("BITBUCKET", "https://bitbucket.org/acme/shop.git", "src/bitbucket.org/acme/shop"),
        (
            "CODECOMMIT",
            "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop",
            "src/git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop",
        ),
        ("GIT", "git@git.internal:group/sub/shop.git", "src/git.internal/group/sub/shop"),
        ("GIT", "https://git.internal:8443/shop.git/", "src/git.internal/shop"),
        ("GIT", "file:///srv/shop.git", "src"),
        ("GIT", "https://h/a/../../etc/passwd", "src/h/a/etc/passwd"),
        ("S3", "bucket/key.zip", "src"),
        ("DIRECTORY", "/home/me/shop", "src"),
        ("NO_SOURCE", None, "src"),
    ],
)
def test_the_source_directory_has_codebuilds_shape(kind: str, location: str | None, path: str) -> None:
    assert source_path(Source.model_validate({"type": kind, "location": location})) == path


def test_secondary_sources_lie_beside_the_primary_and_never_within_it() -> None:
    primary = Source(type="GITHUB", location="https://github.com/acme/shop.git")
    paths = source_paths(
        primary,
        [
            Source(type="GITHUB", location="https://github.com/acme/lib.git", source_identifier="lib"),
            Source(type="GITHUB", location="https://github.com/acme/shop.git", source_identifier="again"),
            Source(type="S3", location="b/k.zip", source_identifier="zip"),
        ],
    )
    assert paths == {
        None: "src/github.com/acme/shop",
        "lib": "src/github.com/acme/lib",
        "again": "src/github.com_again/acme/shop",
        "zip": "src/s3/00",
    }


def test_several_sources_without_a_host_are_numbered_as_under_codepipeline() -> None:
    paths = source_paths(
        Source(type="S3", location="b/a.zip"), [Source(type="S3", location="b/b.zip", source_identifier="two")]
    )
    assert paths == {None: "src/s3/00", "two": "src/s3/01"}
