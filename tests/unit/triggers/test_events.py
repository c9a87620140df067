"""Messages of SQS: what each says, and that none of them can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.triggers.events import GitPush, PullRequest, Reading, Upload, is_later, newest, read

OLD, NEW = "a" * 40, "b" * 40
ACTOR = "arn:aws:sts::111111111111:assumed-role/dev/alice"


def push(**detail: Any) -> dict[str, Any]:
    """Return CodeCommit's event of a branch that moved."""
    return {
        "version": "0",
        "id": "01234567-0123-0123-0123-0123456789ab",
        "detail-type": "CodeCommit Repository State Change",
        "source": "aws.codecommit",
        "account": "111111111111",
        "time": "2026-06-12T10:23:43Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:codecommit:eu-central-1:111111111111:web"],
        "detail": {
            "event": "referenceUpdated",
            "repositoryName": "web",
            "repositoryId": "12345678-1234-5678-abcd-12345678abcd",
            "referenceType": "branch",
            "referenceName": "main",
            "referenceFullName": "refs/heads/main",
            "commitId": NEW,
            "oldCommitId": OLD,
            "callerUserArn": ACTOR,
            **detail,
        },
    }


def pull(**detail: Any) -> dict[str, Any]:
    """Return CodeCommit's event of a new pull request."""
    facts = {
        "event": "pullRequestCreated",
        "pullRequestId": "7",
        "pullRequestStatus": "Open",
        "isMerged": "False",
        "repositoryNames": ["web"],
        "sourceReference": "refs/heads/feature",
        "destinationReference": "refs/heads/main",
        "sourceCommit": NEW,
        "destinationCommit": OLD,
        "callerUserArn": ACTOR,
        **detail,
    }
    return {**push(), "detail-type": "CodeCommit Pull Request State Change", "detail": facts}


def created(key: str = "in/a+b c.zip", **members: Any) -> dict[str, Any]:
    """Return EventBridge's event of an upload."""
    detail = {
        "version": "0",
        "bucket": {"name": "box"},
        "object": {"key": key, "size": 5, "etag": "e", "version-id": "v", "sequencer": "0061"},
        "reason": "PutObject",
    }
    return {**push(), "source": "aws.s3", "detail-type": "Object Created", "detail": {**detail, **members}}


def record(key: str = "in/a%2Bb+%C3%A4.zip", sequencer: str = "0055AED6DCD90281E5", **members: Any) -> dict[str, Any]:
    """Return one record of an S3 notification."""
    return {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-06-12T10:23:43.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "box"}, "object": {"key": key, "size": 5, "eTag": "e", "sequencer": sequencer}},
        **members,
    }


