"""What builds are told, and doctor says, of the credentials of the host and of roles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.container.imds import Verdict
from agent.container.spec import EngineFacts
from agent.daemon.checks.roles import guard_check, role_checks
from agent.daemon.guarding import BuildGuard
from agent.environment.roles import RoleWish
from agent.errors import GuardMissing, RoleRefused
from agent.model.project import Project
from tests.fakes.engine import FakeEngine

HOLDS, GONE = Verdict(True), Verdict(False, "no guard runs on this host")


class Engine(FakeEngine):
    driver = "cgroupfs"

    def facts(self) -> EngineFacts:
        return replace(super().facts(), cgroup_driver=self.driver)


def guard(wanted: str = "auto", verdict: Verdict = HOLDS, *, exposed: bool = True, **options: Any) -> BuildGuard:
    return BuildGuard(wanted, Engine(), exposed, lambda: verdict, options.pop("root", None), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "verdict", "exposed", "expected"),
    [
        ("auto", GONE, False, None),
        ("auto", HOLDS, False, "/buildspecd"),
        ("auto", GONE, True, "/buildspecd"),
        ("require", GONE, False, "/buildspecd"),
        ("off", HOLDS, True, None),
    ],
)
def test_containers_are_put_where_the_rules_look_unless_nothing_is_to_be_guarded(
    wanted: str, verdict: Verdict, exposed: bool, expected: str | None
) -> None:
    assert guard(wanted, verdict, exposed=exposed).parent() == expected


def test_an_engine_with_the_driver_of_systemd_is_told_a_slice() -> None:
    one = guard()
    one.engine.driver = "systemd"  # type: ignore[attr-defined]
    assert one.parent() == "buildspecd.slice"


def test_a_build_is_told_when_it_can_reach_the_credentials_of_its_host() -> None:
    assert guard().check(privileged=False) == ""
    assert "a privileged build can undo" in guard().check(privileged=True)
    warning = guard(verdict=GONE).check(privileged=False)
    assert warning == "warning: this build can reach the credentials of its host: no guard runs on this host"
    assert guard(verdict=GONE, exposed=False).check(privileged=True) == "", "there is nothing to reach"
    assert guard("off", GONE).check(privileged=True) == ""


def test_no_build_starts_without_a_guard_that_is_required() -> None:
    with pytest.raises(GuardMissing, match="no guard runs on this host") as raised:
        guard("require", GONE, exposed=False).check(privileged=False)
    assert "systemctl enable --now buildspecd-guard" in raised.value.hint
    assert raised.value.retry


def test_a_container_that_is_elsewhere_is_seen_where_the_guard_is_required(tmp_path: Path) -> None:
    (tmp_path / "buildspecd" / "here").mkdir(parents=True)
    one = guard("require", root=tmp_path)
    one.see("here")
    with pytest.raises(GuardMissing, match="not in the cgroup of builds"):
        one.see("elsewhere")
    guard("auto", root=tmp_path).see("elsewhere")


@pytest.mark.parametrize(
    ("one", "reached", "status", "words"),
    [
        (guard(exposed=False, verdict=GONE), "", "ok", "no EC2 instance"),
        (guard(), "", "ok", "cannot reach"),
        (guard(), "a process in cgroup x reaches 169.254.169.254", "warn", "reaches"),
        (guard("require"), "a process in cgroup x reaches 169.254.169.254", "fail", "reaches"),
        (guard(verdict=GONE), "", "warn", "no guard runs"),
        (guard("require", GONE, exposed=False), None, "fail", "no guard runs"),
        (guard(verdict=HOLDS), None, "ok", "cannot reach"),
        (guard("off"), None, "warn", "off"),
        (guard("off", exposed=False), None, "ok", "off"),
    ],
)
def test_doctor_says_whether_the_guard_holds_and_how_to_make_it(
    one: BuildGuard, reached: str | None, status: str, words: str
) -> None:
    found = guard_check(one, None if reached is None else lambda: reached)
    assert (found.status, words in found.message) == (status, True), found
    assert status == "ok" or found.remedy


def test_doctor_tries_the_role_of_each_project_that_has_one() -> None:
    document = {"name": "web", "source": {"type": "NO_SOURCE"}, "environment": {"image": "i"}}
    good, bad = (Project.model_validate({**document, "name": n, "serviceRole": f"role-{n}"}) for n in ("good", "bad"))
    asked: list[RoleWish] = []

    def assume(wish: RoleWish) -> None:
        asked.append(wish)
        if wish.project == "bad":
            raise RoleRefused("it says no", hint="add this statement")

    checks = list(role_checks([good, bad, Project.model_validate(document)], "arn:{}".format, assume))
    assert [(one.name, one.status, one.remedy) for one in checks] == [
        ("role of good", "ok", ""),
        ("role of bad", "fail", "add this statement"),
    ]
    assert (asked[0].external_id, asked[0].session) == ("arn:project/good", "buildspecd-doctor")
