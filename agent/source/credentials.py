"""Credentials of git servers: who we are to one origin, and CodeCommit's signature (service.md 2.3, 2.4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from agent.errors import SourceNotFound, SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source import url
from agent.source.inside import refuse_inside
from agent.source.url import GitUrl

AwsKeys = Callable[[], tuple[str, str, str | None]]
"""Returns access key id, secret access key and session token (None for a long-lived key)."""

INSECURE_TYPES = frozenset({"GITHUB_ENTERPRISE", "GITLAB_SELF_MANAGED", "GIT"})
"""Source types whose `insecureSsl` holds; the others are public services with good certificates (service.md 1.3)."""

_TOKEN_USERS = {
    "GITHUB": "x-access-token",
    "GITHUB_ENTERPRISE": "x-access-token",
    "GITLAB": "oauth2",
    "GITLAB_SELF_MANAGED": "oauth2",
    "BITBUCKET": "x-token-auth",
}
_TOKEN_HOSTS = {"github.com": "x-access-token", "gitlab.com": "oauth2", "bitbucket.org": "x-token-auth"}


@dataclass(frozen=True)
class GitCredential:
    """A user name and a password or token. `identity` tells two credentials apart that may see different things.

    An identity outlives the renewal of a token: the user name by default, a role or key id where that is known.
    """

    username: str
    password: Secret
    identity: str = ""

    def __post_init__(self) -> None:
        for text in (self.username, self.password.reveal()):
            if any(sign in text for sign in "\r\n\0"):
                raise SourceRefused("a git credential holds a line break", hint="remove it from the stored token")

    @property
    def fingerprint(self) -> str:
        """What a mirror is kept apart by; never the password itself."""
        if self.identity:
            return self.identity
        digest = hashlib.sha256(self.password.reveal().encode()).hexdigest()
        return f"{self.username}:{digest}"


@dataclass(frozen=True)
class SshLogin:
    """A private key for SSH in a file of ours. *known_hosts*: the server's keys; None: those of the service's user."""

    key_file: Path
    known_hosts: Path | None = None
    identity: str = ""
    hold: object = field(default=None, compare=False, repr=False)
    """What keeps the file there for as long as this login is used."""

    @property
    def fingerprint(self) -> str:
        """What a mirror is kept apart by."""
        return self.identity or f"ssh:{self.key_file.name}"


Login = GitCredential | SshLogin
CredentialFor = Callable[[Source], Login | None]


class Keyring(Protocol):
    """Knows which credential opens which source. Any thread may call any method."""

    def __call__(self, source: Source) -> Login | None:
        """Return the login that opens *source* now, None for none. Raises `BuildspecdError` where it cannot be had."""
        ...

    def identity(self, source: Source) -> str | None:
        """Return the identity of that login, "" for none, without having it; None: ask for the login itself."""
        ...

    def forget(self, source: Source) -> None:
        """Let the next call ask anew for all that belongs to the login of *source*: the server refused it."""
        ...

    def advice(self, source: Source) -> str:
        """Return what somebody should know whose *source* was refused: with what it was entered."""
        ...


@dataclass(frozen=True)
class Given:
    """The keyring that is only a function, asked each time."""

    credential_for: CredentialFor

    def __call__(self, source: Source) -> Login | None:
        """See `Keyring`."""
        return self.credential_for(source)

    def identity(self, _: Source) -> str | None:
        """See `Keyring`."""
        return None

    def forget(self, source: Source) -> None:
        """See `Keyring`; nothing is kept here."""

    def advice(self, _: Source) -> str:
        """See `Keyring`."""
        return ""


@dataclass(frozen=True)
class Remote:
    """A git server's repository and how we enter it.

    *ca_file* holds the certificates that are believed instead of the system's. *enter* gives the login of another
    repository of the same origin; None: what opens this one opens them all.
    """

    url: GitUrl
    credential: GitCredential | None = None
    insecure_ssl: bool = False
    ssh: SshLogin | None = None
    ca_file: Path | None = None
    enter: CredentialFor | None = field(default=None, compare=False, repr=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Whose eyes this repository is seen with; "" for anybody's."""
        login = self.credential or self.ssh
        return login.fingerprint if login else ""

    def without_secrets(self, text: str) -> str:
        """Return *text*, which a server may have had its hand in, with stars in place of our password."""
        if self.credential is None or not self.credential.password.reveal():
            return text
        password = self.credential.password.reveal()
        encoded = base64.b64encode(f"{self.credential.username}:{password}".encode()).decode()
        for secret in (encoded, quote(password, safe=""), password):
            text = text.replace(secret, "***")
        return text

    def related(self, text: str) -> Remote:
        """Return the remote of a submodule of this one; our credential goes with it to the same origin only.

        Raises `SourceRefused` for one that lies on this machine or on an internal host while this one does not.
        """
        address, login = url.parse(url.resolve_relative(self.url, text))
        if address.is_local and not self.url.is_local:
            raise SourceRefused(
                f"submodule {address.text} lies on this machine, its parent {self.url.text} does not",
                hint="give the submodule an https:// URL in .gitmodules",
            )
        refuse_inside(address, self.url)
        if address.origin != self.url.origin:
            return Remote(address, _embedded(login), ca_file=self.ca_file)
        mine = self._login_of(address)
        return replace(
            self,
            url=address,
            credential=mine if isinstance(mine, GitCredential) else _embedded(login) if mine is None else None,
            ssh=mine if isinstance(mine, SshLogin) else None,
        )

    def _login_of(self, address: GitUrl) -> Login | None:
        """Return our login for another repository of the same origin; None where it gives none, as public ones need."""
        if self.enter is None or self.source is None:
            return self.credential or self.ssh
        try:
            return self.enter(self.source.evolve(location=address.text))
        except (SourceRefused, SourceNotFound):
            return None


