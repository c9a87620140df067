"""A push that several triggers tell of, twice, late or out of order, is built once (`Requests.arrival`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.daemon.reception import Reception
from agent.daemon.scheduler import Scheduler
from agent.model.project import AgentOptions
from agent.store.builds import Builds
from agent.store.requests import Requests
from agent.web.shapes import build_json
from tests.unit.daemon.test_intake import Desk
from tests.unit.store.samples import a_project

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
NAMES = {"-": "-", "a": A, "b": B, "c": C, "d": D, "e": "e" * 40, "f": "f" * 40}


def play(desk: Desk, steps: str, ref: str = "refs/heads/main") -> str:
    """Ask for each step (`ab`: from a to b, `-a`: a new ref) and return the commits that were built, in order."""
    built: dict[str, str] = {}
    for step in steps.split():
        old, new = NAMES[step[0]], NAMES[step[1]]
        key = f"git:web:{ref}:{old}..{new}"
        build = desk.intake.submit(desk.ask(source_version=new, source_ref=ref, dedupe_key=key))
        built.setdefault(build.id, step[1])
    return "".join(built.values())


@pytest.mark.parametrize(
    ("steps", "built"),
    [
        ("-a ab bc", "abc"),
        ("-a ab ab", "ab"),
        ("-a ac ab bc", "acb"),  # polling saw two pushes as one; the webhooks come after it
        ("-a ab bc ac", "abc"),  # the same, and polling comes last
        ("-a bc ab", "acb"),  # one webhook overtakes the other
        ("-c bc", "c"),  # polling's first sight; it does not know what was before
        ("bc -c", "c"),
        ("-b bc ab", "bc"),  # a webhook that is late by a whole push
        ("-a ab ba", "aba"),  # the branch is set back
        ("-a ab ba ad", "abad"),
        ("-a ba ab", "ab"),  # out of order: a has just been built
        ("ab cd bc ad", "bdc"),
    ],
)
def test_each_arrival_of_a_branch_at_a_commit_is_built_once(tmp_path: Path, steps: str, built: str) -> None:
    assert play(Desk(tmp_path), steps) == built


def test_branches_projects_and_other_triggers_do_not_know_of_each_other(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.known["web2"] = a_project(name="web2")
    assert play(desk, "-a ab") == "ab"
    assert play(desk, "-a ab", "refs/heads/main2") == "ab"
    key = f"git:web2:refs/heads/main:-..{B}"
    assert desk.intake.submit(desk.ask(project="web2", dedupe_key=key)).number == 1
    assert desk.intake.submit(desk.ask(dedupe_key=f"pr:web:7:PULL_REQUEST_CREATED:{B}")).number == 5


def test_a_step_that_another_build_stands_for_is_told_with_that_build(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    play(desk, "-a bc ac")
    requests = Requests(desk.database)
    assert [(one.ref, one.old, one.new, one.by) for one in requests.passed("web")] == [("refs/heads/main", A, C, C)]
    assert requests.passed("web", B) == []
    requests.pass_over(f"git:web:refs/heads/main:{A}..{B}", C, 2e9)
    requests.pass_over(f"git:web:refs/heads/main:{B}..{C}", D, 2e9)
    assert [one.new for one in requests.passed("web")] == [C, B], "what was built itself is not passed over"
    requests.pass_over(f"git:web:refs/heads/main:{C}..{D}", NAMES["e"], 2e9)
    requests.pass_over(f"git:web:refs/heads/main:{D}..{NAMES['e']}", NAMES["f"], 2e9)
    assert [one.new for one in requests.passed("web", NAMES["f"])] == [D, NAMES["e"]], "what was passed over twice, too"
    assert play(desk, "bd") == "d", "it is no arrival"


def test_a_build_is_told_with_the_pushes_that_it_stands_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    play(desk, "-a bc ac")
    play(desk, "ab", "refs/heads/other")
    Requests(desk.database).pass_over(f"git:web:refs/heads/other:{A}..{D}", C, 2e9)
    reception = Reception(
        desk.database, desk.intake, Scheduler, list, tmp_path, 0.0, str, dict, str  # type: ignore[arg-type]
    )  # fmt: skip
    assert [reception.get(f"web#{number}").passed_over for number in (1, 2)] == [(), (f"{A}..{C}",)]
    assert build_json(reception.get("web#2"))["buildspecd"]["passedOver"] == [f"{A}..{C}"]
    assert Builds(desk.database).matching("web#2")[0].passed_over == (), "it is looked up, and not stored"


def test_an_early_push_that_comes_last_stops_no_build_that_may_be_newer(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.known["web"] = a_project(agent=AgentOptions(supersede="queued"))
    assert play(desk, "-a cd ab") == "adb"
    assert list(desk.stops()) == [1], "nobody knows that d came after b, and somebody else that b came after a"
    assert play(desk, "de") == "e"
    assert list(desk.stops()) == [1, 2]


def test_a_late_push_takes_nobodys_place(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.known["web"] = a_project(agent=AgentOptions(supersede="queued"))
    assert play(desk, "-a ac") == "ac"
    assert list(desk.stops()) == [1]
    assert play(desk, "ab") == "b"
    assert list(desk.stops()) == [1], "the newer build goes on"
    assert play(desk, "cd") == "d"
    assert list(desk.stops()) == [1, 2, 3]
