"""Roles: the service role of a project, assumed for one build; and what to write where that is refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from agent.aws import Aws, AwsRefused, Keys, translated
from agent.errors import BuildspecdError, RoleRefused
from agent.kit.heed import patiently
from agent.model.build import Build

SESSION_SECONDS = 3600
"""How long credentials hold. AWS gives no more where a role assumes a role, and the host's own is one."""
_WHO_SECONDS = 5.0
TAGS = ("buildspecd:project", "buildspecd:build")
_LONGEST_TAG = 256
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
_ASSUMED = re.compile(r"arn:(?P<partition>aws[a-z-]*):sts::(?P<account>\d{12}):assumed-role/(?P<name>[^/]+)/.+")
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True)
class RoleWish:
    """Which role is assumed for what; `session` and `external_id` are what AWS is told of it."""

    role: str
    project: str
    build: str
    session: str
    external_id: str

    @classmethod
    def of(cls, build: Build) -> RoleWish | None:
        """Return the wish of *build*; None for one without a service role. Pure."""
        role = build.project.service_role
        if not role:
            return None
        project = build.project.name
        return cls(role, project, build.id, build.uuid, f"{build.arn.split(':build/')[0]}:project/{project}")


@dataclass(frozen=True)
class RoleKeys:
    """Credentials of an assumed role; `expires` in seconds since 1970."""

    keys: Keys = field(repr=False)
    expires: float
    account: str
    role: str


class AssumedRoles:
    """Assumes roles with the host's own credentials. Safe to share between threads."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def __call__(self, wish: RoleWish) -> RoleKeys:
        """Return credentials for an hour. Raises `RoleRefused`, `AwsRefused` (none of our own) or `AwsUnavailable`."""
        if not _ROLE.fullmatch(wish.role):
            raise RoleRefused(
                f"serviceRole {wish.role} is not the ARN of a role",
                hint="write serviceRole as arn:aws:iam::ACCOUNT:role/NAME",
            )
        try:
            with translated("sts:AssumeRole"):
                answer = patiently(lambda: self._ask(wish))
        except AwsRefused as error:
            if error.finer is not None:  # the host's own credentials are what is wrong
                raise
            raise RoleRefused(
                f"serviceRole {wish.role} cannot be assumed: {error.reason}: {error.text}", hint=self._hint(error, wish)
            ) from error
        given = answer["Credentials"]
        return RoleKeys(
            Keys(str(given["AccessKeyId"]), str(given["SecretAccessKey"]), str(given["SessionToken"])),
            given["Expiration"].timestamp(),
            account=wish.role.split(":")[4],
            role=wish.role,
        )

    def through(self, given: RoleKeys) -> Aws:
        """Return clients that are let in by *given*."""
        return self._aws.with_keys(given.keys)

    def _ask(self, wish: RoleWish) -> Any:
        values = (wish.project, wish.build[-_LONGEST_TAG:])
        return self._aws.client("sts", attempts=2, patience=20.0).assume_role(
            RoleArn=wish.role,
            RoleSessionName=wish.session,
            ExternalId=wish.external_id,
            DurationSeconds=SESSION_SECONDS,
            Tags=[{"Key": key, "Value": value} for key, value in zip(TAGS, values, strict=True)],
        )

    def _hint(self, error: AwsRefused, wish: RoleWish) -> str:
        if error.reason not in _DENIED:
            return f"check serviceRole of project {wish.project}"
        try:
            with translated("sts:GetCallerIdentity"):
                sts = self._aws.client("sts", attempts=1, patience=_WHO_SECONDS)
                caller = role_of(str(patiently(sts.get_caller_identity)["Arn"]))
        except BuildspecdError:
            caller = "ARN-OF-THE-ROLE-OF-THIS-HOST"
        return remedy(wish, caller)


def role_of(arn: str) -> str:
    """Return the ARN of the role whose session *arn* is, without its path, which a session does not tell. Pure."""
    found = _ASSUMED.fullmatch(arn)
    return "arn:{partition}:iam::{account}:role/{name}".format(**found.groupdict()) if found else arn


def remedy(wish: RoleWish, caller: str) -> str:
    """Return what is to be written where, so that *caller* may assume the role of *wish*. Pure."""
    trust = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": caller},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": wish.external_id}},
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": caller},
            "Action": "sts:TagSession",
            "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": list(TAGS)}},
        },
    ]
    own = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": wish.role}
    return (
        f"add to the trust policy of {wish.role}: {', '.join(json.dumps(one) for one in trust)}; "
        f"and to a policy of {caller}: {json.dumps(own)} (BuildRoleArns of aws/agent-policy.yml)"
    )
