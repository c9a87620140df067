"""`buildspecd shell`: look around in a build while it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import BuildArgument, ConfigOption
from agent.errors import BuildUnknown, DaemonNotRunning, RequestInvalid, SettingsInvalid

Command = Annotated[
    list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Run this instead of an interactive shell.")
]


def shell(build: BuildArgument, command: Command = None, config: ConfigOption = None) -> None:
    """Open a shell in the container of a running build: of the daemon, or of a `run` on this host.

    It has the user, the variables and the directory that the build's commands have at this moment. Exit code: that of
    the shell or command. A build waits for you where it runs codebuild-breakpoint, if it may be debugged.
    """
    from agent.app.shell import sessions
    from agent.cli.terminal import Ended, joined

    door = sessions()
    container = _container(build, door.running(), config)
    variables = {"TERM": os.environ["TERM"]} if os.environ.get("TERM") else {}
    try:
        with joined() as ends:
            code = door.run(container, command or (), ends, variables if ends.size else None)
    except Ended as ended:
        code = ended.exit_code
    raise typer.Exit(code)


def _container(name: str, running: Mapping[str, str], config: Path | None) -> str:
    """Return the container of the one running build that *name* means. Raises `BuildUnknown`, `RequestInvalid`."""
    found = matching(name, running)
    if len(found) > 1:
        several = ", ".join(sorted(found))
        raise RequestInvalid(f"{name} means several running builds: {several}", hint="give more characters of the id")
    return running[found[0]] if found else _asked(name, running, config)


def matching(name: str, running: Mapping[str, str]) -> list[str]:
    """Return the running builds that *name* may mean: an id, an ARN, the beginning of a uuid. Pure."""
    wanted = name.rpartition(":build/")[2]
    if wanted in running:
        return [wanted]
    return [build for build in running if wanted and build.partition(":")[2].startswith(wanted)]


def _asked(name: str, running: Mapping[str, str], config: Path | None) -> str:
    """Return the container of a build that only the daemon knows by this name, or raise why nobody can get in."""
    from agent.cli.daemon import client

    try:
        found = client(config).build(name)
    except (DaemonNotRunning, SettingsInvalid) as error:
        raise BuildUnknown(f"no build that runs on this host is {name}", hint=error.hint) from error
    if found["id"] in running:
        return running[found["id"]]
    if found["buildComplete"]:
        raise RequestInvalid(
            f"{found['id']} has ended: {found['buildStatus']}",
            hint="run codebuild-breakpoint in its buildspec, and start it with debugSessionEnabled",
        )
    raise RequestInvalid(f"{found['id']} has no container now: {found['currentPhase']}", hint="try again in a moment")
