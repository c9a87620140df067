"""GitUrl: a remote's address taken apart, without any credential; hostile ones are refused."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from agent.errors import SourceRefused
from agent.model.cause import Cause
from agent.model.secret import Secret

Scheme = Literal["https", "http", "ssh", "git", "file"]

_USER = r"[A-Za-z0-9._][A-Za-z0-9._-]*"
"""No sign that a shell knows, and no dash in front: ssh puts user and host into commands of its configuration."""
_HOST = re.compile(r"[^\W][\w.-]*|[0-9a-f:.]+(%[0-9a-z]+)?")
_SCP_LIKE = re.compile(
    rf"(?:(?P<user>{_USER})@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:]+\]):(?P<path>[^:].*)"
)
_CODECOMMIT_SHORT = re.compile(r"codecommit::(?P<region>[a-z0-9-]+)://(?:[^@/]+@)?(?P<repo>[A-Za-z0-9._-]+)")
_CODECOMMIT_HOST = re.compile(
    r"(?:vpce-[a-z0-9-]+\.)?git-codecommit(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
)
_HINT = "give an https://, ssh:// or file:// URL, such as https://host/owner/repository.git"


@dataclass(frozen=True)
class GitUrl:
    """A remote. `text` is what git is given and what a log may show; it holds no password.

    `host` has no user and no port, and is empty for `file`; `path` is decoded, without leading slash but for `file`.
    """

    text: str
    scheme: Scheme
    host: str
    port: int | None
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine."""
        return self.scheme == "file"

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Scheme, host and port: a credential given for one origin goes to no other."""
        return self.scheme, self.host, self.port

    @property
    def codecommit_region(self) -> str | None:
        """The region when this is AWS CodeCommit over HTTPS, else None (service.md 2.3)."""
        match = _CODECOMMIT_HOST.fullmatch(self.host) if self.scheme == "https" else None
        return match["region"] if match else None


@dataclass(frozen=True)
class EmbeddedLogin:
    """What stood before the `@` of a URL."""

    username: str
    password: Secret


@lru_cache(maxsize=4096)  # the poller asks for each of its projects, every second
def parse(text: str) -> tuple[GitUrl, EmbeddedLogin | None]:
    """Return the address and the login that was written into it, if any. Raises `SourceRefused`.

    Accepts https, http, ssh, git and file URLs, absolute paths, `user@host:path` and `codecommit::region://repo`.
    """
    _refuse_hostile(text)
    if short := _CODECOMMIT_SHORT.fullmatch(text):
        suffix = "amazonaws.com.cn" if short["region"].startswith("cn-") else "amazonaws.com"
        text = f"https://git-codecommit.{short['region']}.{suffix}/v1/repos/{short['repo']}"
    if text.startswith("/"):
        return _local(text), None
    if "://" not in text:
        return _scp_like(text), None
    return _with_scheme(text)


def resolve_relative(parent: GitUrl, text: str) -> str:
    """Return the URL of a submodule; `./` and `../` count from the parent's own URL, as git does it."""
    if not text.startswith(("./", "../")):
        return text
    if parent.is_local:
        return "file://" + quote(posixpath.normpath(posixpath.join(parent.path, text)))
    separator = "/" if "://" in parent.text else ":"
    head, path = _split_path(parent.text, separator)
    joined = posixpath.normpath(posixpath.join("/", path, text)).lstrip("/")
    return f"{head}{separator}{joined}"


def _split_path(text: str, separator: str) -> tuple[str, str]:
    if separator == ":":
        head, _, path = text.partition(":")
        return head, path
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")


def _refuse_hostile(text: str) -> None:
    if not text or text.startswith("-") or any(ord(sign) < 33 or ord(sign) == 127 for sign in text):
        raise SourceRefused(f"source location {text[:100]!r} is not a git URL", hint=_HINT, cause=Cause.PROJECT_INVALID)


def _local(path: str) -> GitUrl:
    return GitUrl(text=f"file://{quote(path)}", scheme="file", host="", port=None, path=posixpath.normpath(path))


def _scp_like(text: str) -> GitUrl:
    match = _SCP_LIKE.fullmatch(text)
    if match is None or match["path"].startswith("-"):
        raise SourceRefused(f"source location {text[:100]!r} is not a git URL", hint=_HINT, cause=Cause.PROJECT_INVALID)
    return GitUrl(text=text, scheme="ssh", host=match["host"].lower(), port=None, path=match["path"].lstrip("/"))


def _with_scheme(text: str) -> tuple[GitUrl, EmbeddedLogin | None]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise SourceRefused(
            f"source location is not a git URL: {error}", hint=_HINT, cause=Cause.PROJECT_INVALID
        ) from None
    host = (parts.hostname or "").lower()
    if parts.scheme == "file" and host in {"", "localhost"} and parts.path.startswith("/"):
        return _local(unquote(parts.path)), None
    if parts.scheme not in {"https", "http", "ssh", "git"} or not _HOST.fullmatch(host):
        raise SourceRefused(
            f"source location has a scheme or a host that is refused: {parts.scheme}://…",
            hint=_HINT,
            cause=Cause.PROJECT_INVALID,
        )
    bracketed = f"[{host}]" if ":" in host else host
    place = f"{bracketed}:{port}" if port else bracketed
    if parts.scheme == "ssh" and parts.username:
        if not re.fullmatch(_USER, parts.username):
            raise SourceRefused(
                f"source location names a user that is refused: {parts.username[:50]!r}",
                hint=_HINT,
                cause=Cause.PROJECT_INVALID,
            )
        place = f"{parts.username}@{place}"
    clean = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    login = None
    if parts.scheme in {"https", "http"} and parts.username:
        login = EmbeddedLogin(unquote(parts.username), Secret(unquote(parts.password or "")))
    scheme: Scheme = parts.scheme  # type: ignore[assignment]  # one of the four, checked above
    return GitUrl(text=clean, scheme=scheme, host=host, port=port, path=unquote(parts.path).lstrip("/")), login


def without_logins(text: str) -> str:
    """Return *text* with `user:password@` taken out of every URL in it."""
    return re.sub(r"(?P<scheme>[a-z]+://)[^/@\s']+@", r"\g<scheme>", text)


def holds_password(location: str) -> bool:
    """Whether a password is written into *location*."""
    try:
        return bool(urlsplit(location).password)
    except ValueError:
        return False
