"""Package: the ZIP of a selection; the same files give the same bytes."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent.artifacts.selection import SelectedFile, Selection
from agent.errors import DiskFull
from agent.kit.files import NO_SPACE
from agent.kit.heed import heed

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_BLOCK: Final = 1 << 20
_UNIX: Final = 3


@dataclass(frozen=True)
class Package:
    """A finished ZIP; the sums are hexadecimal."""

    file: Path
    md5: str
    sha256: str
    size: int


def write_zip(selection: Selection, file: Path) -> Package:
    """Write the ZIP of *selection* to *file*, streaming.

    Names are sorted and in UTF-8, times are 1980-01-01, modes are kept, links are symlink entries; files above 4 GiB
    use ZIP64. Raises `DiskFull`, and what `SelectedFile.content` raises; a half-written *file* is removed.
    """
    try:
        with file.open("wb") as out:
            summed = _Summed(out)
            with zipfile.ZipFile(summed, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
                for entry in selection.files:
                    _add(archive, entry)
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise DiskFull(f"no space left for the artifact's ZIP in {file.parent}", hint="free some space") from error
        raise
    return Package(file, summed.md5.hexdigest(), summed.sha256.hexdigest(), summed.size)


def _add(archive: zipfile.ZipFile, entry: SelectedFile) -> None:
    info = zipfile.ZipInfo(entry.name, _EPOCH)
    info.create_system = _UNIX
    info.compress_type = zipfile.ZIP_DEFLATED
    if entry.link is not None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, os.fsencode(entry.link))
        return
    info.external_attr = (stat.S_IFREG | entry.mode & 0o777) << 16
    with entry.content() as handle:
        left = info.file_size = os.fstat(handle).st_size
        with archive.open(info, "w") as out:
            # A file that grows meanwhile is cut at the size that the header was made for.
            while left and (block := os.read(handle, min(left, _BLOCK))):
                heed()
                out.write(block)
                left -= len(block)


class _Summed:
    """A file that only goes forwards and knows its sums; so zipfile writes sizes after the data, not before."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._out.write(data)
        self.md5.update(data)
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self._out.close()
