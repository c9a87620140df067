"""Who may pause: a project that says so, a start request that says so, `buildspecd run --debug`."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.daemon.local import LocalRun, local_project
from agent.daemon.overrides import effective
from agent.errors import RequestInvalid
from agent.model.project import AgentOptions
from agent.model.status import Status
from agent.web.shapes import build_json
from tests.unit.store.samples import a_build, a_project

DEBUGGED = a_project(agent=AgentOptions(debug=True, poll=15))


def test_a_start_request_says_whether_its_build_may_pause() -> None:
    assert effective(a_project(), {"debugSessionEnabled": True}).agent.debug
    assert not effective(DEBUGGED, {"debugSessionEnabled": False}).agent.debug
    assert effective(DEBUGGED, {}).agent == AgentOptions(debug=True, poll=15)
    with pytest.raises(RequestInvalid, match=r"agent\.debug"):
        effective(a_project(), {"debugSessionEnabled": "certainly"})


def test_a_local_build_may_pause_when_it_was_asked_to(tmp_path: Path) -> None:
    assert not local_project(LocalRun(tmp_path), None).agent.debug
    assert local_project(LocalRun(tmp_path, debug=True), None).agent.debug
    assert local_project(LocalRun(tmp_path), DEBUGGED).agent.debug


def test_the_api_shows_the_session_of_a_build_that_has_one() -> None:
    build = a_build(project=DEBUGGED, paused_since=1234.5678)
    document = build_json(build)
    assert document["debugSession"] == {"sessionEnabled": True, "sessionTarget": build.id}
    assert document["buildspecd"]["pausedSince"] == 1234.568
    assert build_json(build.evolve(status=Status.SUCCEEDED))["debugSession"] == {"sessionEnabled": True}
    assert "debugSession" not in build_json(a_build())