def remote_of(source: Source, login: Login | None, *, ca_file: Path | None = None) -> Remote:
    """Return the remote of a git source; a login inside the URL is taken out of it and used unless one is given."""
    address, embedded = url.parse(source.location or "")
    return Remote(
        address,
        login if isinstance(login, GitCredential) else _embedded(embedded) if login is None else None,
        source.insecure_ssl and source.type in INSECURE_TYPES,
        ssh=login if isinstance(login, SshLogin) else None,
        ca_file=ca_file,
    )


def token_user(source: Source) -> str:
    """Return the user name that goes with a bare token for this source (service.md 2.4)."""
    if source.type in _TOKEN_USERS:
        return _TOKEN_USERS[source.type]
    address, _ = url.parse(source.location or "")
    return _TOKEN_HOSTS.get(address.host, "x-access-token")


def codecommit_credential(address: GitUrl, keys: AwsKeys, now: float, *, identity: str = "host") -> GitCredential:
    """Return a login for a CodeCommit URL, good for about 15 minutes from *now* (epoch seconds).

    *identity* names the role whose keys these are; unlike the keys it does not change every hour.
    """
    region = address.codecommit_region
    if region is None:
        raise SourceRefused(
            f"{address.text} is not a CodeCommit repository",
            hint="use https://git-codecommit.REGION.amazonaws.com/v1/repos/NAME",
        )
    key_id, secret, token = keys()
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    signature = codecommit_signature(address.host, f"/{address.path}", region, secret, stamp)
    username = f"{key_id}%{token}" if token else key_id
    return GitCredential(username, Secret(f"{stamp}Z{signature}"), identity=f"codecommit:{identity}")


def codecommit_signature(host: str, path: str, region: str, secret: str, stamp: str) -> str:
    """Return the hexadecimal SigV4 signature of the pseudo request `GIT path`; *stamp* is `YYYYMMDDThhmmss`."""
    canonical = f"GIT\n{path}\n\nhost:{host}\n\nhost\n"
    scope = f"{stamp[:8]}/{region}/codecommit/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _sign(key, part)
    return _sign(key, to_sign).hex()


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _embedded(login: url.EmbeddedLogin | None) -> GitCredential | None:
    return GitCredential(login.username, login.password) if login else None
