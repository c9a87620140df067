"""Queues: SQS as far as triggers ask: messages that are shown again when nobody has deleted them in time."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.torture.cloud.wire import Document, Refusal

VISIBILITY_SECONDS: Final = 30
_GONE: Final = "AWS.SimpleQueueService.NonExistentQueue"


@dataclass
class Message:
    """A message in a queue; nobody sees it before `seen_from`. `received` counts who has."""

    body: str
    number: str
    seen_from: float = 0.0
    receipt: str = ""
    received: int = 0


class Queues:
    """The service. `queues` holds what is in each, by its name, which is the end of its URL."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Condition(threading.RLock())
        self.url = "http://127.0.0.1"
        self.queues: dict[str, list[Message]] = {}
        self.deleted: list[str] = []
        self.operations = {
            "CreateQueue": self.create,
            "SendMessage": self.send,
            "ReceiveMessage": self.receive,
            "DeleteMessageBatch": self.delete,
            "ChangeMessageVisibility": self.show_again,
            "GetQueueAttributes": self.attributes,
        }

    def create(self, request: Document) -> Document:
        with self._lock:
            self.queues.setdefault(str(request["QueueName"]), [])
            return {"QueueUrl": f"{self.url}/{request['QueueName']}"}

    def send(self, request: Document) -> Document:
        with self._lock:
            message = Message(str(request["MessageBody"]), str(uuid.uuid4()))
            self._queue(request).append(message)
            self._lock.notify_all()
            return {"MessageId": message.number, "MD5OfMessageBody": _md5(message.body)}

    def receive(self, request: Document) -> Document:
        """Return what is to be seen; waits for the first message for as long as it was asked to."""
        with self._lock:
            most, patience = int(request.get("MaxNumberOfMessages", 1)), float(request.get("WaitTimeSeconds", 0))
            if not (1 <= most <= 10 and 0 <= patience <= 20):
                raise Refusal("InvalidParameterValue", "MaxNumberOfMessages is 1 to 10, WaitTimeSeconds 0 to 20")
            self._lock.wait_for(lambda: self._visible(request), patience)
            now, shown = self._now(), self._visible(request)[:most]
            for one in shown:
                one.received += 1
                one.seen_from = now + int(request.get("VisibilityTimeout", VISIBILITY_SECONDS))
                one.receipt = str(uuid.uuid4())
            return {"Messages": [_shown(one) for one in shown]} if shown else {}

    def delete(self, request: Document) -> Document:
        with self._lock:
            queue, entries = self._queue(request), request.get("Entries") or []
            receipts = {one["ReceiptHandle"] for one in entries}
            self.deleted += [one.number for one in queue if one.receipt in receipts]
            queue[:] = [one for one in queue if one.receipt not in receipts]
            return {"Successful": [{"Id": one["Id"]} for one in entries], "Failed": []}

    def show_again(self, request: Document) -> Document:
        with self._lock:
            for one in self._queue(request):
                if one.receipt == request.get("ReceiptHandle"):
                    one.seen_from = self._now() + int(request["VisibilityTimeout"])
            return {}

    def attributes(self, request: Document) -> Document:
        with self._lock:
            queue, now = self._queue(request), self._now()
            visible = sum(one.seen_from <= now for one in queue)
            known = {
                "ApproximateNumberOfMessages": visible,
                "ApproximateNumberOfMessagesNotVisible": len(queue) - visible,
                "VisibilityTimeout": VISIBILITY_SECONDS,
            }
            return {"Attributes": {name: str(value) for name, value in known.items()}}

    def _visible(self, request: Document) -> list[Message]:
        return [one for one in self._queue(request) if one.seen_from <= self._now()]

    def _queue(self, request: Document) -> list[Message]:
        name = str(request.get("QueueUrl", "")).rpartition("/")[2]
        if name not in self.queues:
            raise Refusal(_GONE, "The specified queue does not exist.")
        return self.queues[name]


def _shown(message: Message) -> Document:
    return {
        "MessageId": message.number,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
        "Attributes": {"ApproximateReceiveCount": str(message.received)},
    }


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
