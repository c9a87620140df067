"""Accounts: which credential opens which source, by settings, by the source's own `auth`, or by the host's role."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from agent.errors import SourceRefused
from agent.kit.clock import Clock
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source import url
from agent.source.connections import Trust
from agent.source.credentials import (
    INSECURE_TYPES,
    AwsKeys,
    GitCredential,
    Login,
    SshLogin,
    codecommit_credential,
    token_user,
)
from agent.source.githubapp import READ, App, GitHubApps
from agent.source.sshkeys import SshKeys
from agent.source.url import GitUrl

_ALL: dict[str, str] = {}
"""Permissions of an app's token for the REST interface: whatever the app has; who asks for more gets nothing at all."""

_USUAL_PORTS = {"https": 443, "http": 80, "ssh": 22}
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@!-]{1,512}")
_SHAPE = 'store {"ServerType": "GITHUB", "AuthType": "PERSONAL_ACCESS_TOKEN", "Token": "..."} in it'
_ENTRY = "add an entry for its host to `credentials` in agent.yml"
_AWS_ONLY = (
    "its source.auth is {}, which opens sources for AWS alone: {}, or name a secret in source.auth (SECRETS_MANAGER)"
)


class Secrets(Protocol):
    """Follows references such as `env:NAME` and `secretsmanager:ID`; a text that is none stands for itself."""

    def __call__(self, text: str) -> Secret:
        """Return what is behind *text*. Raises `BuildspecdError`."""
        ...

    def forget(self, text: str) -> None:
        """Let the next call ask anew for what is behind *text*."""
        ...


@dataclass(frozen=True)
class Account:
    """One entry of `credentials`: how the repositories of a host, below a path, are entered.

    One of *token*, *password* (with *username*), *app* and *ssh_key* is given; all but the name are references.
    *host* may have a port. *path* is `owner`, `owner/repository`, or empty for all. *place* is where it is written.
    """

    host: str
    path: str = ""
    username: str | None = None
    token: str | None = None
    password: str | None = None
    app: App | None = None
    ssh_key: str | None = None
    known_hosts: Path | None = None
    allow_http: bool = False
    place: str = ""

    def fits(self, address: GitUrl) -> bool:
        """Whether this entry opens *address*, at least by its name."""
        if address.scheme not in (("ssh",) if self.ssh_key is not None else ("https", "http")):
            return False
        host, port = _host_and_port(self.host)
        usual = _USUAL_PORTS.get(address.scheme)
        if host != address.host or (address.port or usual) != (port or usual):
            return False
        wanted, path = _plain(self.path), _plain(address.path)
        return not wanted or path == wanted or path.startswith(wanted + "/")

    @property
    def references(self) -> tuple[str, ...]:
        """What has to be asked for to use it."""
        found = (self.token, self.password, self.app and self.app.private_key, self.ssh_key)
        return tuple(text for text in found if text)

    @property
    def identity(self) -> str:
        """What stays the same when the secrets behind the references are renewed."""
        app = (self.app.api, self.app.id, self.app.installation) if self.app else None
        facts = (self.host, self.path, self.username, self.references, app)
        return f"account:{hashlib.sha256(repr(facts).encode()).hexdigest()}"

    @property
    def kind(self) -> str:
        """What messages call it."""
        kind = "GitHub App" if self.app else "SSH key" if self.ssh_key else "token" if self.token else "password"
        return f"the {kind} of {self.place or self.host}"


