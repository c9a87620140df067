"""Where the buildspec is: default, path, inline or S3."""

from __future__ import annotations

import pytest

from agent.buildspec.location import classify


@pytest.mark.parametrize("value", [None, "", "  ", "\n"])
def test_nothing_means_the_default_file(value: str | None) -> None:
    assert classify(value) == ("default", "buildspec.yml")


@pytest.mark.parametrize(
    "value", ["ci/x.yml", "buildspec.yaml", "version.yml", "versions/a.yml", "version-2/b.yml", "a b.yml", "../x.yml"]
)
def test_a_path_is_a_path(value: str) -> None:
    assert classify(value) == ("path", value)
    assert classify(f" {value}\n") == ("path", value)


@pytest.mark.parametrize("value", ["arn:aws:s3:::bucket/key.yml", "arn:aws-cn:s3:::b/k", "arn:aws-us-gov:s3:::b/k"])
def test_an_arn_of_s3_is_s3(value: str) -> None:
    assert classify(value) == ("s3", value)


@pytest.mark.parametrize(
    "value",
    [
        "version: 0.2\nphases: {}\n",
        "version: 0.2",
        " version : 0.2",
        "version",
        '"version": 0.2',
        '{"version": 0.2}',
        "{}",
        "# a comment\nphases: {}",
        "phases: {}\rversion: 0.2",
        "\ufeffversion: 0.2",
    ],
)
def test_text_is_inline_and_is_left_as_it_is(value: str) -> None:
    assert classify(value) == ("inline", value)
