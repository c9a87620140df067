"""Cases 82 to 85 of buildspec.md, section 16, as far as reading a file decides them; and who asks for a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.buildspec.batch_builds import builds_of
from agent.buildspec.make import make_batch
from agent.cli.main import main
from agent.errors import BuildspecInvalid, RequestInvalid
from agent.web.codebuild import CODEBUILD, call
from tests.fakes.control import FakeControl, fake_arn
from tests.parity.site import Site, spec


def test_case_82_two_buildspecs_and_three_values_are_six_builds() -> None:
    dynamic = {"buildspec": ["a.yml", "b.yml"], "env": {"variables": {"STAGE": ["dev", "test", "prod"]}}}
    builds = list(builds_of(make_batch(spec(batch={"build-matrix": {"dynamic": dynamic}}), name="b.yml")))
    made = [(build.buildspec, build.environment.variables["STAGE"]) for build in builds]
    assert made == [(file, stage) for file in ("a.yml", "b.yml") for stage in ("dev", "test", "prod")]
    assert builds[0].identifier == "STAGE_dev_a_yml"
    assert len({build.identifier for build in builds}) == 6


def test_case_83_an_identifier_with_a_dash_is_refused_in_codebuilds_words() -> None:
    text = spec(build=["make"], batch={"build-list": [{"identifier": "my-env"}, {"identifier": "a"}]})
    with pytest.raises(BuildspecInvalid) as refused:
        make_batch(text, name="b.yml")
    assert refused.value.code == "BATCH_SPEC_VALIDATION_ERROR"
    assert refused.value.message == (
        "BatchSpec has invalid values.. Build Identifiers my-env must contain only alphanumeric characters "
        "and underscores and be less than 128 characters in length."
    )


def test_case_83_all_wrong_identifiers_are_in_one_message() -> None:
    text = spec(batch={"build-graph": [{"identifier": name} for name in ("a-b", "ok", "ü", "x" * 128)]})
    with pytest.raises(BuildspecInvalid) as refused:
        make_batch(text, name="b.yml")
    assert f"Build Identifiers a-b,ü,{'x' * 128} must contain" in refused.value.message
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize(("given", "fast"), [("true", True), ("yes", True), ("false", False), (None, False)])
def test_case_84_fast_fail_is_off_unless_the_file_says_so(given: str | None, fast: bool) -> None:
    tasks = [{"identifier": name} for name in "abc"]
    batch = make_batch(spec(batch={"fast-fail": given, "build-list": tasks}), name="b.yml")
    assert batch.fast_fail is fast
    assert len(list(builds_of(batch))) == 3


def test_case_85_a_failure_that_may_be_ignored_is_marked_for_its_build_alone() -> None:
    tasks = [{"identifier": "a"}, {"identifier": "b", "ignore-failure": True, "depend-on": ["a"]}]
    batch = make_batch(spec(batch={"build-graph": tasks}), name="b.yml")
    assert {build.identifier: build.ignore_failure for build in builds_of(batch)} == {"a": False, "b": True}


@pytest.mark.docker
def test_a_plain_build_ignores_its_batch_and_says_what_is_wrong_with_it(site: Site) -> None:
    ended = site.build(spec(build=["echo built"], batch={"build-list": [{"identifier": "my-env"}]}))
    assert (ended.status, ended.output) == ("SUCCEEDED", ["built"])
    (line,) = [line for line in ended.lines if line.startswith("warning:")]
    assert line.startswith("warning: build identifier `my-env` must contain only alphanumeric characters")
    assert line.endswith("(a plain build ignores it) (line 1)")


@pytest.mark.parametrize("operation", ["StartBuildBatch", "StopBuildBatch", "RetryBuildBatch"])
def test_whoever_asks_the_api_for_a_batch_hears_that_none_is_run(operation: str, tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="batch builds are not run by this version") as refused:
        call(FakeControl(tmp_path), f"{CODEBUILD}.{operation}", b'{"projectName": "web"}', "ann", fake_arn)
    assert "buildspecd validate" in refused.value.hint


def test_whoever_asks_the_command_line_for_a_batch_hears_that_none_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "web", "--batch"]) == 2
    assert "batch builds are not run by this version" in capsys.readouterr().err
