"""A push that several triggers tell of, twice, late or out of order, is built once (`Requests.arrival`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.project import AgentOptions
from tests.unit.daemon.test_intake import Desk
from tests.unit.store.samples import a_project

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
NAMES = {"-": "-", "a": A, "b": B, "c": C, "d": D}


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


def test_a_late_push_takes_nobodys_place(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.known["web"] = a_project(agent=AgentOptions(supersede="queued"))
    assert play(desk, "-a ac") == "ac"
    assert list(desk.stops()) == [1]
    assert play(desk, "ab") == "b"
    assert list(desk.stops()) == [1], "the newer build goes on"
    assert play(desk, "cd") == "d"
    assert list(desk.stops()) == [1, 2, 3]
