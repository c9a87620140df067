"""CloudWatchSink: the log as events of one CloudWatch Logs stream, each line once and in order (service.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.buildlog.events import DAY, Batch, Window, cut_batch
from agent.buildlog.sink import Ledger, Pace, Stretch
from agent.errors import AwsUnavailable
from agent.kit.clock import Clock, Elapsed
from agent.model.project import CloudWatchLogs

READ_BYTES = 1 << 20
SETTLE_SECONDS = 20.0
"""How long after a doubtful call a batch may take to show up when the stream is read.

AWS names no bound, and the call has nothing that would make it safe to repeat. So a batch that takes longer is doubled:
the shorter this is, the likelier; the longer, the later the rest of the log comes after an answer that was lost.
"""
UNREADABLE_SECONDS = 300.0
"""How long a batch in doubt waits while the stream may not be read; a permission may be gone for a moment only."""
PATIENCE_SECONDS = 20.0
"""How long nothing may be heard of an answer; it usually takes a tenth of a second."""
OLDEST_DAYS = 14
HOUR = 3_600_000
READ_BACK_PAGES = 50


def stream_name(project: str, uuid: str, config: CloudWatchLogs | None) -> tuple[str, str]:
    """Return group and stream of a build: `/aws/codebuild/<project>` and its uuid, unless *config* says otherwise."""
    group = (config and config.group_name) or f"/aws/codebuild/{project}"
    prefix = config.stream_name if config else None
    return group, f"{prefix}/{uuid}" if prefix else uuid


@dataclass(frozen=True)
class _Sending:
    """What is written down before a batch is sent: its bytes and times, and the last time sent `before`.

    Each batch begins later than the one before it ended, by a millisecond at least. So one look at the stream tells
    whether a batch has arrived, even where lines repeat themselves; and how many of its `events`, where the service
    dropped some.
    """

    start: int
    end: int
    first: int
    last: int
    before: int
    events: int = 1
    sent: float = 0.0
    """When, in epoch seconds."""

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> _Sending | None:
        return cls(**note) if note else None


class CloudWatchSink:
    """Sends the log to *stream* of *group*; makes both when they are missing, the group with retention and key.

    Sends nothing twice: when an answer did not come, or the agent was killed before it could write the answer down, it
    reads the stream back first. That needs `logs:GetLogEvents`; without it a batch in doubt is sent again after some
    minutes, and the record of the build says so.
    """

    name = "cloudwatch"
    pace = Pace(seconds=1.0, size_bytes=1 << 18)

    def __init__(
        self,
        aws: Aws,
        *,
        group: str,
        stream: str,
        clock: Clock,
        retention_days: int | None = None,
        kms_key: str | None = None,
        settle: float = SETTLE_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._aws = aws
        self._group = group
        self._stream = stream
        self._clock = clock
        self._retention_days = retention_days
        self._kms_key = kms_key
        self._settle = settle
        self._patience = patience
        self._ready = False
        self._unsent = False
        self._doubt: Elapsed | None = None

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        """Send one batch; a batch in doubt is looked for, and sent again as it was when it is not there."""
        sending = _Sending.noted(ledger.note)
        before = sending.last if sending else 0
        if sending and sending.start == stretch.start:
            before = sending.before
            if not self._unsent and self._arrived(sending, ledger):
                return self._settled(sending.end)
            batch = self._cut(stretch, before, upto=sending.end)
        else:
            batch = self._cut(stretch, before)
        if batch is None:
            return stretch.start
        count, now = len(batch.events), self._clock.now()
        ledger.write(asdict(_Sending(batch.start, batch.end, batch.first, batch.last, before, count, now)))
        self._unsent = True
        self._send(batch, ledger)
        return self._settled(batch.end)

    def _cut(self, stretch: Stretch, before: int, upto: int | None = None) -> Batch | None:
        now = int(self._clock.now() * 1000)
        days = min(self._retention_days or OLDEST_DAYS, OLDEST_DAYS)
        window = Window(after=before, oldest=now - days * DAY + HOUR, now=now)
        data = stretch.read(READ_BYTES if upto is None else min(READ_BYTES, upto - stretch.start))
        at_end = stretch.start + len(data) == stretch.end
        complete = upto is not None or (stretch.final and at_end)
        return cut_batch(data, stretch.start, window, complete=complete, live=at_end)

    def _settled(self, offset: int) -> int:
        self._unsent = False
        self._doubt = None
        return offset

    def _send(self, batch: Batch, ledger: Ledger) -> None:
        if not self._ready and self._make_stream(ledger) and batch.start:
            ledger.lost(0, batch.start, "the log stream was deleted while the build ran")
        try:
            self._unsent = False
            answer = self._put(batch)
        except AwsRefused as error:
            self._unsent = True
            if error.reason != "ResourceNotFoundException":
                raise
            self._ready = False  # somebody deleted it; the next attempt makes it again
            raise AwsUnavailable(f"CloudWatch Logs: {self._group} {self._stream} is gone") from error
        except AwsUnavailable as error:
            self._unsent = _answered(error)
            self._doubt = Elapsed(self._clock, self._clock.now())
            raise
        if rejected := answer.get("rejectedLogEventsInfo"):
            _record(rejected, batch, ledger)

    def _put(self, batch: Batch) -> Any:
        events = [{"timestamp": time, "message": message} for time, message in batch.events]
        with translated("CloudWatch Logs"):
            answer = self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)
        kind = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "json")
        if "json" not in kind and "nextSequenceToken" not in answer:
            raise AwsUnavailable("CloudWatch Logs: the answer is not that of PutLogEvents")
        return answer

    @property
    def _client(self) -> Any:
        """The client; it repeats nothing by itself, for the delivery does."""
        return self._aws.client("logs", attempts=1, patience=self._patience)

    def _make_stream(self, ledger: Ledger) -> bool:
        """See to it that the stream is there; return whether it was not."""
        names = {"logGroupName": self._group, "logStreamName": self._stream}
        client = self._client
        try:
            made = _made(client.create_log_stream, **names)
        except AwsRefused as error:
            if error.reason != "ResourceNotFoundException":
                raise
            self._make_group(client, ledger)
            made = _made(client.create_log_stream, **names)
        self._ready = True
        return made

    def _make_group(self, client: Any, ledger: Ledger) -> None:
        key = {"kmsKeyId": self._kms_key} if self._kms_key else {}
        _made(client.create_log_group, logGroupName=self._group, **key)
        if self._retention_days is None:
            return
        try:
            with translated("CloudWatch Logs"):
                client.put_retention_policy(logGroupName=self._group, retentionInDays=self._retention_days)
        except AwsRefused as error:
            ledger.lament(f"the new log group has no retention: {error}")

    def _arrived(self, sending: _Sending, ledger: Ledger) -> bool:
        """Whether the batch is in the stream. Raises `AwsUnavailable` while it is too early to tell."""
        try:
            found = self._found(sending)
        except AwsRefused as error:
            if error.reason == "ResourceNotFoundException":
                return False
            if self._in_doubt(sending) < UNREADABLE_SECONDS:
                raise
            why = "an answer was lost and the stream cannot be read back, so they were sent again"
            ledger.doubled(sending.start, sending.end, f"CloudWatch Logs: {why}")
            ledger.lament(f"some lines may be there twice, because the stream cannot be read back: {error}")
            return False
        if found >= sending.events:
            return True
        if self._in_doubt(sending) < self._settle:
            raise AwsUnavailable("CloudWatch Logs: waiting to see whether a batch has arrived")
        if found:  # a batch is taken as a whole, but for what is too old or too new
            why = f"CloudWatch Logs kept {found} of {sending.events} events; the answer that would say why was lost"
            ledger.lost(sending.start, sending.end, why)
        return found > 0

    def _in_doubt(self, sending: _Sending) -> float:
        """Return for how many seconds the call has been over whose answer is not known."""
        if self._doubt is None:  # of a process that was killed
            self._doubt = Elapsed(self._clock, sending.sent or self._clock.now())
        return self._doubt.seconds

    def _found(self, sending: _Sending) -> int:
        """Return how many events of the batch the stream shows; pages can be empty, so go on until the token stays."""
        found, token = 0, ""
        for _ in range(READ_BACK_PAGES):
            page = self._page(sending, token)
            found += sum(sending.first <= event["timestamp"] <= sending.last for event in page["events"])
            if found >= sending.events or token == page["nextForwardToken"]:
                break
            token = page["nextForwardToken"]
        return found

    def _page(self, sending: _Sending, token: str) -> Any:
        with translated("CloudWatch Logs"):
            page = self._client.get_log_events(
                logGroupName=self._group,
                logStreamName=self._stream,
                startTime=sending.first,
                endTime=sending.last + 1,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
        if not {"events", "nextForwardToken"} <= page.keys():
            raise AwsUnavailable("CloudWatch Logs: the answer is not that of GetLogEvents")
        return page


def _made(call: Callable[..., Any], **arguments: Any) -> bool:
    """Make something; return whether it was not there."""
    try:
        with translated("CloudWatch Logs"):
            call(**arguments)
    except AwsRefused as error:
        if error.reason != "ResourceAlreadyExistsException":
            raise
        return False
    return True


def _answered(error: AwsUnavailable) -> bool:
    """Whether the service itself said no (a throttle): then nothing was stored. Otherwise nobody knows."""
    response: Any = getattr(error.__cause__, "response", None) or {}
    return 400 <= int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) < 500


def _record(info: Mapping[str, int], batch: Batch, ledger: Ledger) -> None:
    """Write down which events of *batch* the service dropped, and why."""
    count = len(batch.events)
    old, expired = info.get("tooOldLogEventEndIndex", 0), info.get("expiredLogEventEndIndex", 0)
    new = info.get("tooNewLogEventStartIndex", count)
    dropped = [
        (0, old, "too old"),
        (old, max(old, expired), "older than the retention"),
        (new, count, "in the future"),
    ]
    said = []
    for first, end, why in dropped:
        if first < end:
            ledger.lost(batch.begins(first), batch.begins(end), f"CloudWatch Logs dropped events: {why}")
            said.append(f"{end - first} {why}")
    hint = "check the host's clock and the group's retention"
    ledger.lament(f"CloudWatch Logs dropped lines: {', '.join(said)}; {hint}")
