"""Version: the grammar of `sourceVersion` (service.md 1.4). Pure; hostile names are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import SourceNotFound
from agent.model.project import Source
from agent.source import url

_SHA = re.compile(r"[0-9a-fA-F]{40}")
_REF_AND_SHA = re.compile(r"(?P<ref>.+)\^\{(?P<sha>[0-9a-fA-F]{40})\}")
_PULL = re.compile(r"pr/(?P<number>[1-9][0-9]{0,9})")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_HINT = "give a branch, a tag, a commit of 40 digits, refs/heads/NAME, refs/tags/NAME, pr/NUMBER or REF^{COMMIT}"
_NO_PULLS = "{} shows no refs of pull requests: give the branch, BRANCH^{{COMMIT}} or the commit of the pull request"
_LONGEST = 1024
_GITHUB_PULL = "refs/pull/{}/head"
_PULL_REFS = {
    "GITHUB": _GITHUB_PULL,
    "GITHUB_ENTERPRISE": _GITHUB_PULL,
    "GITLAB": "refs/merge-requests/{}/head",
    "GITLAB_SELF_MANAGED": "refs/merge-requests/{}/head",
    "BITBUCKET": "",
    "CODECOMMIT": "",
}
"""Where the server of a source type shows the head of a pull request; empty: nowhere."""
_TYPES_OF_HOSTS = {"gitlab.com": "GITLAB", "bitbucket.org": "BITBUCKET"}


@dataclass(frozen=True)
class Version:
    """What to fetch. At most one of `ref` (full name) and `name` (branch or tag) is set; `sha` may stand beside it.

    With none of the three, the tip of the default branch is meant.
    """

    ref: str | None = None
    name: str | None = None
    sha: str | None = None

    def with_ref(self, ref: str | None) -> Version:
        """Return this version, fetched through *ref* when nothing else says where its commit is."""
        if ref is None or self.sha is None or self.ref or self.name or not is_ref(ref):
            return self
        return Version(ref=ref, sha=self.sha)


DEFAULT = Version()


def parse_for(source: Source, text: str | None) -> Version:
    """Return what *text* means to *source*: `pr/N` is another ref on each kind of server. Raises `SourceNotFound`."""
    kind: str = source.type
    if kind == "GIT" and is_pull_request((text or "").strip().partition("^")[0]):
        address, _ = url.parse(source.location or "")
        kind = "CODECOMMIT" if address.codecommit_region else _TYPES_OF_HOSTS.get(address.host, kind)
    return parse(text, pulls=_PULL_REFS.get(kind, _GITHUB_PULL), server=kind)


def parse(text: str | None, *, pulls: str = _GITHUB_PULL, server: str = "this source type") -> Version:
    """Return what *text* means; empty or None: the default branch. Raises `SourceNotFound` for what no ref can be.

    *pulls* is the ref that `pr/N` stands for, with `{}` for the number; empty: *server* has no such form.
    """
    word = (text or "").strip()
    if not word:
        return DEFAULT
    if _SHA.fullmatch(word):
        return Version(sha=word.lower())
    if both := _REF_AND_SHA.fullmatch(word):
        place = parse(both["ref"], pulls=pulls, server=server)
        return Version(ref=place.ref, name=place.name, sha=both["sha"].lower())
    if pull := _PULL.fullmatch(word):
        if not pulls:
            raise SourceNotFound(
                f"source version {word!r}: {server} has no pull request form", hint=_NO_PULLS.format(server)
            )
        return Version(ref=pulls.format(pull["number"]))
    if not is_ref_name(word):
        raise SourceNotFound(f"source version {word[:100]!r} is not the name of a branch, tag or commit", hint=_HINT)
    return Version(ref=word) if word.startswith("refs/") else Version(name=word)


def is_pull_request(text: str | None) -> bool:
    """Whether *text* is `pr/N`."""
    return _PULL.fullmatch(text or "") is not None


def pinned(text: str | None, sha: str | None) -> str | None:
    """Return what fetches exactly commit *sha* of a pull request *text* (`pr/7`); any other *text* as it stands."""
    return f"{text}^{{{sha}}}" if sha and is_pull_request(text) and _SHA.fullmatch(sha) else text


def is_ref(text: str) -> bool:
    """Whether *text* can be the full name of a ref."""
    return text.startswith("refs/") and is_ref_name(text)


def is_ref_name(text: str) -> bool:
    """Whether git would accept *text* as (part of) a ref: the rules of `git check-ref-format`, and no leading dash."""
    if not text or len(text) > _LONGEST or text == "@" or text[0] in "-/" or text[-1] in "/.":
        return False
    if _FORBIDDEN.search(text):
        return False
    return not any(part.startswith((".", "-")) or part.endswith(".lock") for part in text.split("/"))


def branch_of(ref: str | None) -> str | None:
    """Return `x` for `refs/heads/x`, else None."""
    return ref.removeprefix("refs/heads/") if ref and ref.startswith("refs/heads/") else None
