"""DirectoryStore: objects as files below a directory, for those who have no bucket."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from agent.errors import DiskFull, UploadRefused, UserError
from agent.kit.files import NO_SPACE, sync_directory
from agent.kit.heed import heed
from agent.objects.book import FILE, Book, NoBook
from agent.objects.keys import checked_key
from agent.objects.store import Check, StoredObject, Upload, go_on

_OURS: Final = ".buildspecd"
_STALE: Final = 3600.0
_MARK: Final = uuid.uuid4().hex
"""How the names of this process's unfinished files begin."""
_SAYS_NO: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EEXIST,
        errno.ENOTEMPTY,
    }
)
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class DirectoryStore:
    """An `ObjectStore` over the directory *root*, which is made at the first `put`.

    The path of an object is its key. Metadata lies beside, below `.buildspecd/`, and names the file it belongs to by
    inode, so that it never speaks of another one. Encryption and ACL of an `Upload` mean nothing here. *book* tells of
    files that are not whole yet.
    """

    def __init__(self, root: Path, book: Book | None = None) -> None:
        self._root = root
        self._book = book or NoBook()
        self._swept = False

    def put(self, key: str, file: Path, upload: Upload) -> None:
        """See `ObjectStore.put`."""
        target = self._path(key)
        with self._refusing(key):
            aside = self._aside()
            try:
                with aside.open("wb") as out, file.open("rb") as source:
                    while block := source.read(1 << 20):
                        heed()
                        out.write(block)
                    out.flush()
                    os.fchmod(out.fileno(), 0o644)
                    os.fsync(out.fileno())
                    inode = os.fstat(out.fileno()).st_ino
                target.parent.mkdir(parents=True, exist_ok=True)
                if not self._place(aside, target, upload):
                    return
                sync_directory(target.parent)
            finally:
                aside.unlink(missing_ok=True)
            self._note(key, inode, upload)

    def get(
        self, key: str, file: Path, *, version: str | None = None, limit: int | None = None, check: Check = go_on
    ) -> StoredObject | None:
        """See `ObjectStore.get`; a directory keeps no versions, so that every *version* is absent."""
        path = self._path(key)
        with self._refusing(key):
            handle = None if version else self._opened(path)
            if handle is None:
                return None
            with os.fdopen(handle, "rb") as source:
                facts = os.fstat(handle)
                if limit is not None and facts.st_size > limit:
                    raise UserError(
                        f"{path} has {facts.st_size} bytes, more than {limit}",
                        hint="leave out what the build does not need",
                    )
                _copy_whole(source, file, check)
        return self._stored(key, facts)

    def head(self, key: str, *, version: str | None = None) -> StoredObject | None:
        """See `ObjectStore.head`."""
        path = self._path(key)
        with self._refusing(key):
            handle = None if version else self._opened(path)
            if handle is None:
                return None
            facts = os.fstat(handle)
            os.close(handle)
        return self._stored(key, facts)

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.scan`. What is no regular file, or a link that leads elsewhere, is no object."""
        if prefix.startswith("/") or ".." in prefix.split("/"):
            raise UserError(f"not a prefix of keys: {prefix!r}")
        folder = prefix.rpartition("/")[0]
        for above, names, files in os.walk(self._root / folder):
            names[:] = [name for name in names if name != _OURS or Path(above) != self._root]
            for name in files:
                path = Path(above, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and (facts := self._facts(path)):
                    yield StoredObject(key, facts.st_size, facts.st_mtime, etag=_etag(facts))

    def list(self, prefix: str) -> list[StoredObject]:
        """See `ObjectStore.list`."""
        return sorted(self.scan(prefix), key=lambda stored: (-stored.modified, stored.key))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._refusing(key):
            for path in (self._path(key), self._notes(key)):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()

    def locate(self, key: str) -> str:
        """See `ObjectStore.locate`; an empty *key* is the directory itself."""
        path = self._path(key) if key else self._root
        return f"file://{quote(str(path))}"

    def _path(self, key: str) -> Path:
        if checked_key(key).split("/", 1)[0] == _OURS:
            raise UserError(f"not a key of an object: {key!r}", hint=f"{_OURS} is the store's own directory")
        return self._root / key

    def _opened(self, path: Path) -> int | None:
        """Open the regular file at *path*; None unless there is one that lies below the root, links followed."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if stat.S_ISREG(os.fstat(handle).st_mode) and self._holds(path):
            return handle
        os.close(handle)
        return None

    def _facts(self, path: Path) -> os.stat_result | None:
        try:
            facts = path.lstat()
            if stat.S_ISLNK(facts.st_mode):
                facts = path.stat()
                if not self._holds(path):
                    return None
        except OSError:
            return None  # it vanished meanwhile, or leads nowhere
        return facts if stat.S_ISREG(facts.st_mode) else None

    def _holds(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._root))

    def _notes(self, key: str) -> Path:
        return self._root / _OURS / "meta" / f"{key}.json"

    def _aside(self) -> Path:
        """Return a new empty file beside the objects; leftovers of a process that was killed are removed first."""
        folder = self._root / _OURS / "aside"
        if not self._swept:
            self._swept = True
            self._book.begin(FILE, str(folder / _MARK))
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < time.time() - _STALE:
                        path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{_MARK}-", dir=folder)
        os.close(handle)
        return Path(name)

    def _place(self, aside: Path, target: Path, upload: Upload) -> bool:
        if not upload.if_absent:
            aside.replace(target)
            return True
        try:
            os.link(aside, target)
        except FileExistsError:
            return False
        return True

    def _note(self, key: str, inode: int, upload: Upload) -> None:
        notes = self._notes(key)
        if upload.metadata:
            notes.parent.mkdir(parents=True, exist_ok=True)
            aside = self._aside()
            aside.write_text(json.dumps({"inode": inode, "metadata": dict(upload.metadata)}))
            aside.chmod(0o644)
            aside.replace(notes)
        else:
            notes.unlink(missing_ok=True)

    def _stored(self, key: str, facts: os.stat_result) -> StoredObject:
        metadata: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
            notes = json.loads(self._notes(key).read_bytes())
            if notes["inode"] == facts.st_ino:
                metadata = dict(notes["metadata"])
        return StoredObject(key, facts.st_size, facts.st_mtime, metadata, _etag(facts))

    @contextlib.contextmanager
    def _refusing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in NO_SPACE:
                raise DiskFull(f"no space left for {key} below {self._root}", hint="free some disk space") from error
            if error.errno in _SAYS_NO:
                raise UploadRefused(
                    f"{self._root / key}: {error.strerror}",
                    hint=f"the agent must be able to write below {self._root}, and no name may be both file and folder",
                ) from error
            raise


def _etag(facts: os.stat_result) -> str:
    """Whoever replaces or changes a file changes one of these."""
    return f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"


def _copy_whole(source: IO[bytes], file: Path, check: Check) -> None:
    """Write all of *source* to *file*, or nothing."""
    handle, aside = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            while block := source.read(1 << 20):
                check()
                heed()
                out.write(block)
        Path(aside).replace(file)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
