"""The grammar of sourceVersion."""

from __future__ import annotations

import pytest

from agent.errors import SourceNotFound
from agent.model.project import Source
from agent.source.version import Version, is_ref_name, parse, parse_for

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (None, Version()),
        ("  ", Version()),
        (SHA, Version(sha=SHA)),
        (SHA.upper(), Version(sha=SHA)),
        ("main", Version(name="main")),
        ("feature/x", Version(name="feature/x")),
        ("refs/heads/main", Version(ref="refs/heads/main")),
        ("refs/tags/v1.0", Version(ref="refs/tags/v1.0")),
        ("pr/25", Version(ref="refs/pull/25/head")),
        ("refs/pull/25/head", Version(ref="refs/pull/25/head")),
        (f"refs/heads/develop^{{{SHA}}}", Version(ref="refs/heads/develop", sha=SHA)),
        (f"develop^{{{SHA}}}", Version(name="develop", sha=SHA)),
        ("deadbeef", Version(name="deadbeef")),
        ("pr/x", Version(name="pr/x")),
    ],
)
def test_each_form_of_a_source_version_is_understood(text: str | None, version: Version) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    "name",
    ["-x", "--upload-pack=touch /tmp/x", "a..b", "a b", "a\nb", "a~1", "a^", "a:b", "a?b", "a*", "a[b", "a\\b", "/a",
     "a/", "a//b", "a.", ".a", "x/.a", "a.lock", "a.lock/b", "@", "a@{1}", "x/-y", "\x00", "a" * 1025],
)  # fmt: skip
def test_a_hostile_name_is_refused_before_git_sees_it(name: str) -> None:
    with pytest.raises(SourceNotFound):
        parse(name)
    assert not is_ref_name(name)


@pytest.mark.parametrize(
    ("kind", "location", "ref"),
    [
        ("GITHUB", "https://github.com/a/b", "refs/pull/3/head"),
        ("GITHUB_ENTERPRISE", "https://ghe.example/a/b", "refs/pull/3/head"),
        ("GITLAB", "https://gitlab.com/a/b", "refs/merge-requests/3/head"),
        ("GITLAB_SELF_MANAGED", "https://git.example/a/b", "refs/merge-requests/3/head"),
        ("GIT", "git@gitlab.com:a/b.git", "refs/merge-requests/3/head"),
        ("GIT", "/srv/app.git", "refs/pull/3/head"),
        ("BITBUCKET", "https://bitbucket.org/a/b", None),
        ("GIT", "https://bitbucket.org/a/b", None),
        ("CODECOMMIT", "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/a", None),
        ("GIT", "codecommit::eu-west-1://a", None),
    ],
)
def test_a_pull_request_is_another_ref_on_each_kind_of_server(kind: str, location: str, ref: str | None) -> None:
    source = Source.model_validate({"type": kind, "location": location})
    assert parse_for(source, "main") == Version(name="main")
    if ref:
        assert parse_for(source, "pr/3") == Version(ref=ref)
        assert parse_for(source, f"pr/3^{{{SHA}}}") == Version(ref=ref, sha=SHA)
        return
    for text in ("pr/3", f"pr/3^{{{SHA}}}"):
        with pytest.raises(SourceNotFound, match="has no pull request form") as caught:
            parse_for(source, text)
        assert "BRANCH^{COMMIT}" in caught.value.hint


def test_a_commit_is_fetched_through_the_ref_that_it_was_seen_on() -> None:
    assert parse(SHA).with_ref("refs/heads/main") == Version(ref="refs/heads/main", sha=SHA)
    assert parse(SHA).with_ref("-x") == Version(sha=SHA)
    assert parse("main").with_ref("refs/heads/other") == Version(name="main")
