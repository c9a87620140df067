"""Cases 36 to 50 of buildspec.md as far as the driver decides them, under three shells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.container import driver
from agent.container.journal import PhaseEnded, PhaseRetried, PhaseStarted, ProblemFound, phase_context
from agent.model.phase import COMMAND_PHASES, PhaseType
from tests.shell.harness import SHELLS, STAMP, HostBuild, Ran, lines_of, phase, until


@pytest.fixture(params=SHELLS)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> HostBuild:
    return HostBuild(tmp_path, request.param)


def entered(ran: Ran) -> list[str]:
    return [str(event.phase) for event in ran.events if isinstance(event, PhaseStarted)]


def outcome(ran: Ran) -> tuple[str, str | None, bool]:
    assert ran.result is not None
    return ran.result.outcome, ran.result.phase, ran.result.succeeding


def test_case_49_and_50_phases_without_commands_are_entered_and_complete(build: HostBuild) -> None:
    ran = build.run()
    assert ran.lines == [line for kind in COMMAND_PHASES for line in lines_of(kind)]
    assert re.match(STAMP + "Entering phase INSTALL\n", ran.log)
    assert outcome(ran) == ("completed", "POST_BUILD", True)


def test_the_log_of_a_failing_block_keeps_its_final_newline(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "printf 'no newline'\nexit 4\n"))
    log = re.sub(STAMP, "[C] ", ran.log)
    assert log[log.index("[C] Running") : log.index("[C] Entering phase POST")] == (
        "[C] Running command printf 'no newline'\nexit 4\n\n"
        "no newline\n"
        "[C] Command did not exit successfully printf 'no newline'\nexit 4\n exit status 4\n"
        "[C] Phase complete: BUILD State: FAILED\n"
        "[C] Phase context status code: COMMAND_EXECUTION_ERROR Message: "
        "Error while executing command: printf 'no newline'\nexit 4\n. Reason: exit status 4\n"
    )


@pytest.mark.parametrize("kind", ["INSTALL", "PRE_BUILD"])
def test_case_36_and_37_a_failure_before_build_ends_it(build: HostBuild, kind: str) -> None:
    ran = build.run(phase(kind, "false"))
    assert entered(ran)[-1] == kind
    assert ran.lines[-2] == f"Phase complete: {kind} State: FAILED"
    assert outcome(ran) == ("aborted", kind, False)


def test_case_38_post_build_follows_a_failed_build_and_knows(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "false"), phase("POST_BUILD", "echo $CODEBUILD_BUILD_SUCCEEDING"))
    assert ran.text == "0"
    assert outcome(ran) == ("completed", "POST_BUILD", False)


def test_the_flag_holds_until_the_phase_is_complete_and_cannot_be_set(build: HostBuild) -> None:
    plan = (
        phase("BUILD", "CODEBUILD_BUILD_SUCCEEDING=7; false", finally_=("echo $CODEBUILD_BUILD_SUCCEEDING",)),
        phase("POST_BUILD", "echo $CODEBUILD_BUILD_SUCCEEDING"),
    )
    assert build.run(*plan).text == "7\n0"


def test_case_39_commands_after_a_failure_are_skipped_and_finally_runs(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "false", "echo two", "echo three", finally_=("echo end",)))
    assert ran.text == "end"
    assert [line for line in ran.lines if line.startswith("Running")] == [
        "Running command false",
        "Running command echo end",
    ]


def test_case_40_a_failing_finally_fails_the_phase_and_stops_the_list(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "true", finally_=("exit 6", "echo no")))
    assert "echo no" not in ran.log
    assert "Error while executing command: exit 6. Reason: exit status 6" in ran.log
    assert outcome(ran)[2] is False


def test_of_two_failures_the_first_is_reported(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "exit 5", finally_=("exit 6",)))
    assert ran.lines[-2].endswith("Error while executing command: exit 5. Reason: exit status 5")


def test_case_41_abort_in_build_skips_post_build(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "false", on_failure="ABORT"))
    assert entered(ran)[-1] == "BUILD"
    assert outcome(ran) == ("aborted", "BUILD", False)


def test_case_42_abort_in_post_build_is_told(build: HostBuild) -> None:
    ran = build.run(phase("POST_BUILD", "false", on_failure="ABORT"))
    assert outcome(ran) == ("aborted", "POST_BUILD", False)
    assert not any("Phase complete: POST_BUILD" in line for line in ran.lines)


def test_case_43_continue_goes_on_with_the_flag_at_0(build: HostBuild) -> None:
    plan = (phase("INSTALL", "false", on_failure="CONTINUE"), phase("PRE_BUILD", "echo $CODEBUILD_BUILD_SUCCEEDING"))
    ran = build.run(*plan)
    assert ran.text == "0"
    assert "Phase complete: INSTALL State: FAILED" in ran.lines
    assert outcome(ran) == ("completed", "POST_BUILD", False)


FLAKY = "echo x >> tries; test $(wc -l < tries) -ge {}"


def test_case_45_retry_runs_the_commands_again(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", FLAKY.format(2), finally_=("echo end",), on_failure="RETRY", retries=2))
    assert outcome(ran) == ("completed", "POST_BUILD", True)
    assert ran.log.count("Running command echo x") == 2
    assert ran.text == "end"
    retried = [event for event in ran.events if isinstance(event, PhaseRetried)]
    assert [(event.attempt, event.limit) for event in retried] == [(1, 2)]


def test_case_46_retry_0_does_not_retry(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "false", on_failure="RETRY", retries=0)).statuses == [1]


def test_retries_used_up_are_as_if_unset(build: HostBuild) -> None:
    ran = build.run(phase("INSTALL", "false", on_failure="RETRY", retries=3))
    assert ran.statuses == [1, 1, 1, 1]
    assert outcome(ran) == ("aborted", "INSTALL", False)


@pytest.mark.parametrize(
    ("pattern", "runs"), [("connection (reset|refused)", 2), ("exit status 1$", 2), ("nothing of this", 1)]
)
def test_retry_with_a_pattern_looks_at_message_and_output(build: HostBuild, pattern: str, runs: int) -> None:
    command = "echo x >> tries; test $(wc -l < tries) -ge 2 || { echo connection reset by peer >&2; exit 1; }"
    ran = build.run(phase("BUILD", "echo nothing of", command, on_failure="RETRY", retries=1, pattern=pattern))
    assert ran.log.count("Running command echo x") == runs


def test_the_pattern_does_not_see_the_output_of_earlier_commands(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "seq 100000; echo flaky", "exit 1", on_failure="RETRY", retries=1, pattern="flaky"))
    assert ran.statuses == [0, 1]


def test_the_daemon_finds_the_words_of_the_log_again(build: HostBuild) -> None:
    ran = build.run(phase("INSTALL", "false\n", on_failure="CONTINUE"), phase("BUILD", "true", finally_=("exit 8",)))
    for ended in (event for event in ran.events if isinstance(event, PhaseEnded)):
        if ended.phase is not PhaseType.POST_BUILD:
            context = phase_context(ran.plan.phases, ended)
            assert f"code: {context.status_code} Message: {context.message}\n" in ran.log


def test_a_shell_that_is_not_there_ends_the_build_before_install(build: HostBuild) -> None:
    for shell in ("no-such-shell", "/no/such", "bin/sh", ""):
        build.control.joinpath("journal").write_bytes(b"")
        ran = build.run(phase("INSTALL", "echo never"), shell=shell)
        assert outcome(ran) == ("refused", None, True)
        assert any(isinstance(event, ProblemFound) for event in ran.events)
        assert ran.raw == b""


def test_a_shell_may_be_named_without_its_path(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "[[ a == a ]]"), shell="bash").statuses == [0]


def test_a_missing_user_fails_the_phase_with_its_name(build: HostBuild) -> None:
    ran = build.run(phase("INSTALL", "echo never", run_as="nobody-like-this"))
    assert ran.text == ""
    assert ran.lines[-1].endswith("Error while switching to user: nobody-like-this. Reason: no such user in the image")
    (ended,) = [event for event in ran.events if isinstance(event, PhaseEnded)]
    assert phase_context(ran.plan.phases, ended).message in ran.lines[-1]


def test_expansions_see_what_the_commands_left(build: HostBuild) -> None:
    after = (
        driver.Expansion.of_shell("name", "v-$(date +%Y)/$X-`echo b`"),
        driver.Expansion.of_variables("path", "dist/$X/${X}/$(touch owned)/*`x`\"'\\$1"),
        driver.Expansion.of_variable("X", "X"),
        driver.Expansion.of_variable("EMPTY", "EMPTY"),
        driver.Expansion.of_variable("UNSET", "UNSET"),
        driver.Expansion.of_variable("odd-name", "odd-name"),
        driver.Expansion.of_shell("broken", "a $(("),
    )
    ran = build.run(phase("BUILD", "X='one two'; EMPTY=; cd /"), after=after)
    found = driver.read_expansions(build.control, "after", after)
    assert re.fullmatch(r"v-\d{4}/one two-b", found["name"].value or "")
    assert found["path"].value == "dist/one two/one two/$(touch owned)/*`x`\"'\\$1"
    assert not (build.source / "owned").exists()
    assert found["X"] == driver.Expanded("ok", "one two")
    assert found["EMPTY"] == driver.Expanded("ok", "")
    assert [found[name].state for name in ("UNSET", "odd-name", "broken")] == ["unset", "unset", "failed"]
    assert ran.result is not None


def test_expansions_after_an_aborted_build_are_not_made(build: HostBuild) -> None:
    after = (driver.Expansion.of_shell("name", "x"),)
    build.run(phase("BUILD", "false", on_failure="ABORT"), after=after)
    assert driver.read_expansions(build.control, "after", after)["name"].state == "failed"


def test_the_driver_holds_before_install_until_it_is_told(build: HostBuild) -> None:
    build.variables = {"LANGUAGE": "python"}
    before = (driver.Expansion.of_variables("cache", "/root/$LANGUAGE/**"),)
    plan = build.plan(phase("INSTALL", "echo on"), before=before, hold=True)
    with build.start() as process:
        build.begin(plan)
        until(lambda: b"prepared" in (build.control / "journal").read_bytes())
        assert driver.go(build.control)
        assert driver.read_expansions(build.control, "before", before)["cache"].value == "/root/python/**"
        assert (build.control / "output").read_bytes() == b""
        until(lambda: driver.resume(build.control))
        assert process.wait(30) == 0
    assert driver.resume(build.control)
    assert "on" in Ran(build.control, plan).text


def test_going_is_not_possible_before_the_driver_is_there(build: HostBuild) -> None:
    assert not driver.go(build.control)
