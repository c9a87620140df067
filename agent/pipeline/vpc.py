"""Vpc: whether a build runs where its project's `vpcConfig` says, found out before it starts (service.md 10.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import Unavailable, VpcMismatch
from agent.kit.heed import patiently
from agent.model.build import NetworkInterface
from agent.model.place import HostPlace
from agent.model.project import VpcConfig
from agent.pipeline.surroundings import Locate

if TYPE_CHECKING:
    from agent.pipeline.job import Job

KEPT_SECONDS = 300.0
"""For how long what the metadata service said is good enough: an instance seldom changes where it stands."""
DOUBTED_SECONDS = 5.0
"""For how long it is where it would fail a build: somebody may just have mended it."""


def check(job: Job) -> None:
    """Compare `vpcConfig` with where the host stands, and keep the interface in the build's record.

    Raises `VpcMismatch` under the policy `require`, also where nobody can tell.
    """
    wanted, policy = job.build.project.vpc_config, job.build.project.agent.vpc or job.tools.vpc
    if wanted is None or is_empty(wanted) or policy == "ignore":
        return
    try:
        place = patiently(lambda: settled(job.tools.locate, wanted, strict=policy == "require"))
    except Unavailable as error:
        text = f"vpcConfig cannot be checked: {error.message}"
        if policy == "require":
            raise VpcMismatch(text, hint=error.hint) from error
        job.say(f"warning: {text}")
        return
    interface, differing = place.standing_in(wanted)
    if interface is not None:
        job.build = job.build.evolve(
            network_interface=NetworkInterface(subnet_id=interface.subnet, network_interface_id=interface.id)
        )
    if not differing:
        job.say(f"vpcConfig: {described(place)} stands in {wanted.vpc_id or 'its VPC'}, as it should")
    elif policy == "require":
        raise VpcMismatch(mismatch(place, differing), hint=remedy(place, wanted, differing))
    else:
        job.say(f"warning: {mismatch(place, differing)}")


def settled(locate: Locate, wanted: VpcConfig, *, strict: bool) -> HostPlace:
    """Return where the host stands; with *strict*, a bad answer that is not of this moment is asked for again."""
    try:
        place = locate(KEPT_SECONDS)
    except Unavailable:
        if not strict:
            raise
        return locate(DOUBTED_SECONDS)
    if place.standing_in(wanted)[1]:
        return locate(DOUBTED_SECONDS)
    return place


def is_empty(config: VpcConfig) -> bool:
    """Whether *config* says nothing; CodeBuild takes such a one for none."""
    return not (config.vpc_id or config.subnets or config.security_group_ids)


def described(place: HostPlace) -> str:
    """Return how the host is called in a sentence."""
    return f"this host ({place.instance})" if place.instance else "this host"


def mismatch(place: HostPlace, differing: tuple[str, ...]) -> str:
    """Return what is said of a host that stands elsewhere."""
    return f"vpcConfig: {described(place)} does not stand where the project expects: {'; '.join(differing)}"


def remedy(place: HostPlace, wanted: VpcConfig, differing: tuple[str, ...]) -> str:
    """Return what to do about *differing*, as a command where one helps."""
    rest = "correct vpcConfig, or set agent.vpc: warn"
    interface = place.standing_in(wanted)[0]
    if interface is None or any(not text.startswith("securityGroupIds") for text in differing):
        return f"run the project on a host of that VPC and subnet, {rest}"
    groups = " ".join(sorted({*interface.groups, *wanted.security_group_ids}))
    attach = f"aws ec2 modify-network-interface-attribute --network-interface-id {interface.id} --groups {groups}"
    return f"attach the groups: {attach}; else {rest}"
