"""Secrets in the forms that real tools give them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.buildlog.forms import BASE64_FROM, forms
from agent.buildlog.masking import Masker
from tests.unit.buildlog.test_masking import going_on, streamed, whole

SECRET = "pa$$w'o''rd \"é\"/+&<x>\\,~!*(t)"
TWO_LINES = "first\tl'ine\nsec`ond` $line"


def masked(secret: str, text: bytes) -> bytes:
    return streamed(Masker([secret]), text)


def shell_output(shell: str, secret: str, script: str) -> bytes:
    """Return what *script* prints under *shell*, with S holding *secret*, and nothing else in the environment."""
    program, *words = {"ash": ["busybox", "ash"]}.get(shell, [shell])
    found = shutil.which(program)
    assert found, f"this test needs {program}"
    environ = {"PATH": "/usr/bin:/bin", "S": secret, "LC_ALL": "C.UTF-8"}
    line = [found, *words, "-c", script]
    return subprocess.run(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout


@pytest.mark.parametrize("shell", ["dash", "ash", "bash"])
@pytest.mark.parametrize("script", ["export -p", 'set -x; : "$S"', "set", "set -x; X=$S", "export -p | cat -"])
@pytest.mark.parametrize("secret", [SECRET, TWO_LINES, "it's", "'''quotes'''", "tabul\ta\x01\x7f", "plain-token_123"])
def test_what_shells_print_of_a_variable_is_masked(shell: str, script: str, secret: str) -> None:
    text = shell_output(shell, secret, script)
    left = masked(secret, text)
    assert b"***" in left, text
    assert _leaks(secret, left) == [], text


@pytest.mark.parametrize("script", ['printf "%q\\n" "$S"', 'echo "${S@Q}"', 'echo "${S@A}"', "declare -p S"])
@pytest.mark.parametrize("secret", [SECRET, TWO_LINES, "it's", "plain-token_123", "#~a=~b:~c,{d}^[e]?"])
def test_what_bash_quotes_is_masked(script: str, secret: str) -> None:
    left = masked(secret, shell_output("bash", secret, script))
    assert b"***" in left
    assert _leaks(secret, left) == []


def _leaks(secret: str, text: bytes) -> list[str]:
    """Return the words of *secret* that can be read in *text*."""
    words = ["pa$$w", "rd ", "first", "ine", "sec", "line", "quotes", "token", "it's", "tabul"]
    return [word for word in words if word in secret and word.encode() in text]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: urllib.parse.quote(text).lower().replace("%c3%a9", "%c3%a9"),
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda text: urllib.parse.quote(text, safe="!'()*~"),  # encodeURIComponent
        lambda text: urllib.parse.quote_plus(text, safe="*").replace("~", "%7E"),  # Java, URLSearchParams
        lambda text: json.dumps(text),
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: json.dumps(text).replace("/", "\\/"),  # PHP
        lambda text: (
            json.dumps(text, ensure_ascii=False)  # Go
            .replace("&", "\\u0026")
            .replace("<", "\\u003c")
            .replace(">", "\\u003e")
        ),
        lambda text: (
            '"pa$$w\\u0027o\\u0027\\u0027rd \\u0022\\u00E9\\u0022/\\u002B\\u0026\\u003Cx\\u003E\\\\,~!*(t)"'
        ),  # .NET
        lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    ],
)
def test_what_libraries_make_of_a_value_is_masked(spelling) -> None:
    text = spelling(SECRET)
    assert masked(SECRET, text.encode()).strip(b'"') == b"***"


def test_real_curl_spelling_is_masked() -> None:
    escaped = "".join(sign if sign.isalnum() and sign.isascii() else f"%{byte:02X}"
                      for sign in "a b/c+d=e&f" for byte in sign.encode())  # fmt: skip
    assert masked("a b/c+d=e&f", escaped.encode()) == b"***"


@pytest.mark.parametrize("columns", [76, 64])
@pytest.mark.parametrize("secret", ["s3cr3t", "hunter22", "correct horse battery staple", "k" * 40 + "~?>" * 20])
def test_base64_of_a_longer_text_is_masked_wherever_its_lines_break(secret: str, columns: int) -> None:
    program = shutil.which("base64")
    assert program
    for before in range(0, 80, 1 if len(secret) < 10 else 7):
        text = f"{'u' * before}{secret}{'v' * 50}\n".encode()
        encoded = subprocess.run([program, "-w", str(columns)], input=text, capture_output=True, check=True).stdout
        left = masked(secret, encoded)
        assert left.count(b"***") == 1, (before, encoded)
        kept = left.replace(b"***", b"").replace(b"\n", b"").rstrip(b"=")
        assert len(kept) <= (before + 51) * 4 / 3 + 4


def test_base64_from_six_bytes_on_is_masked_and_not_below() -> None:
    assert BASE64_FROM == 6
    for secret, there in (("hato", False), ("five5", False), ("sixsix", True)):
        assert (b"***" in masked(secret, base64.b64encode(f"{secret}\n".encode()))) is there


secrets = st.text("abX~?>é", min_size=1, max_size=70)


@given(secret=secrets, before=st.text("uv", max_size=90), after=st.text("w", max_size=90), size=st.integers(1, 50))
@example(secret="sixsix", before="u" * 56, after="", size=3)
def test_every_cut_gives_what_the_whole_text_gives_also_for_broken_base64(
    secret: str, before: str, after: str, size: int
) -> None:
    data = base64.encodebytes((before + secret + after).encode())
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert going_on(Masker([secret]), *chunks) == whole(data, secret)
    assert Masker([secret]).mask(data) == whole(data, secret)


def test_a_large_secret_makes_no_endless_number_of_forms() -> None:
    assert len(forms("x" * 190)) < 600
    assert len(forms("y" * 60_000)) < 20
    assert sum(map(len, forms("z" * 192))) < 200_000
