"""`buildspecd run`: build a working tree on this machine, the way the daemon would."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import ConfigOption, JsonOption, VariableOption, env_file, variables
from agent.cli.plaintext import plain
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.app.run import LocalRun
    from agent.kit.clock import Clock
    from agent.kit.service import StopToken
    from agent.model.build import Build
    from agent.model.report import Report

_NOTICE = "buildspecd: stopping the build; press Ctrl-C again to leave at once"
_SETTLE = 0.3
"""Seconds without another save before a watched tree is built again."""

Directory = Annotated[
    Path, typer.Argument(metavar="[DIR]", exists=True, file_okay=False, help="Working tree to build.")
]
Buildspec = Annotated[
    str | None, typer.Option("--buildspec", "-f", metavar="BUILDSPEC", help="Buildspec; its path starts at DIR.")
]
Image = Annotated[str | None, typer.Option("--image", "-i", help="Image of the build container.")]
EnvFiles = Annotated[
    list[Path] | None,
    typer.Option("--env-file", metavar="FILE", help="File of NAME=VALUE lines; -e wins. May be repeated."),
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="NAME|FILE", help="Take image, variables etc. from a project.")
]
ArtifactsDirectory = Annotated[
    Path | None, typer.Option("--artifacts", metavar="DIR", file_okay=False, help="Put the artifacts' files here.")
]
CacheDirectory = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", file_okay=False, help="Keep the cache here.")
]
Network = Annotated[
    str | None, typer.Option("--network", metavar="host|bridge|none|NAME", help="Network of the container.")
]
Privileged = Annotated[bool, typer.Option("--privileged", help="For Docker inside the build.")]
Debug = Annotated[bool, typer.Option("--debug", help="Pause where the build runs codebuild-breakpoint.")]
Minutes = Annotated[float | None, typer.Option("--timeout", min=0.01, metavar="MINUTES", help="Time limit.")]
Watch = Annotated[bool, typer.Option("--watch", help="Build again whenever a file is saved; Ctrl-C ends it.")]


def run(
    directory: Directory = Path(),
    buildspec: Buildspec = None,
    image: Image = None,
    env: VariableOption = None,
    env_files: EnvFiles = None,
    project: ProjectOption = None,
    artifacts: ArtifactsDirectory = None,
    cache: CacheDirectory = None,
    network: Network = None,
    privileged: Privileged = False,
    debug: Debug = False,
    timeout: Minutes = None,
    watch: Watch = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Build a working tree in a container. The log goes to standard output, a summary to standard error.

    Exit code: 0 succeeded, 1 failed, 2 invalid, 3 our fault, 4 timed out, 5 stopped.
    """
    from agent.app.run import LocalRun, run_local
    from agent.cli.signals import stopping_on_signals
    from agent.kit.clock import SystemClock
    from agent.kit.service import StopToken
    from agent.settings.load import settings_file

    stop = StopToken()
    order = LocalRun(
        directory=directory.absolute(),
        buildspec=buildspec,
        image=image,
        variables=_variables(env_files or (), env or ()),
        project=project,
        config=settings_file(config),
        artifacts=artifacts and artifacts.absolute(),
        cache=cache and cache.absolute(),
        network=network,
        privileged=privileged,
        debug=debug,
        timeout_minutes=timeout,
        console=sys.stdout.buffer,
        stop=stop,
    )
    sys.stdout.flush()
    with stopping_on_signals(stop, _NOTICE):
        again = partial(built_on_save, clock=SystemClock(), stop=stop)
        raise typer.Exit((again if watch else built)(order, as_json, run_local))


def _variables(files: Iterable[Path], given: Iterable[str]) -> dict[str, str]:
    """Return the variables of all files, with those of `-e` on top."""
    found: dict[str, str] = {}
    for file in files:
        found |= env_file(file)
    return found | variables(given)


def built(order: LocalRun, as_json: bool, build_it: Callable[[LocalRun], Build]) -> int:
    """Build once by *build_it* and return the exit code; print a summary, and JSON as the last line of the output."""
    from agent.cli.screen import err, summary
    from agent.cli.verdict import exit_code
    from agent.web.reports import report_json
    from agent.web.shapes import build_json

    reports: list[Report] = []
    build = build_json(build_it(replace(order, reported=reports.append)))
    sys.stdout.flush()
    summary(err(), build, [report_json(report) for report in reports])
    if as_json:
        sys.stdout.write(json.dumps(build) + "\n")
        sys.stdout.flush()
    return exit_code(build)


def built_on_save(
    order: LocalRun, as_json: bool, build_it: Callable[[LocalRun], Build], clock: Clock, stop: StopToken
) -> int:
    """Build, and build again after every save, until *stop* is set; return the exit code of the last build."""
    from agent.cli.saves import Saves

    with Saves(order.directory, [path for path in (order.artifacts, order.cache) if path]) as saves:
        while True:
            saves.forget()
            code = _built_or_told(order, as_json, build_it)
            if not stop.is_set:
                sys.stderr.write("buildspecd: waiting for the next save; Ctrl-C ends\n")
            if not saves.wait(stop):
                return code
            clock.wait(_SETTLE, stop)


def _built_or_told(order: LocalRun, as_json: bool, build_it: Callable[[LocalRun], Build]) -> int:
    """Build once; what the next save may mend (a wrong buildspec) is told, and does not end the watch."""
    try:
        return built(order, as_json, build_it)
    except UserError as error:
        sys.stderr.write(plain(f"error: {error.message}\n"))
        return error.exit_code
