"""Topics: Amazon SNS as far as events are published to it, with its limits."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Mapping
from typing import Final

from agent.torture.cloud.wire import Answer, Document, Refusal, as_xml, element

MOST_BYTES: Final = 262_144
MOST_ENTRIES: Final = 10
_PREFIX = "PublishBatchRequestEntries.member"


class Topics:
    """SNS's PublishBatch. `taken` holds what was accepted, in order; an event twice in a FIFO topic is taken once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        self.taken: list[Document] = []

    def answer(self, operation: str, form: Mapping[str, str]) -> Answer:
        """Answer one call. Raises `Refusal`."""
        if operation != "PublishBatch":
            raise Refusal("InvalidAction", f"{operation} is not played here")
        topic, entries = str(form.get("TopicArn", "")), _entries(form)
        if not 1 <= len(entries) <= MOST_ENTRIES:
            raise Refusal("TooManyEntriesInBatchRequest", "The batch request contains a wrong number of entries.")
        if len({one.get("Id") for one in entries}) < len(entries):
            raise Refusal("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id.")
        if sum(len(one.get("Message", "").encode()) for one in entries) > MOST_BYTES:
            raise Refusal("BatchRequestTooLong", "The length of all the batch messages put together is over the limit.")
        with self._lock:
            inner = "".join(self._take(topic, one) for one in entries)
        metadata = f"<ResponseMetadata>{element('RequestId', uuid.uuid4())}</ResponseMetadata>"
        result = f"<Failed/><Successful>{inner}</Successful>"
        return as_xml(
            f"<PublishBatchResponse><PublishBatchResult>{result}</PublishBatchResult>{metadata}</PublishBatchResponse>"
        )

    def _take(self, topic: str, entry: Mapping[str, str]) -> str:
        if not entry.get("Message"):
            raise Refusal("InvalidParameter", "Invalid parameter: Empty message")
        if topic.endswith(".fifo") and not (entry.get("MessageGroupId") and entry.get("MessageDeduplicationId")):
            raise Refusal("InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO")
        mark = (topic, entry.get("MessageDeduplicationId", ""))
        if not mark[1] or mark not in self._seen:
            self._seen.add(mark)
            self.taken.append({"TopicArn": topic, **entry})
        return f"<member>{element('Id', entry.get('Id', ''))}{element('MessageId', uuid.uuid4())}</member>"


def _entries(form: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the members of a form's list, in order."""
    found: dict[int, dict[str, str]] = {}
    for name, value in form.items():
        if match := re.fullmatch(re.escape(_PREFIX) + r"\.(\d{1,4})\.(.+)", name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [found[place] for place in sorted(found)]
