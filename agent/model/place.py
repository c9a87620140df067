"""HostPlace: where in EC2 a host stands, and how that differs from the VPC that a project expects (service.md 10.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.model.project import VpcConfig

VpcPolicy = Literal["require", "warn", "ignore"]
"""What follows where a host does not stand in the VPC of a project: its builds fail, a line of their log, nothing."""


@dataclass(frozen=True)
class Interface:
    """One network interface of the host."""

    id: str
    vpc: str
    subnet: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class HostPlace:
    """A host of EC2. Of its `interfaces` the first is the primary one; `instance` is its id."""

    instance: str
    interfaces: tuple[Interface, ...]

    def standing_in(self, wanted: VpcConfig) -> tuple[Interface | None, tuple[str, ...]]:
        """Return the interface that fits *wanted* best, and each difference in words; none: it fits. Pure."""
        judged = [(one, differences(wanted, one)) for one in self.interfaces]
        if not judged:
            return None, ("the host has no interface in a VPC",)
        return next(((one, found) for one, found in judged if not found), judged[0])


def differences(wanted: VpcConfig, found: Interface) -> tuple[str, ...]:
    """Return what of *wanted* does not hold for an interface: its VPC, its subnet among the list, all groups. Pure."""
    said: list[str] = []
    if wanted.vpc_id and wanted.vpc_id != found.vpc:
        said.append(f"vpcId: wanted {wanted.vpc_id}, found {found.vpc or 'none'}")
    if wanted.subnets and found.subnet not in wanted.subnets:
        said.append(f"subnets: wanted {' or '.join(wanted.subnets)}, found {found.subnet or 'none'}")
    if missing := [group for group in wanted.security_group_ids if group not in found.groups]:
        there = ", ".join(sorted(found.groups)) or "none"
        said.append(
            f"securityGroupIds: wanted {', '.join(wanted.security_group_ids)}, found {there}:"
            f" {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        )
    return tuple(said)
