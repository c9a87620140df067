"""What a pull request brings, and commits that are told in short."""

from __future__ import annotations

import pytest

from agent.errors import SourceNotFound
from agent.source.sources import Sources
from tests.fakes.repository import Repository
from tests.unit.source.test_sources import source


def test_a_pull_request_brings_what_it_changed_since_it_left_its_base(sources: Sources, repository: Repository) -> None:
    fork = repository.head
    repository.run("checkout", "-q", "-b", "feature")
    repository.commit("one", src__a="1")
    head = repository.commit("two\n\nwith more", src__b="2")
    repository.push("HEAD:refs/pull/7/head", ":refs/heads/feature")
    repository.run("checkout", "-q", "main")
    base = repository.commit("meanwhile", docs__c="3")
    for place in (base, fork, "refs/heads/main"):
        change = sources.pull_change(source(repository), "refs/pull/7/head", place, head)
        assert change.paths == ("src/a", "src/b")
        assert change.message == "two\n\nwith more"
    with pytest.raises(SourceNotFound):
        sources.pull_change(source(repository), "refs/pull/7/head", "f" * 40, head)


def test_the_beginning_of_a_commits_id_leads_to_all_of_it(sources: Sources, repository: Repository) -> None:
    assert sources.whole_id(source(repository), repository.head[:12]) == repository.head
    with pytest.raises(SourceNotFound, match="no branch reaches commit ffffffffffff"):
        sources.whole_id(source(repository), "f" * 12)
