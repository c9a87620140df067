"""Secrets in settings and project files: which words are references, and how those to this host are followed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.errors import VariableUnresolved
from agent.model.secret import Secret

REFERENCES = "env:NAME, file:/path, ssm:/name or secretsmanager:ID[:key]"
"""The ways to refer to a secret, as messages tell them."""
_MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class Reference:
    """Where a secret is: `env:NAME`, `file:/path`, `ssm:/name`, `secretsmanager:ID[:key]`, or the text itself.

    `target` is what stands after the colon, or the secret for a literal; `repr` hides it.
    """

    kind: Literal["env", "file", "ssm", "secretsmanager", "literal"]
    target: str = field(repr=False)


_KINDS: tuple[Literal["env", "file", "ssm", "secretsmanager"], ...] = ("env", "file", "ssm", "secretsmanager")
_FORMS = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r"/.+"),
    "ssm": re.compile(r"\S+"),
    "secretsmanager": re.compile(r"\S+"),
}
_EXPECTED = {"env": "env:NAME", "file": "file:/path", "ssm": "ssm:/name", "secretsmanager": "secretsmanager:ID[:key]"}


def reference(text: str) -> Reference:
    """Return what *text* refers to. Raises ValueError for a reference that cannot be right, without showing it."""
    for kind in _KINDS:
        if text.startswith(f"{kind}:"):
            target = text.partition(":")[2]
            if _FORMS[kind].fullmatch(target) is None:
                raise ValueError(f"expected {_EXPECTED[kind]}")
            return Reference(kind, target)
    return Reference("literal", text)


def local_secret(found: Reference, environ: Mapping[str, str] | None = None) -> Secret:
    """Return the secret behind a reference to this host: `env`, `file` (less its last line break) or a literal.

    Raises VariableUnresolved where there is none, ValueError for a reference into AWS.
    """
    environ = os.environ if environ is None else environ
    if found.kind == "literal":
        return Secret(found.target)
    if found.kind == "env":
        value = environ.get(found.target)
        if not value:
            raise VariableUnresolved(
                f"the secret env:{found.target} is not set",
                hint=f"put {found.target}=... into the environment file of the service and restart it",
            )
        return Secret(value)
    if found.kind == "file":
        return Secret(_content(Path(found.target)))
    raise ValueError(f"a {found.kind}: reference is followed by the AWS side")


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise VariableUnresolved(
            f"the secret file:{file} cannot be read: {error.strerror}",
            hint="the file must be there and readable by the user of the service",
        ) from error
    except UnicodeDecodeError as error:
        raise VariableUnresolved(f"the secret file:{file} is not text", hint="write it as UTF-8") from error
    if len(content) > _MAX_BYTES or not text.strip():
        size = "empty" if not text.strip() else f"larger than {_MAX_BYTES >> 10} KiB"
        raise VariableUnresolved(f"the secret file:{file} is {size}", hint="put the secret alone into the file")
    return text.removesuffix("\n").removesuffix("\r")
