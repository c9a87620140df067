"""The daemon's log: one entry a line, for machines, eyes and journald; nothing in it drives a terminal or leaks."""

from __future__ import annotations

import io
import json
import logging as standard
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kit import logging
from agent.model.secret import Secret


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = standard.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_entry_is_one_json_object_on_one_line() -> None:
    stream = io.StringIO()
    logging.configure(level="info", format="json", stream=stream)
    log = logging.get_logger("daemon")
    log.info("build started", build="web:1", branch="a\nb\x1b[31m", token=Secret("hunter2"))
    log.debug("not shown")
    (entry,) = entries(stream)
    assert (entry["message"], entry["level"], entry["logger"]) == ("build started", "info", "agent.daemon")
    assert entry["branch"] == "a\nb\x1b[31m"
    assert "timestamp" in entry
    assert "hunter2" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_bound_values_are_in_every_entry_of_the_block() -> None:
    stream = io.StringIO()
    logging.configure(format="json", stream=stream)
    log = logging.get_logger("pipeline")
    with logging.bound(build="web:1"):
        log.warning("inside")
    log.warning("outside")
    assert [entry.get("build") for entry in entries(stream)] == ["web:1", None]


def test_at_debug_no_library_says_what_it_sent_and_got() -> None:
    stream = io.StringIO()
    logging.configure(level="debug", format="json", stream=stream)
    for name in ("botocore.parsers", "urllib3.connectionpool", "docker.auth"):
        standard.getLogger(name).debug("Response body: hunter2")
        standard.getLogger(name).info("retrying")
    assert [entry["message"] for entry in entries(stream)] == ["retrying"] * 3


def test_a_library_comes_the_same_way_and_noisy_ones_only_from_warnings_on() -> None:
    stream = io.StringIO()
    logging.configure(format="json", stream=stream)
    standard.getLogger("library").info("hello %s", "there")
    standard.getLogger("botocore.auth").info("with a signature")
    standard.getLogger("botocore.auth").warning("clock skew")
    assert [entry["message"] for entry in entries(stream)] == ["hello there", "clock skew"]


def test_an_exception_is_written_without_the_values_of_variables() -> None:
    for form in ("json", "console"):
        stream = io.StringIO()
        logging.configure(format=form, stream=stream)  # type: ignore[arg-type]
        password = "".join(["hun", "ter2"])
        try:
            int("no number") if password else None
        except ValueError:
            logging.get_logger("x").exception("broken")
        assert "ValueError: invalid literal" in stream.getvalue()
        assert "hunter2" not in stream.getvalue()


def test_on_the_console_a_hostile_name_cannot_drive_the_terminal() -> None:
    stream = io.StringIO()
    logging.configure(format="console", stream=stream)
    logging.get_logger("x").info("branch", name="a\x1b[2Jb\x9bc\nd")
    assert "a\\x1b[2Jb\\x9bc\\nd" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_auto_is_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    logging.configure(stream=stream)
    logging.get_logger("x").info("hello")
    assert entries(stream)[0]["message"] == "hello"


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    logging.configure(format="json", stream=first)
    logging.configure(format="json", stream=second, level="debug")
    logging.get_logger("x").debug("hello")
    assert first.getvalue() == ""
    assert len(entries(second)) == 1


def test_where_journald_reads_lines_carry_their_priority_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        logging.configure(
            format="json", stream=stream, environ={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, level="debug"
        )
        log = logging.get_logger("x")
        for write in (log.debug, log.info, log.warning, log.error):
            write("hello")
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
    assert "timestamp" not in json.loads(lines[0][3:])
