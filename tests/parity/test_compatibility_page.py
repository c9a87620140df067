"""docs/COMPATIBILITY.md names every key that a buildspec may hold."""

from __future__ import annotations

import re
from pathlib import Path

import agent
from agent.buildspec import grammar

PAGE = Path(agent.__file__).parent.parent / "docs" / "COMPATIBILITY.md"


def key_paths() -> set[str]:
    """Return the path of every key that the parser knows, but for what lies inside of `batch`'s tasks."""
    under = {
        "env": grammar.ENV,
        "proxy": grammar.PROXY,
        "phases": grammar.PHASES,
        "phases.<phase>": grammar.PHASE,
        "phases.install": grammar.INSTALL.keys() - grammar.PHASE.keys(),
        "reports.<group>": grammar.REPORT,
        "artifacts": grammar.OLD_ARTIFACTS,
        "cache": grammar.CACHE,
        "batch": grammar.BATCH,
        "environment_variables": grammar.OLD_VARIABLES,
    }
    whole_sections = {"env", "proxy", "artifacts", "cache"}  # told by their keys
    return {
        *grammar.OLD_ROOT.keys() - whole_sections,
        *(f"{above}.{key}" for above, keys in under.items() for key in keys),
    }


def test_every_key_of_the_buildspec_has_its_row() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert key_paths() - named == set()
