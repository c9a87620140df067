"""Masker: takes secrets out of a stream of bytes, wherever the stream is cut into chunks.

`bytes.find` once per form beats one regular expression over all of them by five to one (measured on log text: ten
forms 640 against 170 MB/s, forty forms 190 against 28 MB/s), so the hot path is a row of finds; positions are only
looked at in Python where something was found. Forms hang below a shorter one that lies within them, and base64 that is
broken into lines is only looked for where it is there without the line breaks.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agent.buildlog.forms import plain_forms, wrapped_forms

STARS = b"***"

_KEY_ID = re.compile(rb"A[KS]IA[0-9A-Z]{16}")
"""An AWS access key id, long-lived (AKIA) or temporary (ASIA)."""
_KEY_ID_BEGUN = re.compile(rb"A(?:[KS](?:I(?:A[0-9A-Z]{0,15})?)?)?\Z")
_KEY_ID_LENGTH = 20
_HEAD = 8
_SHORT = 64
_TELLING = 4
"""Of a beginning shorter than this nothing can be told."""


@dataclass(slots=True)
class _Form:
    """A form, and longer ones that contain it."""

    text: bytes
    longer: list[_Form] = field(default_factory=list)


class Masker:
    """Replaces secrets in a stream by `***`; not thread-safe.

    Every occurrence of every form is found; those that overlap become one `***`, those that only touch stay two.
    What comes out does not depend on how the stream is cut. Bytes at the end that may be the beginning of a secret
    are kept until the next bytes decide, or until `flush`. At the end of the stream what is a good part of a secret
    (half of it, or eight bytes) counts as one: a build that is killed while it prints one must not show what came out.

    To go on in another process: read the stream again from `consumed - held` into `Masker(secrets, covered=covered)`.
    """

    def __init__(self, secrets: Iterable[str] = (), *, covered: int = 0) -> None:
        self._known: dict[bytes, _Form] = {}
        self._tops: list[_Form] = []
        self._wrapped: list[tuple[bytes, tuple[_Form, ...]]] = []
        self._reach = 0  # bytes of the longest of them
        self._heads: dict[bytes, list[bytes]] = {}
        self._beginnings: set[bytes] = set()
        self._pending = b""
        self._covered = covered
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Mask these too, from the first byte on that has not come out yet."""
        for secret in secrets:
            for sign, found in wrapped_forms(secret):
                new = tuple(self._known[form] for form in found if self._is_new(form))
                if new:
                    self._wrapped.append((sign, new))
                    self._reach = max(self._reach, *(len(form.text) for form in new))
            ordered = sorted(plain_forms(secret), key=lambda form: (len(form), form))
            for index, form in enumerate(ordered):
                if self._is_new(form):
                    group = self._heads.setdefault(form[:_HEAD], [])
                    # The longest in front.
                    group.insert(0 if group and len(form) > len(group[0]) else len(group), form)
                    within = next((shorter for shorter in ordered[:index] if shorter in form), None)
                    above = self._tops if within is None else self._known[within].longer
                    above.append(self._known[form])

    def _is_new(self, form: bytes) -> bool:
        """Whether *form* was not known; it is now."""
        if form in self._known:
            return False
        self._known[form] = _Form(form)
        self._beginnings.update(form[:length] for length in range(1, min(len(form), _HEAD)))
        return True

    @property
    def held(self) -> int:
        """How many bytes went in and have not come out yet."""
        return len(self._pending)

    @property
    def covered(self) -> int:
        """How many of the next bytes (held or to come) belong to a secret whose `***` has come out."""
        return self._covered

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the stream; return what of it is certain by now."""
        buffer = self._pending + chunk if self._pending else chunk
        keep = self._undecided(buffer)
        masked, end = self._masked(buffer, keep)
        self._pending = buffer[keep:]
        self._covered = end - keep
        return masked

    def flush(self) -> bytes:
        """Return what is held: the stream has ended, so nothing can complete a secret any more."""
        buffer, self._pending = self._pending, b""
        over = max(self._covered, *(stop for form in self._present(buffer) for _, stop in _places(buffer, form)), 0)
        cut = over + self._cut_off(buffer[over:])
        masked, _ = self._masked(buffer, cut)
        self._covered = 0
        return masked + STARS if cut < len(buffer) else masked

    def drop(self) -> None:
        """Forget what is held: the stream is not shown any more."""
        self._pending, self._covered = b"", 0

    def mask(self, text: bytes) -> bytes:
        """Return a whole text of its own masked; the stream does not notice."""
        return _masked(text, len(text), 0, self._present(text))[0]

    def _masked(self, buffer: bytes, keep: int) -> tuple[bytes, int]:
        return _masked(buffer, keep, self._covered, self._present(buffer))

    def _present(self, buffer: bytes) -> list[bytes]:
        """Return the forms that are in *buffer*."""
        present: list[bytes] = []
        todo = [form for form in self._tops if form.text in buffer]
        if self._wrapped:
            flat = buffer.replace(b"\n", b"")
            for sign, forms in self._wrapped:
                if sign in flat:
                    todo += [form for form in forms if form.text in buffer]
        while todo:
            form = todo.pop()
            present.append(form.text)
            todo += [longer for longer in form.longer if longer.text in buffer]
        return present

    def _undecided(self, buffer: bytes) -> int:
        """Return where the earliest secret begins that *buffer* may have cut off; its length when there is none."""
        size = len(buffer)
        match = _KEY_ID_BEGUN.search(buffer, max(0, size - _KEY_ID_LENGTH + 1))
        keep = match.start() if match else size
        for at in range(max(0, size - _HEAD + 1), keep):
            if buffer[at:] in self._beginnings:
                keep = at
                break
        return self._long_begun(buffer, keep)

    def _cut_off(self, buffer: bytes) -> int:
        """Return where a secret begins of which *buffer* ends in a good part, but not in all; its length: nowhere."""
        size = len(buffer)
        keep = self._long_begun(buffer, size)
        for at in range(max(0, size - _HEAD + 1), min(keep, size - _TELLING + 1)):
            rest = buffer[at:]
            if any(form.startswith(rest) and len(rest) < len(form) <= 2 * len(rest) for form in self._known):
                return at
        return keep

    def _long_begun(self, buffer: bytes, keep: int) -> int:
        """Return the earliest place before *keep* from which *buffer* ends in `_HEAD` bytes or more of a form."""
        size = len(buffer)
        for head, forms in self._heads.items():
            keep = _begun(buffer, head, forms, keep)
        if self._wrapped:
            flat = buffer[max(0, size - self._reach) :].replace(b"\n", b"")
            for sign, broken in self._wrapped:
                if sign[: _HEAD - 1] in flat:  # one newline can be among the first bytes
                    for form in broken:
                        keep = _begun(buffer, form.text[:_HEAD], [form.text], keep)
        return keep


def _begun(buffer: bytes, head: bytes, forms: list[bytes], keep: int) -> int:
    """Return the earliest place before *keep* from which *buffer* ends in *head* and more of one of *forms*.

    The first of *forms* is the longest.
    """
    at = buffer.find(head, max(0, len(buffer) - len(forms[0]) + 1))
    while 0 <= at < keep:
        rest = buffer[at:]
        if any(len(form) > len(rest) and form.startswith(rest) for form in forms):
            return at
        at = buffer.find(head, at + 1)
    return keep


def _masked(buffer: bytes, keep: int, covered: int, present: list[bytes]) -> tuple[bytes, int]:
    """Return *buffer* up to *keep* with stars in it, and where (at *keep* or later) the last secret ends.

    *covered* bytes at the beginning belong to a secret whose stars have come out.
    """
    key_id = _KEY_ID.search(buffer)
    if not present and not key_id and not covered:
        return (buffer if keep == len(buffer) else buffer[:keep]), keep
    if len(present) == 1 and not key_id and not covered and not _meets_itself(present[0]):
        return _one_replaced(buffer, keep, present[0])
    found = [_places(buffer, form) for form in present]
    if key_id:
        found.append(_key_ids(buffer, key_id.start()))
    return _replaced(buffer, keep, covered, found[0] if len(found) == 1 else heapq.merge(*found))


def _meets_itself(form: bytes) -> bool:
    """Whether two places of *form* can overlap (for a long one: whether that cannot be ruled out cheaply)."""
    return len(form) > _SHORT or any(form.endswith(form[:length]) for length in range(1, len(form)))


def _one_replaced(buffer: bytes, keep: int, form: bytes) -> tuple[bytes, int]:
    across = buffer.find(form, max(0, keep - len(form) + 1), keep + len(form) - 1)
    if across < 0:
        return buffer[:keep].replace(form, STARS), keep
    end = across + len(form)
    return buffer[:across].replace(form, STARS) + STARS, max(end, keep)


def _replaced(buffer: bytes, keep: int, covered: int, places: Iterable[tuple[int, int]]) -> tuple[bytes, int]:
    out = bytearray()
    end = covered
    for start, stop in places:
        if start >= keep and start >= end:
            break
        if start >= end:
            out += buffer[end:start]
            out += STARS
        end = max(end, stop)
    out += buffer[end:keep]
    return bytes(out), max(end, keep)


def _places(buffer: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    at = buffer.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = buffer.find(form, at + 1)


def _key_ids(buffer: bytes, at: int) -> Iterator[tuple[int, int]]:
    while match := _KEY_ID.search(buffer, at):
        yield match.span()
        at = match.start() + 1
