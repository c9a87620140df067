"""Which format a file has, by its name and its beginning."""

from __future__ import annotations

import time

import pytest

from agent.errors import ReportInvalid
from agent.reports.formats import FORMATS, format_named
from agent.reports.recognise import HEAD_BYTES, recognise
from tests.unit.reports import samples


@pytest.mark.parametrize("name", samples.FILES)
def test_the_beginning_of_a_real_file_is_enough(name: str) -> None:
    data = samples.bytes_of(name)
    assert recognise(f"deep/down/{name}", data[:HEAD_BYTES]) == samples.format_of(name)
    assert recognise(name.upper(), data) == samples.format_of(name)


@pytest.mark.parametrize("name", [name for name in samples.FILES if name.endswith(("xml", "trx"))])
def test_a_file_in_utf_16_is_recognised_too(name: str) -> None:
    text = samples.bytes_of(name).decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert recognise(name, text.encode(encoding)) == samples.format_of(name)


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("pom.xml", b"<project xmlns='http://maven.apache.org/POM/4.0.0'>"),
        ("phpunit.xml", b"<phpunit><testsuites/>"),
        ("testng.xml", b'<!DOCTYPE suite SYSTEM "testng-1.0.dtd"><suite name="x"/>'),
        ("report.xml", b"<report><item/></report>"),
        ("coverage.xml", b"<coverage/>"),
        ("run.trx", b"<TestRun/>"),
        ("package.json", b'{"name": "x", "coverage": {}}'),
        ("list.json", b'[{"elements": []}]'),
        ("simplecov-json.json", b'{"timestamp": 1, "files": [{"filename": "a.rb", "coverage": []}]}'),
        ("empty.xml", b""),
        ("open.xml", b"<!-- <testsuite>"),
        ("text.xml", b"not <testsuite>"),
        ("junit.txt", b"<testsuite/>"),
        ("binary.xml", bytes(range(256)) * 8),
    ],
)
def test_other_files_are_left_alone(path: str, head: bytes) -> None:
    assert recognise(path, head) is None


def test_what_stands_before_the_root_does_not_matter() -> None:
    before = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- <coverage> -->\n<?style x?><!DOCTYPE testsuites>\n'
    assert recognise("a.xml", before + b"<testsuites>") == "JUNITXML"


@pytest.mark.parametrize("unit", [b"<", b"<!--", b"<? ", b" ", b"<a ", b"[{", b'{"', b'{"a":{', b"<!x>"])
def test_no_beginning_takes_long_to_look_at(unit: bytes) -> None:
    head = unit * (HEAD_BYTES // len(unit))
    started = time.process_time()
    for name in ("a.xml", "a.json"):
        recognise(name, head)
    assert time.process_time() - started < 1.0


def test_a_format_is_named_in_any_case() -> None:
    assert format_named("junitXml") is FORMATS["JUNITXML"]
    assert format_named(" cloverxml ").type == "CODE_COVERAGE"


def test_an_unknown_format_is_told_which_ones_there_are() -> None:
    with pytest.raises(ReportInvalid, match=r"NUNIT3XML.*COBERTURAXML") as caught:
        format_named("junit-xml")
    assert caught.value.hint == "Did you mean JUNITXML?"
    with pytest.raises(ReportInvalid):
        format_named("")


def test_the_formats_are_those_of_codebuild() -> None:
    tests = {name for name, format_ in FORMATS.items() if format_.type == "TEST"}
    assert tests == {"JUNITXML", "NUNITXML", "NUNIT3XML", "CUCUMBERJSON", "TESTNGXML", "VISUALSTUDIOTRX"}
    assert set(FORMATS) - tests == set(samples.COVERAGE)
