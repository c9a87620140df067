"""Sources: fetches any source of a build into its directory; the one thing that the pipeline and the poller call."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from agent.errors import BuildspecdError, DiskFull, SourceNotFound, SourceRefused, UserError
from agent.kit.files import NO_SPACE
from agent.kit.heed import patiently
from agent.kit.service import StopToken
from agent.model.project import GIT_TYPES, Source
from agent.model.secret import Secret
from agent.source import lfs
from agent.source import remote as remotes
from agent.source import version as versions
from agent.source.checkout import DEEPEST, Fill, check_out, empty, populate
from agent.source.connections import Connections
from agent.source.credentials import CredentialFor, GitCredential, Given, Keyring, Remote, remote_of
from agent.source.directory import copy_directory, head_of
from agent.source.errand import Errand, go_on
from agent.source.failures import MirrorBroken
from agent.source.git import Git
from agent.source.lsrefs import LsRefs
from agent.source.mirror import Mirror, Mirrors
from agent.source.obtain import obtain, obtain_ref, obtain_sha
from agent.source.remote import Heads
from agent.source.revision import Revision
from agent.source.spares import Spares
from agent.source.submodules import check_out_submodules
from agent.source.version import Version

__all__ = ["Change", "Fetcher", "Revision", "Sources", "no_bundle", "no_credential"]

Say = Callable[[str], None]
T = TypeVar("T")

_NO_SUCH_TYPE = "let the project watch the repository itself: CODECOMMIT, GITHUB, GITLAB, BITBUCKET, GIT or S3"
_NO_ACCESS = re.compile(r"(?<!ref )(error: 40[134]|error: 410|[Nn]ot found|does not exist|could not be found)")


@dataclass(frozen=True)
class Change:
    """What a push brought: the paths that it touched, and the message of its last commit."""

    paths: tuple[str, ...]
    message: str


Fetcher = Callable[[Source, str | None, Path, Errand], Revision]
"""Fetches a source of a type that git knows nothing of (S3, CODEPIPELINE)."""


def no_credential(_: Source) -> None:
    """Let nobody in anywhere: for public repositories and those of this machine."""


def no_bundle(_: Source, __: str | None) -> None:
    """Believe the system's certificates."""


