"""The journal's reader: bytes of an untrusted build become events, or are counted."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buildspec.plan import PhasePlan
from agent.container.journal import (
    Begun,
    CommandEnded,
    CommandStarted,
    Ended,
    ExpansionsDone,
    Failure,
    JournalEvent,
    JournalParser,
    JournalReader,
    PhaseEnded,
    PhaseRetried,
    PhaseStarted,
    Prepared,
    ProblemFound,
    Resumed,
    parse_line,
    phase_context,
)
from agent.model.phase import PhaseContext, PhaseType

BUILD = PhaseType.BUILD
LINES: list[tuple[bytes, JournalEvent]] = [
    (b"1500000\tbegun", Begun(1.5)),
    (b"1500000\tprepared", Prepared(1.5)),
    (b"1500000\tresumed", Resumed(1.5)),
    (b"1500000\tproblem\tno-shell", ProblemFound(1.5, "no-shell")),
    (b"1500000\tphase\tBUILD", PhaseStarted(1.5, BUILD)),
    (b"1500000\tcommand\tBUILD\tfinally\t2", CommandStarted(1.5, BUILD, "finally", 2)),
    (b"1500000\texit\tBUILD\tcommands\t1\t127", CommandEnded(1.5, BUILD, "commands", 1, 127)),
    (b"1500000\tretry\tBUILD\t1\t3", PhaseRetried(1.5, BUILD, 1, 3)),
    (b"1500000\tphase-end\tBUILD\tSUCCEEDED", PhaseEnded(1.5, BUILD, None)),
    (b"1500000\tphase-end\tBUILD\tFAILED\tcommands\t2\t1", PhaseEnded(1.5, BUILD, Failure("commands", 2, 1))),
    (b"1500000\tphase-end\tBUILD\tFAILED\tno-user", PhaseEnded(1.5, BUILD, Failure(reason="no-user"))),
    (b"1500000\texpanded", ExpansionsDone(1.5)),
    (b"1500000\tend\taborted\tBUILD", Ended(1.5, "aborted", BUILD)),
    (b"1500000\tend\tstopped\t-", Ended(1.5, "stopped", None)),
]
JOURNAL = b"".join(line + b"\n" for line, _ in LINES)


@pytest.mark.parametrize(("line", "event"), LINES)
def test_every_line_has_its_event(line: bytes, event: JournalEvent) -> None:
    assert parse_line(line) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"begun",
        b"x\tbegun",
        b"-1\tbegun",
        b"1\tbegun\tmore",
        b"1\tunheard-of",
        b"1\tphase\tUPLOAD_ARTIFACTS",
        b"1\tphase",
        b"1\tcommand\tBUILD\tother\t1",
        b"1\tcommand\tBUILD\tcommands\t1e9",
        b"1\texit",
        b"1\texit\tBUILD\tcommands\t1\t-1",
        b"1\tphase-end\tBUILD\tSTOPPED",
        b"1\tphase-end\tBUILD\tFAILED",
        b"1\tend\twell\tBUILD",
        b"9" * 30 + b"\tbegun",
        b"\xff\tbegun",
        "١\tbegun".encode(),
        b"1\tphase\t" + b"B" * 5000,
    ],
)
def test_a_line_without_sense_is_no_event(line: bytes) -> None:
    assert parse_line(line) is None


@given(st.lists(st.integers(0, len(JOURNAL)), max_size=8))
def test_the_cuts_between_reads_do_not_matter(cuts: list[int]) -> None:
    parser = JournalParser()
    places = [0, *sorted(cuts), len(JOURNAL)]
    events = [event for start, end in itertools.pairwise(places) for event in parser.feed(JOURNAL[start:end])]
    assert events == [event for _, event in LINES]
    assert (parser.offset, parser.skipped) == (len(JOURNAL), 0)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    parser = JournalParser()
    parser.feed(data)
    assert parser.feed(b"\n1\tbegun\n")[-1] == Begun(0.000001)


def test_a_torn_last_line_waits_for_its_rest() -> None:
    parser = JournalParser()
    assert parser.feed(b"1\tbeg") == ()
    assert parser.offset == 0
    assert parser.feed(b"un\n") == (Begun(0.000001),)


def test_an_endless_line_is_dropped_and_counted_and_takes_no_room() -> None:
    parser = JournalParser()
    for _ in range(100):
        assert parser.feed(b"x" * 10_000) == ()
    assert len(parser._rest) <= 1024
    assert parser.feed(b"1\tbegun\n1\tbegun\n") == (Begun(0.000001),)
    assert parser.skipped == 1
    assert parser.offset == 1_000_000 + 16


def test_a_reader_goes_on_where_another_left_off(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(JOURNAL[:30])
    first = JournalReader(tmp_path)
    events = list(first.read())
    (tmp_path / "journal").write_bytes(JOURNAL)
    second = JournalReader(tmp_path, first.offset)
    assert [*events, *second.read()] == [event for _, event in LINES]
    assert second.read() == ()


def test_a_journal_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "host").write_bytes(JOURNAL)
    (tmp_path / "journal").symlink_to(tmp_path / "host")
    assert JournalReader(tmp_path).read() == ()


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (None, ""),
        (Failure("commands", 2, 1), "Error while executing command: docker build .. Reason: exit status 1"),
        (Failure("finally", 1, 9), "Error while executing command: end\n. Reason: exit status 9"),
        (Failure("commands", 99, 1), "Error while executing command: . Reason: exit status 1"),
        (Failure(reason="no-user"), "Error while switching to user: u1. Reason: no such user in the image"),
    ],
)
def test_the_context_of_a_phase_has_codebuilds_words(failure: Failure | None, message: str) -> None:
    plan = PhasePlan(phase=BUILD, commands=("a", "docker build ."), finally_commands=("end\n",), run_as="u1")
    context = phase_context((plan,), PhaseEnded(1.0, BUILD, failure))
    assert context == PhaseContext(status_code="COMMAND_EXECUTION_ERROR" if failure else "", message=message)
