"""Vpc: whether this host stands where the projects' `vpcConfig` says, and whether it has a metadata service at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.daemon.checks.check import Check
from agent.daemon.whereabouts import PATIENCE_SECONDS, Whereabouts
from agent.errors import Unavailable
from agent.model.place import HostPlace, VpcPolicy
from agent.model.project import Project
from agent.pipeline.vpc import described, is_empty, mismatch, remedy


def vpc(whereabouts: Whereabouts, projects: Sequence[Project], policy: VpcPolicy) -> Iterator[Check]:
    """Ask the metadata service once, and judge every project by it."""
    concerned = [project for project in projects if project.vpc_config and not is_empty(project.vpc_config)]
    try:
        place = whereabouts.ask(PATIENCE_SECONDS)
    except Unavailable as error:
        yield Check("metadata", "skipped", f"{error.message}: this is not EC2, or it is switched off")
        for project in concerned:
            yield _unknown(project, policy, error)
        return
    primary = place.interfaces[0] if place.interfaces else None
    where = f"{primary.id} in {primary.subnet} of {primary.vpc}" if primary else "no interface in a VPC"
    yield Check("metadata", "ok", f"{place.instance}: {where}")
    for project in concerned:
        yield judged(place, project, policy)


def judged(place: HostPlace, project: Project, policy: VpcPolicy) -> Check:
    """Return what to say of *project*, which has a vpcConfig. Pure."""
    name, wanted = f"vpcConfig of {project.name}", project.vpc_config
    assert wanted is not None
    _, differing = place.standing_in(wanted)
    if not differing:
        return Check(name, "ok", f"{described(place)} stands in {wanted.vpc_id or 'its VPC'}")
    text, advice = mismatch(place, differing).removeprefix("vpcConfig: "), remedy(place, wanted, differing)
    held = project.agent.vpc or policy
    if held == "require":
        return Check(name, "fail", f"{text}; its builds fail (agent.vpc: require)", advice)
    return Check(name, "warn" if held == "warn" else "skipped", text, advice)


def _unknown(project: Project, policy: VpcPolicy, error: Unavailable) -> Check:
    name, held = f"vpcConfig of {project.name}", project.agent.vpc or policy
    if held == "require":
        text = "nobody can say where this host stands, so its builds fail (agent.vpc: require)"
        return Check(name, "fail", text, error.hint)
    text = "nobody can say where this host stands"
    return Check(name, "warn" if held == "warn" else "skipped", text, error.hint if held == "warn" else "")