class Sources:
    """Fetches sources. Safe to share between threads; two fetches of one repository wait for each other.

    *mirrors* is the directory of the bare copies. *keyring* (or *credential_for*, where a function is enough) is asked
    anew for each fetch and each look, since tokens expire; what it gave is asked for once more where the server refuses
    it, since tokens are replaced, too. *ca_file* gives the certificates to believe, for a source and the
    `environment.certificate` of its build, where that is known. *skip* are directories that a copied working tree
    leaves out (the agent's own state). *others* adds source types by name. *spares* are the work trees that stand ready
    for checkouts of big repositories.
    """

    def __init__(
        self,
        mirrors: Path,
        *,
        credential_for: CredentialFor = no_credential,
        keyring: Keyring | None = None,
        ca_file: Callable[[Source, str | None], Path | None] = no_bundle,
        connections: Connections | None = None,
        skip: Collection[Path] = (),
        others: Mapping[str, Fetcher] | None = None,
        git: Git | None = None,
        spares: Spares | None = None,
    ) -> None:
        self._git = git or Git()
        self._ls_refs = LsRefs(connections=connections)
        self.mirrors = Mirrors(mirrors, self._git)
        self._keyring: Keyring = keyring or Given(credential_for)
        self._ca_file = ca_file
        self._skip = tuple(skip)
        self._others = dict(others or {})
        self._spares = spares
        self._fill: Fill = spares.fill if spares else populate

    def fetch(
        self,
        source: Source,
        version: str | None,
        workspace: Path,
        say: Say,
        *,
        ref: str | None = None,
        check: Callable[[], None] = go_on,
        scratch: Path | None = None,
        certificate: str | None = None,
        fetcher: Fetcher | None = None,
    ) -> Revision:
        """Make *workspace* hold *source* at *version* (service.md 1.4; None: tip of the default branch).

        *ref* is the branch or tag that a bare commit id was seen on; with it only that one is fetched. *say* gets lines
        for the build's log; *check* is called now and then, and may raise to end it. *scratch* is a private directory
        for what is on its way, on the disk of the workspace. *certificate* is the build's `environment.certificate`,
        which is believed as well. *fetcher* takes the place of the one of the
        source's type. Running it twice gives the same result. Raises `SourceNotFound`, `SourceRefused`,
        `GitUnavailable`, `AwsUnavailable`, `DiskFull`.
        """
        try:
            if another := fetcher or self._others.get(source.type):
                return another(source, version, workspace, Errand(say, check, scratch or workspace.parent))
            return self._fetch_any(source, version, workspace, say, ref, certificate)
        except DiskFull:
            self._make_room()
            raise
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._make_room()
            raise DiskFull(f"no space left for the source in {workspace}", hint="free some disk space") from error

    def _make_room(self) -> None:
        if self._spares:
            self._spares.shed()

    def _fetch_any(
        self, source: Source, version: str | None, workspace: Path, say: Say, ref: str | None, certificate: str | None
    ) -> Revision:
        if source.type in GIT_TYPES:
            return self._entering(
                source,
                lambda remote: self._fetch_git(source, remote, version, workspace, say, ref),
                certificate,
            )
        if source.type == "DIRECTORY":
            return self._copy(source, workspace)
        if source.type == "NO_SOURCE":
            empty(workspace)
            return Revision()
        raise SourceRefused(f"source type {source.type} cannot be fetched by this agent", hint=_NO_SUCH_TYPE)

    def mounts(self, sources: Sequence[Source]) -> tuple[Path, ...]:
        """Return the directories that a build of *sources* must see, read-only and at the same path, in its container.

        They exist after this call, and are only those of these sources: one project's code is not shown to another.
        """
        paths = [self.mirrors.mirror(self._seen(one)).path for one in sources if one.type in GIT_TYPES]
        return tuple(dict.fromkeys(paths))

    def heads(self, source: Source, names: Sequence[str] = (), stop: StopToken | None = None) -> Heads:
        """Return HEAD and the wanted refs of a git source, as they are on the server now (`remote.read_heads`)."""

        def look(remote: Remote) -> Heads:
            return remotes.read_heads(self._git, remote, names, stop, ls_refs=self._ls_refs)

        return self._entering(source, look)

    def change(self, source: Source, ref: str, old: str | None, new: str) -> Change:
        """Return what the step from *old* to *new* touched; for a new branch, what its last commit touched."""

        def bring(remote: Remote) -> tuple[Mirror, str]:
            mirror = self.mirrors.mirror(remote)
            return mirror, obtain_sha(mirror, Version(ref=ref, sha=new))

        mirror, commit = self._entering(source, bring)
        before = mirror.find(old) if old else None
        span = [before, commit] if before else ["--root", "-m", "--first-parent", commit]
        listing = mirror.run("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", "--no-renames", *span)
        message = mirror.run("log", "-1", "--format=%B", commit).text
        return Change(tuple(path for path in listing.text.split("\0") if path), message.strip())

    def pull_change(self, source: Source, ref: str, base: str, head: str) -> Change:
        """Return what a pull request brings: *head* since it left *base*, a commit or the full name of a branch.

        *ref* is where the server shows *head*. Raises `SourceNotFound`, `SourceRefused`, `GitUnavailable`.
        """

        def bring(remote: Remote) -> tuple[Mirror, str, str]:
            mirror = self.mirrors.mirror(remote)
            commit = obtain_sha(mirror, Version(ref=ref, sha=head))
            if base.startswith("refs/"):
                return mirror, commit, obtain_ref(mirror, base, narrow=False)
            return mirror, commit, obtain_sha(mirror, Version(sha=base))

        mirror, commit, trunk = self._entering(source, bring)
        fork = mirror.run("merge-base", trunk, commit)
        since = fork.text if fork.status == 0 and fork.text else trunk
        listing = mirror.run("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", "--no-renames", since, commit)
        message = mirror.run("log", "-1", "--format=%B", commit).text
        return Change(tuple(path for path in listing.text.split("\0") if path), message.strip())

    def whole_id(self, source: Source, beginning: str) -> str:
        """Return the id of the commit that begins with *beginning*. Raises `SourceNotFound`, and what fetching does."""

        def bring(remote: Remote) -> str | None:
            mirror = self.mirrors.mirror(remote)
            mirror.fetch_all()
            return mirror.find(beginning)

        if found := self._entering(source, bring):
            return found
        raise SourceNotFound(f"{source.location}: no branch reaches commit {beginning}", hint="was its branch removed?")

    def remote(self, source: Source) -> Remote | None:
        """Return where a git source lies and how it is entered now; None for a source of another kind."""
        return self._remote(source) if source.type in GIT_TYPES else None

    def _remote(self, source: Source, certificate: str | None = None) -> Remote:
        ca_file = self._ca_file(source, certificate) if (source.location or "").startswith("https:") else None
        remote = remote_of(source, patiently(lambda: self._keyring(source)), ca_file=ca_file)
        return replace(remote, enter=self._keyring, source=source)

    def _seen(self, source: Source) -> Remote:
        """Return the remote as far as its mirror depends on it; no credential is had for that where there is a name."""
        identity = self._keyring.identity(source)
        if identity is None:
            return self._remote(source)
        return remote_of(source, GitCredential("", Secret(""), identity) if identity else None)

    def _entering(self, source: Source, act: Callable[[Remote], T], certificate: str | None = None) -> T:
        """Return what *act* makes of the remote; with another login where the first is refused and was replaced."""
        try:
            remote = self._remote(source, certificate)
            try:
                return act(remote)
            except SourceRefused:
                self._keyring.forget(source)
                again = self._remote(source, certificate)
                if (again.credential, again.ssh) == (remote.credential, remote.ssh):
                    raise
            return act(again)
        except (SourceRefused, SourceNotFound) as error:
            self._advise(source, error)
            raise

    def _advise(self, source: Source, error: UserError) -> None:
        """Say with what the source was entered, where that may be why it did not open."""
        advice = self._keyring.advice(source)
        about_access = isinstance(error, SourceRefused) or _NO_ACCESS.search(error.message)
        if advice and about_access and advice not in error.hint:
            error.hint = f"{error.hint}; {advice}" if error.hint else advice

    def _copy(self, source: Source, workspace: Path) -> Revision:
        location = source.location or ""
        directory = Path(unquote(urlsplit(location).path) if location.startswith("file://") else location)
        copy_directory(directory, workspace, skip=self._skip)
        ref, sha = head_of(directory)
        return Revision(sha, ref)

    def _fetch_git(
        self, source: Source, remote: Remote, text: str | None, workspace: Path, say: Say, ref: str | None
    ) -> Revision:
        asked = versions.parse_for(source, text)
        # A bare commit means a full download (service.md 1.4); where history is cut nobody would see the rest.
        version = asked.with_ref(ref) if _is_narrow(source) else asked
        mirror = self.mirrors.mirror(remote)
        try:
            revision = self._check_out(source, mirror, version, workspace, say)
        except MirrorBroken:
            mirror.renew()
            if self._spares:
                self._spares.forget(mirror)
            revision = self._check_out(source, mirror, version, workspace, say)
        return revision if revision.ref else replace(revision, ref=ref)

    def _check_out(self, source: Source, mirror: Mirror, version: Version, workspace: Path, say: Say) -> Revision:
        revision = obtain(self._git, mirror, version, say, narrow=_is_narrow(source))
        if revision.sha is None:
            raise BuildspecdError("a git source ended without a commit")
        depth = source.git_clone_depth
        check_out(mirror, revision.sha, workspace, ref=revision.ref, depth=depth, fill=self._fill)
        if source.git_submodules_config is not None and source.git_submodules_config.fetch_submodules:
            check_out_submodules(mirror, revision.sha, workspace, say)
        lfs.fill(mirror, workspace, say)
        return revision


def _is_narrow(source: Source) -> bool:
    return 1 <= source.git_clone_depth <= DEEPEST
