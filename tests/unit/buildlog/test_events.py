"""Lines to events to batches; the limits of PutLogEvents hold for any log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.buildlog.events import DAY, EVENT_BYTES, Batch, Window, cut_batch
from agent.buildlog.stamps import stamp
from tests.unit.buildlog.parts import START, check_batch

NOW = int(START * 1000) + 60_000
WINDOW = Window(after=0, oldest=NOW - 14 * DAY, now=NOW)


def agent_line(epoch: float, text: str = "text") -> bytes:
    return f"[Container] {stamp(epoch)} {text}\n".encode()


def batches(data: bytes, *, live: bool = False) -> list[Batch]:
    found: list[Batch] = []
    at = after = 0
    while at < len(data):
        window = Window(after=after, oldest=WINDOW.oldest, now=NOW)
        batch = cut_batch(data[at : at + (1 << 20)], at, window, complete=at + (1 << 20) >= len(data), live=live)
        assert batch is not None
        check_batch([{"timestamp": time, "message": message} for time, message in batch.events])
        assert batch.start == at
        assert batch.first > after
        at, after = batch.end, batch.last
        found.append(batch)
    return found


def messages(data: bytes) -> list[str]:
    return [message for batch in batches(data) for _, message in batch.events]


def test_lines_become_events_without_their_newlines():
    assert messages(b"one\ntwo\n\nlast") == ["one", "two", " ", "last"]


def test_an_unfinished_line_waits():
    assert cut_batch(b"unfinished", 0, WINDOW, complete=False, live=True) is None
    batch = cut_batch(b"done\nunfinished", 7, WINDOW, complete=False, live=True)
    assert batch is not None
    assert (batch.start, batch.end) == (7, 12)


def test_agent_lines_have_their_own_time_and_others_that_of_the_line_before():
    data = agent_line(START) + b"output\n" + agent_line(START + 2) + agent_line(START + 1)
    (batch,) = batches(data)
    first = int(START * 1000)
    assert [time - first for time, _ in batch.events] == [0, 0, 2000, 2000]


def test_the_newest_output_has_the_time_of_now():
    (batch,) = batches(agent_line(START) + b"output\n", live=True)
    assert [time for time, _ in batch.events] == [int(START * 1000), NOW]


def test_a_time_in_the_future_that_a_build_prints_poisons_nothing():
    (batch,) = batches(agent_line(START + 9e8) + agent_line(START))
    assert batch.last == NOW


def test_a_time_too_old_for_the_service_is_moved_into_what_it_accepts():
    (batch,) = batches(agent_line(1.0))
    assert batch.first == WINDOW.oldest


def test_a_batch_begins_later_than_the_one_before_ended():
    first, second = batches(b"line\n" * 15_000)
    assert len(first.events) == 10_000
    assert second.first == first.last + 1


def test_a_batch_spans_at_most_a_day():
    first, second = batches(agent_line(START - 100_000) + agent_line(START))
    assert second.first - first.first == 100_000_000


def test_a_line_longer_than_an_event_is_split_between_characters():
    line = "ä" * 200_000 + "x"
    parts = messages(line.encode() + b"\n")
    assert "".join(parts) == line
    assert len(parts) == 2


def test_a_line_of_just_the_longest_size_is_one_event():
    assert messages(b"x" * EVENT_BYTES + b"\ny\n") == ["x" * EVENT_BYTES, "y"]


def test_a_long_line_is_sent_before_it_ends():
    batch = cut_batch(b"x" * (EVENT_BYTES + 5), 0, WINDOW, complete=False, live=True)
    assert batch is not None
    assert batch.end == EVENT_BYTES


def test_nul_and_invalid_utf8_become_replacement_characters():
    assert messages(b"a\0b\xffc\n") == ["a\ufffdb\ufffdc"]


def test_a_megabyte_of_nul_keeps_the_limits():
    assert "".join(messages(b"\0" * 1_500_000)) == "\ufffd" * 1_500_000


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 200_000).map(lambda n: b"\xc3\xa4" * n)), max_size=8))
def test_every_byte_of_any_log_is_in_some_event(pieces):
    data = b"\n".join(pieces)
    text = "".join(messages(data))
    lines = data.decode("utf-8", "replace").replace("\0", "\ufffd")
    if all(len(line) <= EVENT_BYTES for line in data.split(b"\n")):
        split = lines.removesuffix("\n").split("\n") if lines else []
        assert text == "".join(line or " " for line in split)
    else:
        assert text.replace(" ", "").replace("\ufffd", "") == lines.replace("\n", "").replace(" ", "").replace(
            "\ufffd", ""
        )
