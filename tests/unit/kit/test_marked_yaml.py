"""The YAML door: texts stay texts, places are right, and nothing that is fed to it crashes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.marked_yaml import (
    Document,
    Limits,
    Mapping,
    MarkedYamlError,
    Node,
    Scalar,
    Sequence,
    find,
    load,
    to_plain,
)


def refusal(text: str | bytes, limits: Limits | None = None) -> tuple[str, int, int]:
    """Return message, line and column of the error that *text* is refused with."""
    with pytest.raises(MarkedYamlError) as caught:
        load(text, limits=limits)
    return caught.value.message, caught.value.line, caught.value.column


def plain(text: str | bytes) -> object:
    return to_plain(load(text).root)


@pytest.mark.parametrize(
    "word", ["NO", "yes", "1.10", "010", "0x1F", "2020-01-01", "1_000", "12:30:45", ".inf", "=", "<"]
)
def test_a_scalar_keeps_its_source_text(word: str) -> None:
    assert plain(f"key: {word}\n") == {"key": word}


@pytest.mark.parametrize("word", ["", "~", "null", "Null", "NULL"])
def test_an_unquoted_null_is_no_value(word: str) -> None:
    assert plain(f"key: {word}\n") == {"key": None}


@pytest.mark.parametrize("word", ["''", '""', "'~'", '"null"', "!!str", "!!str null", "|\n  ~"])
def test_a_quoted_or_tagged_null_is_a_text(word: str) -> None:
    value = plain(f"key: {word}\n")
    assert isinstance(value, dict)
    assert isinstance(value["key"], str)


def test_an_unknown_tag_is_ignored() -> None:
    assert plain("key: !Sub 'x-${Y}'\nlist: !GetAtt [a, b]\n") == {"key": "x-${Y}", "list": ["a", "b"]}


def test_lines_and_columns_count_from_one() -> None:
    root = load("first: a\nlist:\n  - b\n  - {c: d}\n").root
    assert isinstance(root, Mapping)
    assert (root.line, root.column) == (1, 1)
    items = root.get("list")
    assert isinstance(items, Sequence)
    assert (items.line, items.column) == (3, 3)
    assert items.items[0] == Scalar("b", 3, 5)
    assert items.items[1] == Mapping(((Scalar("c", 4, 6), Scalar("d", 4, 9)),), 4, 5)


def test_get_and_key_say_none_for_a_key_that_is_absent() -> None:
    root = load("a: b").root
    assert isinstance(root, Mapping)
    assert root.get("x") is None
    assert root.key("x") is None
    assert root.key("a") == Scalar("a", 1, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read_as_one_line_feed(end: str) -> None:
    document = load(f"a: |{end}  one{end}  two{end}b: c{end}")
    assert to_plain(document.root) == {"a": "one\ntwo\n", "b": "c"}
    assert find(document.root, ("b",)) == (4, 4)


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbfa: \xc3\xa9", "\ufeffa: é", "a: é".encode("utf-16"), "\ufeffa: é".encode("utf-16-be")]
)
def test_a_byte_order_mark_is_stripped(data: str | bytes) -> None:
    document = load(data)
    assert to_plain(document.root) == {"a": "é"}
    assert find(document.root, ("a",)) == (1, 4)


def test_json_is_yaml() -> None:
    assert plain('{\n\t"a": ["b\\n", null, 1.50, true],\n\t"c": {}\n}') == {"a": ["b\n", None, "1.50", "true"], "c": {}}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "--- \n...\n"])
def test_a_document_without_content_is_null(text: str) -> None:
    assert plain(text) is None


def test_an_empty_text_has_no_root() -> None:
    assert load("") == Document(None)


def test_of_several_documents_the_first_is_read() -> None:
    document = load("--- {a: b}\n---\nc: d\n")
    assert to_plain(document.root) == {"a": "b"}
    assert document.more
    assert not load("---\na: b\n...\n").more


def test_of_duplicate_keys_the_last_wins_and_each_is_reported() -> None:
    document = load("a: 1\nb: 2\na: 3\nc:\n  d: 4\n  d: 5\n")
    assert to_plain(document.root) == {"b": "2", "a": "3", "c": {"d": "5"}}
    assert [(twice.key, twice.line, twice.column, twice.first_line) for twice in document.duplicates] == [
        ("a", 3, 1, 1),
        ("d", 6, 3, 5),
    ]


def test_an_alias_is_the_value_of_its_anchor() -> None:
    assert plain("x: &c [echo a]\ny: *c\nz: &d e\nw: *d\n") == {"x": ["echo a"], "y": ["echo a"], "z": "e", "w": "e"}


def test_an_anchor_may_be_given_again() -> None:
    assert plain("- &a 1\n- *a\n- &a 2\n- *a\n") == ["1", "1", "2", "2"]


def test_a_merge_key_brings_in_what_the_mapping_does_not_say_itself() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\none: {<<: *b, x: 5}\nboth:\n  <<: [*b, *m]\n  w: 6\n"
    root = plain(text)
    assert isinstance(root, dict)
    assert root["one"] == {"x": "5", "y": "2"}
    assert root["both"] == {"x": "1", "y": "2", "z": "4", "w": "6"}
    assert load(text).duplicates == ()


def test_a_merged_mapping_can_be_merged_again() -> None:
    assert plain("- &a {x: 1}\n- &b {<<: *a, y: 2}\n- {<<: *b}\n") == [
        {"x": "1"},
        {"x": "1", "y": "2"},
        {"x": "1", "y": "2"},
    ]


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert plain("'<<': x") == {"<<": "x"}


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("version: 0.2\nphases:\n\tbuild:\n", "found character that cannot start any token", 3, 1),
        ("a: b\n\tc: d\n", "found a tab character that violates indentation", 2, 1),
        ("a: b: c", "mapping values are not allowed in this context", 1, 5),
        ("- *nobody", "unknown anchor 'nobody' referenced", 1, 3),
        ("a: &a [*a]", "anchor 'a' value contains itself", 1, 8),
        ("a: &a {<<: *a}", "anchor 'a' value contains itself", 1, 12),
        ("a: 'b", "found unexpected end of stream", 1, 6),
        ("a: [b\nc: d", "did not find expected ',' or ']'", 2, 2),
        ("a: b\nc", "could not find expected ':'", 2, 2),
        ("a: @b", "found character that cannot start any token", 1, 4),
        ('a: "\\q"', "found unknown escape character", 1, 5),
        ("{a: 1} b", "did not find expected <document start>", 1, 8),
        ("- {{ x }}", "invalid map key", 1, 4),
        ("? [a]\n: b", "invalid map key", 1, 3),
        ("<<: x", "map merge requires map or sequence of maps as the value", 1, 5),
        ("<<: [{a: b}, x]", "map merge requires map or sequence of maps as the value", 1, 5),
        ("ok: x\nbad: \x00", "control characters are not allowed", 2, 6),
        ("a: \x1b[31m", "control characters are not allowed", 1, 4),
        ('a: "\\0"', "control characters are not allowed", 1, 4),
        ("\ud800", "control characters are not allowed", 1, 1),
        (b"a: b\r\nc: \xff", "invalid UTF-8, not a text file in that encoding", 2, 4),
        (b"\xff\xfe\x00", "invalid UTF-16, not a text file in that encoding", 1, 1),
        (b"\x7fELF\x02\x01\x01\x00", "control characters are not allowed", 1, 1),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(text: str | bytes, message: str, line: int, column: int) -> None:
    assert refusal(text) == (message, line, column)


def test_an_error_reads_as_message_and_line() -> None:
    with pytest.raises(MarkedYamlError, match=r"^found character that cannot start any token at line 2$"):
        load("a:\n\tb: c\n")


def test_a_text_that_is_too_big_is_refused() -> None:
    assert refusal("a" * 11, Limits(max_bytes=10))[0] == "the text has more than 10 bytes"
    assert refusal("é" * 6, Limits(max_bytes=10))[0] == "the text has more than 10 bytes"
    assert plain("a" * 10) == "a" * 10


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[[{a: "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert refusal(opening * 20_000)[0] == "nested more than 64 levels deep"


def test_nesting_up_to_the_limit_is_read() -> None:
    assert load("[" * 63 + "a" + "]" * 63).root is not None
    assert refusal("[" * 64 + "a" + "]" * 64)[0] == "nested more than 64 levels deep"


def test_nesting_through_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]
    assert refusal("\n".join(lines))[0] == "nested more than 64 levels deep"


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert refusal("\n".join(lines))[0] == "more than 100000 values after aliases are expanded"


def test_aliases_of_a_long_text_are_refused_before_they_fill_the_memory() -> None:
    text = "a: &a " + "x" * 30_000 + "\nb: [" + "*a, " * 200 + "]\n"
    with pytest.raises(MarkedYamlError) as refused:
        load(text)
    assert refused.value.message == "more than 4194304 characters after aliases are expanded"
    assert refused.value.line == 2


@pytest.mark.parametrize("text", ["%YAML 1.1\n---", "a: b\nc:", "- a\n-", "---"])
def test_an_empty_value_at_the_very_end_stands_in_the_file(text: str) -> None:
    def places(node: Node) -> list[int]:
        if isinstance(node, Mapping):
            return [line for key, value in node.entries for line in (key.line, *places(value))]
        return [line for item in node.items for line in places(item)] if isinstance(node, Sequence) else [node.line]

    root = load(text).root
    assert root is not None
    assert max(places(root)) <= text.count("\n") + 1


def test_a_long_name_of_an_anchor_is_cut_in_messages() -> None:
    with pytest.raises(MarkedYamlError) as refused:
        load("a: *" + "x" * 5000)
    assert len(refused.value.message) < 100


def test_merges_that_multiply_are_refused() -> None:
    first = "- &a0 {" + ", ".join(f"k{n}: v" for n in range(500)) + "}"
    again = "- {<<: [" + ", ".join(["*a0"] * 1000) + "]}"
    assert refusal(f"{first}\n{again}")[0] == "more than 100000 values after aliases are expanded"


def test_a_path_finds_the_place_of_its_value() -> None:
    text = "source:\n  location: x\n  empty:\nenvironment:\n  environmentVariables:\n    - name: A\n      value: b\n"
    root = load(text).root
    assert find(root, ("source", "location")) == (2, 13)
    assert find(root, ("environment", "environmentVariables", 0, "name")) == (6, 13)
    assert find(root, ("environment", "environmentVariables", 0)) == (6, 7)


def test_a_path_to_something_missing_finds_the_last_key_that_is_there() -> None:
    root = load("\nsource:\n  location: x\n  empty:\nlist:\n  - a\n").root
    assert find(root, ("source", "empty")) == (4, 3)
    assert find(root, ("source", "type")) == (2, 1)
    assert find(root, ("source", "location", "deeper")) == (3, 3)
    assert find(root, ("list", 0, "x")) == (6, 5)
    assert find(root, ("list", 7)) == (5, 1)
    assert find(root, ("nothing", "at", "all")) == (2, 1)
    assert find(None, ("x",)) == (0, 0)


yamlish = st.text(alphabet=st.sampled_from("ab:-?[]{},&*!|>'\"%@`#~<\\ \t\n\r.0"), max_size=80)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60), yamlish))
def test_any_input_is_a_document_or_a_refusal(text: str | bytes) -> None:
    try:
        document = load(text)
    except MarkedYamlError:
        return
    to_plain(document.root)


values = st.recursive(
    st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_a_value_written_as_json_comes_back(value: object) -> None:
    assert plain(json.dumps(value, ensure_ascii=False)) == value
