"""Runtimes: what `runtime-versions` asks for, chosen from the build image's own list and handed to the driver."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.buildlog.stamps import PREFIX, stamp
from agent.container.driver import SetUp
from agent.environment.known_images import RuntimesOfImage
from agent.environment.runtimes import RUNTIMES_FILE, demands_a_choice, parse_runtimes, select
from agent.errors import BuildspecInvalid
from agent.kit.files import open_regular, write_atomic
from agent.kit.tarstream import TarReader
from agent.kit.untar import ChunkReader
from agent.model.cause import Cause

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_LIMIT = 1 << 20
_SEARCH = 1 << 20
_SKIPPED = "Skipping install of runtimes. Runtime version selection is not supported by this build image."


def choose(job: Job, container: str, variables: Mapping[str, str]) -> tuple[SetUp, ...]:
    """Return the commands that set up what the buildspec chose, after saying so in the log (buildspec.md 9).

    *variables* are those of the build; the image's own are below them. Raises `BuildspecInvalid`.
    """
    state = job.tools.engine.inspect(container)
    wanted = job.plan.runtime_versions
    if state is None:
        return ()  # the container is gone; whoever makes another comes here again
    image = job.tools.known_images.runtimes(state.image, lambda: _look(job, container))
    if image.catalogue is None:
        if wanted and image.problem:
            raise BuildspecInvalid(
                f"{RUNTIMES_FILE} of the build image cannot be used: {image.problem}",
                hint="use another image, or leave runtime-versions out of the buildspec",
                cause=Cause.IMAGE_UNUSABLE,
            )
        if wanted:
            job.say(_SKIPPED)
        return ()
    if not wanted:
        if demands_a_choice(job.build.project.environment.image):
            raise BuildspecInvalid(
                "This build image requires selecting at least one runtime version.",
                hint="add phases.install.runtime-versions to the buildspec",
            )
        job.say("No runtime version selected in buildspec.")
        return ()
    selection = select(image.catalogue, wanted, {**dict(_pair(one) for one in state.variables), **variables})
    for line in selection.lines:
        job.say(line)
    if selection.problem:
        raise BuildspecInvalid(selection.problem, hint="correct phases.install.runtime-versions of the buildspec")
    return tuple(SetUp(command.text, command.version) for command in selection.commands)


def keep(job: Job, commands: tuple[SetUp, ...]) -> None:
    """Remember what the driver was told to run, for the message of a failure; the build cannot reach it here."""
    texts = [command.text for command in commands]
    write_atomic(job.paths.scratch / "set-up.json", json.dumps(texts).encode(), sync=False)


def kept(job: Job) -> list[str]:
    """Return the texts of the commands that the driver was told to run."""
    try:
        texts = json.loads((job.paths.scratch / "set-up.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [str(text) for text in texts] if isinstance(texts, list) else []


def moved_line(directory: str, said_at: float) -> bytes:
    """Return the line with which a driver ends the set-up of runtimes."""
    return f"{PREFIX}{stamp(said_at)} Moving to directory {directory}\n".encode()


def holds_line(job: Job, line: bytes) -> bool:
    """Whether *line* is in what the container has printed. It is looked for from the end, where it should be."""
    handle = open_regular(job.paths.control / "output")
    if handle is None:
        return False
    with contextlib.closing(os.fdopen(handle, "rb")) as file:
        end = os.fstat(file.fileno()).st_size
        file.seek(max(0, end - _SEARCH))
        return line in file.read(_SEARCH)


def _look(job: Job, container: str) -> RuntimesOfImage:
    chunks = job.tools.engine.copy_out(container, RUNTIMES_FILE)
    if chunks is None:
        return RuntimesOfImage()
    try:
        reader = TarReader(ChunkReader(chunks))
        member = next(iter(reader), None)
        if member is None or member.kind != "file":
            return RuntimesOfImage(problem="it is no file")
        if member.size > _LIMIT:
            return RuntimesOfImage(problem=f"it has more than {_LIMIT} bytes")
        return RuntimesOfImage(parse_runtimes(reader.read(member.size)))
    except ValueError as error:
        return RuntimesOfImage(problem=str(error))


def _pair(variable: str) -> tuple[str, str]:
    name, _, value = variable.partition("=")
    return name, value
