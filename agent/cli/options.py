"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from agent.errors import UsageError

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings of the agent; else $BUILDSPECD_CONFIG, else /etc/buildspecd/agent.yml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
VariableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME=VALUE",
        help="Set an environment variable of the build; NAME alone takes the value from here. May be repeated.",
        show_default=False,
    ),
]
BuildArgument = Annotated[
    str, typer.Argument(metavar="BUILD", help="Id, ARN, the first characters of its uuid, or PROJECT#NUMBER.")
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def variables(given: Iterable[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what `-e NAME=VALUE` and `-e NAME` mean; the latter takes the value from *environ*.

    Raises `UsageError` for a bad name and for a variable that is not set.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not _NAME.fullmatch(name):
            # The value may be a secret that was put in the wrong place: it is not repeated.
            raise UsageError(f"-e: {name[:40]!r} is not a variable name", hint="write -e NAME=VALUE, or -e NAME")
        if not equals and name not in environ:
            raise UsageError(f"-e {name}: {name} is not set in the environment", hint=f"write -e {name}=VALUE")
        found[name] = value if equals else environ[name]
    return found


def env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file of `NAME=VALUE` lines.

    Blank lines and those that start with `#` are skipped, `export ` in front is allowed. A value may stand in single
    quotes (as it is) or double quotes (with `\\n`, `\\t`, `\\"`, `\\\\`); unquoted, it ends at ` #`.
    Raises `UsageError` naming file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--env-file {path}: it is not UTF-8 text") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip().removeprefix("export ").lstrip()
        if not entry or entry.startswith("#"):
            continue
        name, equals, value = entry.partition("=")
        if not equals or not _NAME.fullmatch(name.rstrip()):
            raise UsageError(f"{path}:{number}: expected NAME=VALUE", hint="a comment starts with #")
        found[name.rstrip()] = _value(value.strip(), f"{path}:{number}")
    return found


def _value(text: str, place: str) -> str:
    quote = text[:1]
    if quote not in ("'", '"'):
        return re.sub(r"(^|\s+)#.*$", "", text)
    pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.fullmatch(pattern + r"\s*(?:#.*)?", text)
    if match is None:
        raise UsageError(f"{place}: the quote is not closed, or something follows it")
    if quote == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match[1])
