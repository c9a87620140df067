"""Credentials of git servers: who we are to one origin, and CodeCommit's signature (service.md 2.3, 2.4)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.errors import SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source import url
from agent.source.url import GitUrl

AwsKeys = Callable[[], tuple[str, str, str | None]]
"""Returns access key id, secret access key and session token (None for a long-lived key)."""

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


CredentialFor = Callable[[Source], GitCredential | None]


@dataclass(frozen=True)
class Remote:
    """A git server's repository and how we enter it."""

    url: GitUrl
    credential: GitCredential | None = None
    insecure_ssl: bool = False

    def related(self, text: str) -> Remote:
        """Return the remote of a submodule of this one; our credential goes with it to the same origin only."""
        address, login = url.parse(url.resolve_relative(self.url, text))
        if address.is_local and not self.url.is_local:
            raise SourceRefused(
                f"submodule {address.text} lies on this machine, its parent {self.url.text} does not",
                hint="give the submodule an https:// URL in .gitmodules",
            )
        same = address.origin == self.url.origin
        mine = self.credential if same else None
        return Remote(address, mine or _embedded(login), self.insecure_ssl and same)


def remote_of(source: Source, credential: GitCredential | None) -> Remote:
    """Return the remote of a git source; a login inside the URL is taken out of it and used unless one is given."""
    address, login = url.parse(source.location or "")
    return Remote(address, credential or _embedded(login), source.insecure_ssl)


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
