"""Grammar: every key that a buildspec may hold, what it takes and what it is for (buildspec.md 2.1, 2.3, 13.2 to 13.4).

Written once: the reader, its suggestions, the JSON Schema for editors and the fuzzer's dictionary all start from here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum

from agent.model.phase import PhaseType


class Kind(Enum):
    """What the value of a key looks like."""

    VERSION = "a number"
    TEXT = "a text; numbers and booleans keep their spelling"
    YES_NO = "yes or no"
    NUMBER = "a whole number"
    TEXTS = "a list of texts"
    TABLE = "a map of texts"
    TABLE_OF_LISTS = "a map of lists of texts"
    SECTION = "a map whose keys are known"
    NAMED_SECTIONS = "a map of such maps, under free names"
    SECTIONS = "a list of such maps"


@dataclass(frozen=True)
class Key:
    """One key. `help` is one sentence for editors, `keys` what a section holds.

    `values` are the words that make sense; `pattern` (for Python and for JSON Schema alike) is what any text that
    makes sense matches, in whole; where there is none, the words are all, in any case. `least` and `most` bound a
    number, or the length of a list (0: no bound). `one_will_do`: one text is as good as a list.
    """

    kind: Kind
    help: str
    keys: Mapping[str, Key] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    pattern: str = ""
    required: bool = False
    least: int = 0
    most: int = 0
    one_will_do: bool = False


Keys = Mapping[str, Key]

PHASE_NAMES = {
    "install": PhaseType.INSTALL,
    "pre_build": PhaseType.PRE_BUILD,
    "build": PhaseType.BUILD,
    "post_build": PhaseType.POST_BUILD,
}
FILE_FORMATS = (
    *("JUNITXML", "NUNITXML", "NUNIT3XML", "CUCUMBERJSON", "TESTNGXML", "VISUALSTUDIOTRX"),
    *("CLOVERXML", "COBERTURAXML", "JACOCOXML", "SIMPLECOV"),
)
"""The formats of reports (buildspec.md 12.1)."""
RUNTIMES = ("android", "docker", "dotnet", "golang", "java", "nodejs", "php", "python", "ruby", "rust")
"""The runtimes of AWS's images, present and past; an image of one's own may have others (buildspec.md 9)."""

IDENTIFIER = "[A-Za-z0-9_]{1,127}"
RUNTIME_VERSION = r"\s*(\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|[A-Za-z0-9][A-Za-z0-9._+-]*)\s*"
ON_FAILURE = (
    r"\s*([Aa][Bb][Oo][Rr][Tt]|[Cc][Oo][Nn][Tt][Ii][Nn][Uu][Ee]|[Rr][Ee][Tt][Rr][Yy]"
    r"(-0*(100|[0-9]{1,2})(-[\s\S]*\S)?|-(?![0-9]+(-|\s*$))[\s\S]*\S)?)\s*"
)
MOST_FALLBACK_KEYS = 5
MOST_REPORT_GROUPS = 5
MOST_BUILDS = 1000
"""Of one batch. CodeBuild's bound is the project's `maximumBuildsAllowed`; this one keeps a matrix from exploding."""

_TEXT, _TEXTS, _TABLE, _YES_NO = Kind.TEXT, Kind.TEXTS, Kind.TABLE, Kind.YES_NO

_USER = Key(_TEXT, "The Linux user of the commands; the phase's own wins over that of the file.")
_NAMES_ARE_SHELL_NAMES = "Names and values of environment variables; values are taken literally, nothing is expanded."

PHASE: Keys = {
    "run-as": _USER,
    "on-failure": Key(
        _TEXT,
        "What happens when the phase fails: end the build, go on, or try again, up to a count and for errors that "
        "match a regular expression.",
        values=("ABORT", "CONTINUE", "RETRY"),
        pattern=ON_FAILURE,
    ),
    "commands": Key(_TEXTS, "What the phase runs, one command after the other, until one fails."),
    "finally": Key(_TEXTS, "What runs after the commands, whether or not they failed."),
}
INSTALL: Keys = {
    **PHASE,
    "runtime-versions": Key(
        _TABLE,
        "The runtimes to use and their versions, such as `python: 3.12`, `nodejs: 20.x` or `java: latest`.",
        values=RUNTIMES,
        pattern=RUNTIME_VERSION,
    ),
}
PHASES: Keys = {
    "install": Key(Kind.SECTION, "Packages and runtimes that the build needs.", keys=INSTALL),
    "pre_build": Key(Kind.SECTION, "What comes before the build, such as a login.", keys=PHASE),
    "build": Key(Kind.SECTION, "The build itself.", keys=PHASE),
    "post_build": Key(Kind.SECTION, "What comes after the build, also after one that failed.", keys=PHASE),
}
ENV: Keys = {
    "shell": Key(
        _TEXT,
        "The shell that runs the commands; `/bin/sh` where nothing is said.",
        values=("bash", "/bin/sh"),
        pattern=r"[\s\S]*",
    ),
    "variables": Key(_TABLE, _NAMES_ARE_SHELL_NAMES),
    "parameter-store": Key(_TABLE, "Variables whose values are parameters of SSM Parameter Store, by their names."),
    "secrets-manager": Key(
        _TABLE,
        "Variables whose values are secrets of Secrets Manager: `secret-id[:json-key[:version-stage[:version-id]]]`.",
    ),
    "exported-variables": Key(_TEXTS, "Names of variables that are published with the finished build."),
    "git-credential-helper": Key(_YES_NO, "Whether git in the build may use the credentials of the source."),
}
PROXY: Keys = {
    "upload-artifacts": Key(_YES_NO, "Whether artifacts are uploaded through an explicit proxy."),
    "logs": Key(_YES_NO, "Whether logs are sent through an explicit proxy."),
}
REPORT: Keys = {
    "files": Key(_TEXTS, "Patterns of the result files, below the base directory.", required=True, least=1),
    "file-format": Key(_TEXT, "The format of the result files; JUNITXML where nothing is said.", values=FILE_FORMATS),
    "base-directory": Key(_TEXT, "The directory that the patterns start from; else the root of the source."),
    "discard-paths": Key(_YES_NO, "Whether exported result files lose their directories."),
}
SECONDARY_ARTIFACT: Keys = {
    "files": Key(_TEXTS, "Patterns of the files to keep, such as `**/*`, below the base directory.", required=True),
    "name": Key(_TEXT, "Name of the artifact, evaluated by the shell; used where the project lets it."),
    "discard-paths": Key(_YES_NO, "Whether files lose their directories in the artifact."),
    "base-directory": Key(_TEXT, "The directory, or a pattern of directories, that the patterns of files start from."),
    "exclude-paths": Key(_TEXTS, "Patterns of files to leave out, relative to the base directory.", one_will_do=True),
    "enable-symlinks": Key(_YES_NO, "Whether a ZIP keeps symbolic links as links."),
    "s3-prefix": Key(_TEXT, "What the keys in S3 begin with, where the project's namespace is BUILD_ID."),
}
ARTIFACTS: Keys = {
    **SECONDARY_ARTIFACT,
    "secondary-artifacts": Key(
        Kind.NAMED_SECTIONS,
        "More artifacts, each under the identifier that the project gives it.",
        keys=SECONDARY_ARTIFACT,
        pattern=IDENTIFIER,
    ),
}
CACHE: Keys = {
    "paths": Key(_TEXTS, "What is kept from build to build, absolute or below the root of the source."),
    "key": Key(_TEXT, "The exact name of the cache, evaluated by the shell."),
    "fallback-keys": Key(
        _TEXTS,
        "Beginnings of names to try, in this order, when there is no cache of that key.",
        most=MOST_FALLBACK_KEYS,
    ),
    "action": Key(_TEXT, "Only restore the cache, or only save it; else both.", values=("restore", "save")),
}

BATCH_ENV: Keys = {
    "compute-type": Key(_TEXT, "The compute type of the build; not beside `fleet`."),
    "fleet": Key(_TEXT, "The fleet that the build runs on; not beside `compute-type`."),
    "image": Key(_TEXT, "The image of the build."),
    "type": Key(_TEXT, "The kind of environment, such as LINUX_CONTAINER."),
    "privileged-mode": Key(_YES_NO, "Whether the build's container is privileged."),
    "variables": Key(_TABLE, _NAMES_ARE_SHELL_NAMES),
}
BATCH_TASK: Keys = {
    "identifier": Key(
        _TEXT, "The name of the build: letters, digits and underscores.", pattern=IDENTIFIER, required=True
    ),
    "buildspec": Key(_TEXT, "The build's own buildspec file; else this one."),
    "env": Key(Kind.SECTION, "What this build changes of the project's environment.", keys=BATCH_ENV),
    "debug-session": Key(_YES_NO, "Whether a session may be opened in the build."),
    "ignore-failure": Key(_YES_NO, "Whether the batch may succeed though this build fails."),
}
BATCH_GRAPH_TASK: Keys = {
    **BATCH_TASK,
    "depend-on": Key(_TEXTS, "Identifiers of the builds that must end before this one starts.", one_will_do=True),
}
BATCH_STATIC: Keys = {
    "ignore-failure": BATCH_TASK["ignore-failure"],
    "env": Key(Kind.SECTION, "What all builds change of the project's environment.", keys=BATCH_ENV),
}
BATCH_DYNAMIC_ENV: Keys = {
    "compute-type": Key(_TEXTS, "The compute types to combine."),
    "image": Key(_TEXTS, "The images to combine."),
    "variables": Key(Kind.TABLE_OF_LISTS, "Environment variables, each with the values to combine."),
}
BATCH_DYNAMIC: Keys = {
    "buildspec": Key(_TEXTS, "The buildspec files to combine."),
    "env": Key(Kind.SECTION, "The environments to combine.", keys=BATCH_DYNAMIC_ENV),
}
BATCH_MATRIX: Keys = {
    "static": Key(Kind.SECTION, "What is the same for all builds.", keys=BATCH_STATIC),
    "dynamic": Key(
        Kind.SECTION, "What is combined: one build for each combination of values.", keys=BATCH_DYNAMIC, required=True
    ),
}
BATCH_FANOUT: Keys = {
    "parallelism": Key(Kind.NUMBER, "How many builds share the tests.", required=True, least=1, most=MOST_BUILDS),
    "ignore-failure": BATCH_TASK["ignore-failure"],
}
BATCH_KINDS: Keys = {
    "build-list": Key(Kind.SECTIONS, "Builds that start at once.", keys=BATCH_TASK, least=1, most=MOST_BUILDS),
    "build-graph": Key(Kind.SECTIONS, "Builds that wait for others.", keys=BATCH_GRAPH_TASK, least=1, most=MOST_BUILDS),
    "build-matrix": Key(Kind.SECTION, "One build for each combination of values.", keys=BATCH_MATRIX),
    "build-fanout": Key(Kind.SECTION, "Builds that share the tests among them.", keys=BATCH_FANOUT),
}
"""A batch has exactly one of them."""
BATCH: Keys = {
    "fast-fail": Key(_YES_NO, "Whether the first build that fails stops all others."),
    **BATCH_KINDS,
}

ROOT: Keys = {
    "version": Key(Kind.VERSION, "The version of the grammar: 0.2.", values=("0.2", "0.1"), required=True),
    "run-as": _USER,
    "env": Key(Kind.SECTION, "The shell, and variables of all commands.", keys=ENV),
    "proxy": Key(Kind.SECTION, "What goes through an explicit proxy.", keys=PROXY),
    "batch": Key(Kind.SECTION, "The builds of a batch; a plain build ignores them.", keys=BATCH),
    "phases": Key(Kind.SECTION, "What the build runs, in four phases.", keys=PHASES),
    "reports": Key(
        Kind.NAMED_SECTIONS,
        "Results of tests and coverage, each under the name or the ARN of its report group; $VARIABLES are expanded.",
        keys=REPORT,
        most=MOST_REPORT_GROUPS,
    ),
    "artifacts": Key(Kind.SECTION, "The files that the build leaves behind.", keys=ARTIFACTS),
    "cache": Key(Kind.SECTION, "The files that later builds start with.", keys=CACHE),
}

OLD_VARIABLES: Keys = {"plaintext": Key(_TABLE, _NAMES_ARE_SHELL_NAMES)}
OLD_ROOT: Keys = {
    **ROOT,
    "environment_variables": Key(Kind.SECTION, "Version 0.1's spelling of `env.variables`.", keys=OLD_VARIABLES),
}
_OLD_TYPE = Key(_TEXT, "The kind of the artifact, such as zip; of no effect, and unknown to version 0.2.")
OLD_ARTIFACTS: Keys = {**ARTIFACTS, "type": _OLD_TYPE}
OLD_SECONDARY_ARTIFACT: Keys = {**SECONDARY_ARTIFACT, "type": _OLD_TYPE}
"""What version 0.1 spells differently."""

_HOMES: tuple[tuple[Collection[str], str], ...] = (
    (ROOT, "at the top level"),
    (PHASES, "under `phases`"),
    (INSTALL.keys() - PHASE.keys(), "under `phases.install`"),
    (("commands", "finally", "on-failure"), "under a phase"),
    (ENV, "under the top-level `env`"),
    (BATCH, "under `batch`"),
    (BATCH_ENV, "in the project, or under `env` of a batch task"),
    (("depend-on",), "under a task of `batch.build-graph`"),
    (("identifier", "debug-session", "ignore-failure"), "under a task of `batch`"),
    (("static", "dynamic"), "under `batch.build-matrix`"),
    (("imagePullCredentialsType", "privileged"), "in the project"),
    (("plaintext", "environment_variables"), "in version 0.1; write `env.variables`"),
    (ARTIFACTS.keys() - {"name"}, "under `artifacts`"),
    (("paths", "fallback-keys"), "under `cache`"),
)
"""Where a key is at home that stands in the wrong section; the first row that holds it counts.

