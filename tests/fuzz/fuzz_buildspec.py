"""A coverage-guided fuzzer of the buildspec parser: `make fuzz MINUTES=5`.

What it finds is written to the corpus directory as `crash-*`, `timeout-*` or `oom-*`; each becomes a test and a mend.
Needs the extra `fuzz`. Everything behind `--` goes to libFuzzer.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agent.buildspec", "agent.kit.marked_yaml", "agent.model", "yaml"]):
    from agent.buildspec import grammar
    from tests.fuzz.invariants import check

SEEDS = Path(__file__).parent / "seeds"
_LARGEST = 1 << 16
_SIGNS = (
    *("- ", ": ", "? ", "&a ", "*a", "<<: *a", "!!str ", "|2-\\x0a", ">+\\x0a", "---\\x0a", "...\\x0a", "%YAML 1.1"),
    *("{", "}", "[", "]"),
)
_VALUES = (
    *("0.1", "0.2", "RETRY-2-", "ABORT", "CONTINUE", "yes", "no", "JUNITXML", "$NAME", "~"),
    *("\\xef\\xbb\\xbf", "\\xff\\xfe"),
)

_TABLES = [table for name, table in vars(grammar).items() if name.isupper() and isinstance(table, Mapping)]
KEYS = sorted({key for table in _TABLES for key in table if isinstance(key, str)})
"""Every key of the grammar."""
PLAIN_VALUES = (
    *("", "~", "0.2", "yes", "no", "3", "-1", "1000000", "a", "[a]", "[]", "{}", "{a: b}", "[[a]]", "[{a: b}]", "'$X'"),
    *("&x [a]", "*x", "RETRY-2-x+", "RETRY-(a", "[a, b, c]", "{<<: *x}", "|", "'a: b'", '"\\e[1m\\n"', "BUILD_X"),
)


def main() -> None:
    """Fuzz until the time is up or something is found."""
    parser = argparse.ArgumentParser(description="Fuzz the buildspec parser.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--corpus", type=Path, default=Path(".cache/fuzz"), help="kept from run to run")
    given, rest = parser.parse_known_args()
    corpus = given.corpus
    (corpus / "inputs").mkdir(parents=True, exist_ok=True)
    dictionary_file = corpus / "words"
    dictionary_file.write_text("".join(f'"{word}"\n' for word in dictionary()))
    options = [
        f"-max_total_time={round(given.minutes * 60)}",
        f"-max_len={_LARGEST}",
        f"-dict={dictionary_file}",
        f"-artifact_prefix={corpus}/",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    words = [sys.argv[0], str(corpus / "inputs"), str(SEEDS), *options, *rest]
    atheris.Setup(words, lambda data: check(data) and None, custom_mutator=mutate)
    atheris.Fuzz()


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Return *data* changed: every other time by whole lines, so that it stays YAML more often."""
    dice = random.Random(seed)  # no secret: libFuzzer wants the same change for the same seed
    lines = data.split(b"\n")
    if dice.random() < 0.5 or len(lines) < 2:
        return atheris.Mutate(data, most)
    for _ in range(dice.randint(1, 3)):
        change_a_line(lines, dice)
    return b"\n".join(lines)[:most]


def change_a_line(lines: list[bytes], dice: random.Random) -> None:
    """Repeat, drop, move or indent a line, or give it another key or value."""
    at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    line = lines[at]
    inner = line.lstrip(b" ")
    margin = line[: len(line) - len(inner)]
    key, colon, value = inner.partition(b":")
    match dice.randrange(8):
        case 0:
            lines.insert(other, line)
        case 1 if len(lines) > 2:
            del lines[at]
        case 2:
            lines[at], lines[other] = lines[other], line
        case 3:
            lines[at] = b"  " + line
        case 4:
            lines[at] = line[2:] if line.startswith(b"  ") else b"- " + line
        case 5 if colon:
            lines[at] = margin + dice.choice(KEYS).encode() + colon + value
        case 6 if colon:
            lines[at] = margin + key + b": " + dice.choice(PLAIN_VALUES).encode()
        case _:
            lines.insert(at, margin + dice.choice(KEYS).encode() + b": " + dice.choice(PLAIN_VALUES).encode())


def dictionary() -> list[str]:
    """Return every key of the grammar, and what else makes a difference to YAML."""
    return sorted({*(f"{key}:" for key in KEYS), *_SIGNS, *_VALUES})


if __name__ == "__main__":
    main()
