"""Cases 36 to 50 of buildspec.md, section 16, and section 4: which phases a build meets, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from agent.cli.verdict import exit_code
from agent.daemon.policy import Limits
from agent.daemon.reception import Reception
from agent.daemon.scheduler import Scheduler
from agent.model.project import AgentOptions, Artifacts, Source
from agent.web.shapes import build_json
from tests.parity.site import Ended, Site, spec, until

pytestmark = pytest.mark.docker

BEFORE = ("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")
END = ("FINALIZING", "COMPLETED")
GOOD = ["Phase complete: POST_BUILD State: SUCCEEDED", "Phase context status code:  Message: "]


def met(ended: Ended) -> list[str]:
    """Return the phases of a build, in order."""
    return list(ended.phases)


def up_to(last: str, *then: str) -> list[str]:
    """Return the phases up to *last*, and those that follow it."""
    return [*BEFORE[: BEFORE.index(last) + 1], *then]


def test_a_green_build_meets_all_phases(site: Site) -> None:
    ended = site.build(spec(build=["true"]))
    assert met(ended) == [*BEFORE, "UPLOAD_ARTIFACTS", *END]
    assert (ended.status, ended.bad_phases, ended.phases["COMPLETED"]) == ("SUCCEEDED", {}, None)


def test_a_failure_in_provisioning_leads_straight_to_completed(site: Site) -> None:
    agent = AgentOptions(network="none", pull="never")
    ended = site.build(spec(build=["true"]), image="buildspecd-test/none:1", agent=agent)
    assert met(ended) == up_to("PROVISIONING", "COMPLETED")
    assert (ended.status, ended.bad_phases) == ("FAILED", {"PROVISIONING": "FAILED"})
    assert ended.context("PROVISIONING")[0] == "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"


def test_a_failure_in_download_source_leads_to_finalizing(site: Site) -> None:
    ended = site.build(source=Source(type="DIRECTORY", location=str(site.place / "nowhere")))
    assert met(ended) == up_to("DOWNLOAD_SOURCE", *END)
    assert ended.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    assert ended.context("DOWNLOAD_SOURCE")[0] == "CLIENT_ERROR"


def artifacts_of(site: Site) -> dict[str, Any]:
    return {"artifacts": Artifacts(type="S3", location=site.bucket, name="out")}


@pytest.mark.parametrize(("case", "name"), [(36, "install"), (37, "pre_build")])
def test_cases_36_and_37_a_failure_before_build_ends_the_build(site: Site, case: int, name: str) -> None:
    buildspec = spec(**{name: ["touch x; false"], "build": ["true"], "artifacts": {"files": ["x"]}})
    ended = site.build(buildspec, **artifacts_of(site))
    assert met(ended) == up_to(name.upper(), *END), case
    assert (ended.status, ended.bad_phases) == ("FAILED", {name.upper(): "FAILED"})
    assert site.stored() == []


def test_case_38_post_build_and_artifacts_follow_a_failed_build(site: Site) -> None:
    ended = site.build(
        spec(build=["touch x; false"], post_build=["echo $CODEBUILD_BUILD_SUCCEEDING"], artifacts={"files": ["x"]}),
        **artifacts_of(site),
    )
    assert ended.output == ["0"]
    assert met(ended) == up_to("POST_BUILD", "UPLOAD_ARTIFACTS", *END)
    assert (ended.status, ended.bad_phases) == ("FAILED", {"BUILD": "FAILED"})
    assert site.stored() == ["out/x"]


def test_artifacts_follow_a_failed_post_build(site: Site) -> None:
    buildspec = spec(build=["touch x"], post_build=["false"], artifacts={"files": ["x"]})
    ended = site.build(buildspec, **artifacts_of(site))
    assert (ended.status, ended.bad_phases) == ("FAILED", {"POST_BUILD": "FAILED"})
    assert site.stored() == ["out/x"]


def test_failed_artifacts_fail_the_build_and_lead_to_finalizing(site: Site) -> None:
    ended = site.build(spec(build=["true"], artifacts={"files": ["x"]}), **artifacts_of(site))
    assert met(ended) == up_to("POST_BUILD", "UPLOAD_ARTIFACTS", *END)
    assert (ended.status, ended.bad_phases) == ("FAILED", {"UPLOAD_ARTIFACTS": "FAILED"})


def test_case_39_commands_after_a_failure_are_not_logged_and_finally_runs(site: Site) -> None:
    ended = site.build(spec(build={"commands": ["(exit 7)", "echo two", "echo three"], "finally": ["echo last"]}))
    commands = [line for line in ended.lines if line.startswith("Running command")]
    assert commands == ["Running command (exit 7)", "Running command echo last"]
    assert ended.output == ["last"]


def test_case_40_a_failing_finally_fails_its_phase_and_stops_its_list(site: Site) -> None:
    ended = site.build(spec(build={"commands": ["true"], "finally": ["(exit 4)", "echo never"]}))
    assert ended.bad_phases == {"BUILD": "FAILED"}
    assert ended.context("BUILD") == (
        "COMMAND_EXECUTION_ERROR",
        "Error while executing command: (exit 4). Reason: exit status 4",
    )
    assert ended.output == []


def test_of_two_failures_the_first_is_reported(site: Site) -> None:
    ended = site.build(spec(build={"commands": ["(exit 5)"], "finally": ["(exit 6)"]}))
    assert ended.context("BUILD")[1].endswith("exit status 5")


def test_case_41_abort_in_build_leaves_post_build_out(site: Site) -> None:
    ended = site.build(
        spec(build={"on-failure": "ABORT", "commands": ["touch x; false"]}, artifacts={"files": ["x"]}),
        **artifacts_of(site),
    )
    assert met(ended) == up_to("BUILD", *END)
    assert ended.bad_phases == {"BUILD": "FAILED"}
    assert "Phase complete: BUILD State: FAILED" in ended.lines
    assert site.stored() == []


def test_case_42_abort_in_post_build_leaves_the_artifacts_out(site: Site) -> None:
    ended = site.build(
        spec(build=["touch x"], post_build={"on-failure": "ABORT", "commands": ["false"]}, artifacts={"files": ["x"]}),
        **artifacts_of(site),
    )
    assert met(ended) == up_to("POST_BUILD", *END)
    assert ended.bad_phases == {"POST_BUILD": "FAILED"}
    assert site.stored() == []


CONTINUED = spec(
    install={"on-failure": "CONTINUE", "commands": ["false"], "finally": ["echo $CODEBUILD_BUILD_SUCCEEDING"]},
    pre_build=["echo $CODEBUILD_BUILD_SUCCEEDING; CODEBUILD_BUILD_SUCCEEDING=1"],
    build=["echo $CODEBUILD_BUILD_SUCCEEDING"],
)


def test_cases_43_and_44_continue_goes_on_with_the_flag_at_0_and_the_build_fails(site: Site) -> None:
    ended = site.build(CONTINUED)
    assert met(ended) == up_to("POST_BUILD", "UPLOAD_ARTIFACTS", *END)
    assert ended.output == ["1", "0", "0"], "it flips when the phase completes, and cannot be set"
    assert (ended.status, ended.bad_phases) == ("FAILED", {"INSTALL": "FAILED"})


def test_a_project_may_let_a_continued_failure_pass(site: Site) -> None:
    ended = site.build(CONTINUED, agent=AgentOptions(network="none", continue_fails_build=False))
    assert ended.output[1:] == ["0", "0"]
    assert (ended.status, ended.bad_phases) == ("SUCCEEDED", {"INSTALL": "FAILED"})


ONCE = "test -e second || { touch second; echo oh no; exit 9; }"


@pytest.mark.parametrize("value", ["RETRY-2", "Retry", "RETRY-1-oh no", "retry-status [0-9]$"])
def test_case_45_a_command_that_fails_once_is_run_again(site: Site, value: str) -> None:
    ended = site.build(spec(build={"on-failure": value, "commands": [ONCE], "finally": ["echo at last"]}))
    assert (ended.status, ended.bad_phases) == ("SUCCEEDED", {})
    assert ended.context("BUILD") == ("", "")
    done = ended.lines.index("Phase complete: BUILD State: SUCCEEDED")
    assert ended.lines[done + 1] == "Phase context status code:  Message: "
    assert ended.lines.count(f"Running command {ONCE}") == 2
    assert ended.output.count("at last") == 1


@pytest.mark.parametrize("value", ["RETRY-0", "RETRY-3-something else"])
def test_case_46_no_retry_where_none_is_asked_for(site: Site, value: str) -> None:
    ended = site.build(spec(build={"on-failure": value, "commands": [ONCE]}))
    assert (ended.status, ended.lines.count(f"Running command {ONCE}")) == ("FAILED", 1)


def test_retries_used_up_are_as_if_none_had_been_asked_for(site: Site) -> None:
    ended = site.build(spec(build={"on-failure": "RETRY-2", "commands": ["false"]}, post_build=["echo on"]))
    assert ended.lines.count("Running command false") == 3
    assert (ended.output, ended.bad_phases) == (["on"], {"BUILD": "FAILED"})


def test_case_47_a_build_that_runs_out_of_time(site: Site) -> None:
    buildspec = spec(
        build={"commands": ["touch x; sleep 600"], "finally": ["echo never"]},
        post_build=["echo never"],
        artifacts={"files": ["x"]},
    )
    ended = site.build(buildspec, timeout_in_minutes=0.02, **artifacts_of(site))
    assert met(ended) == up_to("BUILD", *END)
    assert (ended.status, ended.bad_phases) == ("FAILED", {"BUILD": "TIMED_OUT"})
    assert ended.context("BUILD") == ("BUILD_TIMED_OUT", "Build has timed out.")
    assert ended.lines[-2:] == [
        "Phase complete: BUILD State: TIMED_OUT",
        "Phase context status code: BUILD_TIMED_OUT Message: Build has timed out.",
    ]
    assert "never" not in ended.output
    assert site.stored() == []
    assert exit_code(build_json(ended.build)) == 4


def test_case_48_a_build_that_is_stopped_and_stopped_again(site: Site) -> None:
    buildspec = spec(
        build={"commands": ["echo begun; sleep 600"], "finally": ["echo never"]}, post_build=["echo never"]
    )
    running = site.start(buildspec)
    until(lambda: running.saw("\nbegun\n"))
    running.stop()
    ended = running.end()
    assert met(ended) == up_to("BUILD", *END)
    assert (ended.status, ended.bad_phases) == ("STOPPED", {"BUILD": "STOPPED"})
    assert ended.build.current_phase.value == "COMPLETED"
    assert "never" not in ended.output
    assert exit_code(build_json(ended.build)) == 5
    assert reception_of(site).stop(ended.build.id).status.value == "STOPPED"


def reception_of(site: Site) -> Reception:
    shop = site.workshop
    scheduler = Scheduler(
        owner="tests",
        database=shop.database,
        recorder=shop.recorder,
        limits=lambda: Limits(1, lambda _: None),
        new_job=shop.new_job,
        clock=shop.clock,
    )
    return Reception(shop.database, shop.intake_for({}), scheduler, list, site.place, 0.0, str, dict, str)


def test_cases_49_and_50_phases_without_commands_are_entered_and_complete(site: Site) -> None:
    ended = site.build(spec(build=["true"]))
    start = ended.lines.index("Entering phase POST_BUILD")
    assert ended.lines[start + 1 : start + 3] == GOOD
    assert "Entering phase INSTALL\n" in ended.log
    assert "Phase context status code:  Message: \n" in ended.log


def test_phases_are_contiguous_whole_seconds_and_shaped_as_the_api_shapes_them(site: Site) -> None:
    """Section 4.1, and service.md 4.3."""
    document = build_json(site.build(spec(build=["(exit 8)"])).build)
    *phases, completed = document["phases"]
    assert completed == {"phaseType": "COMPLETED", "startTime": phases[-1]["endTime"]}
    assert document["endTime"] == completed["startTime"]
    for earlier, later in zip(phases, [*phases[1:], completed], strict=True):
        assert later["startTime"] == earlier["endTime"]
        assert earlier["durationInSeconds"] == int(earlier["endTime"] - earlier["startTime"])
    shapes = {phase["phaseType"]: phase.get("contexts") for phase in phases}
    good = [{"statusCode": "", "message": ""}]
    message = "Error while executing command: (exit 8). Reason: exit status 8"
    assert shapes.pop("SUBMITTED") is None
    assert shapes.pop("BUILD") == [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": message}]
    assert all(contexts == good for contexts in shapes.values())
