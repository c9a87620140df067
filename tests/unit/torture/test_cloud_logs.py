"""The AWS-shaped server's CloudWatch Logs: every limit of a batch, and reading back in pages."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from agent.torture.cloud import CloudServer, Fault
from tests.unit.torture.clients import client

NAMES = {"logGroupName": "/aws/codebuild/web", "logStreamName": "uuid"}
DAY = 86_400_000


@pytest.fixture
def logs(cloud: CloudServer) -> Any:
    made = client(cloud, "logs")
    made.create_log_group(logGroupName=NAMES["logGroupName"])
    made.create_log_stream(**NAMES)
    return made


def now() -> int:
    return int(time.time() * 1000)


def put(logs: Any, *events: tuple[int, str]) -> Any:
    return logs.put_log_events(**NAMES, logEvents=[{"timestamp": at, "message": text} for at, text in events])


def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def read(logs: Any, **options: Any) -> list[str]:
    """Return all messages, forwards, a page after the other until the token stays."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = logs.get_log_events(**NAMES, startFromHead=True, **options, **token)
        found += [event["message"] for event in page["events"]]
        if token.get("nextToken") == page["nextForwardToken"]:
            return found
        token = {"nextToken": page["nextForwardToken"]}


def test_what_is_put_comes_back_in_the_order_of_its_times(cloud: CloudServer, logs: Any) -> None:
    at = now()
    put(logs, (at, "b"), (at, "b"), (at + 5, "d"))
    put(logs, (at - 5, "a"), (at + 1, "c"))
    assert read(logs) == ["a", "b", "b", "c", "d"]
    assert read(logs, limit=2) == ["a", "b", "b", "c", "d"]
    assert read(logs, startTime=at, endTime=at + 5) == ["b", "b", "c"]
    assert cloud.messages(NAMES["logGroupName"], "uuid") == ["a", "b", "b", "c", "d"]
    assert cloud.streams()[0]["batches"] == 2


def test_without_start_from_head_the_last_events_come_first_and_tokens_lead_back(logs: Any) -> None:
    at = now()
    put(logs, *((at + number, str(number)) for number in range(5)))
    page = logs.get_log_events(**NAMES, limit=2)
    assert [event["message"] for event in page["events"]] == ["3", "4"]
    earlier = logs.get_log_events(**NAMES, limit=2, nextToken=page["nextBackwardToken"])
    assert [event["message"] for event in earlier["events"]] == ["1", "2"]
    again = logs.get_log_events(**NAMES, limit=9, nextToken=earlier["nextForwardToken"])
    assert [event["message"] for event in again["events"]] == ["3", "4"]
    put(logs, (at + 9, "new"))
    later = logs.get_log_events(**NAMES, nextToken=again["nextForwardToken"])
    assert [event["message"] for event in later["events"]] == ["new"]


def test_a_page_has_at_most_a_megabyte(logs: Any) -> None:
    at = now()
    for number in range(3):
        put(logs, (at + number, "x" * 600_000))
    assert len(logs.get_log_events(**NAMES, startFromHead=True)["events"]) == 1
    assert len(read(logs)) == 3


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([(5, "b"), (4, "a")], "chronological"),
        ([(0, "a"), (DAY + 1, "b")], "24 hours"),
        ([(0, "x" * 1_048_551)], "too large"),
        ([(0, "x" * 600_000), (0, "x" * 448_525)], "Upload too large: 1048577"),
        ([(0, "x")] * 10_001, "10000"),
    ],
)
def test_a_batch_over_a_limit_is_refused_whole(cloud: CloudServer, logs: Any, events: Any, said: str) -> None:
    at = now() - 2 * DAY
    code, text = refusal(lambda: put(logs, *((at + offset, message) for offset, message in events)))
    assert code == "InvalidParameterException"
    assert said in text
    assert cloud.messages(NAMES["logGroupName"], "uuid") == []


def test_a_batch_at_every_limit_is_taken(cloud: CloudServer, logs: Any) -> None:
    at = now() - 2 * DAY
    put(logs, (at, "x" * 600_000), (at + DAY, "x" * (1_048_576 - 600_000 - 52)))
    put(logs, *[(at, "x")] * 10_000)
    assert cloud.streams()[0]["events"] == 10_002


def test_events_too_old_expired_or_too_new_are_dropped_and_that_is_said(cloud: CloudServer, logs: Any) -> None:
    at = now()
    answer = put(logs, (at + 2 * 3_600_000 - 60_000, "ok"), (at + 2 * 3_600_000 + 60_000, "new"))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert put(logs, (at - 15 * DAY, "old"))["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    logs.put_retention_policy(logGroupName=NAMES["logGroupName"], retentionInDays=1)
    answer = put(logs, (at - DAY - 60_000, "expired"), (at - DAY + 60_000, "fine"))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert read(logs) == ["fine", "ok"]
    assert cloud.streams()[0]["rejected"] == 3


def test_groups_and_streams_are_made_once_found_and_described(logs: Any) -> None:
    assert (
        refusal(lambda: logs.create_log_group(logGroupName=NAMES["logGroupName"]))[0]
        == "ResourceAlreadyExistsException"
    )
    assert refusal(lambda: logs.create_log_stream(**NAMES))[0] == "ResourceAlreadyExistsException"
    assert (
        refusal(lambda: logs.create_log_stream(logGroupName="none", logStreamName="a"))[0]
        == "ResourceNotFoundException"
    )
    other = {**NAMES, "logStreamName": "no:colon"}
    assert refusal(lambda: logs.create_log_stream(**other))[0] == "InvalidParameterException"
    group = {"logGroupName": NAMES["logGroupName"]}
    assert refusal(lambda: logs.put_retention_policy(**group, retentionInDays=2))[0] == "InvalidParameterException"
    logs.put_retention_policy(**group, retentionInDays=3)
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/")["logGroups"][0]["retentionInDays"] == 3
    assert logs.describe_log_streams(**group)["logStreams"][0]["logStreamName"] == "uuid"
    logs.delete_log_stream(**NAMES)
    assert refusal(lambda: put(logs, (now(), "a"))) == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )


def test_a_stored_batch_can_show_up_after_some_reads_and_pages_can_be_empty(cloud: CloudServer, logs: Any) -> None:
    cloud.add(Fault("unseen", times=1, reads=2))
    cloud.add(Fault("empty-page", times=1))
    put(logs, (now(), "a"))
    pages = [logs.get_log_events(**NAMES) for _ in range(3)]
    assert [len(page["events"]) for page in pages] == [0, 0, 1]
    cloud.add(Fault("empty-page", times=2))
    assert read(logs) == ["a"]
    assert cloud.done() == {"unseen": 1, "empty-page": 3}
    assert cloud.messages(NAMES["logGroupName"], "uuid") == ["a"]
