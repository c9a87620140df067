"""The proxy that a build's variables name."""

from __future__ import annotations

import pytest

from agent.environment.proxy import proxies_of


def by_scheme(**variables: str) -> dict[str, str]:
    found = proxies_of(variables)
    return dict(found.by_scheme) if found else {}


def test_both_spellings_count_and_the_lower_one_wins() -> None:
    assert by_scheme(HTTPS_PROXY="http://a:1", https_proxy="http://b:2") == {"https": "http://b:2"}
    assert by_scheme(HTTP_PROXY="proxy.internal:3128") == {"http": "http://proxy.internal:3128"}
    assert by_scheme(HTTPS_PROXY="http://me:p%40ss@proxy:3128/") == {"https": "http://me:p%40ss@proxy:3128/"}


@pytest.mark.parametrize("value", ["", " ", "socks5://p:1", "http://", "http://a b", "file:///etc", "http://a/path/x"])
def test_what_is_no_address_of_an_http_proxy_counts_as_none(value: str) -> None:
    assert proxies_of({"HTTPS_PROXY": value, "NO_PROXY": "*"}) is None


@pytest.mark.parametrize(
    ("listed", "url", "spared"),
    [
        ("", "https://s3.eu-west-1.amazonaws.com", False),
        ("amazonaws.com", "https://s3.eu-west-1.amazonaws.com", True),
        (".amazonaws.com, localhost", "https://s3.eu-west-1.amazonaws.com", True),
        ("*.Amazonaws.com", "https://s3.eu-west-1.amazonaws.com", True),
        ("aws.com", "https://s3.eu-west-1.amazonaws.com", False),
        ("*", "https://anything", True),
        ("127.0.0.1", "http://127.0.0.1:5000", True),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", True),
        ("127.0.0.1:5001", "http://127.0.0.1:5000", False),
        ("127.0.0.0/8", "http://127.0.0.1:5000", True),
        ("10.0.0.0/8,bad/net", "http://127.0.0.1:5000", False),
    ],
)
def test_hosts_that_are_listed_are_asked_directly(listed: str, url: str, spared: bool) -> None:
    found = proxies_of({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": listed})
    assert found is not None
    assert found.spare(url) is spared


def test_a_password_in_the_address_of_a_proxy_is_not_shown() -> None:
    assert "hunter2" not in repr(proxies_of({"HTTPS_PROXY": "http://me:hunter2@proxy:1"}))
