"""GitHubApps: tokens of GitHub App installations, had when they are needed and renewed in time; the door to PyJWT."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from agent.errors import GitUnavailable, SourceNotFound, SourceRefused
from agent.kit.clock import Clock
from agent.model.secret import Secret
from agent.source.connections import Trust
from agent.source.hostapi import Answer, HostApi, bearer
from agent.source.sshkeys import whole_pem

RENEW_SECONDS = 900.0
"""How long before its end a token is replaced: what a build was handed must last until it is handed the next one."""
FRESH_SECONDS = 60.0
"""Age up to which a token that was refused is not the reason, so that nobody asks for one after the other."""
BACK_SECONDS = 60.0
"""How far back a signed request is dated, for hosts whose clock is behind ours."""
LIFE_SECONDS = 540.0
"""How long a signed request holds from now; GitHub takes ten minutes at most."""
READ = {"contents": "read", "metadata": "read"}
"""Permissions of a token that fetches."""

_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_SKEW_SECONDS = 30.0
_TOKEN_SECONDS = 3600.0


@dataclass(frozen=True)
class App:
    """A GitHub App. *installation* None: found for each repository. *api*: without a slash at its end."""

    id: int
    private_key: str
    installation: int | None = None
    api: str = "https://api.github.com"


@dataclass(frozen=True)
class _Held:
    token: Secret
    ends: float
    made: float


_Key = tuple[str, int, str, tuple[tuple[str, str], ...]]


class GitHubApps:
    """Has tokens made, and keeps each until a quarter of an hour before its end. Safe to share between threads."""

    def __init__(self, api: HostApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: dict[_Key, threading.Lock] = {}
        self._held: dict[_Key, _Held] = {}
        self._installations: dict[tuple[str, int, str], int] = {}

    def token(
        self,
        app: App,
        key: Secret,
        repository: str,
        *,
        permissions: Mapping[str, str] = READ,
        trust: Trust = Trust(),
    ) -> Secret:
        """Return a token for `owner/name` and no other repository, good for a quarter of an hour.

        *key* is the PEM behind `app.private_key`; *permissions* are all that the token may, empty: what the app may.
        Raises `SourceRefused` (wrong key, revoked or suspended app, a clock that is off, not installed),
        `SourceNotFound` (no such repository for the app), `GitUnavailable`.
        """
        place = (app.api, app.id, repository.casefold(), tuple(sorted(permissions.items())))
        with self._lock:
            asking = self._asking.setdefault(place, threading.Lock())
        with asking:
            held = self._held.get(place)
            if held is None or held.ends - RENEW_SECONDS <= self._clock.now():
                held = self._made(app, key, repository, permissions, trust)
                with self._lock:
                    self._held[place] = held
            return held.token

    def forget(self, app: App, repository: str) -> None:
        """Have the next token of this repository made anew, and its installation looked up."""
        name, now = repository.casefold(), self._clock.now()
        with self._lock:
            for place, held in list(self._held.items()):
                if place[:3] == (app.api, app.id, name) and now >= held.made + FRESH_SECONDS:
                    del self._held[place]
            self._installations.pop((app.api, app.id, name), None)

    def keep_only(self, apps: Collection[App]) -> None:
        """Forget the tokens and installations of all others."""
        kept = {(app.api, app.id) for app in apps}
        with self._lock:
            self._held = {place: held for place, held in self._held.items() if place[:2] in kept}
            self._asking = {place: lock for place, lock in self._asking.items() if place[:2] in kept}
            self._installations = {place: one for place, one in self._installations.items() if place[:2] in kept}

    def _made(self, app: App, key: Secret, repository: str, permissions: Mapping[str, str], trust: Trust) -> _Held:
        headers = {**_HEADERS, **bearer(self._signed(app, key))}
        installation = app.installation or self._installation(app, repository, headers, trust)
        answer = self._api.post(
            f"{app.api}/app/installations/{installation}/access_tokens",
            headers,
            {
                "repositories": [repository.partition("/")[2]],
                **({"permissions": dict(permissions)} if permissions else {}),
            },
            trust=trust,
        )
        if not answer.ok:
            raise self._refused(answer, app, f"its installation {installation}", repository)
        token = answer.body.get("token") if answer.is_object else None
        if not isinstance(token, str) or not token:
            raise GitUnavailable(f"{app.api} gave no token for GitHub App {app.id}")
        now = self._clock.now()
        return _Held(Secret(token), _end_of(answer) or now + _TOKEN_SECONDS, now)

    def _installation(self, app: App, repository: str, headers: Mapping[str, str], trust: Trust) -> int:
        place = (app.api, app.id, repository.casefold())
        known = self._installations.get(place)
        if known is not None:
            return known
        answer = self._api.get(f"{app.api}/repos/{quote(repository)}/installation", headers, trust=trust)
        if answer.status == 404:
            raise SourceNotFound(
                f"GitHub App {app.id} is not installed where it sees {repository}, or there is no such repository",
                hint="install the app for the repository (its settings page, 'Install App'), or correct the location",
            )
        if not answer.ok:
            raise self._refused(answer, app, "its installation", repository)
        found = answer.body.get("id") if answer.is_object else None
        if not isinstance(found, int):
            raise GitUnavailable(f"{app.api} did not tell the installation of GitHub App {app.id} for {repository}")
        with self._lock:
            self._installations[place] = found
        return found

    def _signed(self, app: App, key: Secret) -> Secret:
        import jwt  # with cryptography it takes a tenth of a second, which most agents never need

        now = int(self._clock.now())
        claims = {"iat": now - int(BACK_SECONDS), "exp": now + int(LIFE_SECONDS), "iss": str(app.id)}
        try:
            return Secret(jwt.encode(claims, whole_pem(key.reveal()), algorithm="RS256"))
        except (jwt.PyJWTError, ValueError, TypeError):
            raise SourceRefused(
                f"the private key of GitHub App {app.id} is not an RSA key in PEM form",
                hint="generate a private key on the app's settings page and store the .pem file as it is",
            ) from None

    def _refused(self, answer: Answer, app: App, what: str, repository: str) -> SourceRefused | SourceNotFound:
        """Return the error that an answer means; the codes are those of GitHub's documentation."""
        who = f"GitHub App {app.id}"
        skew = abs(answer.time - self._clock.now()) if answer.time is not None else 0.0
        speaks_of_time = any(word in answer.said for word in ("'exp'", "'iat'", "Expiration time", "Issued at"))
        if answer.status == 401 and (speaks_of_time or skew > BACK_SECONDS):
            off = f" (it differs by {skew:.0f} seconds)" if skew > _SKEW_SECONDS else ""
            return SourceRefused(
                f"{who} is refused because this host's clock and that of {app.api} disagree{off}: {answer.said}",
                hint="set the clock of this host: `timedatectl`, `chronyc tracking`",
            )
        if answer.status == 401:
            return SourceRefused(
                f"{who} is refused: {answer.said}",
                hint="the private key does not belong to this app, or was deleted: check app.id, or generate a new key",
            )
        if answer.status == 403 and "suspended" in answer.said:
            return SourceRefused(
                f"{who} is suspended: {answer.said}", hint="unsuspend the installation on its settings page"
            )
        if answer.status == 404:
            return SourceRefused(
                f"{who} or {what} is gone: {answer.said}",
                hint="the app was revoked or uninstalled: install it again, or correct app.id and app.installation",
            )
        if answer.status == 422:
            return SourceNotFound(
                f"{who}, {what}, does not reach {repository} or lacks a permission: {answer.said}",
                hint="add the repository to the installation, and give the app the permission 'Contents: read'",
            )
        return SourceRefused(f"{who} is refused: {answer.said}", hint="look at the app's settings and permissions")


def _end_of(answer: Answer) -> float | None:
    try:
        return datetime.fromisoformat(str(answer.body.get("expires_at"))).timestamp()
    except ValueError:
        return None
