"""Requests: which build a dedupe key or a start token stands for, so that asking twice is one build."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.store.database import Database

_PASSED = "passed:"
_PUSH = re.compile(r"(?P<place>git:[^:]+:[^:]+:)(?P<old>-|[0-9a-f]+)\.\.(?P<new>[0-9a-f]+)")


@dataclass(frozen=True)
class Passed:
    """A step of a ref, from `old` (None: from nothing) to `new`, that got no build; the one of `by` stands for it."""

    ref: str
    old: str | None
    new: str
    by: str


class Requests:
    """The table of remembered keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str, since: float = 0.0) -> tuple[str, str] | None:
        """Return (build id, fingerprint) stored under *key* at or after *since*, or None."""
        row = self._database.row("SELECT build, fingerprint FROM requests WHERE key = ? AND created >= ?", key, since)
        return None if row is None else (str(row[0]), str(row[1]))

    def remember(self, key: str, build: str, fingerprint: str, at: float) -> None:
        """Store what *key* stands for."""
        self._database.execute(
            "INSERT OR REPLACE INTO requests (key, build, fingerprint, created) VALUES (?,?,?,?)",
            key,
            build,
            fingerprint,
            at,
        )

    def arrival(self, key: str) -> str | None:
        """Return the build that was made when the ref of a push came to where *key* says that it came.

        *key* is `git:PROJECT:REF:OLD..NEW`, and is not known itself. Whoever looks at a repository may see two pushes
        as one, or not know what was before: the commit was built all the same when another trigger told of it, unless
        the ref has left it since then and been at OLD, and so has come back.
        """
        place, old, new = _parts(key)
        if place is None:
            return None
        seen = self._arrivals(place)
        last = max((index for index, one in enumerate(seen) if one[1] == new), default=None)
        if last is None:
            return None
        since = seen[last + 1 :]
        came_back = any(one[0] == new for one in since) and any(one[1] == old for one in since)
        return None if came_back else seen[last][2]

    def is_late(self, key: str) -> bool:
        """Whether the ref of a push is known to have moved on from where *key* says that it came, or from before."""
        place, old, new = _parts(key)
        if place is None:
            return False
        seen = self._arrivals(place)
        for commit in (old, new):
            last = max((index for index, one in enumerate(seen) if one[1] == commit), default=-1)
            if commit != "-" and any(one[0] == commit for one in seen[last + 1 :]):
                return True
        return False

    def unrelated(self, key: str) -> set[str]:
        """Return the builds of a ref's pushes that are not known to be older than the push *key*.

        Older are those of the steps that lead to where *key* starts, and those that start further back. Of any other
        nobody knows, as long as events may be late or lost, whether the ref was there before or after.
        """
        place, old, _ = _parts(key)
        if place is None:
            return set()
        seen = self._arrivals(place)
        before, found = set[str](), {old} - {"-"}
        while found:
            before |= found
            found = {one[0] for one in seen if one[1] in found} - before - {"-"}
        return {build for start, end, build in seen if end not in before and start not in before - {old}}

    def pass_over(self, key: str, by: str | None, at: float) -> None:
        """Store that the push *key* gets no build, because the ref has moved on to *by*, whose build stands for it.

        None: to the commit of *key* itself, which a build of other steps has reached. Nothing is stored where a build
        was made for the step, or for the commit that the ref has left.
        """
        place, _, new = _parts(key)
        by = by or new
        if place is None or self.find(key) or (new != by and self.arrival(key)):
            return
        self._database.execute(
            "INSERT OR IGNORE INTO requests (key, build, fingerprint, created) VALUES (?,'',?,?)", _PASSED + key, by, at
        )

    def passed(self, project: str, by: str | None = None) -> list[Passed]:
        """Return the pushes of *project* that were passed over, oldest first.

        With *by* those that had moved on to that commit, or to one that was then passed over for it.
        """
        start = f"{_PASSED}git:{project}:"
        rows = self._database.rows(
            "SELECT key, fingerprint FROM requests WHERE key >= ? AND key < ? ORDER BY created, rowid",
            start,
            start + "\x7f",
        )
        every = [one for key, commit in rows if (one := _passed(project, str(key), str(commit)))]
        if by is None:
            return every
        meant, more = set[str](), {by}
        while more:
            meant |= more
            more = {one.new for one in every if one.by in more} - meant
        return [one for one in every if one.by in meant]

    def _arrivals(self, place: str) -> list[tuple[str, str, str]]:
        """Return (old commit, new commit, build) of each push of one ref that was built, in the order of asking."""
        rows = self._database.rows(
            "SELECT key, build FROM requests WHERE key >= ? AND key < ? ORDER BY created, rowid", place, place + "\x7f"
        )
        return [(*_parts(str(key))[1:], str(build)) for key, build in rows]

    def prune(self, before: float) -> int:
        """Forget what is older than *before*; return how many keys."""
        return self._database.execute("DELETE FROM requests WHERE created < ?", before)


def _parts(key: str) -> tuple[str | None, str, str]:
    """Return the beginning of the keys of a ref's pushes, and the old and the new commit; None: another kind of key."""
    match = _PUSH.fullmatch(key)
    return (match["place"], match["old"], match["new"]) if match else (None, "", "")


def _passed(project: str, key: str, commit: str) -> Passed | None:
    """Return the push that is stored as passed over under *key*, for *commit*."""
    place, old, new = _parts(key.removeprefix(_PASSED))
    if place is None:
        return None
    return Passed(place.removeprefix(f"git:{project}:").removesuffix(":"), None if old == "-" else old, new, commit)
