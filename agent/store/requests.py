"""Requests: which build a dedupe key or a start token stands for, so that asking twice is one build."""

from __future__ import annotations

import re

from agent.store.database import Database

_PUSH = re.compile(r"(?P<place>git:[^:]+:[^:]+:)(?P<old>-|[0-9a-f]+)\.\.(?P<new>[0-9a-f]+)")


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
