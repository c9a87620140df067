"""Logins: what a build's own git is told, so that it can enter the servers of the build's sources and no others. Pure.

The other half is `container/commands/git-credential-buildspecd`, which git asks in the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agent.source.credentials import GitCredential, Remote
from agent.source.url import GitUrl

_PLAIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+", re.ASCII)
_USUAL_PORTS = {"https": 443, "http": 80}


def usable(remote: Remote) -> bool:
    """Whether *remote* is entered with a login that git's helpers can give: by HTTP, and with one at all."""
    return remote.credential is not None and _PLAIN.fullmatch(origin_of(remote.url)) is not None


def origin_of(address: GitUrl) -> str:
    """Return scheme, host and port of an address as git writes them."""
    return "/".join(address.text.split("/", 3)[:3])


def helper_configuration(remotes: Sequence[Remote], helper: str) -> str:
    """Return a git configuration that asks *helper*, an absolute path, for the origins of *remotes* and no others."""
    text = ""
    for origin in dict.fromkeys(origin_of(remote.url) for remote in remotes if usable(remote)):
        text += f'[credential "{origin}"]\n\thelper = {helper}\n'
        if any(_by_path(remote, remotes) for remote in remotes if origin_of(remote.url) == origin):
            text += "\tuseHttpPath = true\n"
    return text


def login_blocks(remotes: Sequence[Remote]) -> str:
    """Return the logins of *remotes* in git's own form (gitcredentials(7)), an empty line after each.

    Where an origin has one login, it is good for all of its repositories. Where it has several, or they are signed for
    one path (CodeCommit), each has the path of its repository; the first of several is also good for all others.
    """
    blocks: dict[str, None] = {}
    for remote in remotes:
        if remote.credential is None or not usable(remote):
            continue
        for host in _hosts(remote.url):
            if _by_path(remote, remotes):
                blocks[_block(remote.url.scheme, host, remote.credential, remote.url.path)] = None
            if remote.url.codecommit_region is None and _is_first(remote, remotes):
                blocks[_block(remote.url.scheme, host, remote.credential)] = None
    return "".join(blocks)


def secrets_of(remotes: Sequence[Remote]) -> Iterator[str]:
    """Yield what of the logins no log may show; with the user name, because that is how HTTP encodes it."""
    for remote in remotes:
        if remote.credential is not None and usable(remote):
            password = remote.credential.password.reveal()
            yield password
            if remote.url.codecommit_region is None:  # those change every few minutes; the less there are, the better
                yield f"{remote.credential.username}:{password}"


def _by_path(remote: Remote, remotes: Sequence[Remote]) -> bool:
    """Whether the login of *remote* is good for its own repository only."""
    if remote.url.codecommit_region is not None:
        return True
    logins = {other.credential for other in remotes if usable(other) and other.url.origin == remote.url.origin}
    return len(logins) > 1


def _is_first(remote: Remote, remotes: Sequence[Remote]) -> bool:
    return remote is next(other for other in remotes if usable(other) and other.url.origin == remote.url.origin)


def _hosts(address: GitUrl) -> tuple[str, ...]:
    """Return the host as git may spell it: with or without the port that is usual anyhow."""
    host = origin_of(address).partition("://")[2]
    usual = _USUAL_PORTS.get(address.scheme)
    if address.port is None:
        return host, f"{host}:{usual}"
    return (host, host.removesuffix(f":{usual}")) if address.port == usual else (host,)


def _block(scheme: str, host: str, credential: GitCredential, path: str = "") -> str:
    where = f"protocol={scheme}\nhost={host}\n" + (f"path={path}\n" if path else "")
    return f"{where}username={credential.username}\npassword={credential.password.reveal()}\n\n"
