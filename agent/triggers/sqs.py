"""Sqs: takes messages from a queue, and deletes each once all that it asks for is stored (service.md 3.8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.errors import BuildspecdError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.triggers import events
from agent.triggers.events import Happening

_log = get_logger("sqs")

BATCH = 10
"""Messages taken at once: as many as SQS gives."""
VISIBILITY_SECONDS = 60
"""How long nobody else is given a message that was taken; after that a daemon that was killed has it again."""
LONGEST_PAUSE = 900.0
_FIRST_PAUSE = 30.0
_FIRST_TROUBLE_PAUSE = 1.0
_LONGEST_TROUBLE_PAUSE = 60.0
_LOOK_SECONDS = 0.5
"""How soon the end of the daemon is noticed while the queue is asked."""
_EXCERPT = 300
_ACCESS = (
    "allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queue "
    "(aws/agent-policy.yml), and kms:Decrypt on its key"
)
_HINTS = {
    "NonExistentQueue": "check queue.url and aws.region: a queue of another region is not found",
    "QueueDoesNotExist": "check queue.url and aws.region: a queue of another region is not found",
    "AccessDenied": _ACCESS,
    "403": _ACCESS,
    "InvalidAddress": "check queue.url",
    "ParamValidation": "check queue.url",
}


@dataclass(frozen=True)
class Message:
    """One message as it was taken. `receipt` names this taking of it; `count` says how often it has been taken."""

    id: str
    receipt: str
    body: str
    count: int = 1


class Queue:
    """One queue. Raises `AwsRefused` and `AwsUnavailable`."""

    def __init__(self, aws: Aws, url: str, wait: float = 20.0) -> None:
        """*wait*: the seconds, up to 20, for which the server holds a question to which there is no message."""
        self._aws = aws
        self._url = url
        self._wait = int(wait)

    def receive(self) -> list[Message]:
        """Take up to ten messages; waits for the first."""
        with _explained():
            answer = self._aws.client("sqs").receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=self._wait,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [_message(one) for one in answer.get("Messages", ())]

    def delete(self, messages: Sequence[Message]) -> None:
        """Remove messages for good; one that cannot be removed comes again."""
        if messages:
            entries = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(messages)]
            with _explained():
                self._aws.client("sqs").delete_message_batch(QueueUrl=self._url, Entries=entries)

    def postpone(self, message: Message, seconds: float) -> None:
        """Have a message given out again after *seconds*."""
        with _explained():
            self._aws.client("sqs").change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=int(seconds)
            )

    def waiting(self) -> int:
        """Return about how many messages wait."""
        with _explained():
            answer = self._aws.client("sqs").get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer.get("Attributes", {}).get("ApproximateNumberOfMessages", 0))


@dataclass
class Sqs:
    """A `Service`: one queue, one message after the other.

    *take* stores all that a happening asks for, or raises; only then is a message deleted. One that failed comes again,
    later each time, until it works, its retention ends, or the queue's redrive policy takes it away. One that makes no
    sense is told in the log, shortened, and deleted: it will never make any, and a queue without redrive policy would
    give it out for days. While *paused*, the queue is left to other agents. `trouble` is what is wrong with the
    queue now, or "".
    """

    queue: Queue
    take: Callable[[Happening, StopToken], None]
    clock: Clock
    paused: Callable[[], bool] = lambda: False
    name: str = "sqs"
    trouble: str = field(default="", init=False)

    def run(self, stop: StopToken) -> None:
        """Take messages until *stop* is set. A question under way is then abandoned: its messages come again."""
        failures = 0
        while not stop.is_set:
            if self.paused():
                self.clock.wait(_LOOK_SECONDS, stop)
                continue
            try:
                messages = self._asked(stop)
                if self.paused():
                    self._hand_back(messages)
                    continue
                self.turn(messages, stop)
            except BuildspecdError as error:
                failures += 1
                self._complain(error)
                self.clock.wait(min(_LONGEST_TROUBLE_PAUSE, _FIRST_TROUBLE_PAUSE * 2 ** min(failures, 10)), stop)
            else:
                if failures and not stop.is_set:
                    _log.info("the queue answers again")
                failures, self.trouble = 0, ""

    def turn(self, messages: Sequence[Message], stop: StopToken) -> None:
        """Work off *messages*, and delete those that are done. Raises what the queue raises."""
        done: list[Message] = []
        try:
            for message in messages:
                if stop.is_set:
                    return
                if self._worked_off(message, stop):
                    done.append(message)
        finally:
            self.queue.delete(done)

    def _hand_back(self, messages: Sequence[Message]) -> None:
        """Let another agent have what came while this one ceased to take work."""
        for message in messages:
            self.queue.postpone(message, 0)

    def _worked_off(self, message: Message, stop: StopToken) -> bool:
        reading = events.read(message.body)
        if reading.malformed:
            _log.warning(
                "a message makes no sense, and is dropped",
                message=message.id,
                reason=reading.malformed,
                excerpt=message.body[:_EXCERPT],
            )
        if reading.ignored:
            _log.debug("a message asks for nothing", message=message.id, reason=reading.ignored)
        try:
            for happening in reading.happenings:
                self.take(happening, stop)
        except BuildspecdError as error:
            pause = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(message.count - 1, 10))
            _log.warning("a message has to wait", message=message.id, error=error.message, hint=error.hint, pause=pause)
            self.queue.postpone(message, pause)
            return False
        return not stop.is_set

    def _asked(self, stop: StopToken) -> list[Message]:
        """Ask the queue on a thread of its own, which is left behind when the daemon ends meanwhile."""
        question = _Question(self.queue)
        threading.Thread(target=question.ask, name="sqs-receive", daemon=True).start()
        while not question.answered.wait(_LOOK_SECONDS):
            if stop.is_set:
                return []
        return question.answer()

    def _complain(self, error: BuildspecdError) -> None:
        if error.message != self.trouble:
            self.trouble = error.message
            _log.warning("the queue cannot be read", error=error.message, hint=error.hint)


@dataclass
class _Question:
    """One long poll and its answer; neither answer nor error: its thread broke."""

    queue: Queue
    answered: threading.Event = field(default_factory=threading.Event)
    messages: list[Message] | None = None
    error: BuildspecdError | None = None

    def ask(self) -> None:
        try:
            self.messages = self.queue.receive()
        except BuildspecdError as error:
            self.error = error
        finally:
            self.answered.set()

    def answer(self) -> list[Message]:
        if self.error is not None:
            raise self.error
        if self.messages is None:
            raise BuildspecdError("the thread that asks the queue broke", hint="its traceback stands in the log")
        return self.messages


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what AWS answers into our errors, with the setting or permission that is to be looked at."""
    try:
        with translated("sqs"):
            yield
    except AwsRefused as error:
        hint = error.hint or next((text for code, text in _HINTS.items() if code in error.reason), "")
        raise AwsRefused(error.message, reason=error.reason, text=error.text, hint=hint, trace=error.trace) from error


def _message(answer: Any) -> Message:
    count = answer.get("Attributes", {}).get("ApproximateReceiveCount", "1")
    return Message(answer["MessageId"], answer["ReceiptHandle"], answer["Body"], int(count))