Words that mean something in many places, such as `name` and `key`, have no row: a wrong guess is worse than none.
"""

_HOME_OF = {key: home for keys, home in reversed(_HOMES) for key in keys}

_ARTIFACT_SECTION = r"artifacts(?:\.secondary-artifacts\..+)?"
_HABITS = (
    (_ARTIFACT_SECTION, r"type", "it is a key of version 0.1; whether artifacts become a ZIP is said in the project"),
    (_ARTIFACT_SECTION, r"packaging|location|s3|encryption-?disabled", "where artifacts go is said in the project"),
    (r"(?:.+\.)?env", r"env|environment", "variables belong under `variables`"),
    (r"batch\.build-matrix\.static", r"buildspec", "it belongs under `batch.build-matrix.dynamic`"),
    (r"batch\.build-(?:list|graph)\[\d+\]", r"phases|reports|artifacts|cache", "it belongs in the build's own file"),
)
"""What is often written in a section, by patterns of the section's path and of the key, and what to say of it."""

_ENV_SECTION = re.compile(r"(?:.+\.)?env")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_PHASES_RUN = "only install, pre_build, build and post_build are run"
_CLOSE, _CLOSER, _NEARLY_THE_SAME = 0.75, 0.8, 0.9
"""How much a guess has to resemble; more for phases, whose names people make up, and for keys of other sections."""

