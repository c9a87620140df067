"""Roles: what the steps of a build do about its service role (service.md 10.6), and about the role of this host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.environment.resolve import SecretSource
from agent.environment.roles import RoleWish
from agent.environment.secrets_manager import SecretsManager
from agent.environment.ssm import ParameterStore
from agent.errors import RoleRefused
from agent.pipeline import masks

if TYPE_CHECKING:
    from agent.pipeline.job import Job

STRAYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""Variables that SDKs heed ahead of what we serve, or in its place."""


def admit(job: Job) -> None:
    """Assume the service role, if there is one: a build that may not have it fails before its first command."""
    wish = RoleWish.of(job.build)
    if wish is None:
        return
    if job.tools.roles is None:
        job.say(f"warning: serviceRole {wish.role} is not assumed by a local build; give it credentials as variables")
        return
    try:
        job.tools.roles.admit(wish, job.build.project.agent.network)
    except RoleRefused as error:
        job.say(f"{error.message}; {error.hint}")
        raise


def enter(job: Job, container: str) -> None:
    """Serve the credentials in the network of a container that has just been started."""
    wish = RoleWish.of(job.build)
    if wish is not None and job.tools.roles is not None:
        job.tools.roles.enter(wish, container)


def variables(job: Job, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead to the credentials; what the build was *given* may stand in their way."""
    wish = RoleWish.of(job.build)
    if wish is None or job.tools.roles is None:
        return {}
    for name in STRAYS:
        if name in given:
            job.say(f"warning: {name} is set for this build: SDKs heed it, and not the credentials of {wish.role}")
    admission = job.tools.roles.admit(wish, job.build.project.agent.network)
    masks.add(job, [admission.token])
    return dict(admission.variables)


def stores(job: Job) -> tuple[SecretSource, SecretSource]:
    """Return where parameters and secrets are read: as the service role may, where there is one."""
    wish = RoleWish.of(job.build)
    if wish is None or job.tools.roles is None:
        return job.tools.parameters, job.tools.secrets
    aws = job.tools.roles.aws_of(wish, job.build.project.agent.network)
    return ParameterStore(aws), SecretsManager(aws)


def dismiss(job: Job) -> None:
    """Let nobody in with the build's token any more."""
    wish = RoleWish.of(job.build)
    if wish is not None and job.tools.roles is not None:
        job.tools.roles.dismiss(wish)
