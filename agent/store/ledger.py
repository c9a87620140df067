"""Ledger: what we make where no label and no directory of ours tells of it, from before it is made until it is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.kit.clock import Clock
from agent.store.database import Database

UPLOAD = "upload"
FILE = "file"


@dataclass(frozen=True)
class Entry:
    """One thing that may be there. `mark` is the id of an upload, empty as long as nobody knows it."""

    id: int
    kind: str
    place: str
    name: str
    mark: str
    created: float


class Ledger:
    """The table of such things; an `agent.objects.book.Book`. Any thread may call any method.

    An entry belongs to the process that wrote it, and to nobody once that is gone or has given it up.
    """

    def __init__(
        self, database: Database, clock: Clock, *, owner: str | None = None, proc: Path = Path("/proc")
    ) -> None:
        self._database = database
        self._clock = clock
        self._proc = proc
        self._owner = this_process(proc) if owner is None else owner

    def begin(self, kind: str, place: str, name: str = "") -> int:
        """Write down what is about to be made; return the number of the entry. A file that is in it stands once."""
        if kind == FILE and (there := self._file(place)):
            return there
        row = self._database.row(
            "INSERT INTO ledger (kind, place, name, owner, created) VALUES (?,?,?,?,?) RETURNING id",
            kind,
            place,
            name,
            self._owner,
            self._clock.now(),
        )
        assert row is not None
        return int(row[0])

    def _file(self, place: str) -> int:
        query = "SELECT id FROM ledger WHERE kind = ? AND place = ? AND owner = ?"
        row = self._database.row(query, FILE, place, self._owner)
        return int(row[0]) if row else 0

    def mark(self, entry: int, mark: str) -> None:
        """Write down under which id it was made."""
        self._database.execute("UPDATE ledger SET mark = ? WHERE id = ?", mark, entry)

    def strike(self, entry: int) -> None:
        """Strike out what is gone, or has become what it was made for."""
        self._database.execute("DELETE FROM ledger WHERE id = ?", entry)

    def give_up(self, entry: int) -> None:
        """Leave what could not be removed to the next sweep."""
        self._database.execute("UPDATE ledger SET owner = '' WHERE id = ?", entry)

    def abandoned(self) -> Iterator[Entry]:
        """Yield the entries that nobody is at any more, oldest first."""
        rows = self._database.rows("SELECT id, kind, place, name, mark, created, owner FROM ledger ORDER BY id")
        alive: dict[str, bool] = {}
        for number, kind, place, name, mark, created, owner in rows:
            if owner not in alive:
                alive[owner] = bool(owner) and is_alive(owner, self._proc)
            if not alive[owner]:
                yield Entry(int(number), kind, place, name, mark, float(created))


def this_process(proc: Path = Path("/proc")) -> str:
    """Return a name of this process that no later one has, after a restart of the host neither."""
    return _named(os.getpid(), proc)


def is_alive(owner: str, proc: Path = Path("/proc")) -> bool:
    """Whether the process of that name still runs."""
    number = owner.split(":")[1] if owner.count(":") == 2 else ""
    return number.isdigit() and _named(int(number), proc) == owner


def _named(process: int, proc: Path) -> str:
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        started = (proc / str(process) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}:{process}:{started}"
