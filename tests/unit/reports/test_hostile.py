"""Files of builds that mean harm: every failure is a sentence that names the file, and costs little."""

from __future__ import annotations

import encodings.aliases
import json
import re
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ReportInvalid
from agent.reports.formats import FORMATS, MOST_BYTES
from agent.reports.jsontext import load
from agent.reports.recognise import recognise
from agent.reports.sources import Sources
from agent.reports.summary import summarise
from agent.reports.xml import walk
from tests.unit.reports import samples
from tests.unit.reports.samples import parsed

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = [samples.bytes_of(name) for name in samples.FILES]
NAMES = sorted(FORMATS)
BAD_NUMBERS = [
    b"NaN",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"1,234.5",
    b"0x10",
    b"\xd9\xa3",
    b"null",
    b"{}",
    b'"x"',
    b"[]",
]


def read(name: str, data: bytes) -> None:
    """Read *data*; whatever it is, it has a summary that can be written down, or a sentence says why not."""
    recognise("r.xml", data)
    recognise("r.json", data)
    refusal = ""
    try:
        outcome = summarise(FORMATS[name], [FORMATS[name].parse("r.xml", data)])
        outcome.details.model_dump_json().encode()
    except ReportInvalid as error:
        refusal = error.message
    assert not refusal or refusal.startswith(("r.xml: ", "InvalidInputException: ")), refusal
    assert len(refusal) < 1000


@QUICK
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_random_bytes_are_refused_with_a_sentence(name: str, data: bytes) -> None:
    read(name, data)


@QUICK
@given(st.sampled_from(NAMES), st.sampled_from([b"<testsuite>", b"<coverage>", b"[", b'{"a":']), st.binary(max_size=80))
def test_random_bytes_after_a_good_beginning_are_refused_with_a_sentence(name: str, start: bytes, data: bytes) -> None:
    read(name, start + data)


@settings(QUICK, max_examples=300)
@given(st.data())
def test_real_files_that_were_tampered_with_are_read_or_refused_with_a_sentence(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXTS) - 1))
    text = TEXTS[at]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 1, 3, 40, 400])))
        other = data.draw(st.sampled_from(TEXTS))
        cut = data.draw(st.integers(0, len(other)))
        put = data.draw(
            st.sampled_from([b"", b"\x00", b"\xff", b"<a>", b"]]>", b"\\ud800", other[cut : cut + 60], *BAD_NUMBERS])
        )
        text = text[:start] + put + text[end:]
    name = data.draw(st.sampled_from([samples.format_of(samples.FILES[at]), *NAMES]))
    read(name, text)


