"""The masker, against the plain definition of what it does."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.buildlog.forms import forms
from agent.buildlog.masking import Masker

KEY_ID = "AKIAIOSFODNN7EXAMPLE"


def whole(text: bytes, *secrets: str) -> bytes:
    """The definition: mark every place of every form, join what overlaps, put stars there."""
    places = sorted(
        (match.start(), match.start() + len(form))
        for form in {form for secret in secrets for form in forms(secret)}
        for match in re.finditer(b"(?=" + re.escape(form) + b")", text)
    )
    places += [(match.start(), match.start() + 20) for match in re.finditer(rb"(?=A[KS]IA[0-9A-Z]{16})", text)]
    out, end = b"", 0
    for start, stop in sorted(places):
        if start >= end:
            out += text[end:start] + b"***"
        end = max(end, stop)
    return out + text[end:]


def streamed(masker: Masker, *chunks: bytes) -> bytes:
    return b"".join(map(masker.feed, chunks)) + masker.flush()


def going_on(masker: Masker, *chunks: bytes) -> bytes:
    """Return what comes out of *chunks*, when what follows them completes no secret."""
    return streamed(masker, *chunks, b"\0")[:-1]


letters = st.text("ab\n'c", min_size=1, max_size=6)


@given(secrets=st.lists(letters, max_size=4), text=st.text("ab\n'c", max_size=60), cuts=st.lists(st.integers(0, 60)))
@example(secrets=["aba"], text="ababababa", cuts=[3, 5])
@example(secrets=["ab", "abb"], text="aabbab", cuts=[1, 2, 3, 4, 5])
def test_every_cut_of_the_stream_gives_what_the_whole_text_gives(secrets, text, cuts):
    data = text.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    expected = whole(data, *secrets)
    assert going_on(Masker(secrets), *chunks) == expected
    assert streamed(Masker(secrets), *chunks) == streamed(Masker(secrets), data)
    assert Masker(secrets).mask(data) == expected


@given(secrets=st.lists(letters, max_size=4), text=st.text("ab\n'c", max_size=60), cut=st.integers(0, 60))
def test_a_successor_that_starts_at_consumed_minus_held_gives_the_same(secrets, text, cut):
    data = text.encode()
    first = Masker(secrets)
    before = first.feed(data[:cut])
    position = len(data[:cut]) - first.held
    assert before + going_on(Masker(secrets, covered=first.covered), data[position:]) == whole(data, *secrets)
    assert before + streamed(Masker(secrets, covered=first.covered), data[position:]) == streamed(Masker(secrets), data)


@given(
    secret=st.text(st.characters(blacklist_characters="*", blacklist_categories=("Cs",)), min_size=1),
    before=st.binary(max_size=30),
    after=st.binary(max_size=30),
    size=st.integers(1, 9),
)
def test_no_secret_ever_comes_out(secret, before, after, size):
    value = secret.strip("\r\n").encode()
    data = before + value + after
    masked = streamed(Masker([secret]), *(data[at : at + size] for at in range(0, len(data), size)))
    if value.strip() and secret.strip("\r\n").strip():
        assert value not in masked


@pytest.mark.parametrize("at", range(1, 20))
def test_an_access_key_id_split_across_two_chunks_is_masked(at):
    text = f"id {KEY_ID}.".encode()
    assert streamed(Masker(), text[: 3 + at], text[3 + at :]) == b"id ***."


def test_a_temporary_access_key_id_is_masked():
    assert streamed(Masker(), b"ASIA" + b"Z9" * 8 + b"\n") == b"***\n"


def test_a_secret_split_across_two_chunks_is_masked():
    assert streamed(Masker(["hunter22"]), b"pass hunt", b"er22 end") == b"pass *** end"


def test_what_cannot_be_a_secret_any_more_comes_out_at_once():
    masker = Masker(["hunter22"])
    assert masker.feed(b"100% done, no newline") == b"100% done, no newline"
    assert masker.held == 0


def test_only_the_possible_beginning_of_a_secret_is_held():
    masker = Masker(["hunter22"])
    assert masker.feed(b"to the hunt") == b"to the "
    assert masker.held == 4
    assert masker.flush() == b"***"


def test_at_the_end_of_the_stream_a_good_part_of_a_secret_is_masked():
    secret = "hunter-a0e59eb290ff63681473d0c1"
    assert streamed(Masker([secret]), f"3 {secret[:27]}".encode()) == b"3 ***"
    assert streamed(Masker([secret]), b"3 hunter-a") == b"3 ***"
    assert streamed(Masker([secret]), b"3 hunter-") == b"3 hunter-"
    assert streamed(Masker([secret]), b"3 hunter-a\n") == b"3 hunter-a\n"
    assert streamed(Masker(["hunter22"]), b"the hun") == b"the hun"
    assert streamed(Masker([secret]), f"{secret} {secret[:20]}".encode()) == b"*** ***"
    encoded = base64.b64encode(secret.encode())
    assert streamed(Masker([secret]), encoded[:30]) == b"***"


def test_without_secrets_the_chunk_itself_is_handed_on():
    chunk = b"x" * 1000
    assert Masker().feed(chunk) is chunk


def test_an_endless_run_of_overlapping_secrets_is_one_mask_and_no_memory():
    masker = Masker(["aba"])
    out = b"".join(masker.feed(b"ab" * 10_000) for _ in range(5))
    assert masker.held <= 2
    assert out + masker.flush() == b"***b"


def test_secrets_that_overlap_become_one_mask():
    assert streamed(Masker(["abcd", "cdef"]), b"-abcdef-") == b"-***-"


def test_the_longer_of_two_secrets_at_one_place_is_masked_whole():
    assert streamed(Masker(["pass", "password"]), b"passwor", b"d pass") == b"*** ***"


def test_empty_and_blank_values_mask_nothing():
    assert streamed(Masker(["", "\n", "  "]), b"a  b\n") == b"a  b\n"


def test_a_value_of_one_character_is_masked_as_codebuild_does():
    assert streamed(Masker(["7"]), b"1789") == b"1***89"


def test_a_multi_line_secret_is_masked_whole_and_line_by_line():
    key = "-----BEGIN KEY-----\nMIIEabcdefgh\nok\n-----END KEY-----\n"
    assert streamed(Masker([key]), key.encode()) == b"***\n"
    assert streamed(Masker([key]), b"| MIIEabcdefgh\n| ok\n") == b"| ***\n| ok\n"


def test_a_multi_line_secret_with_carriage_returns_is_masked():
    assert streamed(Masker(["first\r\nsecond\r\n"]), b"first\nsecond\r\n") == b"***\n***\r\n"


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("secret", ["hunter22", "correct horse", "p~?ss>>w~rd??", "schlüssel-ß"])
def test_base64_of_a_secret_is_masked_wherever_it_lies(before, secret):
    text = base64.b64encode(f"{before}{secret}\n".encode()).decode()
    urlsafe = base64.urlsafe_b64encode(f"{before}{secret}\n".encode()).decode()
    for form in (text, urlsafe):
        masked = streamed(Masker([secret]), form.encode())
        assert b"***" in masked
        left = masked.replace(b"***", b"")
        assert len(left) <= len(before) * 4 / 3 + 5


def test_base64_that_is_wrapped_at_76_columns_is_masked():
    secret = "s3cret-" * 30
    text = base64.encodebytes(secret.encode())
    assert streamed(Masker([secret]), text) == b"***\n"


def test_base64_of_a_short_secret_stays_as_on_codebuild():
    text = base64.b64encode(b"hato\n")
    assert streamed(Masker(["hato"]), text) == text


@pytest.mark.parametrize(
    "form",
    [
        lambda value: urllib.parse.quote(value, safe=""),
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda value: json.dumps(value)[1:-1],
        lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
        lambda value: shlex.quote(value)[1:-1],
        lambda value: value.replace("'", "'\\''"),
    ],
)
def test_escaped_forms_are_masked(form):
    secret = 'it\'s a "sécret"/\\ & more'
    assert streamed(Masker([secret]), f"<{form(secret)}>".encode()) == b"<***>"


def test_escaped_forms_of_very_short_values_are_not_masked():
    assert forms("a b") == {b"a b"}


def test_a_secret_added_later_is_masked_from_then_on():
    masker = Masker()
    assert masker.feed(b"hunter22 ") == b"hunter22 "
    masker.add("hunter22")
    assert masker.feed(b"hunter22 ") == b"*** "


def test_a_masker_does_not_print_its_secrets():
    assert "hunter22" not in repr(Masker(["hunter22"]))
