"""Recipes: what each build of a torture run does, and, recomputed from its tag, what its log must hold. Pure."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

STARS: Final = "***"
PASSWORD, TOKEN = "/torture/password", "torture/token"
FACTOR, MODULUS = 7919, 1_000_003
LONG_LINES = 3000
ARTIFACT_LINES = 200
ARTIFACT_FILE = "out.txt"
CONTAINED: Final = {"slow": "timed-out", "tight": "oom"}
"""Projects whose builds are of one kind, because their limits make it."""


@dataclass(frozen=True)
class Outcome:
    """How a build must end when no fault comes in between. `whole`: it runs to its own end, so its log is complete."""

    statuses: frozenset[str]
    causes: frozenset[str]
    whole: bool


_GREEN = Outcome(frozenset({"SUCCEEDED"}), frozenset({""}), whole=True)
_TIME = frozenset({"TIMED_OUT_COMMANDS", "TIMED_OUT_SOURCE", "TIMED_OUT_PROVISIONING"})
OUTCOMES: Final[Mapping[str, Outcome]] = {
    "short": _GREEN,
    "long": _GREEN,
    "secret": _GREEN,
    "background": _GREEN,
    "finally": _GREEN,
    "cache": _GREEN,
    "report": _GREEN,
    "exported": _GREEN,
    "failing": Outcome(frozenset({"FAILED"}), frozenset({"COMMAND_FAILED"}), whole=True),
    "missing-command": Outcome(frozenset({"FAILED"}), frozenset({"COMMAND_NOT_FOUND"}), whole=True),
    "invalid": Outcome(frozenset({"FAILED"}), frozenset({"BUILDSPEC_INVALID"}), whole=True),
    "oom": Outcome(frozenset({"FAILED"}), frozenset({"OUT_OF_MEMORY"}), whole=True),
    "stopped": Outcome(frozenset({"STOPPED"}), frozenset({"STOPPED_BY_USER"}), whole=False),
    "timed-out": Outcome(frozenset({"TIMED_OUT", "FAILED"}), _TIME, whole=False),
    "by-hand": _GREEN,
}
"""Every kind of build, and how it ends."""
GENERAL: Final = (
    ("short", 4),
    ("long", 6),
    ("secret", 4),
    ("background", 4),
    ("finally", 2),
    ("cache", 2),
    ("report", 2),
    ("exported", 2),
    ("failing", 2),
    ("missing-command", 1),
    ("invalid", 1),
    ("stopped", 3),
)
"""Kinds of the projects without limits, and how often each is taken."""


def key_of(tag: str, stream: str) -> int:
    """Return the number that the sums of a stream begin with."""
    return zlib.crc32(f"{tag} {stream}".encode()) % MODULUS


def line(tag: str, stream: str, number: int) -> str:
    """Return line *number*, from 1, of a stream: nobody can make it up, and each is there once."""
    return f"@{tag} {stream} {number} {(number * FACTOR + key_of(tag, stream)) % MODULUS}"


def secret_line(tag: str, number: int) -> str:
    """Return a line in which a secret stood."""
    return f"@{tag} secret {number} {STARS}"


def burst(tag: str, stream: str, first: int, last: int) -> str:
    """Return a command that prints the lines *first* to *last* of a stream as fast as it can."""
    sums = f"(n*{FACTOR}+{key_of(tag, stream)})%{MODULUS}"
    return (
        f"awk 'BEGIN {{ for (n = {first}; n <= {last}; n++) "
        f'printf "\\100%s %s %d %d\\n", "{tag}", "{stream}", n, {sums} }}\''
    )


def trickle(tag: str, stream: str, first: int, last: int, pause: float) -> str:
    """Return a command that prints lines one by one, each in one write, with pauses."""
    sums = f"$(( (n*{FACTOR}+{key_of(tag, stream)}) % {MODULUS} ))"
    return f'n={first}; while [ $n -le {last} ]; do echo "@{tag} {stream} $n {sums}"; n=$((n+1)); sleep {pause:g}; done'


@dataclass(frozen=True)
class Recipe:
    """One commit's build: its kind, a tag that is its own, and how many seconds its commands take."""

    kind: str
    tag: str
    seconds: int = 3

    @property
    def outcome(self) -> Outcome:
        """How it must end."""
        return OUTCOMES[self.kind]

    def buildspec(self) -> str:
        """Return its buildspec.yml, in JSON, which is YAML."""
        return json.dumps(_BOOKS[self.kind](self), indent=1)

    def streams(self) -> dict[str, tuple[str, ...]]:
        """Return the lines of each stream that its log must hold, in their order; `free` ones may end early."""
        return _LINES[self.kind](self)

    def artifact(self) -> bytes:
        """Return what its artifact's one file holds."""
        return "".join(f"{line(self.tag, 'artifact', n)}\n" for n in range(1, ARTIFACT_LINES + 1)).encode()


