"""The audit of a torture run complains of everything that it should, and of nothing else."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.torture.audit import audit
from agent.torture.evidence import Evidence, Excuses, Window
from agent.torture.forge import Head
from agent.torture.logaudit import wrong_copies
from agent.torture.recipes import ARTIFACT_FILE, Recipe, line
from tests.torture.findings import (
    BEGIN,
    BUILT,
    END,
    EVENTS,
    QUEUED,
    RECIPE,
    SHA,
    archive,
    event,
    evidence,
    found,
    log_of,
)


def _said(evidence: Evidence) -> list[str]:
    return [one.what for one in audit(evidence).violations]


def test_nothing_is_said_of_a_run_in_which_all_went_well() -> None:
    verdict = audit(evidence())
    assert verdict.violations == []
    assert (verdict.sums["builds"], verdict.sums["pushes built"]) == (1, 1)


def _spoilt(kind: str) -> bytes:
    lines = log_of().decode().splitlines(keepends=True)
    place = lines.index(f"{line(RECIPE.tag, 'build', 4)}\n")
    match kind:
        case "doubled":
            lines.insert(place, lines[place])
        case "missing":
            del lines[place]
        case "swapped":
            lines[place : place + 2] = reversed(lines[place : place + 2])
        case "damaged":
            lines[place] = lines[place].replace("@", "@", 1)[:-2] + "x\n"
        case "cut":
            del lines[place:]
        case "strange":
            lines.insert(place, f"{line('8-lib-3', 'build', 1)}\n")
        case "phase":
            lines.insert(place, lines[0])
    return "".join(lines).encode()


@pytest.mark.parametrize("kind", ["doubled", "missing", "swapped", "damaged", "cut", "strange", "phase"])
def test_a_log_that_is_not_what_the_build_wrote_is_told(kind: str) -> None:
    assert len(_said(evidence(found(_spoilt(kind))))) >= 1


def test_a_line_that_came_twice_is_called_doubled_with_its_place() -> None:
    (said,) = _said(evidence(found(_spoilt("doubled"))))
    assert said.startswith("stream build, line 5: doubled: '@7-web-1 build 4 ")


@pytest.mark.parametrize("where", ["copy", "messages"])
@pytest.mark.parametrize("kind", ["doubled", "missing"])
def test_a_sink_that_has_another_log_than_the_host_is_told(where: str, kind: str) -> None:
    spoilt: Any = _spoilt(kind)
    one = replace(found(), **{where: spoilt if where == "copy" else tuple(spoilt.decode().splitlines())})
    (said,) = _said(evidence(one))
    assert said.startswith(("S3" if where == "copy" else "CloudWatch") + " has another log than this host")


def test_a_log_that_never_came_to_s3_is_told() -> None:
    assert _said(evidence(replace(found(), copy=None))) == ["its log is not in S3"]


def test_a_sink_that_lacks_bytes_without_a_gap_on_record_is_told() -> None:
    one = found()
    one.build["buildspecd"]["logs"]["delivered"]["cloudwatch"] -= 10
    assert "no gap says why" in _said(evidence(one))[0]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((BEGIN, QUEUED, BUILT), "its ends in EventBridge: none"),
        (
            (*EVENTS, event(END["DetailType"], build_status="FAILED")),
            "its ends in EventBridge: ['SUCCEEDED', 'FAILED']",
        ),
        ((BEGIN, QUEUED, END, BUILT), "another event behind its end"),
        ((QUEUED, BEGIN, BUILT, END), "did not get its begin first"),
        ((BEGIN, BUILT, QUEUED, END), "its phases in EventBridge are"),
    ],
)
def test_an_end_that_is_missing_doubled_or_out_of_order_is_told(events: Any, said: str) -> None:
    assert said in _said(evidence(replace(found(), events=events)))[0]


def test_an_event_may_come_again_as_it_was() -> None:
    assert _said(evidence(replace(found(), events=(BEGIN, QUEUED, BEGIN, QUEUED, BUILT, BUILT, END, END)))) == []


def test_a_push_without_a_build_and_one_with_two_are_told() -> None:
    heads = {"web": (Head(SHA, RECIPE), Head("b" * 40, RECIPE))}
    second = found(id="web:2", buildNumber=2)
    said = _said(evidence(found(), second, heads=heads))
    assert any("was built 2 times" in what for what in said)
    assert any("was not built, and no build says that it stands for it" in what for what in said)


def test_a_push_that_a_later_build_stands_for_is_not_told() -> None:
    heads = {"web": (Head("c" * 40, RECIPE), Head("b" * 40, RECIPE), Head(SHA, RECIPE))}
    first = found(id="web:0", sourceVersion="c" * 40, resolvedSourceVersion="c" * 40)
    last = found(buildNumber=2)
    last.build["buildspecd"]["previousRevision"] = "c" * 40
    verdict = audit(evidence(first, last, heads=heads))
    assert verdict.violations == []
    assert verdict.sums["pushes passed over"] == 1


def test_a_build_that_has_not_ended_is_told() -> None:
    assert "it has not ended: BUILD" in _said(evidence(found(buildComplete=False, currentPhase="BUILD")))


def _fault(cause: str, status: str = "FAULT") -> Any:
    one = found(buildStatus=status)
    one.build["buildspecd"]["cause"] = cause
    return replace(one, events=(*EVENTS[:-1], event(END["DetailType"], build_status=status)))


def test_a_fault_is_only_taken_where_one_was_done_that_explains_it() -> None:
    one = _fault("CONTAINER_KILLED")
    assert "no fault explains it" in _said(evidence(one))[0]
    excuses = Excuses()
    excuses.target(one.id, "container-killed", "CONTAINER_KILLED")
    assert _said(evidence(one, excuses=excuses)) == []


def test_a_fault_of_the_surroundings_excuses_the_builds_of_its_time_and_no_others() -> None:
    one = _fault("GIT_UNAVAILABLE")
    at_the_time = Excuses([Window("git-down", 101.0, 104.0, frozenset({"GIT_UNAVAILABLE"}))])
    long_before = Excuses([Window("git-down", 1.0, 4.0, frozenset({"GIT_UNAVAILABLE"}))])
    another = Excuses([Window("reset", 101.0, 104.0, frozenset({"AWS_UNAVAILABLE"}))])
    assert _said(evidence(one, excuses=at_the_time)) == []
    assert "no fault explains it" in _said(evidence(one, excuses=long_before))[0]
    assert "no fault explains it" in _said(evidence(one, excuses=another))[0]


def test_a_status_that_does_not_go_with_its_cause_is_told() -> None:
    assert "is not one of a FAULT" in _said(evidence(_fault("COMMAND_FAILED")))[0]
    assert "is one of a FAULT" in _said(evidence(_fault("CONTAINER_KILLED", "FAILED")))[0]


def test_a_red_build_that_should_be_green_is_told() -> None:
    assert "finally: it ended FAILED COMMAND_FAILED" in _said(evidence(_fault("COMMAND_FAILED", "FAILED")))[0]


@pytest.mark.parametrize(
    ("artifacts", "said"),
    [
        ({}, "it has 0 artifacts in the bucket"),
        ({"one": b"", "two": b""}, "it has 2 artifacts in the bucket"),
        ({"one": archive(b"something else")}, "not what the build wrote"),
        ({"one": b"no archive"}, "no ZIP archive"),
    ],
)
def test_an_artifact_that_is_missing_doubled_or_wrong_is_told(artifacts: dict[str, bytes], said: str) -> None:
    assert said in _said(evidence(replace(found(), artifacts=artifacts)))[0]


@pytest.mark.parametrize("member", ["exposed", "left", "broken"])
def test_secrets_leftovers_and_tracebacks_are_told_as_they_were_found(member: str) -> None:
    assert _said(evidence(**{member: ("what was found",)})) == ["what was found"]


def test_the_log_of_a_build_that_ran_while_the_disk_was_full_is_an_exception_on_record() -> None:
    excuses = Excuses([Window("disk-full", 101.0, 104.0, frozenset(), tears=True)])
    verdict = audit(evidence(found(_spoilt("missing")), excuses=excuses))
    assert verdict.violations == []
    assert "the disk was full while it ran" in verdict.allowed[0]
    other_copy = replace(found(_spoilt("missing")), copy=log_of())
    assert "S3 has another log than this host" in _said(evidence(other_copy, excuses=excuses))[0]


@pytest.mark.parametrize("kind", ["short", "long", "finally", "cache"])
def test_what_a_recipe_prints_and_stores_is_what_the_audit_waits_for(kind: str, tmp_path: Path) -> None:
    recipe = Recipe(kind, "7-web-9", 1)
    phases = json.loads(recipe.buildspec())["phases"].values()
    script = "\n".join(command for one in phases for command in (*one["commands"], *one.get("finally", ())))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (tmp_path / ARTIFACT_FILE).read_bytes() == recipe.artifact()
    assert done.stdout.splitlines() == [line for stream in recipe.streams().values() for line in stream]


def test_a_build_that_was_stopped_in_the_queue_needs_no_log_and_any_other_does() -> None:
    waited = replace(found(b"", phases=[{"phaseType": "QUEUED"}, {"phaseType": "COMPLETED"}]), copy=None, messages=())
    ran = replace(waited, build={**waited.build, "phases": [{"phaseType": "PROVISIONING"}]})
    assert not list(wrong_copies(waited))
    assert "its log is not in S3" in list(wrong_copies(ran))
