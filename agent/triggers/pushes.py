"""Pushes: which of the steps of a branch or tag that triggers tell of are new, so that each is built once.

Polling sees where a ref points now and may miss steps; an event tells one step (old -> new) and may come late, twice,
out of order or never. For each ref that a project follows, the last commit that was asked for (or held back by a
filter) is kept: its *mark*. The rule:

* A step to the mark is known: nothing is asked for.
* A step that starts at the mark, or the first of a ref of which nothing is known, goes on from there: it is taken.
* Everything else is in doubt: a late event of a step long passed, one that overtook another, a gap where events were
  lost, a forced push. Then the remote decides, which alone knows the order. A step to where the ref points *now* is
  taken, as one that starts at the mark: it stands for all between. Any other is passed over: what the ref has moved to
  has an event, or a look of polling, of its own. Which steps were passed over for which commit is kept.
* Tags are always asked for at the remote: an event may give the commit where polling sees the tag's own object.

Until a ref has a mark, what polling saw of it last stands in. The mark moves in the transaction that stores the
request, and only if it still is the one that was judged: neither a crash nor two triggers at once make two builds.
Webhooks, which nobody may keep waiting, do not come through here: the intake knows a commit that has just been built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from agent.errors import Unavailable
from agent.kit.service import StopToken
from agent.model.project import Project, Source
from agent.model.request import BuildRequest
from agent.source import version as versions
from agent.source.remote import Heads
from agent.triggers import changes
from agent.triggers.changes import Change

KNOWN = "it has been asked for"
PASSED = "the ref has moved on"
GONE = "the project does not follow that ref, or it is gone"
HELD_BACK = "no filter group lets it through"

_ATTEMPTS = 5


class Cursors(Protocol):
    """Texts under keys; inside of a transaction `set` is part of it."""

    def get(self, key: str) -> str | None: ...

    def set(self, key: str, value: str) -> None: ...


class Pushes:
    """Decides which steps of refs are built. Any thread may call it.

    *submit* stores a request, and *was_asked* says whether one with that `dedupe_key` is stored; *transaction* makes
    what happens within it one, alone among all threads; *heads* reads a remote's refs (`Sources.heads`). *pass_over*
    keeps the key of a push that gets no build, and the commit that the ref has moved on to.
    """

    def __init__(
        self,
        *,
        submit: Callable[[BuildRequest], object],
        was_asked: Callable[[str], bool],
        cursors: Cursors,
        transaction: Callable[[], AbstractContextManager[None]],
        heads: Callable[[Source, Sequence[str], StopToken], Heads],
        pass_over: Callable[[str, str], object] = lambda key, by: None,
    ) -> None:
        self._submit = submit
        self._was_asked = was_asked
        self._cursors = cursors
        self._transaction = transaction
        self._heads = heads
        self._pass_over = pass_over

    def told(
        self, project: Project, change: Change, make: Callable[[Change], BuildRequest | None], stop: StopToken
    ) -> str:
        """Take in a step that an event told of; return why nothing was asked for, or "".

        *make* turns the step into the request (of an annotated tag with the tag's own id), or into None where a filter
        holds it back. When this returns, all is stored. Raises what the remote and *make* raise.
        """
        for _ in range(_ATTEMPTS):
            mark = self._mark(project, change.ref)
            judged: Change | str = self._judged(project, change, mark, stop)
            if isinstance(judged, str):
                return judged
            request = make(judged)
            if request is not None and self._was_asked(request.dedupe_key or ""):
                return KNOWN  # an echo, which must not move the mark back
            if self._taken(project, judged, mark, request):
                return "" if request else HELD_BACK
        raise Unavailable(f"{project.name}: {change.ref} moves faster than it can be looked at")

    def polled(self, project: Project, request: BuildRequest, stop: StopToken | None = None) -> str:
        """Take in a request that polling made; return why nothing was asked for, or "". Raises what the remote raises.

        What polling saw may be older than what an event has told meanwhile; in doubt the remote is asked once more.
        """
        change = step_of(request)
        if change is None:
            self._submit(request)  # a commit, or an upload: there is no chain of steps
            return ""
        for _ in range(_ATTEMPTS):
            mark = self._own_mark(project, change.ref)
            if mark == change.new:
                self._keep(project, change, mark)
                return KNOWN
            if mark not in (None, change.old):  # it is in doubt
                now = self._points_to(project, change.ref, stop or StopToken())
                if now != change.new:
                    self._keep(project, change, now)
                    return PASSED
            if self._taken(project, change, mark, request):
                return ""
        raise Unavailable(f"{project.name}: {change.ref} moves faster than it can be looked at")

    def _judged(self, project: Project, change: Change, mark: str | None, stop: StopToken) -> Change | str:
        match judge(change, mark, is_followed=self._is_followed(project, change.ref)):
            case "known":
                return KNOWN
            case "not followed":
                return GONE
            case "new":
                return change
        now = self._points_to(project, change.ref, stop)
        if now is None:
            return GONE
        start = mark or change.old if change.old else None
        if now != mark and (now == change.new or _is_tag(change.ref)):
            return Change(change.ref, start, now)
        self._keep(project, change, now)
        return KNOWN if now == mark else PASSED

    def _keep(self, project: Project, passed: Change, now: str | None) -> None:
        """Keep that a step got no build, because the ref is at *now*; None: it is gone, and nothing stands for it."""
        if now is not None:
            self._pass_over(changes.push_key(project, passed), now)

    def _taken(self, project: Project, change: Change, mark: str | None, request: BuildRequest | None) -> bool:
        """Store the request and move the mark, unless somebody else moved it meanwhile."""
        with self._transaction():
            if mark not in (self._mark(project, change.ref), self._own_mark(project, change.ref)):
                return False
            if request is not None:
                self._submit(request)
            self._cursors.set(_key(project, change.ref), change.new)
            return True

    def _mark(self, project: Project, ref: str) -> str | None:
        """Return the mark of a ref; until it has one, what polling saw of it last."""
        return self._own_mark(project, ref) or (self._seen(project) or {}).get(ref)

    def _own_mark(self, project: Project, ref: str) -> str | None:
        return self._cursors.get(_key(project, ref))

    def _seen(self, project: Project) -> changes.Seen | None:
        return changes.decode(self._cursors.get(changes.cursor_key(project)))

    def _is_followed(self, project: Project, ref: str) -> bool | None:
        """Whether the project follows *ref*; None where the remote has to say which branch is its default."""
        if changes.fixed_commit(project):
            return False
        if changes.watches_all(project):
            return ref.startswith(("refs/heads/", "refs/tags/"))
        if wanted := changes.wanted_refs(project):
            return ref in wanted
        seen = self._seen(project)
        known = ref in seen if seen is not None else self._own_mark(project, ref) is not None
        return True if known else None

    def _points_to(self, project: Project, ref: str, stop: StopToken) -> str | None:
        """Return where a ref points now; None where it is gone, or is not one that the project follows."""
        wanted = (ref,) if changes.watches_all(project) else changes.wanted_refs(project)
        return changes.current_refs(project, self._heads(project.source, wanted, stop)).get(ref)


def judge(
    change: Change, mark: str | None, *, is_followed: bool | None
) -> Literal["known", "new", "not followed", "in doubt"]:
    """Say what is known of a step that was told, without asking anybody. Pure."""
    if is_followed is False:
        return "not followed"
    if change.new == mark:
        return "known"
    if is_followed is None or _is_tag(change.ref) or change.old != mark:
        return "in doubt"
    return "new"


def step_of(request: BuildRequest) -> Change | None:
    """Return the step that a request for a push stands for, by its `dedupe_key`; None for other requests. Pure."""
    kind, _, rest = (request.dedupe_key or "").partition(f":{request.project}:")
    ref, _, span = rest.rpartition(":")
    old, _, new = span.partition("..")
    if kind != "git" or not versions.is_ref(ref):
        return None
    return Change(ref, None if old == "-" else old, new)


def _is_tag(ref: str) -> bool:
    return ref.startswith("refs/tags/")


def _key(project: Project, ref: str) -> str:
    return f"push:{changes.cursor_key(project)}:{ref}"