_LONGEST_GUESSED = 64  # the effort of a guess grows with the square of the length


def suggestion(key: str, known: Collection[str], *, path: str = "", there: Collection[str] = ()) -> str:
    """Return what the author of the unknown *key* probably meant, as the end of a sentence; empty without an idea.

    *known* are the keys of the section at *path*, *there* those that it holds: none of them can have been meant.
    """
    if len(key) > _LONGEST_GUESSED:
        return ""
    for section, habit, advice in _HABITS:
        if re.fullmatch(section, path) and re.fullmatch(habit, key):
            return advice
    absent = [name for name in known if name not in there]
    close = closest(key, absent, _CLOSER if path == "phases" else _CLOSE) or _begun(key, absent)
    if close:
        return f"did you mean `{close}`?"
    if _ENV_SECTION.fullmatch(path) and _VARIABLE.fullmatch(key):
        return "a variable belongs under `variables`"
    home = "" if closest(key, known) else closest(key, _HOME_OF, _NEARLY_THE_SAME)
    if home:
        return f"it belongs {_HOME_OF[home]}"
    return _PHASES_RUN if path == "phases" else ""


def closest(word: str, known: Collection[str], least: float = _CLOSE) -> str:
    """Return the one of *known* that *word* resembles most, by *least* (0 to 1) at least; empty where there is none."""
    if len(word) > _LONGEST_GUESSED:
        return ""
    meant = {_folded(name): name for name in sorted(known)}
    close = get_close_matches(_folded(word), meant, n=1, cutoff=least)
    return meant[close[0]] if close else ""


def _begun(key: str, known: Collection[str]) -> str:
    """Return the one of *known* that begins with *key*, such as `exclude-paths` for `exclude`; empty without one."""
    longer = [name for name in known if len(key) > 3 and _folded(name).startswith(_folded(key))]
    return longer[0] if len(longer) == 1 else ""


def _folded(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")
