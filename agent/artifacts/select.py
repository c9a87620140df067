"""Select: which files an `artifacts` section names, and under which names they are stored (buildspec.md 10.2, 10.5)."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from agent.artifacts.selection import SelectedFile, Selection, portable
from agent.buildspec.plan import ArtifactPlan
from agent.errors import ArtifactsMissing, BuildspecdError, UserError
from agent.kit.beyond import Beyond, Spot
from agent.kit.globs import Globs, static_prefix, tidy
from agent.kit.tree import Inside, Tree, Trouble

Say = Callable[[str], None]
"""Takes one line for the build's log, without time stamp."""

_WARNINGS = 20


def select(
    plan: ArtifactPlan, beyond: Beyond, say: Say, *, keep_links: bool = False, what: str = "artifact"
) -> Selection:
    """Return the files that *plan*, whose texts are expanded already, names in the source tree and beyond it.

    *what* they are is said by messages; result files of reports are chosen likewise (buildspec.md 12.3).
    *keep_links*: symlinks that stay below the base directory are kept as such (`enable-symlinks`, ZIP only); else
    their targets' content is taken. Links that leave it are skipped with a warning. Says the lines of
    buildspec.md 14.2 in their order. Raises `ArtifactsMissing` with the messages of 10.6.
    """
    if plan.identifier:
        say(f"Preparing to copy secondary artifacts {plan.identifier}")
    try:
        bases = _bases(plan.base_directory or ".", beyond, say, what)
        search = _Search(plan, beyond, say, keep_links=keep_links and not plan.discard_paths, what=what)
        for shown, spot in bases:
            search.expand(shown, spot)
    except ValueError as error:
        raise UserError(f"the container's files cannot be read: {error}") from error
    return Selection(plan.identifier, search.finish())


def _bases(text: str, beyond: Beyond, say: Say, what: str) -> list[tuple[str, Spot]]:
    say(f"Expanding base directory path: {text}")
    say("Assembling file list")
    say(f"Expanding {text}")
    prefix, rest = static_prefix(tidy(text).rstrip("/") or ("/" if text.startswith("/") else ""))
    top = beyond.place(prefix)
    found: list[tuple[str, Spot]] = []
    if top is not None and top.is_directory:
        if rest:
            names = top.tree.directories(top.name, Globs([rest]), _unreadable(what))
            found = [(posixpath.join(prefix, name), Spot(top.tree, _join(top.name, name))) for name in names]
        else:
            found = [(text, top)]
    if not found:
        raise ArtifactsMissing(
            f"no matching base directory path found for {text}",
            hint=f"{what}s.base-directory is relative to the source directory; does the build create it?",
        )
    return found


