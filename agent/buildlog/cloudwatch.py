"""CloudWatchSink: the log as events of one CloudWatch Logs stream, each line once and in order (service.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.buildlog.events import DAY, Batch, Window, cut_batch
from agent.buildlog.sink import Ledger, Pace, Stretch
from agent.errors import AwsUnavailable
from agent.kit.clock import Clock
from agent.model.project import CloudWatchLogs

READ_BYTES = 1 << 20
SETTLE_SECONDS = 5.0
"""How long after a doubtful call a batch may take to show up when the stream is read."""
OLDEST_DAYS = 14
HOUR = 3_600_000
READ_BACK_PAGES = 5


def stream_name(project: str, uuid: str, config: CloudWatchLogs | None) -> tuple[str, str]:
    """Return group and stream of a build: `/aws/codebuild/<project>` and its uuid, unless *config* says otherwise."""
    group = (config and config.group_name) or f"/aws/codebuild/{project}"
    prefix = config.stream_name if config else None
    return group, f"{prefix}/{uuid}" if prefix else uuid


@dataclass(frozen=True)
class _Sending:
    """What is written down before a batch is sent: its bytes and times, and the last time sent `before`.

    Each batch begins later than the one before it ended, by a millisecond at least. So one look at the stream tells
    whether a batch has arrived, even where lines repeat themselves.
    """

    start: int
    end: int
    first: int
    last: int
    before: int

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> _Sending | None:
        return cls(**note) if note else None


class CloudWatchSink:
    """Sends the log to *stream* of *group*; makes both when they are missing, the group with retention and key.

    Sends nothing twice: when an answer did not come, or the agent was killed before it could write the answer down, it
    reads the stream back first. That needs `logs:GetLogEvents`; without it a batch in doubt is sent again, and the
    record of the build says so.
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
    ) -> None:
        self._aws = aws
        self._group = group
        self._stream = stream
        self._clock = clock
        self._retention_days = retention_days
        self._kms_key = kms_key
        self._ready = False
        self._unsent = False
        self._doubt_since: float | None = None

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
        ledger.write(asdict(_Sending(batch.start, batch.end, batch.first, batch.last, before)))
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
        self._doubt_since = None
        return offset

    def _send(self, batch: Batch, ledger: Ledger) -> None:
        if not self._ready:
            self._make_stream(ledger)
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
            self._doubt_since = self._clock.now()
            raise
        if rejected := answer.get("rejectedLogEventsInfo"):
            ledger.lament(_rejection(rejected, len(batch.events)))

    def _put(self, batch: Batch) -> Any:
        events = [{"timestamp": time, "message": message} for time, message in batch.events]
        with translated("CloudWatch Logs"):
            client = self._aws.client("logs", attempts=1)
            return client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)

    def _make_stream(self, ledger: Ledger) -> None:
        names = {"logGroupName": self._group, "logStreamName": self._stream}
        client = self._aws.client("logs")
        try:
            _unless_there(client.create_log_stream, **names)
        except AwsRefused as error:
            if error.reason != "ResourceNotFoundException":
                raise
            self._make_group(client, ledger)
            _unless_there(client.create_log_stream, **names)
        self._ready = True

    def _make_group(self, client: Any, ledger: Ledger) -> None:
        key = {"kmsKeyId": self._kms_key} if self._kms_key else {}
        _unless_there(client.create_log_group, logGroupName=self._group, **key)
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
            if self._found(sending):
                return True
        except AwsRefused as error:
            if error.reason != "ResourceNotFoundException":
                ledger.lament(f"some lines may be there twice, because the stream cannot be read back: {error}")
            return False
        if self._doubt_since is None:
            self._doubt_since = self._clock.now()
        if self._clock.now() - self._doubt_since < SETTLE_SECONDS:
            raise AwsUnavailable("CloudWatch Logs: waiting to see whether a batch has arrived")
        return False

    def _found(self, sending: _Sending) -> bool:
        """Whether the stream has an event of the batch's time or later; pages can be empty, so look at a few."""
        client = self._aws.client("logs")
        token: dict[str, str] = {}
        for _ in range(READ_BACK_PAGES):
            with translated("CloudWatch Logs"):
                page = client.get_log_events(
                    logGroupName=self._group,
                    logStreamName=self._stream,
                    startTime=sending.first,
                    startFromHead=False,
                    limit=1,
                    **token,
                )
            if any(event["timestamp"] >= sending.first for event in page["events"]):
                return True
            if token.get("nextToken") == page["nextBackwardToken"]:
                return False
            token = {"nextToken": page["nextBackwardToken"]}
        return False


def _unless_there(call: Callable[..., Any], **arguments: Any) -> None:
    try:
        with translated("CloudWatch Logs"):
            call(**arguments)
    except AwsRefused as error:
        if error.reason != "ResourceAlreadyExistsException":
            raise


def _answered(error: AwsUnavailable) -> bool:
    """Whether the service itself said no (a throttle): then nothing was stored. Otherwise nobody knows."""
    response: Any = getattr(error.__cause__, "response", None) or {}
    return 400 <= int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) < 500


def _rejection(info: Mapping[str, int], count: int) -> str:
    lost = {
        "too old": info.get("tooOldLogEventEndIndex", 0),
        "older than the retention": info.get("expiredLogEventEndIndex", 0),
        "in the future": count - info.get("tooNewLogEventStartIndex", count),
    }
    said = ", ".join(f"{number} {why}" for why, number in lost.items() if number)
    return f"CloudWatch Logs dropped lines: {said}; check the host's clock and the group's retention"
