"""Pushes and uploads that arrive by events, polling or both: dropped, doubled, late, out of order, over crashes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import GitUnavailable, ProjectUnknown, SourceNotFound
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.project import AgentOptions, Environment, Project, Source, Webhook, WebhookFilter
from agent.model.request import BuildRequest
from agent.source.bucket import Standing
from agent.source.remote import Heads
from agent.store.cursors import Cursors
from agent.store.database import Database
from agent.store.requests import Requests
from agent.triggers.arrivals import Arrivals, concerns
from agent.triggers.changes import Change, request_for
from agent.triggers.events import GitPush, Happening, PullRequest, Upload
from agent.triggers.poll import Poll, PollTarget
from agent.triggers.pushes import Pushes, step_of

MAIN = "refs/heads/main"
URL = "https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/web"
FIRST = Standing("version:v1", "1.0", "v1")
EVERYTHING = (WebhookFilter(type="EVENT", pattern="PUSH"),)


class Killed(BaseException):
    """The daemon dies."""


@dataclass
class Bench:
    """One project, its remote, and everything between an event or a look of polling and the builds that follow."""

    groups: tuple[tuple[WebhookFilter, ...], ...] = ()
    source: Source = field(default_factory=lambda: Source(type="CODECOMMIT", location=URL))
    version: str | None = None
    refs: dict[str, str] = field(default_factory=dict)
    standing: Standing = FIRST
    asked: int = 0
    offline: bool = False
    kill: str = ""
    submitted: dict[str, BuildRequest] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = itertools.count(1)
        self.database = Database(Path(":memory:"))
        cursors = Cursors(self.database)
        self.pushes = Pushes(
            submit=self.submit,
            was_asked=lambda key: Requests(self.database).find(key) is not None,
            cursors=cursors,
            transaction=self.database.transaction,
            heads=self.heads,
            pass_over=lambda key, by: Requests(self.database).pass_over(key, by, next(self.numbers)),
        )
        self.poll = Poll(
            projects=lambda: [PollTarget(self.project, 30)],
            submit=lambda request: self.pushes.polled(self.project, request),
            cursors=cursors,
            heads=self.heads,
            standing=lambda source, stop: self.standing,
            clock=SystemClock(),
        )
        self.arrivals = Arrivals(
            projects=lambda: [self.project],
            pushes=self.pushes,
            submit=self.submit,
            look=self.poll.look_at_upload,
            change=lambda source, ref, old, new: (["src/a.py"], "message"),
        )

    @property
    def project(self) -> Project:
        return Project(
            name="web",
            source=self.source,
            source_version=self.version,
            environment=Environment(image="i"),
            webhook=Webhook(filter_groups=self.groups) if self.groups else None,
            agent=AgentOptions(),
        )

    def heads(self, source: Source, names: Sequence[str], stop: StopToken) -> Heads:
        self.asked += 1
        if self.offline:
            raise GitUnavailable("the server does not answer")
        return Heads(dict(self.refs), MAIN, self.refs.get(MAIN))

    def submit(self, request: BuildRequest) -> None:
        """Store a request once, by the rules of the intake; the daemon may die before or after."""
        if self.kill == "before":
            raise Killed
        key, known = request.dedupe_key or "", Requests(self.database)
        if known.find(key) is None and known.arrival(key) is None:
            number = next(self.numbers)
            self.submitted[str(number)] = request
            known.remember(key, str(number), "", float(number))
        elif known.find(key) is None:
            known.pass_over(key, None, next(self.numbers))
        if self.kill == "after":
            raise Killed

    @property
    def builds(self) -> dict[str, BuildRequest]:
        """The requests of all builds by their keys, in the order of asking."""
        rows = self.database.rows("SELECT key, build FROM requests WHERE build != '' ORDER BY created")
        return {str(key): self.submitted[str(number)] for key, number in rows}

    def push(self, ref: str = MAIN, to: str | None = None) -> GitPush:
        """Move a ref of the remote; return the event that tells of it."""
        old, new = self.refs.get(ref), to or f"{next(self.numbers):040x}"
        self.refs[ref] = new
        self.history.setdefault(ref, []).append(new)
        return GitPush("eu-central-1", "web", ref, old, new, "arn:aws:iam::1:user/alice")

    def tell(self, *happenings: Happening) -> None:
        for one in happenings:
            self.arrivals.take(one, StopToken())

    def look(self) -> None:
        self.poll.look(PollTarget(self.project, 30))

    def built(self) -> list[str]:
        """Return the commits, or versions, of all builds; the first asked for comes first."""
        return [request.source_version or "" for request in self.builds.values()]

    def unaccounted(self, ref: str) -> list[str]:
        """Return the commits of *ref* that were not built, and for which no later one is said to stand."""
        line = self.history.get(ref, [])
        asked = [one for one in self.builds.values() if one.source_ref == ref and one.source_version in line]
        spans = [(one.previous_revision, one.source_version or "") for one in asked if one.previous_revision]
        spans += [(None, one.source_version or "") for one in asked[:1]]
        spans += [(one.old, one.new) for one in Requests(self.database).passed("web") if one.ref == ref]
        covered = {one.source_version for one in asked}
        for old, new in spans:
            covered |= set(line[line.index(old) + 1 if old in line else 0 : line.index(new) + 1])
        return [commit for commit in line if commit not in covered]


def test_a_push_that_is_told_and_polled_is_built_once_whoever_comes_first() -> None:
    bench = Bench()
    first, second = bench.push(), bench.push()
    bench.tell(second)
    bench.look()
    bench.tell(first, second)
    third = bench.push()
    bench.look()
    bench.tell(third, third)
    bench.look()
    assert bench.built() == [second.new, third.new]


def test_a_told_push_makes_the_request_of_polling_with_the_facts_of_the_event() -> None:
    told, polled = Bench(), Bench()
    for bench in (told, polled):
        bench.push()
        bench.look()
    told.tell(told.push())
    polled.push()
    polled.look()
    assert list(told.builds) == list(polled.builds)
    request = list(told.builds.values())[-1]
    assert (request.source_ref, request.previous_revision) == (MAIN, f"{1:040x}")
    assert request.initiator == "buildspecd/sqs"
    assert request.webhook is not None
    assert request.webhook.variables() == {
        "CODEBUILD_WEBHOOK_EVENT": "PUSH",
        "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "arn:aws:iam::1:user/alice",
        "CODEBUILD_WEBHOOK_HEAD_REF": MAIN,
        "CODEBUILD_WEBHOOK_TRIGGER": "branch/main",
        "CODEBUILD_WEBHOOK_PREV_COMMIT": f"{1:040x}",
    }


def test_each_of_several_pushes_is_built_when_they_come_in_order_and_nobody_is_asked() -> None:
    bench = Bench()
    bench.push()
    bench.look()
    steps = [bench.push() for _ in range(3)]
    asked = bench.asked
    bench.tell(*steps)
    assert bench.asked == asked
    bench.look()
    assert bench.built()[1:] == [step.new for step in steps]


def test_steps_that_polling_went_past_are_not_built_when_they_are_told_late() -> None:
    bench = Bench()
    bench.push()
    bench.look()
    steps = [bench.push() for _ in range(3)]
    bench.look()
    bench.tell(steps[1], steps[0], steps[2], steps[1])
    assert bench.built()[1:] == [steps[2].new]


def test_what_a_build_stands_for_is_kept() -> None:
    bench = Bench()
    bench.tell(bench.push())
    lost, told, late, last = (bench.push() for _ in range(4))
    bench.tell(last)
    (_, request) = bench.builds.values()
    assert (request.previous_revision, request.source_version) == (lost.old, last.new), "it stands for all between"
    bench.tell(late, told, last, late)
    passed = Requests(bench.database).passed("web", last.new)
    assert [(one.ref, one.old, one.new, one.by) for one in passed] == [
        (MAIN, late.old, late.new, last.new),
        (MAIN, told.old, told.new, last.new),
    ]
    assert bench.unaccounted(MAIN) == []
    first = Bench()
    old, new = first.push(), first.push()
    first.tell(new, old)
    assert (first.built(), first.unaccounted(MAIN)) == ([new.new], [])


def test_filters_look_at_all_that_a_build_stands_for() -> None:
    bench = Bench()
    asked = []
    bench.arrivals.change = lambda source, ref, old, new: (asked.append((old, new)) or ["src/a.py"], "message")
    bench.groups = ((*EVERYTHING, WebhookFilter(type="FILE_PATH", pattern="^src/")),)
    bench.tell(start := bench.push())
    bench.push()
    bench.tell(step := bench.push())
    assert asked[-1] == (start.new, step.new), "the event between the two was lost"


def test_a_forced_push_back_is_built_again_and_an_echo_of_it_is_not() -> None:
    bench = Bench()
    bench.tell(first := bench.push())
    bench.tell(second := bench.push())
    back = bench.push(to=first.new)
    bench.tell(back, back, second, first)
    bench.look()
    bench.tell(second, back)
    assert bench.built() == [first.new, second.new, first.new]


def test_what_is_in_doubt_waits_for_the_remote_and_what_is_clear_does_not() -> None:
    bench = Bench()
    bench.tell(bench.push())
    skipped, step = bench.push(), bench.push()
    bench.offline = True
    with pytest.raises(GitUnavailable):
        bench.tell(step)
    bench.tell(skipped)
    bench.tell(step)
    assert bench.built()[1:] == [skipped.new, step.new], "with the gap closed there is no doubt left"


def test_without_filters_only_the_branch_of_the_project_is_built() -> None:
    bench = Bench()
    other = bench.push("refs/heads/other")
    bench.tell(other, bench.push(), bench.push("refs/tags/v1"))
    assert bench.built() == [bench.refs[MAIN]]
    named = Bench(version="release")
    named.tell(named.push(), named.push("refs/heads/release"))
    assert named.built() == [named.refs["refs/heads/release"]]
    fixed = Bench(version="c" * 40)
    fixed.tell(fixed.push())
    assert fixed.built() == []


def test_filter_groups_hold_for_told_pushes_too_and_what_they_hold_back_is_no_gap() -> None:
    actor = WebhookFilter(type="ACTOR_ACCOUNT_ID", pattern="^arn:aws:iam::1:user/alice$")
    bench = Bench(groups=((*EVERYTHING, actor, WebhookFilter(type="HEAD_REF", pattern="^refs/heads/main$")),))
    feature = bench.push("refs/heads/feature")
    first = bench.push()
    stranger = bench.push()
    bench.tell(feature, first, GitPush(**{**vars(stranger), "actor": "arn:aws:iam::1:user/mallory"}))
    asked = bench.asked
    last = bench.push()
    bench.tell(last)
    assert bench.built() == [first.new, last.new]
    assert bench.asked == asked


def test_an_annotated_tag_is_built_once_whatever_the_event_calls_it() -> None:
    bench = Bench(groups=(EVERYTHING,))
    bench.push()
    bench.look()
    tag = bench.push("refs/tags/v1")
    commit = GitPush(**{**vars(tag), "new": "e" * 40})
    bench.tell(commit)
    bench.look()
    bench.tell(tag, commit)
    assert bench.built()[1:] == [tag.new]


def test_a_push_is_not_lost_when_the_daemon_dies_before_it_is_stored_or_right_after() -> None:
    for moment in ("before", "after"):
        for by_event in (True, False):
            bench = Bench()
            bench.push()
            bench.look()
            step = bench.push()
            bench.kill = moment
            with pytest.raises(Killed):
                bench.tell(step) if by_event else bench.look()
            bench.kill = ""
            bench.tell(step)
            bench.look()
            assert bench.built()[1:] == [step.new]


def test_a_request_tells_the_step_that_it_stands_for() -> None:
    project = Bench().project
    for change in (Change("refs/heads/a", None, "a" * 40), Change("refs/tags/v1", "b" * 40, "c" * 40)):
        assert step_of(request_for(project, change)) == change
    assert step_of(request_for(project, Change("commit", None, "a" * 40))) is None
    assert step_of(BuildRequest(project="web", initiator="me")) is None
    assert step_of(BuildRequest(project="web", initiator="me", dedupe_key="s3:web:x:-..y")) is None


@dataclass
class Weather:
    """What can happen to a daemon and to the events of its queue; `under_way` are those not deleted yet."""

    bench: Bench
    data: st.DataObject
    polling: bool
    under_way: list[GitPush] = field(default_factory=list)

    def push(self) -> None:
        names = [MAIN, "refs/heads/b"] if self.bench.groups else [MAIN]
        self.under_way.append(self.bench.push(self.data.draw(st.sampled_from(names))))

    def look(self) -> None:
        if self.polling:
            self.bench.look()

    def tell(self) -> None:
        for event in self._one():
            self.bench.tell(event)
            self.under_way.remove(event)

    def echo(self) -> None:
        self.bench.tell(*self._one())

    def hook(self) -> None:
        for event in self._one():
            change = Change(event.ref, event.old, event.new)
            self.bench.submit(request_for(self.bench.project, change))

    def die(self) -> None:
        self.bench.kill = self.data.draw(st.sampled_from(["before", "after"]))
        with contextlib.suppress(Killed):
            self.bench.tell(*self._one())
        self.bench.kill = ""

    def lose(self) -> None:
        for event in self._one() if self.polling else []:
            self.under_way.remove(event)

    def clear_up(self) -> None:
        """Have whatever is still under way arrive, in any order."""
        self.look()
        self.bench.tell(*self.data.draw(st.permutations(self.under_way)))
        self.look()

    def _one(self) -> list[GitPush]:
        return [self.data.draw(st.sampled_from(self.under_way))] if self.under_way else []


@settings(max_examples=150, deadline=None)
@given(data=st.data(), polling=st.booleans(), filtered=st.booleans())
def test_whatever_happens_to_the_events_every_last_head_is_built_once(
    data: st.DataObject, *, polling: bool, filtered: bool
) -> None:
    bench = Bench(groups=(EVERYTHING,) if filtered else ())
    weather = Weather(bench, data, polling)
    if polling and data.draw(st.booleans()):
        bench.push()
        bench.push("refs/heads/b")
        bench.look()  # the first sight builds one head, and follows all of them from then on
    seen = dict(bench.refs)
    happenings = ["push", "push", "tell", "echo", "hook", "look", "die", "lose"]
    for what in data.draw(st.lists(st.sampled_from(happenings), max_size=14)):
        getattr(weather, what)()
    weather.clear_up()
    built = bench.built()
    assert len(built) == len(set(built)), "a commit was built twice"
    followed = {MAIN: bench.refs.get(MAIN)} if not filtered else bench.refs
    for ref in followed if seen or not polling else ():
        ours = set(bench.unaccounted(ref))
        assert ours <= {seen.get(ref)}, "a commit was passed over, and nothing is known of it"
    if seen or not polling:
        assert [ref for ref, head in followed.items() if head and head not in built and seen.get(ref) != head] == []


def test_pull_requests_are_built_where_filters_name_them_once_for_each_event_and_commit() -> None:
    wanted = WebhookFilter(type="EVENT", pattern="PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED")
    bench = Bench(groups=((wanted, WebhookFilter(type="BASE_REF", pattern="^refs/heads/main$")),))
    pull = PullRequest("eu-central-1", "web", "7", "PULL_REQUEST_CREATED", "refs/heads/f", MAIN, "d" * 40, "me")
    merged = PullRequest(**{**vars(pull), "event": "PULL_REQUEST_MERGED"})
    elsewhere = PullRequest(**{**vars(pull), "base_ref": "refs/heads/x"})
    bench.tell(pull, pull, merged, elsewhere)
    assert list(bench.builds) == [f"pr:web:7:PULL_REQUEST_CREATED:{'d' * 40}"]
    request = next(iter(bench.builds.values()))
    assert (request.source_version, request.source_ref) == ("d" * 40, "refs/heads/f")
    assert request.webhook is not None
    assert (request.webhook.trigger, request.webhook.base_ref) == ("pr/7", MAIN)
    plain = Bench()
    plain.tell(pull)
    assert plain.builds == {}


def test_an_upload_is_built_once_by_events_and_polling_and_in_the_state_that_it_has_now() -> None:
    bench = Bench(source=Source(type="S3", location="box/in/web.zip"))
    event = Upload("box", "in/web.zip", "01")
    bench.tell(event, event)
    bench.look()
    bench.standing = Standing("version:v3", "3.0", "v3")
    bench.look()
    bench.tell(Upload("box", "in/web.zip", "02"), Upload("box", "in/web.zip", "03"), event)
    assert bench.built() == ["v1", "v3"]
    assert [request.previous_revision for request in bench.builds.values()] == [None, "v1"], "v2 is between the two"
    assert next(iter(bench.builds.values())).initiator == "buildspecd/sqs"


@pytest.mark.parametrize(
    ("location", "key", "expected"),
    [
        ("box/in/web.zip", "in/web.zip", True),
        ("arn:aws:s3:::box/in/web.zip", "in/web.zip", True),
        ("box/in/web.zip", "in/web.zip.part", False),
        ("box/in/", "in/deep/file", True),
        ("box/in/", "into", False),
        ("box/", "anything", True),
        ("other/in/web.zip", "in/web.zip", False),
        ("file:///in/web.zip", "in/web.zip", False),
        ("not a bucket", "in/web.zip", False),
    ],
)
def test_an_upload_concerns_the_sources_that_hold_its_key(location: str, key: str, *, expected: bool) -> None:
    bench = Bench(source=Source(type="S3", location=location))
    assert concerns(Upload("box", key), bench.project) is expected
    assert not concerns(Upload("box", key), Bench(source=bench.source, version="v7").project)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (URL, True),
        ("codecommit::eu-central-1://web", True),
        ("codecommit::eu-central-1://me@web", True),
        ("ssh://APKA@git-codecommit.eu-central-1.amazonaws.com/v1/repos/web", True),
        (URL.replace("eu-central-1", "eu-west-1"), False),
        (URL + "2", False),
        ("https://git-codecommit.eu-central-1.evil.example/v1/repos/web", False),
        ("https://github.com/v1/repos/web", False),
        ("-x", False),
    ],
)
def test_a_push_concerns_the_projects_of_its_repository_in_its_region(location: str, *, expected: bool) -> None:
    bench = Bench(source=Source(type="CODECOMMIT", location=location))
    assert concerns(bench.push(), bench.project) is expected


def test_what_a_second_try_cannot_change_is_dropped_and_what_it_can_is_raised() -> None:
    bench = Bench()
    bench.push()
    step = bench.push()

    def gone(*_: object) -> object:
        raise SourceNotFound("no such repository")

    def unknown(*_: object) -> object:
        raise ProjectUnknown("no such project")

    for trouble in (gone, unknown):
        bench.arrivals.pushes = Pushes(
            submit=bench.submit,
            was_asked=lambda key: False,
            cursors=Cursors(bench.database),
            transaction=bench.database.transaction,
            heads=trouble,  # type: ignore[arg-type]
        )
        bench.tell(step)
    assert bench.builds == {}
