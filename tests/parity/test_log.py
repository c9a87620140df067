"""Section 14 of buildspec.md: the lines of the log, as a golden file, and the details that greps depend on."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent import __version__
from agent.model.project import Artifacts, Cache, Source
from tests import images
from tests.parity.site import STAMP, Ended, Site, spec

pytestmark = pytest.mark.docker

GOLDEN = Path(__file__).with_name("golden") / "log.txt"

GREEN: dict[str, Any] = {
    "env": {
        "variables": {"OPEN": "x", "CODEBUILD_MINE": "x"},
        "parameter-store": {"PARAMETER": "/parity/log"},
        "exported-variables": ["OPEN", "NOT_SET", "PARAMETER"],
        "git-credential-helper": "yes",
        "shel": "bash",
    },
    "install": {"runtime-versions": {"python": 3.12}, "commands": ["cat deps/it || true"]},
    "build": {
        "on-failure": "RETRY-1",
        "commands": [
            "echo $PARAMETER",
            "echo one\necho two\n",
            "test -e again || { touch again; exit 3; }",
            "mkdir -p deps dist/sub; echo x >> deps/it; touch dist/file dist/sub/.dot",
            "echo '<testsuite tests=\"2\"/>' > unit.xml",
        ],
        "finally": ["echo at last"],
    },
    "artifacts": {
        "files": ["**/*", "missing"],
        "base-directory": "dist",
        "type": "zip",
        "secondary-artifacts": {"second": {"files": ["again"]}, "third": {"files": ["again"]}},
    },
    "cache": {"paths": ["deps/**/*", "$OPEN/*"]},
    "reports": {"unit": {"files": ["*.xml"]}},
    "batch": {"build-list": [{"identifier": "a"}]},
}


def normalised(ended: Ended) -> str:
    """Return the log without what differs from build to build."""
    text = STAMP.sub("[Container] <ts> ", ended.log).replace(__version__, "<version>")
    text = re.sub(r"discovery took \d+\.\d{6} seconds", "discovery took <n> seconds", text)
    return re.sub(r"/codebuild/output/src\d+", "/codebuild/output/src<n>", text)


def test_the_whole_log_is_as_agreed(aws_site: Site) -> None:
    """To accept a change: BUILDSPECD_WRITE_GOLDEN=1, run this test, and read the difference."""
    aws_site.workshop.aws.client("ssm").put_parameter(Name="/parity/log", Value="hidden", Type="String", Overwrite=True)
    second = Source(type="DIRECTORY", location=str(aws_site.tree({"x": ""})), source_identifier="second")
    settings: dict[str, Any] = {
        "cache": Cache(type="S3", location=aws_site.bucket),
        "artifacts": Artifacts(type="S3", location=aws_site.bucket, name="out"),
        "secondary_artifacts": (Artifacts(type="S3", location=aws_site.bucket, artifact_identifier="second"),),
        "secondary_sources": (second,),
    }

    def built(buildspec: str) -> Ended:
        tree = aws_site.tree({"buildspec.yml": buildspec})
        return aws_site.build(source=Source(type="DIRECTORY", location=str(tree)), **settings)

    built(spec(**GREEN))
    green = built(spec(**GREEN))
    red = built(
        spec(build=["printf 'no newline'\nexit 4\n"], post_build=["echo never", "exit 5"], artifacts={"files": ["x"]})
    )
    assert (green.status, red.status) == ("SUCCEEDED", "FAILED")
    text = f"{normalised(green)}\n======== a red build\n\n{normalised(red)}"
    chosen, unchosen = (_with_runtimes(aws_site, install) for install in ({"runtime-versions": {"golang": "1.20"}}, {}))
    text += f"\n======== runtimes, and a source in S3\n\n{chosen}\n======== no runtime is chosen\n\n{unchosen}"
    if os.environ.get("BUILDSPECD_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def _with_runtimes(site: Site, install: dict[str, Any]) -> str:
    tree = site.tree({"buildspec.yml": spec(install={"commands": ["echo $GOROOT"], **install})})
    variables = [{"name": "CODEBUILD_CONFIG_AUTO_DISCOVER", "value": "false"}]
    source = Source(type="S3", location=f"{tree.as_uri()}/")
    return normalised(site.build(source=source, image=images.runtimes_image(), variables=variables))


@pytest.fixture(scope="module")
def ended(fresh_site: Any) -> Ended:
    """A build with blocks, a silent command and one that fails."""
    site: Site = fresh_site()
    return site.build(
        spec(
            install={"commands": [], "finally": ["echo finally"]},
            pre_build=["echo a", "true", "echo b\necho c\n"],
            build=["printf 'no newline'\nexit 4\n"],
        )
    )


def test_lines_have_a_prefix_with_six_digits_in_utc(ended: Ended) -> None:
    stamps = [datetime.strptime(text, "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=UTC) for text in STAMP.findall(ended.log)]
    assert len(stamps) == len(ended.lines)
    began = datetime.fromtimestamp(ended.build.start_time, UTC)
    over = datetime.fromtimestamp(ended.build.end_time or 0, UTC)
    assert all(began.replace(microsecond=0) <= stamp <= over for stamp in stamps)


def test_a_green_context_has_two_spaces_and_ends_with_one(ended: Ended) -> None:
    lines = [line for line in ended.log.split("\n") if "Phase context status code: " in line]
    assert {STAMP.sub("", line) for line in lines if "ERROR" not in line} == {"Phase context status code:  Message: "}


def test_listed_phases_begin_with_a_space_and_count_without_finally(ended: Ended) -> None:
    start = ended.lines.index("Phases found in YAML: 3")
    assert set(ended.lines[start + 1 : start + 4]) == {
        " INSTALL: 0 commands",
        " PRE_BUILD: 3 commands",
        " BUILD: 1 commands",
    }


def test_which_phases_are_entered_and_which_are_silent(ended: Ended) -> None:
    entered = [line for line in ended.lines if line.startswith(("Entering phase", "Phase is"))]
    commands = [f"Entering phase {name}" for name in ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")]
    assert entered == ["Phase is DOWNLOAD_SOURCE", *commands]
    assert not any(name in line for name in ("FINALIZING", "COMPLETED", "QUEUED", "SUBMITTED") for line in ended.lines)


def test_each_command_is_followed_by_its_output_and_one_empty_line(ended: Ended) -> None:
    log = STAMP.sub("[C] ", ended.log)
    part = log[log.index("[C] Running command echo a") : log.index("[C] Phase complete: PRE_BUILD")]
    assert part == (
        "[C] Running command echo a\na\n\n[C] Running command true\n\n[C] Running command echo b\necho c\n\nb\nc\n\n"
    )


def test_a_block_that_fails_keeps_its_newline_in_all_three_lines(ended: Ended) -> None:
    log = STAMP.sub("[C] ", ended.log)
    part = log[log.index("[C] Running command printf") : log.index("[C] Entering phase POST_BUILD")]
    assert part == (
        "[C] Running command printf 'no newline'\nexit 4\n\n"
        "no newline\n"
        "[C] Command did not exit successfully printf 'no newline'\nexit 4\n exit status 4\n"
        "[C] Phase complete: BUILD State: FAILED\n"
        "[C] Phase context status code: COMMAND_EXECUTION_ERROR Message: "
        "Error while executing command: printf 'no newline'\nexit 4\n. Reason: exit status 4\n"
    )


def test_the_artifact_lines_have_one_space_after_the_path(site: Site) -> None:
    where = Artifacts(type="S3", location=site.bucket, name="out")
    ended = site.build(spec(build=["true"], artifacts={"files": ["x"]}), files={"x": ""}, artifacts=where)
    assert "Expanding base directory path: ." in ended.lines
    assert not any("secondary" in line for line in ended.lines)
