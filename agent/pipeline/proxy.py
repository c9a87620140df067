"""Proxy: which way a build's artifacts and log take, by the `proxy` section of its buildspec (buildspec.md 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.aws import Proxies
from agent.buildspec.plan import Plan
from agent.environment.proxy import NAMES, proxies_of
from agent.environment.resolve import Choices, choose, resolve
from agent.errors import BuildspecdError
from agent.kit.logging import get_logger
from agent.model.build import Build

if TYPE_CHECKING:
    from agent.pipeline.toolbox import Toolbox

_log = get_logger("pipeline")


def for_artifacts(build: Build, plan: Plan, tools: Toolbox) -> Proxies | None:
    """Return the proxies that the artifacts go through; None: the way of everything else of this agent.

    Raises `VariableUnresolved` or `AwsUnavailable`, as a proxy's address may lie in a secret store.
    """
    return _named_by_build(build, plan, tools) if plan.proxy.upload_artifacts else None


def for_log(build: Build, plan: Plan, tools: Toolbox) -> Proxies | None:
    """Return the proxies that the log goes through; None, too, where they cannot be found out now."""
    try:
        return _named_by_build(build, plan, tools) if plan.proxy.logs else None
    except BuildspecdError as error:
        _log.warning("the log of a build goes past its proxy", build=build.id, error=error.message)
        return None


def _named_by_build(build: Build, plan: Plan, tools: Toolbox) -> Proxies | None:
    """Return the proxies that the build's own variables name; a secret store is asked only if one lies there."""
    choices = choose(build.overrides, build.project.environment.environment_variables, plan.variables)
    named = Choices({name: choice for name, choice in choices.by_name.items() if name in NAMES})
    return proxies_of(resolve(named, tools.parameters, tools.secrets).variables)