class Accounts:
    """A `Keyring` over the entries of agent.yml, the secrets of `source.auth`, and the role of this host."""

    def __init__(
        self,
        entries: Sequence[Account],
        secrets: Secrets,
        *,
        apps: GitHubApps,
        keys: SshKeys,
        aws_keys: AwsKeys,
        clock: Clock,
        ca_file: Callable[[Source], Path | None] = lambda _: None,
        written: Callable[[GitUrl], GitCredential | None] = lambda _: None,
    ) -> None:
        """*written* gives the login that a project file has in its location; the record of a build does not keep it."""
        self._entries = _by_length(entries)
        self._secrets = secrets
        self._apps = apps
        self._keys = keys
        self._aws_keys = aws_keys
        self._clock = clock
        self._ca_file = ca_file
        self._written = written

    def __call__(self, source: Source) -> Login | None:
        """See `Keyring`."""
        return self._login(source, READ)

    def renew(self, entries: Sequence[Account]) -> None:
        """Have *entries* hold from now on; who was given a login before goes on with it."""
        before, self._entries = self._entries, _by_length(entries)
        self._apps.keep_only({entry.app for entry in before if entry.app} & {one.app for one in entries if one.app})
        self._keys.let_go()

    def for_api(self, source: Source) -> GitCredential | None:
        """Return what opens the REST interface of the source's host, to tell of statuses; None where nothing does."""
        login = self._login(source, _ALL)
        return login if isinstance(login, GitCredential) else None

    def identity(self, source: Source) -> str | None:
        """See `Keyring`."""
        address, embedded = url.parse(source.location or "")
        if _has_secret(source):
            return f"secret:{source.auth and source.auth.resource}"
        entry = self._entry(address)
        if entry is not None:
            return entry.identity
        if embedded is not None or (address.scheme in ("http", "https") and self._written(address)):
            return None
        return "codecommit:host" if address.codecommit_region else ""

    def forget(self, source: Source) -> None:
        """See `Keyring`."""
        address, _ = url.parse(source.location or "")
        entry = self._entry(address)
        if _has_secret(source):
            self._secrets.forget(_reference_of(source))
        elif entry is not None:
            for text in entry.references:
                self._secrets.forget(text)
            if entry.app is not None:
                self._apps.forget(entry.app, _repository(address))

    def advice(self, source: Source) -> str:
        """See `Keyring`."""
        address, embedded = url.parse(source.location or "")
        entry = self._entry(address)
        if _has_secret(source):
            return f"it was entered with the secret {source.auth and source.auth.resource} of source.auth"
        if entry is not None:
            return f"it was entered with {entry.kind}"
        if source.auth is not None:
            return _AWS_ONLY.format(source.auth.type, _ENTRY)
        if embedded is not None or (not address.is_local and self._written(address)):
            return "it was entered with the login in its location"
        if address.codecommit_region:
            return "it was entered with this host's role, which needs codecommit:GitPull, and a right clock"
        return "" if address.is_local else f"it was entered without a credential: if it is private, {_ENTRY}"

    def _login(self, source: Source, permissions: dict[str, str]) -> Login | None:
        address, embedded = url.parse(source.location or "")
        if address.is_local:
            return None
        entry = self._entry(address)
        if _has_secret(source):
            _refuse_clear_text(address, allowed=entry is not None and entry.allow_http)
            _refuse_stranger(source.type, address)
            return self._of_secret(source)
        if entry is not None:
            _refuse_clear_text(address, allowed=entry.allow_http)
            return self._of_entry(entry, source, address, permissions)
        if embedded is not None or address.scheme not in ("http", "https"):
            return None
        if written := self._written(address):
            return written
        if address.codecommit_region:
            return codecommit_credential(address, self._aws_keys, self._clock.now())
        return None

    def _entry(self, address: GitUrl) -> Account | None:
        return next((entry for entry in self._entries if entry.fits(address)), None)

    def _of_entry(self, entry: Account, source: Source, address: GitUrl, permissions: dict[str, str]) -> Login:
        identity = entry.identity
        if entry.ssh_key is not None:
            key = self._keys.held(self._secrets(entry.ssh_key), f"of {entry.place or entry.host}")
            return SshLogin(key.file, entry.known_hosts, identity, hold=key)
        if entry.app is not None:
            trust = Trust(source.insecure_ssl and source.type in INSECURE_TYPES, self._ca_file(source))
            token = self._apps.token(
                entry.app,
                self._secrets(entry.app.private_key),
                _repository(address),
                permissions=permissions,
                trust=trust,
            )
            return GitCredential("x-access-token", token, identity)
        if entry.token is not None:
            return GitCredential(entry.username or token_user(source), _trimmed(self._secrets(entry.token)), identity)
        return GitCredential(entry.username or "", _trimmed(self._secrets(entry.password or "")), identity)

    def _of_secret(self, source: Source) -> GitCredential:
        arn = (source.auth and source.auth.resource) or ""
        if not is_secret_arn(arn):
            raise SourceRefused(
                "source.auth of type SECRETS_MANAGER needs the ARN of a secret as its resource",
                hint="write arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME",
            )
        credential = _from_json(self._secrets(_reference_of(source)).reveal(), source, arn)
        return replace(credential, identity=f"secret:{arn}")