FREE = frozenset({"background", "stubborn"})
"""Streams that the end of the build cuts off."""


def draw(chance: random.Random, project: str, tag: str) -> Recipe:
    """Return a recipe for a commit of *project*."""
    kind = CONTAINED.get(project)
    if kind is None:
        kind = chance.choices([name for name, _ in GENERAL], [weight for _, weight in GENERAL])[0]
    return Recipe(kind, tag, chance.choice((1, 2, 3, 5, 8)))


def _span(tag: str, stream: str, count: int) -> tuple[str, ...]:
    return tuple(line(tag, stream, n) for n in range(1, count + 1))


def _book(recipe: Recipe, phases: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    made = f"{burst(recipe.tag, 'artifact', 1, ARTIFACT_LINES)} > {ARTIFACT_FILE}"
    install = {"commands": [made, burst(recipe.tag, "install", 1, 20)]}
    post = {"commands": [burst(recipe.tag, "post", 1, 20)]}
    return {
        "version": 0.2,
        **sections,
        "phases": {"install": install, **phases, "post_build": post},
        "artifacts": {"files": [ARTIFACT_FILE]},
    }


def _framed(recipe: Recipe, **streams: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {"install": _span(recipe.tag, "install", 20), **streams, "post": _span(recipe.tag, "post", 20)}


def _main(recipe: Recipe) -> str:
    return trickle(recipe.tag, "build", 1, recipe.seconds * 5, 0.2)


def _plain(recipe: Recipe) -> dict[str, Any]:
    return _book(recipe, {"build": {"commands": [_main(recipe)]}})


def _plain_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return _framed(recipe, build=_span(recipe.tag, "build", recipe.seconds * 5))


def _long(recipe: Recipe) -> dict[str, Any]:
    commands = []
    for part in range(recipe.seconds):
        commands += [burst(recipe.tag, "build", part * LONG_LINES + 1, (part + 1) * LONG_LINES), "sleep 1"]
    return _book(recipe, {"build": {"commands": commands}})


def _long_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return _framed(recipe, build=_span(recipe.tag, "build", recipe.seconds * LONG_LINES))


def _secret(recipe: Recipe) -> dict[str, Any]:
    env = {"parameter-store": {"PASSWORD": PASSWORD}, "secrets-manager": {"TOKEN": TOKEN}}
    said = [f'echo "@{recipe.tag} secret 1 $PASSWORD"', f'echo "@{recipe.tag} secret 2 $TOKEN"']
    split = 'h=${PASSWORD%????}; printf "%s" "@' + recipe.tag + ' secret 3 $h"; sleep 1; echo "${PASSWORD#$h}"'
    return _book(recipe, {"build": {"commands": [*said, split, _main(recipe)]}}, env=env)


def _secret_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    secret = tuple(secret_line(recipe.tag, n) for n in (1, 2, 3))
    return _framed(recipe, secret=secret, build=_span(recipe.tag, "build", recipe.seconds * 5))


def _background(recipe: Recipe) -> dict[str, Any]:
    """Leave processes behind: one that prints, and one that prints and does not mind SIGTERM."""
    quiet = f"( {trickle(recipe.tag, 'background', 1, 5000, 0.3)} ) &"
    stubborn = f"( trap '' TERM INT HUP; {trickle(recipe.tag, 'stubborn', 1, 5000, 0.3)} ) &"
    return _book(recipe, {"build": {"commands": [quiet, stubborn, _main(recipe)]}})


def _background_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    free = {stream: _span(recipe.tag, stream, 5000) for stream in sorted(FREE)}
    return _framed(recipe, **free, build=_span(recipe.tag, "build", recipe.seconds * 5))


def _finally(recipe: Recipe) -> dict[str, Any]:
    return _book(recipe, {"build": {"commands": [_main(recipe)], "finally": [burst(recipe.tag, "finally", 1, 30)]}})


def _finally_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return _framed(
        recipe,
        build=_span(recipe.tag, "build", recipe.seconds * 5),
        **{"finally": _span(recipe.tag, "finally", 30)},
    )


def _failing(recipe: Recipe) -> dict[str, Any]:
    """Fail in BUILD: what stands behind is not run, the finally block and POST_BUILD are."""
    never = burst(recipe.tag, "never", 1, 5)
    ends = [burst(recipe.tag, "finally", 1, 30)]
    return _book(recipe, {"build": {"commands": [_main(recipe), "exit 3", never], "finally": ends}})


def _missing(recipe: Recipe) -> dict[str, Any]:
    commands = [_main(recipe), "no-such-command-anywhere", burst(recipe.tag, "never", 1, 5)]
    return _book(recipe, {"build": {"commands": commands, "finally": [burst(recipe.tag, "finally", 1, 30)]}})


def _cache(recipe: Recipe) -> dict[str, Any]:
    kept = "mkdir -p kept; " + burst(recipe.tag, "kept", 1, 500) + " > kept/lines"
    return _book(recipe, {"build": {"commands": [kept, _main(recipe)]}}, cache={"paths": ["kept/**/*"]})


def _report(recipe: Recipe) -> dict[str, Any]:
    xml = '<testsuite name="t" tests="1"><testcase classname="c" name="one" time="0.1"/></testsuite>'
    commands = [f"echo '{xml}' > tests.xml", _main(recipe)]
    return _book(recipe, {"build": {"commands": commands}}, reports={"unit": {"files": ["tests.xml"]}})


def _exported(recipe: Recipe) -> dict[str, Any]:
    commands = [f"export WORD=word-{recipe.tag}", _main(recipe)]
    return _book(recipe, {"build": {"commands": commands}}, env={"exported-variables": ["WORD"]})


def _invalid(_: Recipe) -> dict[str, Any]:
    return {"version": 0.2, "phases": {"build": {"commands": "none"}, "post_build": 7}}


def _endless(recipe: Recipe) -> dict[str, Any]:
    """Go on for so long that somebody must end it, with a process beside it that does not mind SIGTERM."""
    stubborn = f"( trap '' TERM INT HUP; {trickle(recipe.tag, 'stubborn', 1, 5000, 0.3)} ) &"
    return _book(recipe, {"build": {"commands": [stubborn, trickle(recipe.tag, "build", 1, 6000, 0.1)]}})


def _endless_lines(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    free = {"stubborn": _span(recipe.tag, "stubborn", 5000)}
    return _framed(recipe, **free, build=_span(recipe.tag, "build", 6000))


def _oom(recipe: Recipe) -> dict[str, Any]:
    """Need more memory than the container may have, in a process that has all of it: a line without an end."""
    commands = [_main(recipe), "head -c 400000000 /dev/zero | tail -n 1 > /dev/null"]
    return _book(recipe, {"build": {"commands": commands, "finally": [burst(recipe.tag, "finally", 1, 30)]}})


_BOOKS: Final[Mapping[str, Callable[[Recipe], dict[str, Any]]]] = {
    "short": _plain,
    "by-hand": _plain,
    "long": _long,
    "secret": _secret,
    "background": _background,
    "finally": _finally,
    "failing": _failing,
    "missing-command": _missing,
    "cache": _cache,
    "report": _report,
    "exported": _exported,
    "invalid": _invalid,
    "stopped": _endless,
    "timed-out": _endless,
    "oom": _oom,
}
_LINES: Final[Mapping[str, Callable[[Recipe], dict[str, tuple[str, ...]]]]] = {
    "short": _plain_lines,
    "by-hand": _plain_lines,
    "long": _long_lines,
    "secret": _secret_lines,
    "background": _background_lines,
    "finally": _finally_lines,
    "failing": _finally_lines,
    "missing-command": _finally_lines,
    "cache": _plain_lines,
    "report": _plain_lines,
    "exported": _plain_lines,
    "invalid": lambda _: {},
    "stopped": _endless_lines,
    "timed-out": _endless_lines,
    "oom": _finally_lines,
}
