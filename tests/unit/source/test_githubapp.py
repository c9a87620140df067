"""Tokens of GitHub Apps: had once, renewed in time, limited to a repository; and what is said when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.errors import BuildspecdError, GitUnavailable, SourceNotFound, SourceRefused
from agent.kit.clock import SystemClock
from agent.model.secret import Secret
from agent.source.githubapp import READ, App, GitHubApps
from agent.source.hostapi import HostApi
from tests.fakes.github import GitHub, github, private_key

PEM, PUBLIC = private_key()
KEY = Secret(PEM)


class Later(SystemClock):
    """The clock of this machine, moved on by a test."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.fixture
def host() -> Iterator[GitHub]:
    with github(1234, PUBLIC) as server:
        server.installations = {"acme/shop": 77, "acme/lib": 77}
        yield server


def app_of(host: GitHub, **other: Any) -> App:
    return App(**{"id": 1234, "private_key": "ssm:/app", "api": host.url, **other})


def apps(clock: SystemClock | None = None) -> GitHubApps:
    clock = clock or SystemClock()
    return GitHubApps(HostApi(clock=clock), clock)


def test_a_token_is_for_one_repository_may_only_read_and_is_asked_for_once(host: GitHub) -> None:
    tokens = apps()
    first = tokens.token(app_of(host), KEY, "acme/shop")
    assert tokens.token(app_of(host), KEY, "Acme/Shop") == first
    assert host.asked == [
        ("GET", "/repos/acme/shop/installation", None),
        ("POST", "/app/installations/77/access_tokens", {"repositories": ["shop"], "permissions": READ}),
    ]
    assert first.reveal() == host.tokens[0]
    assert tokens.token(app_of(host), KEY, "acme/lib") != first


def test_a_known_installation_is_not_looked_up_and_a_key_may_have_lost_its_line_breaks(host: GitHub) -> None:
    apps().token(app_of(host, installation=77), Secret(PEM.replace("\n", "\\n")), "acme/shop")
    assert [path for _, path, _ in host.asked] == ["/app/installations/77/access_tokens"]


def test_a_token_is_renewed_a_quarter_of_an_hour_before_its_end_and_when_it_was_refused(host: GitHub) -> None:
    clock = Later()
    tokens, app = apps(clock), app_of(host, installation=77)
    first = tokens.token(app, KEY, "acme/shop")
    clock.ahead = 3600 - 901
    host.offset = clock.ahead
    assert tokens.token(app, KEY, "acme/shop") == first
    clock.ahead = host.offset = 3600 - 899
    second = tokens.token(app, KEY, "acme/shop")
    assert second != first
    tokens.forget(app, "acme/shop")
    assert tokens.token(app, KEY, "acme/shop") == second, "it was made this very moment"
    clock.ahead = host.offset = clock.ahead + 61
    tokens.forget(app, "acme/shop")
    assert tokens.token(app, KEY, "acme/shop") != second


@pytest.mark.parametrize(
    ("change", "error", "words", "hint"),
    [
        ({"offset": -50.0}, None, "", ""),
        ({"offset": -3600.0}, SourceRefused, "clock and that of .* disagree .*36[0-9]{2} seconds.*Issued at", "clock"),
        ({"offset": 3600.0}, SourceRefused, "clock and that of .* disagree .*Expiration time", "clock"),
        ({"app": 999}, SourceRefused, "GitHub App 1234 is refused: HTTP 401: Integration not found", "app.id"),
        ({"public_key": private_key()[1]}, SourceRefused, "could not be decoded", "does not belong to this app"),
        ({"installations": {}}, SourceNotFound, "not installed where it sees acme/shop", "install the app"),
        ({"suspended": True}, SourceRefused, "is suspended", "unsuspend"),
        ({"refusal": (500, "Server Error", {})}, GitUnavailable, "HTTP 500", "later"),
        ({"refusal": (429, "slow down", {"Retry-After": "17"})}, GitUnavailable, "limits our rate", "later"),
        ({"refusal": (403, "Resource not accessible", {})}, SourceRefused, "Resource not accessible", "permissions"),
    ],
)
def test_what_keeps_a_token_away_is_said_with_what_mends_it(
    host: GitHub, change: dict[str, Any], error: type[BuildspecdError] | None, words: str, hint: str
) -> None:
    for name, value in change.items():
        setattr(host, name, value)
    if error is None:
        assert apps().token(app_of(host), KEY, "acme/shop")
        return
    with pytest.raises(error, match=words) as caught:
        apps().token(app_of(host), KEY, "acme/shop")
    assert hint in caught.value.hint
    assert "PRIVATE KEY" not in str(caught.value) + caught.value.hint
    if change.get("refusal", (0,))[0] == 429:
        assert caught.value.retry_after == 17  # type: ignore[attr-defined]


def test_a_revoked_installation_and_a_repository_out_of_its_reach_are_told_apart(host: GitHub) -> None:
    with pytest.raises(SourceRefused, match="is gone") as gone:
        apps().token(app_of(host, installation=5), KEY, "acme/shop")
    assert "install it again" in gone.value.hint
    with pytest.raises(SourceNotFound, match="does not reach acme/other"):
        apps().token(app_of(host, installation=77), KEY, "acme/other")


@pytest.mark.parametrize("key", ["no key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", ""])
def test_a_key_that_is_none_is_said_without_showing_it(host: GitHub, key: str) -> None:
    with pytest.raises(SourceRefused, match="not an RSA key") as caught:
        apps().token(app_of(host), Secret(key), "acme/shop")
    assert "AAAA" not in str(caught.value)
    assert host.asked == []


def test_the_tokens_of_an_app_that_is_named_no_more_are_forgotten(host: GitHub) -> None:
    tokens, app = apps(), app_of(host, installation=77)
    first = tokens.token(app, KEY, "acme/shop")
    tokens.keep_only({app})
    assert tokens.token(app, KEY, "acme/shop") == first
    tokens.keep_only({app_of(host, id=99)})
    assert tokens.token(app, KEY, "acme/shop") != first
