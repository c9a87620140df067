"""The one door to structlog: the daemon's own log, one entry a line, as JSON, for eyes or for journald.

Logs of builds never come this way. An entry is a short constant text and named values:
`get_logger("daemon").info("build started", build=build.id)`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_NOISY = ("botocore", "boto3", "s3transfer", "urllib3", "docker", "git", "watchdog", "uvicorn.access")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SYSLOG = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class Log(Protocol):
    """A named log. Every method takes a short constant text and named values, of any type."""

    def debug(self, event: str, **values: Any) -> Any: ...

    def info(self, event: str, **values: Any) -> Any: ...

    def warning(self, event: str, **values: Any) -> Any: ...

    def error(self, event: str, **values: Any) -> Any: ...

    def exception(self, event: str, **values: Any) -> Any:
        """Write an error with the traceback of the exception that is being handled."""
        ...


def get_logger(name: str) -> Log:
    """Return the log of one part of the agent. May be called before `configure`."""
    return cast("Log", structlog.stdlib.get_logger(f"agent.{name}"))


@contextmanager
def bound(**values: Any) -> Iterator[None]:
    """Add *values* to every entry that this thread writes inside the block."""
    with bound_contextvars(**values):
        yield


def configure(
    *,
    level: Level = "info",
    format: Format = "auto",
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send the whole process's log to *stream* (standard error); a second call replaces the first.

    What libraries log through the standard library comes the same way; the talkative ones from WARNING on, or INFO
    where *level* is debug. Never more: botocore's DEBUG has credentials, and the values of parameters and secrets.
    Where journald reads the stream, each line starts with its priority and leaves the time to the journal.
    """
    stream = sys.stderr if stream is None else stream
    journal = reads_journal(stream, os.environ if environ is None else environ)
    console = format == "console" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines(console=console, journal=journal, colors=console and stream.isatty()))
    root = logging.getLogger()
    for old in [known for known in root.handlers if isinstance(known.formatter, _Lines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.WARNING)


def reads_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether journald is at the other end of *stream* (`JOURNAL_STREAM` of systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class _Lines(structlog.stdlib.ProcessorFormatter):
    """Turns an entry, of structlog or of the standard library, into its line or lines."""

    def __init__(self, *, console: bool, journal: bool, colors: bool) -> None:
        steps: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
        if not journal:
            steps.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
        super().__init__(
            foreign_pre_chain=_common(), processors=[*steps, *(_for_eyes(colors) if console else _for_machines())]
        )
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        priority = next((number for level, number in _SYSLOG if record.levelno >= level), _DEBUG)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def _common() -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]


def _for_machines() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(sort_keys=True),
    ]


def _for_eyes(colors: bool) -> list[Processor]:
    # The plain formatter, since the rich one prints local variables, which may hold secrets.
    return [
        _printable,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]


def _printable(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    """Write control characters as escapes: a branch or file name must not drive the operator's terminal."""
    for name, value in entry.items():
        if isinstance(value, str):
            entry[name] = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], value)
    return entry


structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_common(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
