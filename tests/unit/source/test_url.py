"""Addresses of remotes."""

from __future__ import annotations

import pytest

from agent.errors import SourceRefused
from agent.source.url import parse, resolve_relative, without_logins


def test_a_login_inside_a_url_is_taken_out_of_it() -> None:
    address, login = parse("https://me:t%40ken@host.example:8443/team/app.git")
    assert address.text == "https://host.example:8443/team/app.git"
    assert address.host == "host.example"
    assert login is not None
    assert (login.username, login.password.reveal()) == ("me", "t@ken")
    assert "ken" not in repr((address, login))


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=x", "--upload-pack=x", "ext::sh -c x", "ext::sh", "file://host/x", "ftp://h/x", "https:///x",
     "https://h/\nx", "relative/path", "ssh://-oProxyCommand=x/y", "http://h:port/x", "host:-x", "fd::17",
     "git@-x:y", "ssh://-oProxyCommand=x@h/y", "ssh://a;id/x", "ssh://`id`/x", "ssh://u$(id)@h/x", "a$(id)@h:x",
     "https://h|id/x"],
)  # fmt: skip
def test_a_hostile_or_meaningless_location_is_refused(text: str) -> None:
    with pytest.raises(SourceRefused):
        parse(text)


def test_every_kind_of_address_is_known() -> None:
    assert parse("git@github.com:team/app.git")[0].host == "github.com"
    assert parse("ssh://git@github.com/team/app.git")[0].text == "ssh://git@github.com/team/app.git"
    assert parse("/srv/my repo.git".replace(" ", "_"))[0].text == "file:///srv/my_repo.git"
    assert parse("file:///srv/a%20b.git")[0].path == "/srv/a b.git"
    codecommit = parse("codecommit::eu-west-1://app")[0]
    assert codecommit.text == "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app"
    assert codecommit.codecommit_region == "eu-west-1"


@pytest.mark.parametrize(
    ("parent", "text", "result"),
    [
        ("https://h/team/app.git", "../lib.git", "https://h/team/lib.git"),
        ("https://h/team/app.git", "../../other/lib.git", "https://h/other/lib.git"),
        ("git@h:team/app.git", "../lib.git", "git@h:team/lib.git"),
        ("file:///srv/app.git", "../lib.git", "file:///srv/lib.git"),
        ("https://h/a", "https://k/b", "https://k/b"),
    ],
)
def test_a_relative_submodule_url_counts_from_its_parent(parent: str, text: str, result: str) -> None:
    assert resolve_relative(parse(parent)[0], text) == result


def test_logins_are_cut_out_of_texts() -> None:
    assert without_logins("fatal: 'https://u:p@h/x' and http://t@k/") == "fatal: 'https://h/x' and http://k/"


@pytest.mark.parametrize(
    "text",
    ["https://[2001:db8::1]:8443/x", "git@[::1]:x", "https://my_host.example/x", "ssh://APKA1@h.example:22/v1/repos/x"],
)
def test_unusual_hosts_and_users_are_taken(text: str) -> None:
    assert parse(text)[0].text == text
