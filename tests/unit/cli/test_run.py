"""`run`: the summary, the JSON line, the exit code, and building again on save."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cli.run import built, built_on_save
from agent.errors import BuildspecInvalid
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.phase import PhaseContext
from agent.model.request import BuildRequest
from agent.model.status import Status
from tests.fakes.control import FakeControl, a_project

Capture = pytest.CaptureFixture[str]


@dataclass
class Order:
    """What `run` needs of a `LocalRun`."""

    directory: Path
    artifacts: Path | None = None
    cache: Path | None = None
    stop: StopToken = field(default_factory=StopToken)
    reported: object = None


@pytest.fixture
def control(tmp_path: Path) -> FakeControl:
    return FakeControl(tmp_path / "logs", [a_project()])


def ended(control: FakeControl, status: Status, **how: Any) -> Build:
    return control.finish(control.start(BuildRequest(project="web", initiator="ada")).id, status, **how)


@pytest.mark.parametrize(
    ("status", "code"), [(Status.SUCCEEDED, 0), (Status.FAILED, 1), (Status.FAULT, 3), (Status.TIMED_OUT, 4)]
)
def test_the_exit_code_is_that_of_the_build(
    control: FakeControl, tmp_path: Path, capsys: Capture, status: Status, code: int
) -> None:
    context = PhaseContext(status_code="CODE", message="the reason")
    assert built(Order(tmp_path), False, lambda order: ended(control, status, context=context)) == code  # type: ignore[arg-type]
    output = capsys.readouterr()
    assert output.out == ""
    assert f"buildspecd: {status.value} in 2s" in output.err
    assert "CODE: the reason" in output.err


def test_json_is_the_last_line_of_the_output(control: FakeControl, tmp_path: Path, capsys: Capture) -> None:
    def build_it(order: Any) -> Build:
        print("a line of the log")
        return ended(control, Status.SUCCEEDED)

    assert built(Order(tmp_path), True, build_it) == 0  # type: ignore[arg-type]
    first, last = capsys.readouterr().out.splitlines()
    assert first == "a line of the log"
    assert json.loads(last)["buildStatus"] == "SUCCEEDED"


class Tree:
    """Builds that change the tree themselves, each in its own way, and stop after the last way."""

    def __init__(self, control: FakeControl, order: Order, *ways: Any) -> None:
        self.control, self.order, self.ways, self.count = control, order, list(ways), 0

    def __call__(self, order: Any) -> Build:
        self.count += 1
        way = self.ways.pop(0)
        if not self.ways:
            self.order.stop.set()
        if isinstance(way, Exception):
            threading.Timer(0.2, (self.order.directory / "saved").write_text, ("x",)).start()
            raise way
        way()
        return ended(self.control, Status.SUCCEEDED)


def test_a_save_builds_again_and_a_wrong_buildspec_does_not_end_the_watch(
    control: FakeControl, tmp_path: Path, capsys: Capture
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    order = Order(tree)
    ways = Tree(control, order, lambda: (tree / "a").write_text("1"), BuildspecInvalid("bad file"), lambda: None)
    assert built_on_save(order, False, ways, SystemClock(), order.stop) == 0  # type: ignore[arg-type]
    assert ways.count == 3
    assert "error: bad file" in capsys.readouterr().err


def test_the_builds_own_output_and_git_are_no_saves(control: FakeControl, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    (tree / "out").mkdir()
    order = Order(tree, artifacts=tree / "out")

    def quiet() -> None:
        (tree / "out" / "app").write_text("x")
        (tree / ".git" / "index").write_text("x")
        (tree / ".main.c.swp").write_text("x")
        threading.Timer(0.5, order.stop.set).start()

    ways = Tree(control, order, quiet, lambda: None)
    built_on_save(order, False, ways, SystemClock(), order.stop)  # type: ignore[arg-type]
    assert ways.count == 1
