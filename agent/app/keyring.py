"""Keyring: the credentials of sources as the settings give them, and the files in memory that go with them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.aws import Aws
from agent.environment.secrets_manager import SecretsManager
from agent.environment.ssm import ParameterStore
from agent.errors import SourceRefused
from agent.kit.clock import Clock
from agent.model.project import GIT_TYPES, Project, Source
from agent.objects.store import ObjectStore
from agent.settings.credentials import Credential
from agent.settings.schema import Settings
from agent.settings.secrets import Secrets
from agent.source.accounts import Account, Accounts
from agent.source.connections import Connections
from agent.source.credentials import GitCredential, Remote, remote_of
from agent.source.githubapp import App, GitHubApps
from agent.source.hostapi import HostApi
from agent.source.sshkeys import SshKeys
from agent.source.trust import TrustedCAs
from agent.source.url import GitUrl

_GITHUB_API = "https://api.github.com"


@dataclass(frozen=True)
class _Told:
    """By location, as the project files have it (by origin, for one that builds every repository there): its
    certificate. By location without login: the logins in it."""

    certificates: Mapping[str, str]
    logins: Mapping[str, frozenset[GitCredential]]


@dataclass
class SourceAccess:
    """What opens sources: `accounts` for git, `api` for the hosts' REST interfaces, `secrets` for any reference.

    *room* is a directory in memory. *projects* are those that are known now: their certificates are believed for
    their own sources.
    """

    settings: Settings
    aws: Aws
    clock: Clock
    room: Path
    open_store: Callable[[str], ObjectStore]
    projects: Callable[[], Mapping[str, Project]] = dict
    _gathered: tuple[object, _Told] = field(default_factory=lambda: (None, _Told({}, {})))

    def __post_init__(self) -> None:
        self.connections = Connections()
        self.api = HostApi(self.connections, self.clock)
        self.secrets = Secrets(parameters=ParameterStore(self.aws), secrets=SecretsManager(self.aws), clock=self.clock)
        self.keys = SshKeys(self.room / "ssh")
        self.trusted = TrustedCAs(self.room / "ca", self.open_store, self.clock, ca_file=self.settings.git.ca_file)
        self._entries = self.settings.credentials
        self.accounts = Accounts(
            accounts_of(self._entries),
            self.secrets,
            apps=GitHubApps(self.api, self.clock),
            keys=self.keys,
            aws_keys=self.aws.frozen_keys,
            clock=self.clock,
            ca_file=lambda source: self.ca_file(source, None),
            written=self._written,
        )

    def renew(self, entries: tuple[Credential, ...]) -> None:
        """Have *entries* of `credentials` hold from now on, and keep nothing of those that are gone.

        A fetch under way goes on with the login that it has.
        """
        if entries == self._entries:
            return
        before, after = accounts_of(self._entries), accounts_of(entries)
        self._entries = entries
        self.accounts.renew(after)
        for text in {text for one in before for text in one.references} - {t for one in after for t in one.references}:
            self.secrets.drop(text)

    def ca_file(self, source: Source, certificate: str | None) -> Path | None:
        """Return the certificates to believe for *source*: *certificate*, or that of a project with this source."""
        told, location = self._told().certificates, source.location or ""
        return self.trusted.bundle(certificate or told.get(location) or told.get("/".join(location.split("/", 3)[:3])))

    def remote_for_api(self, source: Source) -> Remote | None:
        """Return where a git source lies, with what its host takes for a commit status; None for other sources."""
        if source.type not in GIT_TYPES:
            return None
        return remote_of(source, self.accounts.for_api(source), ca_file=self.ca_file(source, None))

    def clear(self) -> None:
        """Remove keys and certificates from memory; what is needed later is written anew."""
        shutil.rmtree(self.room, ignore_errors=True)

    def _written(self, address: GitUrl) -> GitCredential | None:
        """Return the login that project files have in the location *address*. Raises `SourceRefused` for several."""
        found = self._told().logins.get(address.text, frozenset())
        if len(found) > 1:
            raise SourceRefused(
                f"projects have different logins in the location {address.text}",
                hint="take them out, and give `credentials` in agent.yml an entry",
            )
        return next(iter(found), None)

    def _told(self) -> _Told:
        """Return what the projects tell of their sources; made anew when these change."""
        projects = self.projects()
        made_of, told = self._gathered
        if made_of is not projects:
            told = _gather(projects)
            self._gathered = (projects, told)
        return told


def forget_dead(rooms: Path) -> None:
    """Remove the rooms below *rooms* whose processes were killed; a room is named by its process."""
    for room in rooms.iterdir() if rooms.is_dir() else ():
        if room.name.isdigit() and not Path("/proc", room.name).exists():
            shutil.rmtree(room, ignore_errors=True)


def _gather(projects: Mapping[str, Project]) -> _Told:
    certificates: dict[str, str] = {}
    logins: dict[str, frozenset[GitCredential]] = {}
    for project in projects.values():
        for source in (project.source, *project.secondary_sources):
            if source.type not in GIT_TYPES or not source.location:
                continue
            if project.environment.certificate:
                scope = project.webhook.scope_configuration if project.webhook else None
                place = f"https://{scope.domain}" if scope and scope.domain else source.location
                certificates[place] = project.environment.certificate
            if "@" in source.location:
                with suppress(SourceRefused):  # whoever builds it says so
                    remote = remote_of(source, None)
                    found = frozenset([remote.credential] if remote.credential else [])
                    logins[remote.url.text] = logins.get(remote.url.text, frozenset()) | found
    return _Told(certificates, logins)


def accounts_of(entries: Sequence[Credential]) -> list[Account]:
    """Return the entries of `credentials` as the room of sources knows them."""
    return [account_of(entry, index) for index, entry in enumerate(entries)]


def account_of(entry: Credential, index: int) -> Account:
    """Return an entry of `credentials` as the room of sources knows it."""
    app = entry.app
    api = (app and app.api) or (_GITHUB_API if entry.host == "github.com" else f"https://{entry.host}/api/v3")
    return Account(
        host=entry.host,
        path=entry.path or "",
        username=entry.username,
        token=entry.token,
        password=entry.password,
        app=App(app.id, app.private_key, app.installation, api) if app else None,
        ssh_key=entry.ssh_key,
        known_hosts=entry.known_hosts,
        allow_http=entry.allow_http,
        place=f"credentials[{index}] in agent.yml",
    )
