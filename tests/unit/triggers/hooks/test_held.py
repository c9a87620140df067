"""A pull request that waits for approval says so at its commit, until its build has something to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import AwsUnavailable
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.project import BuildStatusConfig
from agent.notify.githosts import call_for
from agent.notify.held import HeldStatuses
from agent.notify.statusbook import StatusBook
from agent.store.outbox import Outbox
from agent.store.statuses import Statuses
from agent.triggers.hooks.event import Event
from tests.fakes import hooks
from tests.fakes.hooks import HEAD
from tests.unit.triggers.hooks.test_desk import PULLS, Office, a_project


class Hall(Office):
    """An office that tells git hosts."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.projects["shop"] = a_project(groups=((PULLS,),))
        self.statuses = Statuses(self.database)
        self.trouble: AwsUnavailable | None = None
        self.backlog.held = HeldStatuses(self.statuses, self._region, self.clock)

    def _region(self) -> str:
        if self.trouble is not None:
            raise self.trouble
        return "eu-central-1"

    def held(self, *, head: str = HEAD) -> None:
        self.deliver("pull_request", hooks.github_pull(fork=True, head=head))
        self.settle()

    def approve(self) -> None:
        self.looks.pulls[7] = Event.model_validate_json(self.hooks.waiting("shop", 7) or "")
        self.looks.roles["boss"] = "GITHUB_ADMIN"
        self.deliver("issue_comment", hooks.github_comment())
        self.settle()

    def waiting(self) -> list[CommitStatus]:
        return self.statuses.waiting("api.github.com")


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def test_who_waits_for_approval_is_shown_as_failed_in_codebuild_s_words(hall: Hall) -> None:
    hall.held()
    (status,) = hall.waiting()
    call = call_for(status)
    assert call is not None
    assert call.url == f"https://api.github.com/repos/octo/shop/statuses/{HEAD}"
    assert call.body == {
        "state": "failure",
        "description": "Pull request approval required for starting a build",
        "context": "AWS CodeBuild eu-central-1 (shop)",
    }
    assert hall.builds() == []


def test_the_build_of_an_approved_one_takes_its_place(hall: Hall) -> None:
    hall.held()
    (held,) = hall.waiting()
    hall.approve()
    assert len(hall.builds()) == 1
    assert hall.waiting() == [], "what was not told yet is not told any more"
    StatusBook(hall.statuses).deliver([event for _, event in Outbox(hall.database).pending("commit status")])
    (real,) = hall.waiting()
    assert (real.context, real.sha, real.source) == (held.context, held.sha, held.source)
    assert real.state is CommitState.QUEUED


def test_of_a_pull_request_that_moved_on_the_last_commit_is_shown(hall: Hall) -> None:
    hall.held()
    hall.held(head=hooks.AFTER)
    assert [status.sha for status in hall.waiting()] == [hooks.AFTER]


def test_a_name_that_only_a_build_has_is_not_shown_since_nothing_would_take_its_place(hall: Hall) -> None:
    project = hall.projects["shop"]

    def named(context: str) -> None:
        config = BuildStatusConfig(context=context)
        hall.projects["shop"] = project.evolve(source=project.source.evolve(build_status_config=config))

    named("ci $CODEBUILD_BUILD_NUMBER")
    hall.held()
    assert hall.waiting() == []
    named("ci ${CODEBUILD_WEBHOOK_TRIGGER} in $AWS_REGION")
    hall.held(head=hooks.AFTER)
    assert [status.context for status in hall.waiting()] == ["ci pr/7 in eu-central-1"]


def test_where_the_region_cannot_be_found_out_now_it_is_shown_later(hall: Hall) -> None:
    hall.trouble = AwsUnavailable("down")
    hall.held()
    assert (hall.waiting(), hall.hooks.backlog()) == ([], 1)
    hall.trouble = None
    hall.clock.at += 60
    hall.settle()
    assert (len(hall.waiting()), hall.hooks.backlog()) == (1, 0)
