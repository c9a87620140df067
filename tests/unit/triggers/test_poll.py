"""Polling: what is asked for, when, and what a crash in between changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import structlog.testing

from agent.errors import AwsUnavailable, BuildspecdError, GitUnavailable, SourceNotFound
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.project import Environment, Project, Source, Webhook, WebhookFilter
from agent.model.request import BuildRequest
from agent.source.remote import Heads
from agent.triggers.poll import Poll, PollTarget
from agent.triggers.rounds import PER_HOST

A, B, C, D = (letter * 40 for letter in "abcd")
MAIN = "refs/heads/main"
PUSH = WebhookFilter(type="EVENT", pattern="PUSH")


class Cursors(dict[str, str]):
    """Cursors in memory."""

    def set(self, key: str, value: str) -> None:
        self[key] = value


class Remote:
    """Repositories as the poller sees them; `wait` runs before each answer."""

    def __init__(self, **heads: Heads) -> None:
        self.heads = heads
        self.looks: list[str] = []
        self.wait: Callable[[str], None] = lambda location: None

    def __call__(self, source: Source, names: Sequence[str], stop: StopToken) -> Heads:
        location = source.location or ""
        self.looks.append(location)
        self.wait(location)
        found = self.heads[location.rpartition("/")[2]]
        prefixes = tuple(name.removesuffix("*") for name in names)
        return Heads(
            {ref: sha for ref, sha in found.refs.items() if ref.startswith(prefixes)},
            found.default,
            found.head,
            found.moved_to,
        )


def heads(head: str | None = A, default: str | None = MAIN, **refs: str) -> Heads:
    every = {f"refs/{name.replace('__', '/')}": sha for name, sha in refs.items()}
    if head and default:
        every[default] = head
    return Heads(every, default, head)


def target(name: str = "web", *, host: str = "", every: float = 30, **members: object) -> PollTarget:
    location = f"https://{host}/{name}" if host else f"/srv/{name}"
    return PollTarget(
        Project.model_validate(
            {
                "name": name,
                "source": Source(type="GIT", location=location),
                "environment": Environment(image="i"),
                **members,
            }
        ),
        every,
    )


class Bench:
    """A poller with everything around it in memory."""

    def __init__(self, remote: Remote, *targets: PollTarget) -> None:
        self.targets = list(targets)
        self.requests: list[BuildRequest] = []
        self.cursors = Cursors()
        self.reports: list[tuple[str, BuildspecdError | None]] = []
        self.refuse: BuildspecdError | None = None
        self.seen = threading.Condition()
        self.poll = Poll(
            projects=lambda: self.targets,
            submit=self.submit,
            cursors=self.cursors,
            heads=remote,
            change=lambda source, ref, old, new: (["docs/a"], "message"),
            clock=SystemClock(),
            report=self.report,
        )

    def submit(self, request: BuildRequest) -> None:
        if self.refuse:
            raise self.refuse
        with self.seen:
            self.requests.append(request)
            self.seen.notify_all()

    def report(self, project: str, error: BuildspecdError | None) -> None:
        with self.seen:
            self.reports.append((project, error))
            self.seen.notify_all()

    def look(self) -> list[str]:
        """Look at the one target; return the dedupe keys asked for."""
        return [str(request.dedupe_key) for request in self.poll.look(self.targets[0])]

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = StopToken()
        thread = threading.Thread(target=self.poll.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)
            assert not thread.is_alive()

    def until(self, holds: Callable[[], bool]) -> None:
        with self.seen:
            assert self.seen.wait_for(holds, timeout=10)


def test_the_first_sight_of_a_repository_builds_its_head_once() -> None:
    bench = Bench(Remote(web=heads(A)), target())
    assert bench.look() == [f"git:web:{MAIN}:-..{A}"]
    assert bench.look() == []
    request = bench.requests[0]
    assert (request.source_version, request.source_ref, request.previous_revision) == (A, MAIN, None)
    assert request.initiator == "buildspecd/poll"


def test_a_new_head_is_built_with_the_one_before() -> None:
    remote = Remote(web=heads(A))
    bench = Bench(remote, target())
    bench.look()
    remote.heads["web"] = heads(B, heads__other=C)
    assert bench.look() == [f"git:web:{MAIN}:{A}..{B}"]
    assert bench.requests[-1].previous_revision == A


def test_an_empty_repository_is_seen_first_when_it_gets_a_commit() -> None:
    remote = Remote(web=heads(None))
    bench = Bench(remote, target())
    assert bench.look() == []
    remote.heads["web"] = heads(A)
    assert bench.look() == [f"git:web:{MAIN}:-..{A}"]


@pytest.mark.parametrize(
    ("version", "ref", "sha"),
    [
        ("dev", "refs/heads/dev", B),
        ("refs/heads/dev", "refs/heads/dev", B),
        ("v1", "refs/tags/v1", C),
        ("both", "refs/heads/both", A),
    ],
)
def test_without_a_webhook_only_the_source_version_is_followed(version: str, ref: str, sha: str) -> None:
    remote = Remote(web=heads(A, heads__dev=B, tags__v1=C, heads__both=A, tags__both=D))
    bench = Bench(remote, target(sourceVersion=version))
    assert bench.look() == [f"git:web:{ref}:-..{sha}"]


def test_a_commit_as_source_version_is_built_once_and_never_looked_for() -> None:
    remote = Remote()
    bench = Bench(remote, target(sourceVersion=A))
    assert bench.look() == [f"git:web:commit:-..{A}"]
    assert bench.look() == []
    assert remote.looks == []
    assert bench.requests[0].source_ref is None


def test_a_source_version_that_does_not_exist_is_an_error_that_names_it() -> None:
    with pytest.raises(SourceNotFound, match="nope"):
        Bench(Remote(web=heads(A)), target(sourceVersion="nope")).look()


def filtered(*filters: WebhookFilter) -> PollTarget:
    return target(webhook=Webhook(filter_groups=((PUSH, *filters),)))


def test_with_filters_every_branch_and_tag_counts_but_only_one_at_first_sight() -> None:
    remote = Remote(web=heads(A, heads__old=B))
    bench = Bench(remote, filtered())
    assert bench.look() == [f"git:web:{MAIN}:-..{A}"]
    remote.heads["web"] = heads(A, heads__old=C, heads__new=D, tags__v1=A)
    assert bench.look() == [
        f"git:web:refs/heads/new:-..{D}",
        f"git:web:refs/heads/old:{B}..{C}",
        f"git:web:refs/tags/v1:-..{A}",
    ]
    remote.heads["web"] = heads(A, heads__new=D, tags__v1=A)
    assert bench.look() == []
    remote.heads["web"] = heads(A, heads__new=D, tags__v1=A, heads__old=D)
    assert bench.look() == [f"git:web:refs/heads/old:-..{D}"], "a branch that was away is a new one"


def test_filters_hold_for_polled_changes() -> None:
    remote = Remote(web=heads(A))
    bench = Bench(remote, filtered(WebhookFilter(type="HEAD_REF", pattern="^refs/heads/release/")))
    assert bench.look() == []
    remote.heads["web"] = heads(B, heads__release__1=C)
    assert bench.look() == [f"git:web:refs/heads/release/1:-..{C}"]
    paths = Bench(remote, filtered(WebhookFilter(type="FILE_PATH", pattern="^src/")))
    assert paths.look() == []


@pytest.mark.parametrize(
    "ref", ["refs/heads/-x", "refs/heads/a\x1b[2Jb", "refs/heads/--upload-pack=id", "refs/tags/a b"]
)
def test_a_ref_with_a_hostile_name_is_built_by_its_commit_and_its_name_goes_no_further(ref: str) -> None:
    remote = Remote(web=heads(A))
    bench = Bench(remote, target(webhook=Webhook(filter_groups=((PUSH,),))))
    bench.look()
    remote.heads["web"] = Heads({MAIN: A, ref: B}, MAIN, A)
    bench.look()
    request = bench.requests[-1]
    assert (request.source_version, request.source_ref) == (B, None)


def test_a_repository_that_was_renamed_is_told_once_with_its_new_address() -> None:
    remote = Remote(web=Heads({MAIN: A}, MAIN, A, "https://host/new-name.git/"))
    bench = Bench(remote, target())
    with structlog.testing.capture_logs() as told:
        assert len(bench.look()) == 1
        bench.look()
    assert [entry["moved_to"] for entry in told] == ["https://host/new-name.git/"]
    assert "was renamed" in told[0]["event"]


def test_a_cursor_moves_only_after_the_request_was_taken() -> None:
    remote = Remote(web=heads(A, heads__a=A, heads__b=A))
    bench = Bench(remote, filtered())
    bench.look()
    remote.heads["web"] = heads(A, heads__a=B, heads__b=B)
    bench.refuse = AwsUnavailable("the store is away")
    with pytest.raises(AwsUnavailable):
        bench.look()
    bench.refuse = None
    assert len(bench.look()) == 2, "both are asked for again"


def test_a_crash_between_two_submissions_loses_and_doubles_nothing() -> None:
    remote = Remote(web=heads(A, heads__a=A, heads__b=A))
    bench = Bench(remote, filtered())
    bench.look()
    remote.heads["web"] = heads(A, heads__a=B, heads__b=B)
    submit = bench.submit

    def second_fails(request: BuildRequest) -> None:
        submit(request)
        bench.refuse = GitUnavailable("crash")

    bench.poll._submit = second_fails
    with pytest.raises(GitUnavailable):
        bench.look()
    bench.refuse, bench.poll._submit = None, submit
    assert bench.look() == [f"git:web:refs/heads/b:{A}..{B}"]


def test_another_location_is_another_repository() -> None:
    bench = Bench(Remote(web=heads(A), moved=heads(B)), target())
    bench.look()
    bench.targets = [PollTarget(target("moved").project.evolve(name="web"), 30)]
    assert bench.look() == [f"git:web:{MAIN}:-..{B}"]


def test_every_project_is_polled_and_no_source_never() -> None:
    remote = Remote(one=heads(A), two=heads(B))
    none = PollTarget(target("none").project.evolve(source=Source(type="NO_SOURCE")), 30)
    bench = Bench(remote, target("one"), target("two"), none, target("never", every=0))
    with bench.running():
        bench.until(lambda: len(bench.requests) == 2)
    assert {request.project for request in bench.requests} == {"one", "two"}
    assert sorted(remote.looks) == ["/srv/one", "/srv/two"]


def test_a_slow_host_does_not_delay_the_others() -> None:
    release = threading.Event()
    slow = [target(f"slow{number}", host="slow.example") for number in range(20)]
    remote = Remote(fast=heads(A), **{one.project.name: heads(B) for one in slow})
    remote.wait = lambda location: None if "fast" in location else (release.wait(10), None)[1]
    bench = Bench(remote, *slow, target("fast", host="fast.example"))
    with bench.running():
        bench.until(lambda: [request.project for request in bench.requests] == ["fast"])
        assert sum("slow" in location for location in remote.looks) == PER_HOST
        release.set()
        bench.until(lambda: len(bench.requests) == 21)


def test_a_nudge_has_a_project_looked_at_at_once() -> None:
    remote = Remote(web=heads(A))
    bench = Bench(remote, target(every=3600))
    with bench.running():
        bench.until(lambda: len(bench.reports) == 1)
        remote.heads["web"] = heads(B)
        bench.poll.look_now("web")
        bench.poll.look_now("nobody")
        bench.until(lambda: len(bench.requests) == 2)


def test_a_nudge_during_a_look_is_not_lost() -> None:
    started, release = threading.Event(), threading.Event()
    remote = Remote(web=heads(A))

    def first_is_slow(_: str) -> None:
        if len(remote.looks) == 1:
            started.set()
            release.wait(10)

    remote.wait = first_is_slow
    bench = Bench(remote, target(every=3600))
    with bench.running():
        assert started.wait(10)
        bench.poll.look_now("web")
        release.set()
        bench.until(lambda: len(bench.reports) == 2)
    assert len(remote.looks) == 2


def test_a_host_that_is_away_is_left_alone_and_reported() -> None:
    def away(_: str) -> None:
        raise GitUnavailable("no route")

    remote = Remote()
    remote.wait = away
    bench = Bench(remote, *(target(f"p{number}", host="down.example", every=3600) for number in range(6)))
    with bench.running():
        bench.until(lambda: len(bench.reports) >= 1)
    assert len(remote.looks) <= 3, "the first failures speak for the whole host"
    assert all(isinstance(error, GitUnavailable) for _, error in bench.reports)


def test_a_mistake_of_ours_ends_the_service_so_that_it_is_started_anew() -> None:
    remote = Remote()
    bench = Bench(remote, target(every=3600))
    with pytest.raises(KeyError):
        bench.poll.run(StopToken())
