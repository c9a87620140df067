"""The shape of an event, against whole examples, and what must never be in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.model.build import LogRecord
from agent.model.event import BuildEvent
from agent.model.phase import PhaseType
from agent.model.project import CloudWatchLogs, EnvironmentVariable, LogsConfig, Source
from agent.model.status import Status
from agent.notify.detail import date_text, detail, detail_type, without_login
from tests.unit.notify.builds import a_full_build, a_red_end, a_red_phase, told_by
from tests.unit.store.samples import NOON, a_build, a_project, finished, left, started

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "event"),
    [("submitted", started(a_build(1))), ("phase_change", a_red_phase()), ("state_change", a_red_end())],
)
def test_an_event_has_the_shape_of_codebuilds_own(name: str, event: BuildEvent) -> None:
    assert detail(event) == json.loads((GOLDEN / f"{name}.json").read_text())


def test_a_build_tells_its_start_nine_phases_and_its_end() -> None:
    events = told_by(a_build())
    assert [detail_type(event) for event in events] == [
        "CodeBuild Build State Change",
        *["CodeBuild Build Phase Change"] * 9,
        "CodeBuild Build State Change",
    ]
    phases = [detail(event).get("completed-phase") for event in events]
    assert phases == [None, *[kind.value for kind in list(PhaseType)[1:-1]], None]


@pytest.mark.parametrize("status", list(Status)[1:])
def test_the_end_tells_the_status_of_the_build(status: Status) -> None:
    told = detail(finished(a_build(), NOON + 1, status))
    assert (told["build-status"], told["current-phase"]) == (status.value, "COMPLETED")
    assert told["additional-information"]["build-complete"] is True


def test_a_phase_that_ran_out_of_time_says_so_while_its_build_has_failed() -> None:
    events = told_by(a_build(), Status.TIMED_OUT)
    told = [detail(event) for event in events]
    assert [item["completed-phase-status"] for item in told if item.get("completed-phase") == "BUILD"] == ["TIMED_OUT"]
    assert told[-1]["build-status"] == "FAILED"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "Sep 1, 2017 4:12:29 PM"),
        (NOON + 0.999, "Sep 1, 2017 4:12:29 PM"),
        (0.0, "Jan 1, 1970 12:00:00 AM"),
        (1_709_208_000.0, "Feb 29, 2024 12:00:00 PM"),
        (1_798_761_599.0, "Dec 31, 2026 11:59:59 PM"),
    ],
)
def test_dates_are_written_as_codebuild_writes_them(at: float, text: str) -> None:
    assert date_text(at) == text


def test_values_of_plaintext_variables_are_not_told() -> None:
    for event in (a_red_phase(), a_red_end()):
        text = json.dumps(detail(event))
        assert not [word for word in ("hunter2", "1.2.3", '"test"', "s3cret") if word in text]


def test_values_of_plaintext_variables_are_told_where_that_is_wanted() -> None:
    more = detail(a_red_end(), redact=False)["additional-information"]
    assert more["environment"]["environment-variables"][0] == {"name": "STAGE", "type": "PLAINTEXT", "value": "hunter2"}
    assert more["exported-environment-variables"] == [{"name": "VERSION", "value": "1.2.3"}]


def test_the_login_in_an_address_is_never_told() -> None:
    assert "s3cret" not in json.dumps(detail(a_red_end(), redact=False))


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://token@host/web.git", "https://***@host/web.git"),
        ("HTTPS://user:p@ss@host:8443/web.git", "HTTPS://***@host:8443/web.git"),
        ("https://host/web@v1.git", "https://host/web@v1.git"),
        ("ssh://git@host/web.git", "ssh://git@host/web.git"),
        ("ssh://git:word@host/web.git", "ssh://***@host/web.git"),
        ("git@host:web.git", "git@host:web.git"),
        ("codecommit::us-west-2://profile@web", "codecommit::us-west-2://profile@web"),
        ("acme-inputs/data.zip", "acme-inputs/data.zip"),
        ("file:///srv/web.git", "file:///srv/web.git"),
    ],
)
def test_of_an_address_only_the_login_is_hidden(location: str, shown: str) -> None:
    assert without_login(location) == shown


@pytest.mark.parametrize(
    ("buildspec", "shown"),
    [
        ("ci/build spec.yml", "ci/build spec.yml"),
        ("arn:aws:s3:::bucket/buildspec.yml", "arn:aws:s3:::bucket/buildspec.yml"),
        ("version: 0.2\nenv:\n  variables:\n    KEY: hunter2\n", "***"),
        ('{"version": 0.2, "env": {"variables": {"KEY": "hunter2"}}}', "***"),
    ],
)
def test_an_inline_buildspec_is_not_told_since_it_may_hold_values(buildspec: str, shown: str) -> None:
    build = a_build(project=a_project(source=Source(type="NO_SOURCE", buildspec=buildspec)))
    assert detail(started(build))["additional-information"]["source"]["buildspec"] == shown
    whole = detail(started(build), redact=False)["additional-information"]["source"]["buildspec"]
    assert whole == buildspec


def test_a_variable_of_the_start_request_takes_the_place_of_the_projects() -> None:
    build = a_full_build().evolve(overrides=(EnvironmentVariable(name="TOKEN", value="plain"),))
    variables = detail(started(build))["additional-information"]["environment"]["environment-variables"]
    assert [(item["name"], item["type"]) for item in variables] == [
        ("STAGE", "PLAINTEXT"),
        ("DB_PASSWORD", "PARAMETER_STORE"),
        ("TOKEN", "PLAINTEXT"),
    ]


def test_the_link_to_the_log_holds_the_word_null_before_the_stream_exists() -> None:
    logs = detail(started(a_build()))["additional-information"]["logs"]
    assert logs["deep-link"].endswith("log-group/null/log-events/null")
    assert "group-name" not in logs


def test_a_log_that_never_goes_to_cloudwatch_has_no_link() -> None:
    off = a_project(logs_config=LogsConfig(cloud_watch_logs=CloudWatchLogs(status="DISABLED")))
    assert detail(started(a_build(project=off)))["additional-information"]["logs"] == {}
    assert detail(finished(a_build(), NOON + 1))["additional-information"]["logs"] == {}


def test_the_link_leads_to_the_console_of_the_partition() -> None:
    build = a_build(
        arn="arn:aws-cn:codebuild:cn-north-1:1:build/web:1", logs=LogRecord(group_name="g", stream_name="s")
    )
    link = detail(started(build))["additional-information"]["logs"]["deep-link"]
    assert link.startswith("https://console.amazonaws.cn/cloudwatch/home?region=cn-north-1#")


def test_a_running_phase_has_neither_end_nor_status() -> None:
    build = a_build().left(NOON, Status.SUCCEEDED).entered(PhaseType.PROVISIONING, NOON)
    event = left(build, NOON + 2)
    running = event.evolve(build=event.build.entered(PhaseType.DOWNLOAD_SOURCE, NOON + 2))
    assert detail(running)["additional-information"]["phases"][-1] == {
        "phase-type": "DOWNLOAD_SOURCE",
        "start-time": "Sep 1, 2017 4:12:31 PM",
    }
    assert detail(running)["completed-phase"] == "PROVISIONING"
