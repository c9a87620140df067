"""Archive: a ZIP that nobody vouches for becomes the contents of a workspace, whole or not at all (service.md 2.2)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DiskFull, SourceRefused
from agent.kit import untar
from agent.kit.unzip import ZipData
from agent.kit.zipindex import Entry, read_index
from agent.model.cause import Cause
from agent.source.names import Limits, Names, clean, leads_out

_LONGEST_TARGET = 4095
_DAMAGED = Cause.SOURCE_INVALID
_PACK = "pack the source as a plain ZIP (zip -r source.zip .), which is the only archive that CodeBuild takes"
_REPACK = "make the archive anew with a common tool (zip -r source.zip .), and upload it again"
_LOOKS = (
    (b"\x1f\x8b", "a gzip file, a .tar.gz perhaps"),
    (b"\xfd7zXZ\0", "an xz file, a .tar.xz perhaps"),
    (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"%PDF", "a PDF"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
)


@dataclass
class _Contents:
    """What an archive will make: `entries`, links apart, in the order of their data; `modes` of directories."""

    entries: list[Entry]
    links: list[Entry]
    modes: dict[str, int]
    size: int


def unpack(
    file: Path,
    into: Path,
    *,
    archive: str,
    scratch: Path,
    limits: Limits = Limits(),
    check: Callable[[], None] = lambda: None,
) -> None:
    """Make the existing directory *into* hold what the ZIP *file* holds; what was in it goes.

    Modes keep their rwx bits and files their times; links stay when they lead nowhere out of the tree. The work is done
    in *scratch*, which nobody else writes to; *into* changes when all is well. *check* is called often, and may raise.
    *archive* names the archive in messages. Raises `SourceRefused`, `DiskFull`, `OSError`; whatever it raises, *into*
    is as before or empty, and nothing is left elsewhere.
    """
    with file.open("rb") as source, private_room(scratch, into) as room:
        handle = source.fileno()
        _recognize(handle, archive)
        tree = room / "tree"
        tree.mkdir(mode=0o755)
        try:
            contents = _survey(read_index(handle, limits.count), limits)
            require_space(contents.size, room, archive)
            _extract(ZipData(handle), contents, tree, limits, check)
        except ValueError as error:
            raise SourceRefused(f"{archive} cannot be unpacked: {error}", hint=_REPACK, cause=_DAMAGED) from error
        replace_contents(into, tree)


@contextlib.contextmanager
def private_room(scratch: Path, into: Path) -> Iterator[Path]:
    """Give a fresh directory in *scratch* from which files can be renamed into *into*; it goes with the block."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    same = scratch.stat().st_dev == into.stat().st_dev
    room = tempfile.mkdtemp(prefix="source-" if same else ".buildspecd-source-", dir=scratch if same else into)
    try:
        yield Path(room)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def replace_contents(into: Path, tree: Path) -> None:
    """Move all that lies in *tree*, on the same disk, into *into*, whose own contents go. An error leaves it empty."""
    keep = tree.relative_to(into).parts[0] if tree.is_relative_to(into) else None
    _clear(into, keep)
    try:
        for word in os.listdir(tree):  # noqa: PTH208 - thousands, perhaps
            os.rename(f"{tree}/{word}", f"{into}/{word}")  # noqa: PTH104 - as above
    except BaseException:
        _clear(into, keep)
        raise


def require_space(size: int, place: Path, what: str) -> None:
    """Raise `DiskFull` when *size* bytes do not fit where *place* is."""
    free = shutil.disk_usage(place).free
    if size > free:
        raise DiskFull(f"{what} takes {size} bytes, and {free} are free", hint="free some disk space")


def _clear(directory: Path, keep: str | None) -> None:
    for entry in list(os.scandir(directory)):
        if entry.name == keep:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def _recognize(handle: int, archive: str) -> None:
    """Raise `SourceRefused` unless the file begins as a ZIP does; say what it looks like instead."""
    lead = os.pread(handle, 512, 0)
    if lead.startswith((b"PK\3\4", b"PK\5\6")):
        return
    found = next((words for magic, words in _LOOKS if lead.startswith(magic)), None)
    if not lead:
        found = "an empty file"
    elif lead[257:262] == b"ustar":
        found = "a tar"
    elif lead.startswith((b"PK\7\10", b"PK00")):
        found = "one part of a ZIP in several files"
    looks = f": it looks like {found}" if found else ""
    raise SourceRefused(f"zip: not a valid zip file: {archive}{looks}", hint=_PACK, cause=_DAMAGED)