@dataclass
class _Search:
    """Gathers what the patterns match, base directory by base directory."""

    plan: ArtifactPlan
    beyond: Beyond
    say: Say
    keep_links: bool
    what: str
    files: dict[str, SelectedFile] = field(default_factory=dict)
    matched: bool = False
    warned: int = 0

    def expand(self, shown: str, base: Spot) -> None:
        """Take what the patterns match below *base*, or at their absolute places, in sorted order."""
        self.say(f"Expanding file paths for base directory {shown}")
        self.say("Assembling file list")
        found: dict[int, list[_Match]] = {index: [] for index in range(len(self.plan.files))}
        inside: list[tuple[int, str]] = []
        for index, text in enumerate(self.plan.files):
            self.say(f"Expanding {text}")
            pattern = tidy(text)
            if _leads_out(pattern) or self._through_link(base, pattern):
                found[index].extend(self._elsewhere(base, pattern))
            else:
                inside.append((index, pattern))
        globs = Globs([pattern for _, pattern in inside])
        for match, mask in self._below(base, globs) if inside else ():
            for bit, (index, _) in enumerate(inside):
                if mask >> bit & 1:
                    found[index].append(match)
        self._take(found)

    def _below(self, base: Spot, globs: Globs) -> Iterator[tuple[_Match, int]]:
        """Yield what matches below *base* and the bits of the patterns; linked directories count as directories."""
        linked = self.beyond.linked_below(base)
        for name, mask, facts in base.tree.walk(base.name, globs, _unreadable(self.what)):
            if name not in linked:
                yield _Match(name, base, _join(base.name, name), facts), mask
        for above, path in linked.items():
            top = self.beyond.place(path) if globs.reach(above) else None
            if top is None or not top.is_directory:
                continue
            for name, _, facts in top.tree.walk(top.name, Globs(["**/*"]), _unreadable(self.what)):
                if mask := globs.matches(f"{above}/{name}"):
                    yield _Match(f"{above}/{name}", top, _join(top.name, name), facts), mask

    def finish(self) -> tuple[SelectedFile, ...]:
        """Return the files sorted by stored name."""
        if self.warned > _WARNINGS:
            self.say(f"Warning: {self.warned - _WARNINGS} more files were skipped")
        if not self.files:
            everything = "" if not self.matched else "; everything that matched was excluded or skipped"
            raise ArtifactsMissing(
                f"no matching {self.what} paths found",
                hint=f"{self.what}s.files are globs relative to the base directory{everything}; "
                "a directory needs dir/**/* to be taken",
            )
        return tuple(self.files[name] for name in sorted(self.files))

    def _take(self, found: dict[int, list[_Match]]) -> None:
        excluded = _Excluded(self.plan.exclude_paths)
        chosen = {match.name: match for matches in found.values() for match in matches if not excluded(match)}
        before = len(self.files)
        for name in sorted(chosen):
            self._store(chosen[name])
        if any(found.values()):
            self.matched = True
            self.say(f"Found {len(self.files) - before} file(s)")
        for index, text in enumerate(self.plan.files):
            if not found[index]:
                self.say(f"Skipping invalid file path {text}")

    def _through_link(self, base: Spot, pattern: str) -> bool:
        prefix, _ = static_prefix(pattern)
        above = posixpath.dirname(prefix) if prefix == pattern else prefix
        if not above:
            return False
        resolved = base.tree.resolve(above, base.name)
        return resolved is not None and resolved != Inside(_join(base.name, above))

    def _elsewhere(self, base: Spot, pattern: str) -> Iterable[_Match]:
        """Matches of a pattern that is absolute, goes up, or leads through a symlink."""
        prefix, rest = static_prefix(pattern)
        lead = prefix if prefix.startswith("/") else posixpath.normpath(f"{_seen(base)}/{prefix}")
        stored = _without_lead(prefix)
        if not rest:
            spot = self.beyond.place(lead)
            facts = spot.tree.lstat(spot.name) if spot else None
            if spot and facts and not stat.S_ISDIR(facts.st_mode):
                yield _Match(stored, Spot(spot.tree, posixpath.dirname(spot.name)), spot.name, facts)
            return
        top = self.beyond.place(lead)
        if top is None or not top.is_directory:
            return
        for name, _, facts in top.tree.walk(top.name, Globs([rest]), _unreadable(self.what)):
            yield _Match(_join(stored, name), top, _join(top.name, name), facts)

    def _store(self, match: _Match) -> None:
        taken = self._selected(match)
        if taken is None:
            return
        name = portable(posixpath.basename(match.name) if self.plan.discard_paths else match.name)
        if name in self.files:
            self._warn(f"Warning: more than one file would be stored as {name}; {match.name} wins")
        self.files[name] = SelectedFile(name, *taken)

    def _selected(self, match: _Match) -> tuple[Tree, str, int, int, str | None] | None:
        tree, name, facts = match.base.tree, match.entry, match.facts
        if stat.S_ISREG(facts.st_mode):
            return tree, name, stat.S_IMODE(facts.st_mode), facts.st_size, None
        if not stat.S_ISLNK(facts.st_mode):
            self._warn(f"Warning: skipping {match.name}: not a regular file")
            return None
        target = tree.resolve(f"{tree.seen_as}/{name}")
        if not isinstance(target, Inside) or not _below(target.name, match.base.name):
            self._warn(f"Warning: skipping symbolic link {match.name}: it leads out of the base directory or nowhere")
            return None
        real = tree.lstat(target.name)
        if self.keep_links:
            return tree, target.name, 0o777, 0, _link_text(match, target.name)
        if real is None or not stat.S_ISREG(real.st_mode):
            self._warn(f"Warning: skipping symbolic link {match.name}: it does not lead to a regular file")
            return None
        return tree, target.name, stat.S_IMODE(real.st_mode), real.st_size, None

    def _warn(self, line: str) -> None:
        self.warned += 1
        if self.warned <= _WARNINGS:
            self.say(line)


@dataclass(frozen=True, slots=True)
class _Match:
    """`name` is what the file is stored as; `entry` is where it lies in the tree of `base`."""

    name: str
    base: Spot
    entry: str
    facts: os.stat_result

    @property
    def seen(self) -> str:
        """The absolute path in the container."""
        return f"{self.base.tree.seen_as.rstrip('/')}/{self.entry}"


class _Excluded:
    """Whether a match is left out. Patterns are relative to the base directory, or absolute."""

    def __init__(self, patterns: Iterable[str]) -> None:
        words = [tidy(pattern) for pattern in patterns]
        self._relative = Globs([word for word in words if not _leads_out(word)])
        self._absolute = Globs([word.lstrip("/") for word in words if word.startswith("/")])

    def __call__(self, match: _Match) -> bool:
        return bool(self._relative.matches(match.name) or self._absolute.matches(match.seen.lstrip("/")))


def _link_text(match: _Match, target: str) -> str:
    """The text of a kept link: its own where that stays below the base directory, else the way to the target."""
    text = match.base.tree.readlink(match.entry) or ""
    folder = posixpath.dirname(match.name)
    if text.startswith("/") or _leads_out(posixpath.normpath(posixpath.join(folder, text))):
        base = match.base.name
        within = target[len(base) + 1 :] if base else target
        return posixpath.relpath(within or ".", folder or ".")
    return text


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "../")) or path == ".."


def _without_lead(path: str) -> str:
    while _leads_out(path):
        path = path[1:] if path.startswith("/") else path[3:]
    return path


def _seen(spot: Spot) -> str:
    return f"{spot.tree.seen_as.rstrip('/')}/{spot.name}"


def _below(name: str, base: str) -> bool:
    return not base or name == base or name.startswith(f"{base}/")


def _join(above: str, name: str) -> str:
    return f"{above}/{name}" if above and name else above or name


def _unreadable(what: str) -> Trouble:
    def tell(name: str, error: OSError) -> None:
        raise BuildspecdError(
            f"Error uploading {what}s: {name or '.'}: {error.strerror}",
            hint="the agent may not read what the build wrote; it has to run as root or own the workspace",
        )

    return tell
