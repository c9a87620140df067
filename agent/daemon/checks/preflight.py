"""Preflight: what projects say they need, connected to from the network that their builds have."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.container import lookout
from agent.container.engine import Engine
from agent.container.lookout import PATIENCE_SECONDS as LOOK_SECONDS
from agent.container.lookout import Survey
from agent.container.spec import ContainerSpec
from agent.daemon.checks.check import Check
from agent.model.project import Project
from agent.pipeline.preflight import described, hint
from agent.pipeline.surroundings import Lookout

_CONTAINER_SECONDS = 15.0


def patience(project: Project, outlook: Lookout) -> float:
    """Return how long looking out takes at most; for a network of its own a throw-away container is made in it."""
    return LOOK_SECONDS + (1.0 if outlook.shares(project.agent.network) else _CONTAINER_SECONDS)


def preflight(
    project: Project, engine: Engine, outlook: Lookout, rewrites: Callable[[str], str], agent_id: str
) -> Iterator[Check]:
    """Connect to all that *project* needs; *agent_id* marks the container for that. Raises `BuildspecdError`."""
    options = project.agent
    if not options.preflight:
        return
    if outlook.shares(options.network):
        yield from judged(project, lookout.from_host(options.preflight, LOOK_SECONDS - 1))
        return
    image = project.environment.image
    present = next((name for name in (image, rewrites(image)) if engine.has_image(name)), None)
    if present is None:
        survey = lookout.from_host(options.preflight)
        why = f"from the host, and not from the network {options.network}: its image {image} is not on the host yet"
        yield from judged(project, Survey(survey.answers, survey.servers, why))
        return
    with throw_away(present, options.network, engine, agent_id) as container:
        survey = outlook.from_container(container, options.preflight)
    yield from judged(project, survey)


@contextmanager
def throw_away(image: str, network: str, engine: Engine, agent_id: str) -> Iterator[str]:
    """Have a container of *image* in *network* for a while. Raises `BuildspecdError`."""
    container = engine.create(
        ContainerSpec(
            build_id=f"shell:{uuid.uuid4()}",
            agent_id=agent_id,
            image=image,
            command=("/bin/sh", "-c", f"sleep {_CONTAINER_SECONDS:g}"),
            working_dir="/",
            mounts=(),
            network=network,
        )
    )
    try:
        engine.start(container)
        yield container
    finally:
        engine.remove(container)


def judged(project: Project, survey: Survey) -> Iterator[Check]:
    """Yield what to say of each target."""
    name = f"preflight of {project.name}"
    for answer in survey.answers:
        text = described(answer) if not survey.remark else f"{described(answer)} ({survey.remark})"
        if answer.hop is None:
            yield Check(name, "warn" if survey.remark else "ok", text, "docker pull the image" if survey.remark else "")
        else:
            yield Check(name, "fail", text, hint(answer, survey.servers, project.agent.network))