def _by_length(entries: Sequence[Account]) -> tuple[Account, ...]:
    return tuple(sorted(entries, key=lambda entry: len(_plain(entry.path)), reverse=True))


def is_secret_arn(text: str) -> bool:
    """Whether *text* is the ARN of a secret in Secrets Manager, and so none itself."""
    return _SECRET_ARN.fullmatch(text) is not None


def _from_json(text: str, source: Source, arn: str) -> GitCredential:
    """Return the login in a secret of CodeBuild's own shape (service.md 2.4)."""
    try:
        content: Any = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("Token"), str) or not content["Token"]:
        raise SourceRefused(f"the secret {arn} is not a credential of CodeBuild's", hint=_SHAPE)
    server, kind = str(content.get("ServerType", source.type)), str(content.get("AuthType", "PERSONAL_ACCESS_TOKEN"))
    if source.type not in ("GIT", server):
        raise SourceRefused(
            f"the secret {arn} is for {server}, the source is of type {source.type}",
            hint="name another secret in source.auth, or correct its ServerType",
        )
    token, username = Secret(content["Token"]), content.get("Username")
    _refuse_stranger(server, url.parse(source.location or "")[0])
    if kind == "BASIC_AUTH":
        if not isinstance(username, str) or not username:
            raise SourceRefused(f"the secret {arn} is BASIC_AUTH without Username", hint="add Username to the secret")
        return GitCredential(username, token)
    if kind != "PERSONAL_ACCESS_TOKEN":
        raise SourceRefused(
            f"the secret {arn} has AuthType {kind}, which opens sources for AWS alone",
            hint="store a personal access token (AuthType PERSONAL_ACCESS_TOKEN) or BASIC_AUTH in it",
        )
    typed = source if source.type != "GIT" else source.evolve(type=server if server in _SERVERS else "GIT")
    return GitCredential(token_user(typed), token)


_HOMES = {"GITHUB": "github.com", "GITLAB": "gitlab.com", "BITBUCKET": "bitbucket.org"}
"""Source types whose location has one host (service.md 1.3)."""
_SERVERS = frozenset({"GITHUB", "GITHUB_ENTERPRISE", "GITLAB", "GITLAB_SELF_MANAGED", "BITBUCKET"})


def _has_secret(source: Source) -> bool:
    return source.auth is not None and source.auth.type == "SECRETS_MANAGER"


def _reference_of(source: Source) -> str:
    return f"secretsmanager:{(source.auth and source.auth.resource) or ''}"


def _trimmed(secret: Secret) -> Secret:
    """Return a token without the line break that editors and `echo` put behind it."""
    return Secret(secret.reveal().strip("\r\n"))


def _refuse_clear_text(address: GitUrl, *, allowed: bool) -> None:
    if address.scheme == "http" and not allowed:
        raise SourceRefused(
            f"{address.text}: its credential is not sent over http, where anybody on the way reads it",
            hint="use https, or set allow_http: true at its entry of `credentials`",
        )


def _refuse_stranger(server: str, address: GitUrl) -> None:
    """Keep the secret of a hosted service from whatever host a location, or an override of it, names."""
    home = _HOMES.get(server)
    if home is not None and address.host != home and not address.host.endswith(f".{home}"):
        raise SourceRefused(
            f"{address.text} is not at {home}: the secret of source.auth is not sent there",
            hint=f"correct the location: the type is {server}",
        )


def _host_and_port(host: str) -> tuple[str, int | None]:
    name, colon, port = host.lower().rpartition(":")
    if colon and port.isdigit() and not name.endswith(":"):
        return name.strip("[]"), int(port)
    return host.lower().strip("[]"), None


def _plain(path: str) -> str:
    return path.strip("/").removesuffix(".git").casefold()


def _repository(address: GitUrl) -> str:
    parts = address.path.strip("/").removesuffix(".git").split("/")
    if len(parts) != 2 or not {"", ".", ".."}.isdisjoint(parts):
        raise SourceRefused(
            f"{address.text} is not a repository of GitHub's, which a GitHub App opens",
            hint="write https://host/owner/name",
        )
    return "/".join(parts)
