"""Case 87 of buildspec.md, section 16, and section 9: runtimes of an image that has a list of them."""

from __future__ import annotations

import pytest

from tests import images
from tests.parity.site import Site, spec, until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image() -> str:
    """Busybox with a list of runtimes, and with variables that it uses."""
    return images.runtimes_image()


def test_case_87_an_unknown_runtime_ends_the_build_with_the_known_ones(site: Site, image: str) -> None:
    ended = site.build(spec(install={"runtime-versions": {"golang": 1.20, "docker": 20}}, build=["echo"]), image=image)
    assert ended.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    message = "Unknown runtime named 'docker'. This build image has the following runtimes: golang, python, ruby"
    assert ended.context("DOWNLOAD_SOURCE") == ("YAML_FILE_ERROR", message)
    assert "Selecting 'docker' runtime version '20' based on manual selections..." in ended.lines
    assert list(ended.phases)[-2:] == ["FINALIZING", "COMPLETED"]


def test_chosen_runtimes_are_set_up_ahead_of_the_cache_and_their_variables_last(site: Site, image: str) -> None:
    phases = {"runtime-versions": {"ruby": "3.x", "golang": "$PICKED"}, "commands": ["echo $GEM_HOME; pwd"]}
    ended = site.build(
        spec(install=phases, build=["echo $GOROOT ${VERSION-none}"], cache={"paths": ["$GEM_HOME/**/*"]}), image=image
    )
    assert ended.status == "SUCCEEDED"
    assert ended.output == [
        f"go 1.20.14 in {ended.source}",
        "/go/1.20.14/gems",
        ended.source,
        "/go/1.20.14 none",
    ]
    start = ended.lines.index("Processing environment variables")
    assert ended.lines[start + 1 :][:9] == [
        "Resolved 'ruby' runtime alias '3.x' to '3.2'.",
        "Selecting 'ruby' runtime version '3.2' based on manual selections...",
        "Selecting 'golang' runtime version '1.20' based on manual selections...",
        'Running command echo "go $GO_20 in $PWD"',
        "Running command export GOROOT=/go/$GO_20",
        "Running command cd /tmp",
        "Running command GEM_HOME=$GOROOT/gems",
        f"Moving to directory {ended.source}",
        "Expanded cache path /go/1.20.14/gems/**/*",
    ]


def test_a_version_that_is_not_listed_is_given_to_the_default_entry_and_to_nobody_else(site: Site, image: str) -> None:
    ended = site.build(
        spec(
            env={"variables": {"VERSION": "mine"}},
            install={"runtime-versions": {"golang": "1.21"}, "run-as": "u1", "commands": ["echo $GOROOT $VERSION"]},
        ),
        image=image,
    )
    assert ended.output == ["custom go 1.21", "/go/custom-1.21 mine"]


def test_isolated_commands_have_the_variables_of_the_runtimes_too(site: Site, image: str) -> None:
    document = '{"version": 0.1, "phases": {"install": {"runtime-versions": {"golang": "1.20"}}, "build": {"commands": '
    ended = site.build(document + '["A=1; cd /tmp", "echo $GOROOT [$A] $PWD"]}}}', image=image)
    assert ended.output[1:] == [f"/go/1.20.14 [] {ended.source}"]


def test_a_command_that_fails_ends_the_build_in_download_source(site: Site, image: str) -> None:
    ended = site.build(
        spec(install={"runtime-versions": {"python": 3.11}, "commands": ["echo never"]}, post_build=["echo never"]),
        image=image,
    )
    assert (ended.status, ended.bad_phases) == ("FAILED", {"DOWNLOAD_SOURCE": "FAILED"})
    message = "Error while executing command: echo $SECRET; exit 4. Reason: exit status 4"
    assert ended.context("DOWNLOAD_SOURCE") == ("COMMAND_EXECUTION_ERROR", message)
    assert ended.build.cause == "RUNTIME_SETUP_FAILED"
    assert ended.output == ["before"]
    assert ended.lines[-3:] == [
        "Command did not exit successfully echo $SECRET; exit 4 exit status 4",
        "Phase complete: DOWNLOAD_SOURCE State: FAILED",
        f"Phase context status code: COMMAND_EXECUTION_ERROR Message: {message}",
    ]


def test_a_build_is_stopped_while_its_runtimes_are_set_up(site: Site, image: str) -> None:
    running = site.start(spec(install={"runtime-versions": {"python": 3.12}}), image=image)
    until(lambda: running.saw("\nwaiting\n"))
    running.stop()
    ended = running.end()
    assert (ended.status, ended.bad_phases) == ("STOPPED", {"DOWNLOAD_SOURCE": "STOPPED"})


def test_without_a_choice_the_log_says_so_on_an_image_that_offers_one(site: Site, image: str) -> None:
    ended = site.build(spec(build=["echo on"]), image=image)
    after = ended.said_after("Processing environment variables")
    assert after[:2] == ["No runtime version selected in buildspec.", f"Moving to directory {ended.source}"]