def _survey(index: list[Entry], limits: Limits) -> _Contents:
    """Judge all that the directory says, before anything is written."""
    names, contents = Names(limits), _Contents([], [], {}, 0)
    for given in index:
        entry = given._replace(name=_name(given, limits))
        kind = stat.S_IFMT(entry.mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise ValueError(f"{entry.name!r} is a device, a FIFO or a socket")
        if entry.is_directory:
            if kind not in (0, stat.S_IFDIR) or entry.size:
                raise ValueError(f"{entry.name!r} is a directory by its name, and something else by its mode or size")
            names.add_directory(entry.name)
            contents.modes[entry.name] = entry.mode & 0o777 if kind else 0o755
            contents.entries.append(entry)
            continue
        if kind == stat.S_IFDIR:
            raise ValueError(f"{entry.name!r} is a file by its name, and a directory by its mode")
        names.add(entry.name)
        contents.size += entry.size
        if contents.size > limits.size:
            raise ValueError(f"it unpacks to more than {limits.size} bytes")
        if entry.size > limits.small and entry.size > limits.ratio * entry.packed:
            raise ValueError(
                f"{entry.name!r} unpacks from {entry.packed} to {entry.size} bytes, which is more than {limits.ratio}:1"
            )
        (contents.links if kind == stat.S_IFLNK else contents.entries).append(entry)
    names.check()
    for name in names.directories - contents.modes.keys() - {""}:
        contents.modes[name] = 0o755
    return contents


def _name(entry: Entry, limits: Limits) -> str:
    """Return the clean name; `./` at its beginning is the one other spelling that common tools write."""
    name = entry.name
    while name.startswith("./") and name != "./":
        name = name[2:]
    if name == "./":
        return ""
    return clean(name.removesuffix("/"), limits)


def _extract(data: ZipData, contents: _Contents, tree: Path, limits: Limits, check: Callable[[], None]) -> None:
    """Write directories, then files, then links: so nothing is ever written where a link stands."""
    targets = {link.name: _target(data, link) for link in contents.links}
    for name in targets:
        check()
        if leads_out(name, targets):
            raise ValueError(f"the link {name!r} leads out of the source: {targets[name]!r}")
    placer = untar.Placer(tree, untar.Limits(files=2 * limits.count, size=limits.size))
    for name in sorted(contents.modes):
        if name:
            placer.directory(name, contents.modes[name])
    for entry in contents.entries:
        check()
        member = data.open(entry)
        if entry.is_directory:
            member.finish()
            continue
        mode = entry.mode & 0o777 if entry.mode else 0o644
        handle = placer.file(entry.name, _Heeding(member.read, check), entry.size, mode)
        try:
            member.finish()
            os.utime(handle, (entry.mtime, entry.mtime))
        finally:
            os.close(handle)
    for name, target in targets.items():
        placer.link(name, target)
    placer.finish()


class _Heeding:
    """A reader that asks, before each block, whether to go on."""

    def __init__(self, read: Callable[[int], bytes], check: Callable[[], None]) -> None:
        self._read = read
        self._check = check

    def read(self, size: int, /) -> bytes:
        """Return what the reader returns."""
        self._check()
        return self._read(size)


def _target(data: ZipData, link: Entry) -> str:
    if not 0 < link.size <= _LONGEST_TARGET:
        raise ValueError(
            f"the link {link.name!r} has a target of {link.size} bytes; 1 to {_LONGEST_TARGET} are possible"
        )
    member, parts = data.open(link), list[bytes]()
    while sum(map(len, parts)) < link.size and (block := member.read(link.size)):
        parts.append(block)
    member.finish()
    text = os.fsdecode(b"".join(parts))
    if "\0" in text:
        raise ValueError(f"the target of the link {link.name!r} holds a NUL")
    return text
