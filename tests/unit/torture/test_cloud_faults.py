"""The faults of the AWS-shaped server: what boto3 sees of each, and what was done all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from agent.errors import AwsUnavailable, UsageError
from agent.kit.clock import SystemClock
from agent.torture.cloud import KINDS, CloudProcess, CloudServer, Fault, Faults
from tests.journey.waiting import until
from tests.unit.torture.clients import client


def send(cloud: CloudServer, number: int = 1, patience: float = 30.0) -> Any:
    entry = {"Source": "buildspecd", "DetailType": "State", "Detail": f'{{"number": {number}}}'}
    return client(cloud, "events", patience=patience).put_events(Entries=[entry])


def taken(cloud: CloudServer) -> int:
    return len(cloud.events())


@pytest.mark.parametrize(
    ("kind", "code", "of_s3"),
    [
        ("throttle", ("ThrottlingException", 400), ("SlowDown", 503)),
        ("error", ("InternalFailure", 500), ("InternalError", 500)),
        ("unavailable", ("ServiceUnavailable", 503), ("ServiceUnavailable", 503)),
        ("expired", ("ExpiredTokenException", 400), ("ExpiredToken", 400)),
        ("denied", ("AccessDeniedException", 400), ("AccessDenied", 403)),
    ],
)
def test_a_refusal_has_the_code_of_its_service_and_nothing_is_done(
    cloud: CloudServer, kind: str, code: tuple[str, int], of_s3: tuple[str, int]
) -> None:
    cloud.stock(buckets=("b",))
    cloud.add(Fault(kind, times=2))
    seen = []
    for call in (lambda: send(cloud), lambda: client(cloud, "s3").put_object(Bucket="b", Key="k", Body=b"x" * 100_000)):
        with pytest.raises(ClientError) as caught:
            call()
        answer: Any = caught.value.response
        seen.append((answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]))
    assert seen == [code, of_s3]
    assert (taken(cloud), cloud.buckets()["b"]["objects"]) == (0, {})
    send(cloud)
    assert cloud.done() == {kind: 2}


@pytest.mark.parametrize(
    ("kind", "error", "stored"),
    [
        ("reset", ConnectionClosedError, 0),
        ("lost-answer", ConnectionClosedError, 1),
        ("hang", ReadTimeoutError, 0),
        ("hang-done", ReadTimeoutError, 1),
        ("late", ReadTimeoutError, 1),
        ("truncated", (ConnectionClosedError, ResponseStreamingError), 1),
        ("garbage", None, 0),
        ("garbage-done", None, 1),
    ],
)
def test_a_fault_of_the_wire_stores_or_does_not_what_it_says(
    cloud: CloudServer, kind: str, error: Any, stored: int
) -> None:
    cloud.add(Fault(kind, "events", "Put*", times=1, seconds=60))
    patience = 0.5 if error is ReadTimeoutError else 30.0
    if error:
        with pytest.raises(error):
            send(cloud, patience=patience)
    else:
        assert "Entries" not in send(cloud)  # botocore takes any page for an answer without members
    until(lambda: taken(cloud) == stored, "what the server stores")
    assert cloud.places() == {f"{kind} events:PutEvents": 1}


def test_what_is_done_late_is_done_when_nobody_waits_for_it_any_more(cloud: CloudServer) -> None:
    cloud.add(Fault("done-late", times=1, seconds=0.1))
    with pytest.raises(ConnectionClosedError):
        send(cloud)
    until(lambda: taken(cloud) == 1, "the late one")


def test_rules_have_places_numbers_and_ends_and_an_outage_comes_before_them_all(cloud: CloudServer) -> None:
    number = cloud.add(Fault("throttle", "events", times=5))
    client(cloud, "sts").get_caller_identity()
    cloud.outage(600)
    with pytest.raises(ConnectionClosedError):
        send(cloud)
    cloud.clear()
    send(cloud)
    number = cloud.add(Fault("denied", operation="PutEvents"))
    cloud.remove(number)
    send(cloud)
    assert cloud.done() == {"outage": 1}
    assert cloud.requests()["events:PutEvents"] == 2
    with pytest.raises(UsageError, match="no such kind"):
        Fault("flood")


def test_the_same_seed_plays_the_same_faults() -> None:
    def played(seed: int) -> list[str]:
        faults = Faults(seed)
        for kind in KINDS:
            faults.add(Fault(kind, chance=0.05))
        drawn = (faults.draw("logs", "PutLogEvents") for _ in range(200))
        return [fault.kind if fault else "" for fault in drawn]

    assert played(1) == played(1) != played(2)
    assert set(played(1)) == {"", *KINDS} - {"partial", "empty-page"}


def test_a_rule_can_end_by_itself() -> None:
    class Hand(SystemClock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock = Hand()
    faults = Faults(clock=clock)
    faults.add(Fault("error", lasting=10))
    assert faults.draw("s3", "PutObject")
    clock.at = 10.0
    assert faults.draw("s3", "PutObject") is None
    assert faults.rules == {}


def test_a_process_of_its_own_serves_until_it_is_told_to_end() -> None:
    with CloudProcess(seed=3) as cloud:
        cloud.add(Fault("throttle", times=1))
        with pytest.raises(ClientError):
            send(cloud)
        send(cloud)
        assert (taken(cloud), cloud.done()) == (1, {"throttle": 1})
    with pytest.raises(AwsUnavailable):
        cloud.events()


def test_a_process_of_its_own_ends_with_the_one_that_started_it() -> None:
    script = (
        "import sys, time; from agent.torture.cloud import CloudProcess; "
        "cloud = CloudProcess(); print(cloud.pid, flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout
    assert starter.stdin
    pid = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdin.close()
    starter.stdout.close()
    until(lambda: not alive(pid), "the end of the server")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
