"""Runtimes of the image, set up by the driver ahead of everything else (buildspec.md 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.container import driver
from agent.container.driver import Expansion, SetUp
from agent.container.journal import CommandEnded, Moved, ProblemFound
from agent.model.phase import PhaseType
from tests.shell.harness import SHELLS, HostBuild, Ran, phase


@pytest.fixture(params=SHELLS)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> HostBuild:
    return HostBuild(tmp_path, request.param, {"VERSION": "mine", "HOME": "/root"})


def expanded(ran: Ran) -> list[str | None]:
    return [found.value for found in driver.read_expansions(ran.control, "before", ran.plan.before).values()]


def test_set_up_comes_first_leaves_its_variables_and_not_its_directory(build: HostBuild) -> None:
    ran = build.run(
        phase("INSTALL", 'echo "$TOOL $PWD"'),
        set_up=(SetUp("pwd"), SetUp('TOOL="/opt/it\'s"; cd /')),
        before=(Expansion.of_variables("path", "$TOOL/*"),),
        hold=True,
    )
    assert ran.text.splitlines() == [str(build.source), f"/opt/it's {build.source}"]
    assert expanded(ran) == ["/opt/it's/*"]
    moving = f"Moving to directory {build.source}"
    assert ran.lines[2:4] == [moving, "Entering phase INSTALL"]
    (moved,) = (event for event in ran.events if isinstance(event, Moved))
    assert driver.read_result(ran.control) == driver.Result("completed", PhaseType.POST_BUILD, succeeding=True)
    assert moved.said_at > 0


def test_version_is_lent_to_the_commands_that_ask_for_it_and_put_back(build: HostBuild) -> None:
    commands = ("echo $VERSION", "GOT=$VERSION; exit 0", 'echo "$VERSION"; false; true')
    ran = build.run(
        phase("BUILD", "echo $VERSION ${bd_kept-none}"),
        set_up=(*(SetUp(text, "3.13'1") for text in commands), SetUp("echo $VERSION")),
    )
    assert ran.text.splitlines() == ["3.13'1", "3.13'1", "mine", "mine none"]


def test_a_version_that_was_not_set_is_not_set_afterwards(tmp_path: Path) -> None:
    ran = HostBuild(tmp_path, "dash").run(phase("BUILD", "echo ${VERSION-none}"), set_up=(SetUp("echo $VERSION", "5"),))
    assert ran.text.splitlines() == ["5", "none"]


def test_isolated_commands_begin_with_what_the_set_up_left(build: HostBuild) -> None:
    ran = build.run(
        phase("BUILD", "A=1; T=2; cd /", 'echo "$T [$A] $(pwd)"'), set_up=(SetUp("export T=1"),), isolated=True
    )
    assert ran.text == f"1 [] {build.source}"


def test_a_command_that_fails_ends_the_build_ahead_of_install(build: HostBuild) -> None:
    ran = build.run(phase("INSTALL", "echo never"), set_up=(SetUp("true"), SetUp("exit 7"), SetUp("echo never")))
    assert driver.read_result(ran.control) == driver.Result("refused", None, succeeding=True)
    (problem,) = (event for event in ran.events if isinstance(event, ProblemFound))
    assert (problem.reason, problem.index, problem.status) == ("runtime", 2, 7)
    ended = [event for event in ran.events if isinstance(event, CommandEnded)]
    assert [(event.phase, event.index, event.status) for event in ended] == [
        (PhaseType.DOWNLOAD_SOURCE, 1, 0),
        (PhaseType.DOWNLOAD_SOURCE, 2, 7),
    ]
    assert ran.lines[-1] == "Command did not exit successfully exit 7 exit status 7"
