"""Grammar: which keys a buildspec may hold, section by section (buildspec.md 2.1, 2.3, 13.2 to 13.4)."""

from __future__ import annotations

from collections.abc import Set
from difflib import get_close_matches

from agent.model.phase import PhaseType

Keys = Set[str]

PHASE_NAMES = {
    "install": PhaseType.INSTALL,
    "pre_build": PhaseType.PRE_BUILD,
    "build": PhaseType.BUILD,
    "post_build": PhaseType.POST_BUILD,
}

ROOT: Keys = frozenset(("version", "run-as", "env", "proxy", "batch", "phases", "reports", "artifacts", "cache"))
ENV: Keys = frozenset(
    ("shell", "variables", "parameter-store", "secrets-manager", "exported-variables", "git-credential-helper")
)
PROXY: Keys = frozenset(("upload-artifacts", "logs"))
PHASES: Keys = PHASE_NAMES.keys()
PHASE: Keys = frozenset(("run-as", "on-failure", "commands", "finally"))
INSTALL: Keys = PHASE | {"runtime-versions"}
REPORT: Keys = frozenset(("files", "file-format", "base-directory", "discard-paths"))
SECONDARY_ARTIFACT: Keys = frozenset(
    ("files", "name", "discard-paths", "base-directory", "exclude-paths", "enable-symlinks", "s3-prefix")
)
ARTIFACTS: Keys = SECONDARY_ARTIFACT | {"secondary-artifacts"}
CACHE: Keys = frozenset(("paths", "key", "fallback-keys", "action"))

BATCH: Keys = frozenset(("fast-fail", "build-list", "build-graph", "build-matrix", "build-fanout"))
BATCH_TASK: Keys = frozenset(("identifier", "buildspec", "env", "debug-session", "ignore-failure"))
BATCH_GRAPH_TASK: Keys = BATCH_TASK | {"depend-on"}
BATCH_ENV: Keys = frozenset(("compute-type", "fleet", "image", "type", "privileged-mode", "variables"))
BATCH_MATRIX: Keys = frozenset(("static", "dynamic"))
BATCH_MATRIX_SIDE: Keys = frozenset(("ignore-failure", "buildspec", "env"))
BATCH_FANOUT: Keys = frozenset(("parallelism", "ignore-failure"))

OLD_ROOT: Keys = ROOT | {"environment_variables"}
OLD_ARTIFACTS: Keys = ARTIFACTS | {"type"}
OLD_VARIABLES: Keys = frozenset(("plaintext",))
"""What version 0.1 spells differently."""

_HOMES = (
    (ROOT, "at the top level"),
    (PHASES, "under `phases`"),
    (INSTALL - PHASE, "under `phases.install`"),
    (frozenset(("commands", "finally", "on-failure")), "under a phase"),
    (ENV, "under the top-level `env`"),
    (BATCH, "under `batch`"),
    (BATCH_ENV, "in the project, or under `env` of a batch task"),
    (frozenset(("depend-on",)), "under a task of `batch.build-graph`"),
    (frozenset(("plaintext", "environment_variables")), "in version 0.1; write `env.variables`"),
    (ARTIFACTS, "under `artifacts`"),
    (CACHE, "under `cache`"),
)
"""Where a key is at home that stands in the wrong section; the first row that holds it counts."""

_LONGEST_GUESSED = 64  # the effort of a guess grows with the square of the length


def suggestion(key: str, known: Keys) -> str:
    """Return what the author of the unknown *key* probably meant, as the end of a sentence; empty without an idea."""
    if len(key) > _LONGEST_GUESSED:
        return ""
    meant = {_folded(name): name for name in sorted(known)}
    close = get_close_matches(_folded(key), meant, n=1, cutoff=0.75)
    if close:
        return f"did you mean `{meant[close[0]]}`?"
    for keys, home in _HOMES:
        if key in keys:
            return f"it belongs {home}"
    return ""


def _folded(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")
