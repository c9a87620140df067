"""Bucket: sources of type S3, a ZIP or a folder of objects, into a workspace (service.md 2.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.aws import AwsRefused
from agent.errors import AwsUnavailable, SourceNotFound, SourceRefused, UserError
from agent.kit.parallel import for_each
from agent.kit.service import StopToken
from agent.model.cause import Cause
from agent.model.project import Source
from agent.objects.location import ObjectPlace, parse_object
from agent.objects.store import ObjectStore, StoredObject
from agent.source.archive import private_room, replace_contents, require_space, unpack
from agent.source.errand import Errand
from agent.source.names import Limits, Names, clean
from agent.source.sources import Revision

OpenStore = Callable[[str], ObjectStore]

_THREADS = 8
"""Downloads at once: latency counts most for small objects, and other builds need connections as well."""
_NO_VERSION = "Source version should be empty for S3 folder source location"
_ACCESS = (
    "allow s3:GetObject, s3:GetObjectVersion and s3:ListBucket for this host's role, and kms:Decrypt on the key that "
    "encrypts the objects; look at the bucket's own policy, too: in another account it has to allow this role as well. "
    "Without s3:ListBucket a missing key looks the same"
)
_KMS = (
    "allow kms:Decrypt for this host's role on the key that encrypts the object; in another account by its policy, too"
)
_ABSENT = (
    "check location and sourceVersion of the source; one that was deleted from a bucket with versions opens by the id "
    "of an older version; a link in a directory must not lead out of it"
)
_ABSENT_VERSION = (
    "sourceVersion has to be the id of a version of this object, and not of a delete marker: "
    "`aws s3api list-object-versions` shows them; a lifecycle rule may have removed it"
)
_HINTS = {
    "KMS.DisabledException": "enable the key that encrypts the object",
    "KMS.KMSInvalidStateException": "the key that encrypts the object is to be deleted: cancel that",
    "KMS.NotFoundException": "the key that encrypts the object is gone: upload the object anew",
    "IllegalLocationConstraintException": "the bucket lies in another region: set aws.region to it",
    "NoSuchBucket": "check the location of the source",
    "PermanentRedirect": "the bucket lies in another region: set aws.region to it",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: set aws.region to it",
    "InvalidObjectState": "the object lies in an archive tier: restore it first",
}
_OURS = frozenset({"NoCredentials", "ParamValidation"})


@dataclass(frozen=True)
class Standing:
    """What a source in S3 is now. `value` changes with its contents; `stamp` tells two uploads of the same apart.

    `version` is the id with which this very state can be fetched later, where there is one.
    """

    value: str
    stamp: str
    version: str | None = None


class Buckets:
    """Fetches and watches sources of type S3, in stores that *open_store* opens by their location. Any thread."""

    def __init__(self, open_store: OpenStore, limits: Limits = Limits()) -> None:
        self._open_store = open_store
        self._limits = limits

    def fetch(self, source: Source, version: str | None, workspace: Path, errand: Errand) -> Revision:
        """Make *workspace* hold what *source* names; a ZIP at the version id *version* (None: the newest).

        Raises `SourceNotFound`, `SourceRefused`, `AwsUnavailable`, `OSError`.
        """
        with _explained(source, version):
            place = parse_object(source.location or "")
            store = self._open_store(place.store)
            if not place.is_prefix:
                found = fetch_archive(store, place.key, version, workspace, errand, self._limits)
                return Revision(version=found.version)
            if version:
                raise SourceRefused(
                    _NO_VERSION,
                    hint="remove sourceVersion: objects of a folder have no common version",
                    cause=Cause.PROJECT_INVALID,
                )
            fetch_folder(store, place.key, workspace, errand, self._limits)
            return Revision()

    def standing(self, source: Source, stop: StopToken) -> Standing:
        """Return what *source* is now, without fetching it. Raises what `fetch` raises."""
        with _explained(source, None):
            place = parse_object(source.location or "")
            store = self._open_store(place.store)
            if place.is_prefix:
                return _standing_of_folder(store, place, stop)
            found = store.head(place.key)
            if found is None:
                raise _missing(store.locate(place.key), None)
            value = f"version:{found.version}" if found.version else f"etag:{found.etag}"
            return Standing(value, f"{found.modified:.3f}", found.version)


def fetch_archive(
    store: ObjectStore,
    key: str,
    version: str | None,
    workspace: Path,
    errand: Errand,
    limits: Limits = Limits(),
) -> StoredObject:
    """Make *workspace* hold what the ZIP under *key* holds; return what the store says of it.

    Whatever store is given is asked, so that it may have credentials of its own (the artifacts of a pipeline). Raises
    `SourceNotFound`, `SourceRefused`, `AwsRefused`, `AwsUnavailable`, `OSError`; the workspace is then as it was, or
    empty.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    shown = store.locate(key)
    with private_room(errand.scratch, workspace) as room:
        file = room / "source.zip"
        found = store.get(key, file, version=version, limit=limits.size, check=errand.check)
        if found is None:
            raise _missing(shown, version)
        unpack(file, workspace, archive=shown, scratch=room, limits=limits, check=errand.check)
    return found


