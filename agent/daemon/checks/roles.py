"""Role checks: for `doctor`, whether service roles can be assumed, and whether builds are kept from the host's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agent.daemon.checks.check import Check
from agent.daemon.guarding import REMEDY, BuildGuard
from agent.environment.roles import RoleWish
from agent.errors import BuildspecdError
from agent.model.project import Project

_SESSION = "buildspecd-doctor"


def guard_check(guard: BuildGuard, reached: Callable[[], str] | None) -> Check:
    """Whether builds are kept from the metadata service. *reached* tries it, and says what is wrong; None: who is not
    root cannot, and believes the guard's own word."""
    verdict = guard.verdict()
    if guard.wanted == "off":
        status, text = ("warn", "off: builds reach the credentials of this host") if guard.exposed else ("ok", "off")
        return Check("imds guard", "warn" if status == "warn" else "ok", text, "set roles.imds_guard: auto")
    if not guard.exposed and not verdict.holds and guard.wanted == "auto":
        return Check("imds guard", "ok", "this is no EC2 instance: it has no role that builds could take")
    try:
        problem = reached() if reached is not None else verdict.problem
    except BuildspecdError as error:
        problem = error.message
    if not problem and not verdict.holds:
        problem = verdict.problem
    if not problem:
        return Check("imds guard", "ok", "builds cannot reach the metadata service; privileged ones could undo that")
    return Check("imds guard", "fail" if guard.wanted == "require" else "warn", problem, REMEDY)


def wish_of(project: Project, role: str, arn: Callable[[str], str]) -> RoleWish:
    """Return what `doctor` assumes the service *role* of *project* with; *arn* names a project. Pure."""
    return RoleWish(role, project.name, f"{project.name}:doctor", _SESSION, arn(f"project/{project.name}"))


def role_checks(
    projects: Sequence[Project], arn: Callable[[str], str], assume: Callable[[RoleWish], object]
) -> Iterator[Check]:
    """Whether the service role of each project can be assumed; *arn* names a project, *assume* tries."""
    for project in projects:
        if project.service_role:
            title = f"role of {project.name}"
            try:
                assume(wish_of(project, project.service_role, arn))
            except BuildspecdError as error:
                yield Check(title, "fail", error.message, error.hint)
            else:
                yield Check(title, "ok", f"{project.service_role} can be assumed")
