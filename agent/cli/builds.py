"""`buildspecd builds`: the builds of this agent, newest first."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.options import ConfigOption, JsonOption


def builds(
    project: Annotated[str | None, typer.Option("--project", metavar="P", help="Only builds of this project.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S", help="Only builds that stand so, such as FAILED.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List builds, newest first."""
    from agent.cli.daemon import client

    wanted = status and status.upper().replace("-", "_")
    found = client(config).call("ListBuildDetails", project=project, status=wanted, limit=limit)["builds"]
    if as_json:
        typer.echo(json.dumps({"builds": found}))
        return
    from agent.cli import screen

    screen.table(
        screen.out(),
        ("NUMBER", "BUILD", "PROJECT", "STATUS", "SOURCE", "STARTED", "TIME"),
        (
            (
                build["buildNumber"],
                build["id"].partition(":")[2][:8],
                build["projectName"],
                screen.coloured(screen.status_of(build)),
                build["buildspecd"].get("waitsFor")
                or build.get("sourceVersion")
                or build.get("resolvedSourceVersion", "")[:12],
                screen.moment(build["startTime"]),
                screen.duration(screen.elapsed(build)),
            )
            for build in found
        ),
    )
