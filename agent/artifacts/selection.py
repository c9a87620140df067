"""Selection: the files of one artifact, each under the name that it is stored as."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import BuildspecdError
from agent.kit.tree import Tree
from agent.model.cause import Cause


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """One file. `name` is the stored name, `entry` the regular file in *tree* that holds the content.

    `link` is the text of a symlink that is kept as one; `entry` is then what it leads to, maybe a directory.
    `size` in bytes as seen when it was selected.
    """

    name: str
    tree: Tree
    entry: str
    mode: int
    size: int
    link: str | None = None

    @property
    def path(self) -> Path:
        """Where the content lies on the host. For messages; read it through `content`."""
        return Path(self.tree.path(self.entry))

    @contextmanager
    def content(self) -> Iterator[int]:
        """Give the open descriptor of the content.

        Raises `BuildspecdError` when the file has changed into something else or may not be read.
        """
        try:
            handle = self.tree.open(self.entry)
        except OSError as error:
            raise BuildspecdError(
                f"Error uploading artifacts: {self.name}: {error.strerror}",
                hint="the agent may not read what the build wrote; it has to run as root or own the workspace",
            ) from error
        if handle is None:
            raise BuildspecdError(
                f"Error uploading artifacts: {self.name} was removed or replaced while it was read",
                hint="does something of the build go on writing in the background?",
                cause=Cause.ARTIFACTS_MISSING,
            )
        try:
            yield handle
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Selection:
    """The files of one artifact, sorted by stored name; names are unique. `identifier` is None for the primary."""

    identifier: str | None
    files: tuple[SelectedFile, ...]


def portable(name: str) -> str:
    """Return *name* as valid UTF-8: bytes that are none become `%XX`, since ZIP and S3 know only text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)
    return name
