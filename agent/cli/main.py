"""The command `buildspecd`: its commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agent import __version__
from agent.cli import (
    builds,
    doctor,
    drain,
    guard,
    logs,
    pipeline,
    projects,
    reports,
    retry,
    run,
    serve,
    shell,
    show,
    start,
    stop,
    torture,
    validate,
    webhook_test,
)
from agent.cli.plaintext import plain
from agent.errors import BuildspecdError

_INTERRUPTED = 130
_BROKEN_PIPE = 141
_BUG = 3


app = typer.Typer(
    name="buildspecd",
    help="Run AWS CodeBuild buildspecs in Docker, inside your own network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"buildspecd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run AWS CodeBuild buildspecs in Docker, inside your own network."""


app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("serve")(serve.serve)
app.command("drain")(drain.drain)
app.command("guard")(guard.guard)
app.add_typer(projects.app, name="projects")
app.add_typer(pipeline.app, name="pipeline")
app.command("start")(start.start)
app.command("builds")(builds.builds)
app.command("show")(show.show)
app.command("reports")(reports.reports)
app.command("logs")(logs.logs)
app.command("stop")(stop.stop)
app.command("retry")(retry.retry)
app.command("shell")(shell.shell)
app.command("webhook-test")(webhook_test.webhook_test)
app.command("doctor")(doctor.doctor)
app.command("torture")(torture.torture)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing but an exit code ever leaves it, and no traceback."""
    try:
        code = app(args=list(sys.argv[1:] if argv is None else argv), prog_name="buildspecd", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except SystemExit as leaving:
        # Completion ends so, with 0. With 1 typer and rich do when the reader has gone: to us that is a failed build.
        code = _BROKEN_PIPE if leaving.code else 0
    except BuildspecdError as error:
        code = _told(error)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001  # one of the four: what else happens is a bug of ours, and told as one
        code = _misused(error) if hasattr(error, "format_message") else _bug(error)
    if code == _BROKEN_PIPE:
        _mute_output()
    return code if isinstance(code, int) else 0


def _told(error: BuildspecdError) -> int:
    _say(f"error: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")
    if os.environ.get("BUILDSPECD_DEBUG") == "1":
        _say(traceback.format_exc())
    return error.exit_code


def _misused(error: Any) -> int:
    """Print what typer says of a command line that makes no sense."""
    error.show()
    return int(error.exit_code)


def _bug(error: Exception) -> int:
    """Print a short reference that is the same for the same bug, so that reports can be matched."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    reference = hashlib.sha256(f"{type(error).__name__}{place}{__version__}".encode()).hexdigest()[:8]
    if os.environ.get("BUILDSPECD_DEBUG") == "1":
        _say(traceback.format_exc())
    _say(f"error: this is a bug in buildspecd {__version__}: {type(error).__name__} at {place} (reference {reference})")
    _say("hint: please report it; BUILDSPECD_DEBUG=1 in front of the same command shows where it happened")
    return _BUG


def _say(text: str) -> None:
    """Write to standard error, whatever has become of it."""
    try:
        sys.stderr.write(f"{plain(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _mute_output()


def _mute_output() -> None:
    """Send what Python would still flush at its end to nowhere: the reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)


if __name__ == "__main__":
    sys.exit(main())
