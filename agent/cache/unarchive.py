"""Unarchive: a stored cache comes back, as a whole or not at all: aside first, then in (buildspec.md 11.2)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agent.cache.archive import ArchiveReader, Index
from agent.cache.contents import IN_ROOT, IN_TREE, Wanted
from agent.cache.manifest import NO_STAMP, Manifest, stamp
from agent.kit.tarstream import END, Member, header, padding
from agent.kit.tree import Tree
from agent.kit.untar import Placer

Put = Callable[[IO[bytes]], None]
"""Unpacks a tar at `/` of the container, keeping owners and modes."""


@dataclass
class _Aside:
    """The wanted part of an archive: files of the source tree unpacked, files of the container in a tar."""

    placer: Placer
    outside: IO[bytes]
    tops: list[str]
    names: set[str] = field(default_factory=set)
    folders: dict[str, Member] = field(default_factory=dict)
    has_outside: bool = False
    dropped: bool = False


def unarchive(file: Path, object_key: str, wanted: Wanted, scratch: Path, put: Put | None) -> Manifest:
    """Place what *wanted* names of the archive *file*, and return what is there now.

    A file that the checkout has stays as it is: a cache never hides a source. Nothing is placed before the whole
    archive has been read and verified; when placing fails, what was placed is taken away again. *put* None drops the
    container's part. Raises `ValueError` (the archive), `OSError` (the disk), and what *put* raises.
    """
    with _room(wanted.tree, scratch) as room, tempfile.TemporaryFile(dir=scratch) as spool:
        unpacked = Path(room, "unpacked")
        unpacked.mkdir()
        aside = _Aside(Placer(unpacked), spool, wanted.tops())
        with file.open("rb") as source:
            index = _read(ArchiveReader(source), wanted, aside)
        _finish(aside, index)
        if aside.has_outside and put:
            spool.write(END)
            spool.seek(0)
            put(spool)
        above = wanted.tree.start
        _move_in(unpacked, wanted.tree.path(above), Path(room, "undone"))
    return _manifest(object_key, index, aside, wanted.tree)


@contextlib.contextmanager
def _room(tree: Tree, scratch: Path) -> Iterator[str]:
    """Give a private directory from which files can be renamed into *tree*: *scratch*, if it is on the same disk."""
    same = scratch.stat().st_dev == tree.root.stat().st_dev
    room = tempfile.mkdtemp(prefix="cache-" if same else ".buildspecd-cache-", dir=scratch if same else tree.root)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _read(archive: ArchiveReader, wanted: Wanted, aside: _Aside) -> Index:
    is_root = os.geteuid() == 0
    for member in archive:
        if member.kind == "directory":
            _take_directory(member, aside)
        elif member.kind not in ("file", "symlink") or member.name not in wanted:
            aside.dropped = True
        elif member.name in aside.names:
            raise ValueError(f"a name comes twice: {member.name!r}")
        else:
            aside.names.add(member.name)
            if member.name.startswith(IN_TREE):
                _take_into_tree(archive, member, aside.placer, is_root=is_root)
            else:
                _take_into_spool(archive, member, aside)
    return archive.index


def _take_directory(member: Member, aside: _Aside) -> None:
    """Remember owner and mode; one that no file stands in later is not made."""
    if member.name.startswith(IN_ROOT):
        aside.folders[member.name] = _absolute(member)
    else:
        aside.placer.modes[member.name[len(IN_TREE) :]] = member.mode & 0o777
        aside.placer.owners[member.name[len(IN_TREE) :]] = (member.uid, member.gid)


def _take_into_tree(archive: ArchiveReader, member: Member, placer: Placer, *, is_root: bool) -> None:
    name = member.name[len(IN_TREE) :]
    if member.kind == "symlink":
        path = placer.link(name, member.link)
        if is_root:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        return
    handle = placer.file(name, archive, member.size, member.mode)
    try:
        if is_root and (member.uid or member.gid):
            os.fchown(handle, member.uid, member.gid)
    finally:
        os.close(handle)


def _take_into_spool(archive: ArchiveReader, member: Member, aside: _Aside) -> None:
    aside.has_outside = True
    for at in [at for at, letter in enumerate(member.name) if letter == "/"]:
        folder = aside.folders.pop(member.name[:at], None)
        if folder and any(f"/{folder.name}/".startswith(f"{top}/") for top in aside.tops):
            aside.outside.write(header(folder))
    aside.outside.write(header(_absolute(member)))
    while block := archive.read(1 << 20):
        aside.outside.write(block)
    aside.outside.write(padding(member.size))


def _absolute(member: Member) -> Member:
    name = member.name[len(IN_ROOT) :]
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"a name that leads elsewhere: {name!r}")
    mode = member.mode if member.kind == "directory" else member.mode & 0o777
    return Member(name, member.kind, mode, member.uid, member.gid, member.size, member.mtime_ns, member.link)


def _finish(aside: _Aside, index: Index) -> None:
    """Check the index against what came, and give the files in the source tree their times."""
    if not aside.names <= set(index.names) or len(set(index.names)) != len(index.names):
        raise ValueError("the index of the cache does not fit its files")
    aside.placer.finish()
    for name, when in zip(index.names, index.mtimes, strict=True):
        if name in aside.names and name.startswith(IN_TREE):
            path = f"{aside.placer.root}/{name[len(IN_TREE) :]}"
            with contextlib.suppress(OverflowError):
                os.utime(path, ns=(when, when), follow_symlinks=False)


def _move_in(unpacked: Path, target: str, undone: Path) -> None:
    """Rename everything below *unpacked* into *target*, directory by directory; what exists there stays."""
    moved: list[str] = []
    todo = [(str(unpacked), target)]
    try:
        while todo:
            source, there = todo.pop()
            for word in os.listdir(source):  # noqa: PTH208 - names of any bytes, thousands of them
                old, new = f"{source}/{word}", f"{there}/{word}"
                try:
                    mode = os.lstat(new).st_mode
                except FileNotFoundError:
                    os.rename(old, new)  # noqa: PTH104 - names of any bytes, thousands of them
                    moved.append(new)
                    continue
                if stat.S_ISDIR(mode) and stat.S_ISDIR(os.lstat(old).st_mode):
                    todo.append((old, new))
    except BaseException:
        undone.mkdir()
        for number, new in enumerate(moved):
            os.rename(new, undone / str(number))  # noqa: PTH104 - as above
        raise


def _manifest(object_key: str, index: Index, aside: _Aside, tree: Tree) -> Manifest:
    names: list[str] = []
    sums: list[str] = []
    stamps: list[bytes] = []
    in_tree = 0
    above = tree.path(tree.start)
    for name, digest in zip(index.names, index.sums, strict=True):
        if name not in aside.names:
            continue
        facts = NO_STAMP
        if name.startswith(IN_TREE):
            in_tree += 1
            with contextlib.suppress(OSError):
                facts = stamp(os.lstat(f"{above}/{name[len(IN_TREE) :]}"))
        names.append(name)
        sums.append(digest)
        stamps.append(facts)
    return Manifest(object_key, names, sums, stamps, in_tree, stale=aside.dropped)
