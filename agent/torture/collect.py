"""Collect: asks daemon, AWS-shaped server, engine and directories for everything that the audit wants to see."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agent.errors import BuildspecdError
from agent.torture.evidence import Evidence, Found, Json
from agent.torture.recipes import Recipe
from agent.torture.world import BUCKET, HAND, World

KEPT: Final = frozenset({"plan.json", "log"})
"""What an ended build may leave in its directory."""
MOST_KIB, MOST_FILES = 400 * 1024, 256
"""What the last daemon may take."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ASIDE = re.compile(r"\..+\.[A-Za-z0-9_]{8}")
_TRACEBACK = "Traceback (most recent call last)"
_SHOWN = 300


def builds_found(world: World) -> tuple[Found, ...]:
    """Return every build with what is known of it. A daemon must answer."""
    recipes, buckets = world.recipes(), world.cloud.buckets()
    keys = list(buckets.get(BUCKET, {}).get("objects", {}))
    events: dict[str, list[Json]] = {}
    for event in world.cloud.events():
        events.setdefault(str(event["Detail"].get("build-id", "")), []).append(event)
    found = []
    for build in world.builds():
        number = build["id"].partition(":")[2]
        logs = build.get("logs", {})
        log_keys = [key for key in keys if key == f"logs/{number}.gz"]
        copy = _unpacked(world.cloud.object(BUCKET, log_keys[0])) if log_keys else None
        messages = world.cloud.messages(str(logs.get("groupName") or ""), str(logs.get("streamName") or ""))
        mine = [key for key in keys if key.startswith("artifacts/") and number in key]
        found.append(
            Found(
                build,
                _recipe_of(build, recipes, world),
                _log(world, build["id"]),
                copy,
                tuple(messages),
                {key: world.cloud.object(BUCKET, key) for key in mine},
                tuple(events.get(build["arn"], ())),
            )
        )
    return tuple(found)


def _log(world: World, build: str) -> bytes:
    with suppress(BuildspecdError):
        return world.subject.client.log(build)
    return b""


def _recipe_of(build: Json, recipes: Mapping[str, Recipe], world: World) -> Recipe | None:
    if build["projectName"] == HAND:
        return world.by_hand()
    versions = (build.get("resolvedSourceVersion"), build.get("sourceVersion"))
    return next((recipes[str(one)] for one in versions if one in recipes), None)


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompress(data, 16 + zlib.MAX_WBITS)
    except zlib.error as error:
        return f"(the object is no gzip: {error})".encode()


def exposed(world: World, builds: Iterable[Found]) -> tuple[str, ...]:
    """Return where a secret can be read that must not: logs, events, metrics, the state directory, the engine."""
    needles = [form for secret in world.secrets for form in (secret.encode(), base64.b64encode(secret.encode()))]

    def holds(data: bytes) -> bool:
        return any(needle in data for needle in needles)

    said = [f"the log of {one.id} on this host shows a secret" for one in builds if holds(one.spool)]
    said += [f"the log of {one.id} in S3 shows a secret" for one in builds if one.copy and holds(one.copy)]
    said += [f"CloudWatch shows a secret of {one.id}" for one in builds if holds("\n".join(one.messages).encode())]
    said += ["EventBridge shows a secret"] * holds(json.dumps(world.cloud.events()).encode())
    said += ["CloudWatch metrics show a secret"] * holds(json.dumps(world.cloud.metrics(), default=str).encode())
    said += [f"{path} shows a secret" for path in _files(world.ground.state) if holds(_read(path))]
    said += ["the daemon's own log shows a secret"] * holds(_read(world.ground.log))
    return (*said, *dict.fromkeys(world.shown))


def left_behind(world: World) -> tuple[str, ...]:
    """Return what nobody needs any more and is still there. The daemon has ended."""
    ground = world.ground
    said = [f"container {one[:12]} of {build}" for one, build in world.hands.containers().items()]
    said += [f"volume {name}" for name in world.hands.volumes_left()]
    for directory in sorted((ground.state / "builds").iterdir()):
        extra = sorted({entry.name for entry in directory.iterdir()} - KEPT) if directory.is_dir() else ["is a file"]
        said += [f"builds/{directory.name}: {', '.join(extra)}"] * bool(extra)
    secrets = ground.runtime / ground.agent_id
    said += [f"in memory: {path.name}" for path in _entries(secrets) if _UUID.fullmatch(path.name)]
    said += [f"keys in memory: {path.name}" for path in _entries(ground.runtime / f"{ground.agent_id}.keys")]
    said += [f"unfinished file {path}" for path in _files(ground.state) if _ASIDE.fullmatch(path.name)]
    said += [f"temporary file {path}" for path in _files(ground.place / "tmp")]
    mirrors = ground.state / "mirrors"
    said += [f"lock of git {path}" for path in mirrors.glob("*/*.lock")]
    said += [f"debris of git {path}" for path in mirrors.glob("*/objects/pack/tmp_*")]
    return tuple(f"left behind: {what}" for what in said)


def open_uploads(world: World) -> list[str]:
    """Return the keys of uploads in parts that nobody ended."""
    buckets = world.cloud.buckets()
    return [f"{name}/{key}" for name, bucket in buckets.items() for key in bucket["uploads"]]


def broken(world: World) -> tuple[str, ...]:
    """Return what the daemons themselves did wrong: ends that nobody asked for, tracebacks."""
    said = [*world.wrong, *world.subject.died]
    for number, line in enumerate(_read(world.ground.log).decode(errors="replace").splitlines(), start=1):
        if _TRACEBACK in line:
            said.append(f"{world.ground.log}:{number}: {_in_short(line)}")
    return tuple(said)


def _in_short(line: str) -> str:
    """Return what an entry of a daemon's log with a traceback says, and the end of that."""
    try:
        entry = json.loads(line)
        return f"{entry['message']}: {' '.join(str(entry['exception'])[-_SHOWN:].split())}"
    except (ValueError, KeyError, TypeError):
        return line[:_SHOWN]


def oversize(size: tuple[int, int]) -> list[str]:
    """Return what the last daemon takes too much of."""
    memory, files = size
    said = [f"the last daemon takes {memory // 1024} MiB of memory"] * (memory > MOST_KIB)
    return said + [f"the last daemon has {files} files open"] * (files > MOST_FILES)


def gathered(world: World, builds: tuple[Found, ...], more: Iterable[str]) -> Evidence:
    """Return the evidence as a whole. The daemon has ended."""
    heads = {project: tuple(line) for project, line in world.forge.heads.items()}
    return Evidence(heads, builds, world.excuses, exposed(world, builds), left_behind(world), (*broken(world), *more))


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _read(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


def as_document(value: Any) -> Any:
    """Return *value* as JSON can hold it."""
    return json.loads(json.dumps(value, default=str))
