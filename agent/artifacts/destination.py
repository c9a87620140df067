"""Destination: a selection goes to its bucket, or unpacked into a directory of the user."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final

from agent.artifacts.package import write_zip
from agent.artifacts.selection import SelectedFile, Selection
from agent.artifacts.unfinished import clear, place_link, unfinished
from agent.errors import UserError
from agent.kit.heed import followed, heed
from agent.model.build import ArtifactRecord
from agent.model.project import Artifacts
from agent.objects.store import Encryption, ObjectStore, Upload

_THREADS: Final = 8
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_CANNED: Final = {"READ_ONLY": "bucket-owner-read", "FULL": "bucket-owner-full-control"}
_BLOCK: Final = 1 << 20


def deliver(
    selection: Selection,
    settings: Artifacts,
    store: ObjectStore,
    *,
    key: str,
    build_arn: str,
    encryption_key: str | None,
    scratch: Path,
) -> ArtifactRecord:
    """Put *selection* under *key* (see `artifact_key`): one ZIP, or one object a file, as *settings* say.

    A second call replaces what the first one put. *scratch* holds the ZIP for a while. Raises `UploadRefused`,
    `AwsRefused`, `AwsUnavailable`, `DiskFull`, `BuildspecdError` (a file cannot be read).
    """
    upload = Upload(
        encryption=Encryption(enabled=not settings.encryption_disabled, key=encryption_key),
        metadata={"codebuild-buildarn": build_arn},
        acl=_CANNED.get(settings.bucket_owner_access or ""),
    )
    record = ArtifactRecord(
        location=store.locate(key),
        override_artifact_name=settings.override_artifact_name,
        encryption_disabled=settings.encryption_disabled,
        artifact_identifier=settings.artifact_identifier,
    )
    if settings.packaging == "ZIP":
        md5, sha256 = _put_zip(selection, store, key, upload, scratch)
        return record.evolve(md5sum=md5, sha256sum=sha256)
    _put_files(selection, store, key, upload)
    return record


def _put_zip(selection: Selection, store: ObjectStore, key: str, upload: Upload, scratch: Path) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="artifact-", dir=scratch) as aside:
        package = write_zip(selection, Path(aside, "artifact.zip"))
        sums = {"codebuild-content-md5": package.md5, "codebuild-content-sha256": package.sha256}
        store.put(key, package.file, _with(upload, "application/zip", {**upload.metadata, **sums}))
    return package.md5, package.sha256


def _put_files(selection: Selection, store: ObjectStore, folder: str, upload: Upload) -> None:
    def put(entry: SelectedFile) -> None:
        key = f"{folder}/{entry.name}" if folder else entry.name
        with entry.content() as handle:
            # The descriptor's own path: nobody can swap the file for a link between our check and the store's read.
            store.put(key, Path(f"/dev/fd/{handle}"), _with(upload, _content_type(entry.name), upload.metadata))

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="artifacts") as pool:
        pending = [pool.submit(followed(partial(put, entry))) for entry in selection.files if entry.link is None]
        wait(pending, return_when=FIRST_EXCEPTION)
        for future in pending:
            future.cancel()
    for future in pending:
        if not future.cancelled():
            future.result()


def _with(upload: Upload, content_type: str, metadata: Mapping[str, str]) -> Upload:
    return Upload(
        encryption=upload.encryption,
        content_type=content_type,
        metadata=dict(metadata),
        acl=upload.acl,
    )


def _content_type(name: str) -> str:
    """Guess from the suffix, so that a bucket can be a web site; a compressed file is what it is, not its content."""
    kind, encoding = _TYPES.guess_type(f"x/{name}")
    return kind if kind and not encoding else "application/octet-stream"


def unpack_to(selection: Selection, directory: Path) -> int:
    """Copy the files of *selection* below *directory*, unpacked; return how many.

    Files that are there are replaced, and what a process that was killed left unfinished is cleared away. Raises
    `UserError` where a file would have to go through a symlink, or through something that is not a directory, so that
    nothing is ever written outside *directory*.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made: set[str] = set()
    cleared: set[Path] = set()
    for entry in sorted(selection.files, key=lambda entry: entry.link is not None):
        above, _, last = entry.name.rpartition("/")
        folder = _folder(directory, above, made)
        if folder not in cleared:
            cleared.add(folder)
            clear(folder)
        target = folder / last
        if target.is_dir() and not target.is_symlink():
            raise UserError(
                f"{target} is a directory; the artifact has a file of that name", hint="use a new directory"
            )
        with unfinished(folder) as (handle, aside):
            if entry.link is None:
                _copy(entry, handle)
                aside.replace(target)
            else:
                place_link(aside, entry.link, target)
    return len(selection.files)


def _copy(entry: SelectedFile, out: int) -> None:
    with entry.content() as handle:
        while block := os.read(handle, _BLOCK):
            heed()
            view = memoryview(block)
            while view:
                view = view[os.write(out, view) :]
    os.fchmod(out, entry.mode & 0o777)


def _folder(top: Path, name: str, made: set[str]) -> Path:
    """Return the directory *name* below *top*, made part by part, never through a symlink."""
    path = top
    done = ""
    for word in name.split("/") if name else ():
        done = f"{done}/{word}"
        path = path / word
        if done in made:
            continue
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        if path.is_symlink() or not path.is_dir():
            raise UserError(f"{path} is not a directory of its own", hint="use a new directory for --artifacts")
        made.add(done)
    return path