def sns(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Return a message in the envelope of SNS."""
    topic = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-central-1:111111111111:t"}
    return {**topic, "Message": json.dumps(document), **members}


def told(document: object) -> Reading:
    return read(json.dumps(document))


def test_a_push_to_codecommit_is_a_step_of_its_ref() -> None:
    expected = GitPush("eu-central-1", "web", "refs/heads/main", OLD, NEW, ACTOR)
    assert told(push()) == Reading((expected,))
    new = told(push(event="referenceCreated", referenceFullName="refs/tags/v1", oldCommitId=OLD))
    assert new.happenings == (GitPush("eu-central-1", "web", "refs/tags/v1", None, NEW, ACTOR),)


@pytest.mark.parametrize("event", ["referenceDeleted", "unreferencedMergeCommitCreated", "somethingNew"])
def test_deletions_and_what_nobody_builds_are_skipped_with_a_reason(event: str) -> None:
    reading = told(push(event=event))
    assert (reading.happenings, reading.malformed) == ((), "")
    assert event in reading.ignored


@pytest.mark.parametrize(
    ("detail", "event"),
    [
        ({}, "PULL_REQUEST_CREATED"),
        ({"event": "pullRequestSourceBranchUpdated"}, "PULL_REQUEST_UPDATED"),
        ({"event": "pullRequestMergeStatusUpdated", "isMerged": "True"}, "PULL_REQUEST_MERGED"),
        ({"event": "pullRequestStatusChanged", "pullRequestStatus": "Closed"}, "PULL_REQUEST_CLOSED"),
        ({"event": "pullRequestStatusChanged", "pullRequestStatus": "Closed", "isMerged": "True"}, None),
        ({"event": "pullRequestMergeStatusUpdated"}, None),
        ({"event": "pullRequestApprovalRuleCreated"}, None),
    ],
)
def test_events_of_pull_requests_get_the_words_of_codebuild(detail: dict[str, str], event: str | None) -> None:
    reading = told(pull(**detail))
    if event is None:
        assert reading.happenings == ()
        assert reading.ignored
    else:
        base = "refs/heads/main"
        assert reading.happenings == (
            PullRequest("eu-central-1", "web", "7", event, "refs/heads/feature", base, NEW, ACTOR),
        )


def test_a_key_is_decoded_in_notifications_and_not_in_events() -> None:
    assert told({"Records": [record()]}).happenings == (Upload("box", "in/a+b ä.zip", "0055AED6DCD90281E5"),)
    assert told(created("in/a%2Bb+c.zip")).happenings == (Upload("box", "in/a%2Bb+c.zip", "0061"),)


def test_the_envelope_of_sns_changes_nothing() -> None:
    for document in (push(), pull(), created(), {"Records": [record()]}):
        assert told(sns(document)) == told(sns(sns(document))) == told(document)
    assert told(sns(push(), Type="SubscriptionConfirmation")).ignored


def test_the_test_message_of_s3_is_acknowledged_and_dropped() -> None:
    message = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-06-12T10:23:43.000Z", "Bucket": "box"}
    for document in (message, sns(message)):
        assert told(document).ignored == "S3 tests whether the queue can be reached"


def test_of_several_writes_of_one_key_the_last_one_counts_whatever_their_order() -> None:
    early, late, other = record("k", "0055AE"), record("k", "0055AE01"), record("x", "00")
    expected = (Upload("box", "k", "0055AE01"), Upload("box", "x", "00"))
    assert told({"Records": [early, late, other]}).happenings == expected
    assert told({"Records": [late, early, other]}).happenings == expected
    assert is_later("0055AE01", "0055AE")
    assert not is_later("0055AE", "0055AE00"), "the shorter one is padded with zeros"
    assert newest([Upload("b", "k", "FF"), Upload("b", "k")]) == (Upload("b", "k"),)


def test_removals_and_records_of_others_are_skipped_beside_those_that_count() -> None:
    records = [record(eventName="ObjectRemoved:Delete"), record(eventSource="aws:ses"), record("k", "01"), 7]
    reading = told({"Records": records})
    assert reading.happenings == (Upload("box", "k", "01"),)
    assert reading.malformed == "a record is no object"
    assert told({"Records": records[:2]}).ignored
    assert told({"Records": [record(eventVersion="3.0")]}).malformed
    assert told({"Records": [record(eventVersion="2.99")]}).happenings


def test_other_sources_are_ignored_with_a_reason() -> None:
    assert "aws.ec2" in told({**push(), "source": "aws.ec2", "detail-type": "x"}).ignored
    assert "Object Deleted" in told({**created(), "detail-type": "Object Deleted"}).ignored


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"Records": {}},
        {"detail-type": 1, "source": {}},
        {**push(), "detail": None},
        push(commitId="HEAD"),
        push(commitId=None),
        push(referenceFullName="refs/heads/-x"),
        push(referenceFullName="refs/heads/a\nb"),
        push(referenceFullName="main"),
        push(repositoryName="\ud800"),
        push(repositoryName="x" * 5000),
        pull(repositoryNames="web"),
        pull(pullRequestId="7; rm"),
        created(object={"key": ""}),
        sns(push(), Message=7),
        sns(sns(sns(sns(push())))),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_comes_of_it(document: object) -> None:
    reading = told(document)
    assert reading.happenings == ()
    assert reading.malformed


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "NaN", '{"Records": ' + "9" * 5000 + "}", "\x00"])
def test_a_body_that_is_no_json_is_a_value_and_no_exception(body: str) -> None:
    assert read(body).malformed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def paths(document: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(found for key, value in items for found in paths(value, (*path, key)))]


def replaced(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    head, *rest = path
    items = document.items() if isinstance(document, dict) else enumerate(document)
    new = {key: replaced(old, tuple(rest), value) if key == head else old for key, old in items}
    return new if isinstance(document, dict) else list(new.values())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_message_however_mangled_raises_anything(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from([push(), pull(), created(), {"Records": [record()]}, sns(push())]))
    path = data.draw(st.sampled_from(paths(document)))
    body = json.dumps(replaced(document, path, data.draw(JSON)))
    reading = read(body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body)
    assert reading.happenings or reading.ignored or reading.malformed
    for happening in reading.happenings:
        repr(happening).encode()
