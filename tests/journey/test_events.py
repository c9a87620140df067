"""AWS events from a queue are built once, with polling beside them and over a kill; and so are schedules."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agent.store.cursors import Cursors
from tests.journey.cloud import ACCOUNT, REGION, Cloud
from tests.journey.daemon import Daemon
from tests.journey.test_s3_sources import upload
from tests.journey.waiting import until
from tests.restart.test_killed_daemon import stored

pytestmark = pytest.mark.docker


class Gate:
    """Passes requests on to a server of AWS; while it is shut, it keeps those that delete messages."""

    def __init__(self, back: str) -> None:
        self.back = back
        self.shut = threading.Event()
        self.kept: list[dict[str, Any]] = []
        self.over = threading.Event()


@contextmanager
def gate(back: str) -> Iterator[tuple[Gate, str]]:
    one = Gate(back)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if one.shut.is_set() and "DeleteMessage" in self.headers.get("X-Amz-Target", ""):
                one.kept.append(json.loads(body))
                one.over.wait(60)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            request = urllib.request.Request(one.back + self.path, data=body, headers=headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    status, said, kind = answer.status, answer.read(), answer.headers["Content-Type"]
            except urllib.error.HTTPError as error:
                status, said, kind = error.code, error.read(), error.headers["Content-Type"]
            self.send_response(status)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield one, f"http://127.0.0.1:{server.server_port}"
    finally:
        one.over.set()
        server.shutdown()
        server.server_close()


def wired(aws: Cloud) -> tuple[str, str]:
    """Make a bucket whose uploads are told to a queue; return both."""
    bucket, name = aws.bucket(), f"q-{uuid.uuid4().hex[:10]}"
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    queue = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    wanted = {"QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "Events": ["s3:ObjectCreated:*"]}
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    return bucket, str(queue)


def empty(aws: Cloud, queue: str) -> bool:
    """Whether no message waits in the queue, and none has been taken and not deleted."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return all(found[name] == "0" for name in names)


def test_an_upload_is_built_once_by_events_by_polling_and_by_both(
    aws: Cloud, busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    bucket, queue = wired(aws)
    daemon = new_daemon(environment=aws.environment, settings={"queue": {"url": queue, "wait": "1s"}}).start()
    source = {"type": "S3", "location": f"{bucket}/in/web.zip"}
    told = daemon.project(busybox, source=source)
    both = daemon.project(busybox, source=source, agent={"poll": 1})
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="this is no JSON")
    version = upload(aws, bucket, "one")
    for project in (told, both):
        build = daemon.nth(project, 1)
        assert (build["buildStatus"], build["sourceVersion"]) == ("SUCCEEDED", version), daemon.text(build)
    assert daemon.builds(told)[0]["initiator"] == "buildspecd/sqs"
    version = upload(aws, bucket, "two")
    assert [daemon.nth(project, 2)["sourceVersion"] for project in (told, both)] == [version, version]
    until(lambda: empty(aws, queue), "an empty queue")
    assert [len(daemon.builds(project)) for project in (told, both)] == [2, 2]
    assert "makes no sense" in daemon.said()
    doctor = json.loads(daemon.cli("doctor", "--json").stdout)
    assert [one["status"] for one in doctor["checks"] if one["name"] == "queue"] == ["ok"]


def test_a_kill_between_the_request_and_the_end_of_its_message_makes_no_second_build(
    aws: Cloud, busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    bucket, queue = wired(aws)
    with gate(aws.url) as (between, url):
        environment = {**aws.environment, "AWS_ENDPOINT_URL_SQS": url}
        daemon = new_daemon(environment=environment, settings={"queue": {"url": queue, "wait": "1s"}}).start()
        project = daemon.project(busybox, source={"type": "S3", "location": f"{bucket}/in/web.zip"})
        until(lambda: empty(aws, queue), "the end of the test message of S3")
        between.shut.set()
        upload(aws, bucket, "one")
        (entry,) = until(lambda: between.kept, "a request that deletes")[0]["Entries"]
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait(10)
        between.shut.clear()
        assert not empty(aws, queue)
        aws.client("sqs").change_message_visibility(
            QueueUrl=queue, ReceiptHandle=entry["ReceiptHandle"], VisibilityTimeout=0
        )
        daemon.start()
        until(lambda: empty(aws, queue), "the end of the message")
        assert daemon.nth(project, 1)["buildStatus"] == "SUCCEEDED"
        assert len(daemon.builds(project)) == 1


def test_ticks_of_a_schedule_that_passed_while_the_daemon_was_down_are_one_build(
    busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    daemon = new_daemon().start()
    schedule = [{"cron": "rate(1 hour)", "name": "tick"}, {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}]
    project = daemon.inline(busybox, "echo from $CODEBUILD_INITIATOR", agent={"schedule": schedule})
    shown = daemon.cli("projects", "show", project).stdout.decode()
    assert shown.count("next run: ") == 2
    assert "rule/tick (rate(1 hour), UTC)" in shown
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)
    with stored(daemon) as database:
        cursors, key = Cursors(database), f"schedule:{project}:tick"
        progress = json.loads(cursors.get(key) or "")
        earlier = {name: progress[name] - 9000 for name in ("born", "through")}
        cursors.set(key, json.dumps({**progress, **earlier}))
    daemon.start()
    build = daemon.nth(project, 1)
    assert (build["buildStatus"], build["initiator"]) == ("SUCCEEDED", "rule/tick")
    assert "\nfrom rule/tick\n" in daemon.text(build)
    daemon.restart()
    assert len(daemon.builds(project)) == 1