MEMBERS = ["elements", "steps", "name", "uri", "result", "status", "duration", "before", "error_message", "type"]
MEMBERS += ["coverage", "lines", "branches", "meta", "start_line", "[:if, 0, 3, 4, 5, 6]"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["failed", "passed"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(QUICK, max_examples=200)
@given(JSON, st.sampled_from(["CUCUMBERJSON", "SIMPLECOV"]))
def test_json_of_any_shape_is_read_or_refused_with_a_sentence(value: object, name: str) -> None:
    read(name, json.dumps(value).encode())
    read(name, json.dumps([{"name": "f", "elements": [value]}]).encode())
    read(name, json.dumps({"a": {"coverage": {"f.rb": value}}}).encode())


@pytest.mark.parametrize("text", TEXTS, ids=samples.FILES)
def test_numbers_that_are_none_in_every_place_are_survived(text: bytes) -> None:
    name = samples.format_of(samples.FILES[TEXTS.index(text)])
    for bad in BAD_NUMBERS:
        read(name, re.sub(rb'"\d[\d.,]*"', b'"' + bad.replace(b'"', b"") + b'"', text))
        read(name, re.sub(rb"(?<=[ \[])\d[\d.]*", bad, text))


BOMB = b'<!DOCTYPE testsuite [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><testsuite name="&b;"/>'
DEFAULTS = (
    b'<!DOCTYPE testsuite [<!ATTLIST testcase name CDATA "' + b"x" * 1000 + b'">]><testsuite><testcase/></testsuite>'
)
EXTERNAL = b'<!DOCTYPE testsuite [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite name="a">&x;</testsuite>'
PARAMETER = b'<!DOCTYPE testsuite [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd">%p;]><testsuite/>'


@pytest.mark.parametrize(
    "data", [BOMB, DEFAULTS, EXTERNAL, PARAMETER], ids=["bomb", "defaults", "external", "parameter"]
)
def test_declarations_inside_a_doctype_are_refused(data: bytes) -> None:
    with pytest.raises(ReportInvalid, match=r"^r\.xml: declarations inside a DOCTYPE are not accepted"):
        parsed("JUNITXML", data)


def test_a_doctype_that_only_points_somewhere_passes_and_nothing_is_fetched() -> None:
    for doctype in (b'PUBLIC "-//X//DTD 1//EN" "http://127.0.0.1:9/x.dtd"', b'SYSTEM "file:///nowhere.dtd"', b""):
        data = b"<!DOCTYPE testsuite " + doctype + b'><testsuite><testcase name="a"/></testsuite>'
        assert len(parsed("JUNITXML", data).cases) == 1


def test_an_entity_that_nobody_declared_is_nothing_or_a_mistake() -> None:
    read("JUNITXML", b"<testsuite>&nobody;</testsuite>")
    read("JUNITXML", b'<!DOCTYPE testsuite SYSTEM "x"><testsuite name="&nobody;">&nobody;</testsuite>')


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ReportInvalid, match=r"nested more than 256 deep"):
        parsed("JUNITXML", b"<testsuite>" * 100_000)
    with pytest.raises(ReportInvalid, match=r"nested too deep"):
        parsed("CUCUMBERJSON", b"[" * 500_000)
    with pytest.raises(ReportInvalid, match=r"nested too deep"):
        parsed("SIMPLECOV", b'{"a":' * 500_000)


def test_more_elements_than_a_report_needs_are_refused() -> None:
    with pytest.raises(ReportInvalid, match="more than 100 elements"):
        walk("r.xml", b"<a>" + b"<a/>" * 100, root=("a",), closed=lambda _node: None, most=100)


def test_more_source_files_than_a_report_needs_are_refused() -> None:
    few = Sources("r.xml", most=3)
    for name in ("a", "b", "c", "a"):
        few.track(name)
    with pytest.raises(ReportInvalid, match=r"^r\.xml: more than 3 source files"):
        few.track("d")


def test_more_json_than_a_report_needs_is_refused() -> None:
    for data in (b"[1,1,1,1,1]", b"[[[[[]]]]]"):
        with pytest.raises(ReportInvalid, match="more lists, objects or values"):
            load("r.json", data, most=3)


def test_a_tag_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    data = b'<testsuite name="' + b"x" * (12 * 1024 * 1024) + b'"/>'
    with pytest.raises(ReportInvalid, match="one tag or comment is larger than 8 MiB"):
        parsed("JUNITXML", data)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_too_large_is_not_parsed(name: str) -> None:
    with pytest.raises(ReportInvalid, match=r"^r\.xml: larger than 64 MiB"):
        parsed(name, bytes(MOST_BYTES + 1))


def test_many_failures_with_long_messages_are_not_kept() -> None:
    case = b'<testcase name="a"><failure>' + b"x" * 6000 + b"</failure></testcase>"
    data = b"<testsuite>" + case * 6000 + b"</testsuite>"
    tracemalloc.start()
    results = parsed("JUNITXML", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(results.cases), results.dropped) == (500, 5500)
    assert peak < 24 * 1024 * 1024  # of 36 MB of input; other threads of this process count, too


def test_an_encoding_that_python_knows_is_read_or_refused_with_a_sentence() -> None:
    for name in {*encodings.aliases.aliases.values(), "x-unknown", "undefined", "idna", "punycode", "utf-16", "UTF-32"}:
        read(
            "JUNITXML",
            b'<?xml version="1.0" encoding="' + name.encode() + b'"?><testsuite><testcase name="\xe4"/></testsuite>',
        )


@pytest.mark.parametrize(
    ("declared", "encoding"), [("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("utf-16", "utf-16")]
)
def test_old_encodings_are_read(declared: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><testsuite><testcase name="Größe"/></testsuite>'
    assert parsed("JUNITXML", text.encode(encoding)).cases[0].name == "Größe"


def test_a_file_in_utf_8_is_read_though_it_says_that_it_is_utf_16() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><testsuite><testcase name="Größe"/></testsuite>'
    assert parsed("JUNITXML", b"\xef\xbb\xbf" + text.encode()).cases[0].name == "Größe"
    assert parsed("JUNITXML", text.encode()).cases[0].name == "Größe"


def test_texts_cannot_steer_a_terminal_nor_break_what_is_stored() -> None:
    told = r"\u001b[31mred\u001b[0m \u001b]0;x\u0007 \ud800 \u0000 \u202e"
    step = '{"result": {"status": "failed", "error_message": "' + told + '"}}'
    case = parsed("CUCUMBERJSON", '[{"name":"f","elements":[{"name":"a","steps":[' + step + "]}]}]").cases[0]
    assert (case.message or "").startswith("red ")
    assert not set("\x1b\x07\x00\u202e\ud800") & set(case.message or "")
    case.model_dump_json().encode()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_named(name: str) -> None:
    with pytest.raises(ReportInvalid, match=r"^r\.xml: the file is empty"):
        parsed(name, b"")


def test_a_file_of_another_format_is_told_in_codebuilds_words_and_which_it_looks_like() -> None:
    with pytest.raises(ReportInvalid) as caught:
        parsed("JUNITXML", samples.bytes_of("istanbul-clover.xml"), "clover.xml")
    assert caught.value.message == "clover.xml: expected element type <testsuite> but have <coverage>"
    assert caught.value.hint == "It looks like CLOVERXML: say so in file-format."
    with pytest.raises(ReportInvalid, match=r"expected element type <project> but have <sources>"):
        parsed("CLOVERXML", samples.bytes_of("istanbul-cobertura.xml"))
    with pytest.raises(ReportInvalid, match=r"expected element type <packages> but have <project>"):
        parsed("COBERTURAXML", samples.bytes_of("istanbul-clover.xml"))


def test_the_json_of_another_gem_is_refused_as_codebuild_refuses_it() -> None:
    with pytest.raises(ReportInvalid, match="expected SimpleCov's JSON") as caught:
        parsed(
            "SIMPLECOV", b'{"timestamp": 1, "command_name": "RSpec", "files": [{"filename": "a.rb", "coverage": [1]}]}'
        )
    assert "not simplecov-json" in caught.value.hint
