"""Credentials: the section of agent.yml that says with what the repositories of a host are opened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent.settings.references import reference

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_KINDS = ("token", "password", "app", "ssh_key")


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("expected the name of a host, such as github.com or git.example.com:8443, without https://")
    return text


def _reference(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a secret, or a reference to one")
    reference(text)
    return text


def _api(text: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text) is None:
        raise ValueError("expected an address such as https://git.example.com/api/v3")
    return text.rstrip("/")


def _path(text: str) -> str:
    if any(part in ("", ".", "..") for part in text.strip("/").split("/")) or re.search(r"\s", text):
        raise ValueError("expected `owner/` or `owner/repository`")
    return text


Reference = Annotated[str, AfterValidator(_reference)]


class _Closed(BaseModel):
    # What stands in a credential must not be repeated in a message.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class GitHubApp(_Closed):
    """A GitHub App."""

    id: int = Field(ge=1)
    """App ID, as its settings page shows it."""
    installation: int | None = Field(default=None, ge=1)
    """Installation ID; null: looked up for each repository."""
    private_key: Reference
    """The .pem file of the app: a reference."""
    api: Annotated[str, AfterValidator(_api)] | None = None
    """Address of the REST interface; null: https://api.github.com, of another host https://HOST/api/v3."""


class Credential(_Closed):
    """With what the repositories of one host are opened: one of token, username and password, app, ssh_key."""

    host: Annotated[str, AfterValidator(_host)]
    """Host of the repositories, with a port where that is not the usual one."""
    path: Annotated[str, AfterValidator(_path)] | None = None
    """`owner/` or `owner/repository`; the longest one that fits a repository wins. Null: all of the host."""
    token: Reference | None = None
    """Access token: a reference."""
    username: str | None = Field(default=None, min_length=1)
    """User name that goes with `password`, or with a `token` whose host wants another than usual."""
    password: Reference | None = None
    """Password, or an app password: a reference."""
    app: GitHubApp | None = None
    """A GitHub App, which gives tokens of an hour for one repository each."""
    ssh_key: Reference | None = None
    """Private key without passphrase, for ssh:// and git@host:path locations: a reference."""
    known_hosts: Path | None = None
    """File with the host's SSH keys; null: those that the user of the service knows."""
    allow_http: bool = False
    """Whether the credential may be sent over http, where anybody on the way can read it."""

    @model_validator(mode="after")
    def _is_one(self) -> Credential:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(_KINDS)}, not {' and '.join(given) or 'none'}")
        if self.password is not None and self.username is None:
            raise ValueError("password needs a username")
        if self.username is not None and (self.app is not None or self.ssh_key is not None):
            raise ValueError("username goes with password or token")
        if self.known_hosts is not None and self.ssh_key is None:
            raise ValueError("known_hosts goes with ssh_key")
        return self


def literals(entries: Sequence[Credential]) -> Iterator[tuple[str | int, ...]]:
    """Yield the places below `credentials` at which a secret itself stands, and not a reference to it."""
    for index, entry in enumerate(entries):
        for name in ("token", "password", "ssh_key"):
            text = getattr(entry, name)
            if text is not None and reference(text).kind == "literal":
                yield index, name
        if entry.app is not None and reference(entry.app.private_key).kind == "literal":
            yield index, "app", "private_key"