def fetch_folder(
    store: ObjectStore, prefix: str, workspace: Path, errand: Errand, limits: Limits = Limits()
) -> None:  # fmt: skip
    """Make *workspace* hold every object whose key begins with *prefix*, under the rest of its key.

    Keys are names that nobody vouches for; marks of folders (empty, with a slash at the end) are passed over. Raises
    `SourceNotFound` when there is nothing, `SourceRefused` for a key that can be no path, and as `fetch_archive`.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    shown = f"{store.locate(prefix.rstrip('/'))}/"
    try:
        found, names = _listed(store.scan(prefix), prefix, errand, limits)
    except ValueError as error:
        raise SourceRefused(
            f"{shown} cannot be a source: {error}",
            hint="rename or remove that object, or pack the source as a ZIP",
            cause=Cause.SOURCE_INVALID,
        ) from error
    if not found:
        raise SourceNotFound(f"NoSuchKey: there are no objects below {shown}", hint=_ABSENT)
    with private_room(errand.scratch, workspace) as room:
        require_space(sum(found.values()), room, shown)
        tree = room / "tree"
        for name in ("", *sorted(names.directories - {""})):
            (tree / name).mkdir()
            (tree / name).chmod(0o755)

        def bring(name: str) -> None:
            errand.check()
            file = tree / name
            if store.get(prefix + name, file, limit=limits.size, check=errand.check) is None:
                raise AwsUnavailable(f"{store.locate(prefix + name)} was removed while the folder was read")
            file.chmod(0o644)

        for_each(found, bring, threads=min(_THREADS, len(found)), name="s3-folder")
        replace_contents(workspace, tree)


def _listed(
    listing: Iterable[StoredObject], prefix: str, errand: Errand, limits: Limits
) -> tuple[dict[str, int], Names]:
    """Return the size of each object by its name below *prefix*, and the names with the directories that they need."""
    found: dict[str, int] = {}
    names, total = Names(limits), 0
    for stored in listing:
        errand.check()
        if not stored.size and stored.key.endswith("/"):
            continue
        name = clean(stored.key[len(prefix) :], limits)
        names.add(name)
        found[name] = stored.size
        total += stored.size
        if total > limits.size:
            raise ValueError(f"its objects have more than {limits.size} bytes together")
    names.check()
    return found, names


def _standing_of_folder(store: ObjectStore, place: ObjectPlace, stop: StopToken) -> Standing:
    """Sum up the listing; its order does not matter."""
    sums: list[bytes] = []
    newest = 0.0
    for stored in store.scan(place.key):
        if stop.is_set:
            break  # whoever asked has gone
        if stored.size or not stored.key.endswith("/"):
            line = f"{stored.key}\0{stored.etag}\0{stored.size}"
            sums.append(hashlib.sha256(line.encode(errors="surrogateescape")).digest())
            newest = max(newest, stored.modified)
    if not sums:
        raise SourceNotFound(
            f"NoSuchKey: there are no objects below {store.locate(place.key.rstrip('/'))}/", hint=_ABSENT
        )
    return Standing(f"listing:{hashlib.sha256(b''.join(sorted(sums))).hexdigest()}", f"{newest:.3f}")


def _missing(shown: str, version: str | None) -> SourceNotFound:
    if version:
        return SourceNotFound(
            f"NoSuchVersion: the specified version does not exist: {version} of {shown}", hint=_ABSENT_VERSION
        )
    return SourceNotFound(f"NoSuchKey: the specified key does not exist: {shown}", hint=_ABSENT)


@contextmanager
def _explained(source: Source, version: str | None) -> Iterator[None]:
    """Turn what AWS refuses into CodeBuild's own words, which name the source (buildspec.md 3)."""
    try:
        yield
    except AwsRefused as error:
        if error.reason in _OURS:
            raise
        which = f"secondary source {source.source_identifier}" if source.source_identifier else "primary source"
        at = f" and source version {version}" if version else ""
        kind = SourceNotFound if error.reason == "NoSuchBucket" else SourceRefused
        reason = "AccessDenied" if error.reason == "403" else error.reason
        raise kind(
            f"{reason}: {error.text or 'no reason was given'} {error.trace} for {which}{at}: {source.location}",
            hint=error.hint or _HINTS.get(error.reason) or (_KMS if "kms:" in error.text else _ACCESS),
            cause=error.finer,
        ) from error
    except (SourceNotFound, SourceRefused):
        raise
    except UserError as error:
        raise SourceRefused(error.message, hint=error.hint, cause=error.cause) from error
