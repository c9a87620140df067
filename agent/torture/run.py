"""Run: a daemon, builds and faults for some minutes; then peace, an end to everything that is open, and the audit."""

from __future__ import annotations

import os
import platform
import random
import secrets as randomness
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent import __version__
from agent.errors import BuildspecdError
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.torture import collect, damage, mishaps
from agent.torture.audit import POLL, STATE_CHANGE, audit, head_of
from agent.torture.cloud import CloudProcess
from agent.torture.evidence import Json, Verdict
from agent.torture.forge import Forge, serving
from agent.torture.hands import Hands
from agent.torture.recipes import PASSWORD, TOKEN, Recipe
from agent.torture.subject import Ground, Subject, remove_tree
from agent.torture.world import BUCKET, HAND, WEIGHTS, World

TURN_SECONDS = 0.1
MOST_OPEN = 9
"""Builds that may wait or run before another commit is pushed."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is wanted. *minutes*: of faults; *settle*: seconds that everything may take to end afterwards.

    *without*: kinds of fault that are left out.
    """

    seed: int
    minutes: float
    image: str
    settle: float = 900.0
    directory: Path | None = None
    keep: bool = False
    kill_every: float = 7.0
    mishap_every: float = 2.5
    push_every: float = 5.0
    without: frozenset[str] = frozenset()


@dataclass
class Result:
    """How a run went. `place`: where the evidence lies; None: it was removed."""

    order: Order
    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    starts: int = 0
    seconds: float = 0.0
    settle_seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    place: Path | None = None
    host: str = ""
    memory_kib: int = 0
    open_files: int = 0
    interrupted: bool = False

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.verdict.violations


def torture(order: Order, stop: StopToken, progress: Progress) -> Result:
    """Do what *order* says; *stop* ends it early, with the audit. Raises `BuildspecdError` where it cannot begin."""
    result = Result(order)
    with ExitStack() as stack:
        world = stack.enter_context(_world(order, result, progress))
        began = time.monotonic()
        _Conductor(world, order, stop, progress).play()
        result.seconds, result.interrupted = time.monotonic() - began, stop.is_set
        builds_open = _settle(world, order, progress)
        result.settle_seconds = time.monotonic() - began - result.seconds
        _judge(world, result, builds_open, progress)
        if order.keep or not result.kept:
            result.place = world.ground.place
    return result


@contextmanager
def _world(order: Order, result: Result, progress: Progress) -> Iterator[World]:
    """Make everything that a run needs, and remove it again; the evidence stays where it is to be kept."""
    hands = Hands(order.image)
    result.host = (
        f"buildspecd {__version__}, Docker {hands.version()}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    )
    if not hands.has_image():
        progress(f"pulling {order.image}")
        hands.pull()
    place = Path(tempfile.mkdtemp(prefix="buildspecd-torture-", dir=order.directory))
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else place  # noqa: S108 (made below, for us alone)
    ground = Ground(place, memory / f"buildspecd-torture-{uuid.uuid4().hex[:12]}")
    with ExitStack() as stack:
        stack.callback(_tidy, ground, result, order)
        own_disk = _mounted(ground)
        ground.make()
        cloud = stack.enter_context(CloudProcess(seed=order.seed))
        server = stack.enter_context(serving(ground.repositories))
        environment = {**cloud.environment, "TMPDIR": str(place / "tmp")}
        subject = Subject(ground, environment)
        stack.callback(_clear, hands, ground)
        stack.callback(subject.kill)
        forge = Forge(ground.repositories)
        chance = random.Random(order.seed)  # noqa: S311 (plays accidents, guards nothing)
        world = World(order.seed, order.image, ground, subject, forge, server, cloud, hands, chance, own_disk)
        if not own_disk:
            result.skipped.append("disk-full: only root with the right to mount has a disk of its own to fill")
        _stock(world)
        stack.callback(world.do_due, everything=True)
        yield world


def _clear(hands: Hands, ground: Ground) -> None:
    hands.agent = hands.agent or ground.agent_id
    hands.clear()


def _stock(world: World) -> None:
    """Fill the world: secrets, repositories with a first commit, projects, settings."""
    world.secrets = (f"hunter-{randomness.token_hex(12)}", f"correct-{randomness.token_hex(12)}")
    world.cloud.stock(buckets=(BUCKET,), parameters={PASSWORD: world.secrets[0]}, secrets={TOKEN: world.secrets[1]})
    for name in WEIGHTS:
        world.forge.make(name)
        world.push(name, Recipe("timed-out" if name == "slow" else "short", f"{world.seed:x}-{name}-1", 2))
    world.write_settings()
    world.write_projects()


def _mounted(ground: Ground) -> bool:
    """Give the state directory a small disk of its own, where that may be done."""
    ground.state.mkdir(mode=0o700)
    (ground.place / "tmp").mkdir()
    if os.geteuid() != 0:
        return False
    words = ["mount", "-t", "tmpfs", "-o", "size=768m,mode=0700", "buildspecd-torture", str(ground.state)]
    with suppress(OSError):
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    return False


def _tidy(ground: Ground, result: Result, order: Order) -> None:
    remove_tree(ground.runtime)
    if order.keep or result.place is not None:
        _keep_state(ground)
    if os.path.ismount(ground.state):
        subprocess.run(["umount", "--lazy", str(ground.state)], capture_output=True, check=False)
    if order.keep or result.place is not None:
        with suppress(OSError):
            ground.state.rmdir()
            (ground.place / "state.kept").rename(ground.state)
    else:
        remove_tree(ground.place)


def _keep_state(ground: Ground) -> None:
    """Copy what lies on the disk in memory to where it stays."""
    if os.path.ismount(ground.state):
        words = ["cp", "-a", str(ground.state), str(ground.place / "state.kept")]
        subprocess.run(words, capture_output=True, check=False)


class _Conductor:
    """Plays the faults: kills, mishaps of a shuffled deck, pushes, each at its own pace, until the time is over."""

    def __init__(self, world: World, order: Order, stop: StopToken, progress: Progress) -> None:
        self.world, self.order, self.stop, self.progress = world, order, stop, progress
        self.deck: list[str] = []
        self.due = dict.fromkeys(("kill", "mishap", "push", "look", "say"), 0.0)
        self.open = 0
        self.seen: set[str] = set()

    def play(self) -> None:
        """Start the first daemon and play."""
        world, clock = self.world, SystemClock()
        world.subject.start()
        stranger = world.hands.stranger(str(world.ground.place))
        began = time.monotonic()
        self.due = {"kill": 4.0, "mishap": 2.5, "push": 1.0, "look": 1.0, "say": 0.0}
        self.due = {name: began + seconds for name, seconds in self.due.items()}
        try:
            while time.monotonic() < began + self.order.minutes * 60 and not self.stop.is_set:
                self._turn()
                clock.wait(TURN_SECONDS, self.stop)
        finally:
            if not world.hands.exists(stranger):
                world.wrong.append("a container that is not ours was removed")
            elif not world.hands.remove(stranger) and world.hands.exists(stranger):
                world.wrong.append(f"the engine does not remove {stranger[:12]}, a container of this run")

    def _turn(self) -> None:
        world = self.world
        world.do_due()
        world.subject.tend()
        if self._is_time("look", 1.0):
            self._look()
        if self._is_time("push", self.order.push_every) and self.open < MOST_OPEN:
            world.push(world.some_project())
        if self._is_time("mishap", self.order.mishap_every):
            self._deal()
        if self._is_time("kill", self.order.kill_every) and mishaps.kill(world):
            world.tally["kill"] += 1
        if self._is_time("say", 2.0):
            self._say()

    def _is_time(self, name: str, pause: float) -> bool:
        now = time.monotonic()
        if now < self.due[name]:
            return False
        self.due[name] = now + self.world.chance.uniform(0.4, 1.6) * pause
        return True

    def _deal(self) -> None:
        """Do the next mishap of the deck that finds something to do."""
        every = {**mishaps.HOST, **mishaps.CLOUD}
        for _ in range(3):
            if not self.deck:
                self.deck = sorted(every.keys() - self.order.without)
                self.world.chance.shuffle(self.deck)
            name = self.deck.pop()
            if every[name](self.world):
                if name in mishaps.HOST:
                    self.world.tally[name] += 1
                return

    def _look(self) -> None:
        """Look at containers, and stop the builds that are to be stopped."""
        world = self.world
        world.hands.agent = world.hands.agent or world.ground.agent_id
        world.shown += world.hands.look(world.secrets)
        running = world.builds("IN_PROGRESS")
        if running or world.subject.ask("State"):
            self.open = len(running)
        _stop_endless(world, running, 0.4)

    def _say(self) -> None:
        world = self.world
        done = sum(world.cloud.done().values())
        pushes = sum(map(len, world.forge.heads.values()))
        self.progress(
            f"{pushes} pushes, {self.open} builds open, {world.subject.killed} kills, "
            f"{sum(world.tally.values())} faults of the host, {done} of AWS"
        )


def _stop_endless(world: World, running: list[Json], chance: float) -> None:
    recipes = world.recipes()
    for build in running:
        recipe = recipes.get(head_of(build))
        begun = build["currentPhase"] == "BUILD"
        if recipe and recipe.kind == "stopped" and begun and world.chance.random() < chance:
            world.subject.ask("StopBuild", id=build["id"])


def _settle(world: World, order: Order, progress: Progress) -> list[str]:
    """End all faults, start the daemon once more, and wait until nothing is open; return what still is at the end."""
    world.do_due(everything=True)
    world.cloud.clear()
    world.server.mood = ""
    (world.ground.state / damage.BALLAST).unlink(missing_ok=True)
    world.hands.unpause_all()
    world.write_settings()
    world.write_projects()
    mishaps.restart(world)
    for name in WEIGHTS:
        kind = {"slow": "timed-out", "tight": "oom"}.get(name, "short")
        world.push(name, Recipe(kind, f"{world.seed:x}-{name}-{len(world.forge.heads[name]) + 1}", 1))
    until, clock, wanted, once_more = time.monotonic() + order.settle, SystemClock(), [""], True
    while wanted and time.monotonic() < until:
        clock.wait(1.0, StopToken())
        world.do_due()
        world.subject.tend()
        world.subject.ask("Resume")
        wanted = _open(world)
        if once_more and len(wanted) == 1 and wanted[0].startswith("logs of"):
            once_more = False  # those that it has just closed itself a daemon leaves alone for a minute
            mishaps.restart(world)
        progress(f"settling: {'; '.join(wanted)[:150]}")
    return wanted


def _open(world: World) -> list[str]:
    """Return what still has to happen; empty: all has come to its end."""
    builds = world.builds()
    if not builds:
        return ["the daemon does not answer"]
    running = [build for build in builds if not build["buildComplete"]]
    _stop_endless(world, running, 1.0)
    built = {head_of(build) for build in builds}
    missing = [name for name, heads in world.forge.heads.items() if heads[-1].sha not in built]
    found = [f"last head of {name} is not built"[:60] for name in missing]
    found += [f"{len(running)} builds have not ended"] * bool(running)
    owing = [build for build in builds if build["buildComplete"] and _owes(build)]
    found += [f"logs of {len(owing)} builds have not arrived"] * bool(owing)
    if found:
        return found
    ends = Counter(event["Detail"]["build-id"] for event in world.cloud.events() if _is_end(event))
    untold = [build for build in builds if not ends[build["arn"]]]
    found += [f"ends of {len(untold)} builds have not been told"] * bool(untold)
    containers = world.hands.containers()
    return found + [f"{len(containers)} containers are still there"] * bool(containers)


def _owes(build: Json) -> bool:
    """Whether a sink has less of a log than it will have."""
    logs = build["buildspecd"]["logs"]
    gaps = {gap["sink"]: 0 for gap in logs["gaps"]}
    for gap in logs["gaps"]:
        gaps[gap["sink"]] += gap["end"] - gap["start"]
    return any(count + gaps.get(sink, 0) < logs["bytes"] for sink, count in logs["delivered"].items())


def _is_end(event: Json) -> bool:
    return bool(event["DetailType"] == STATE_CHANGE and event["Detail"]["build-status"] != "IN_PROGRESS")


def _judge(world: World, result: Result, still_open: list[str], progress: Progress) -> None:
    """Gather the evidence, end the daemon, audit."""
    progress("auditing")
    more = [f"not settled in {result.order.settle:g} seconds: {what}" for what in still_open]
    with suppress(OSError):
        result.memory_kib, result.open_files = world.subject.size()
    more += collect.oversize((result.memory_kib, result.open_files))
    builds = collect.builds_found(world)
    result.starts = world.subject.starts
    if (code := world.subject.terminate()) != 0:
        more.append(f"the last daemon ended with {code}" if code is not None else "the last daemon did not end")
    evidence = collect.gathered(world, builds, more)
    result.verdict = audit(evidence)
    tokens = {one.id for one in builds if one.build["projectName"] == HAND and one.build["initiator"] != POLL}
    lost = [number for number in world.tokens.values() if number not in tokens]
    result.verdict.blame("P1", (f"a build that was started by API is gone: {number}" for number in lost))
    result.verdict.allowed += [f"upload in parts that a kill left: {key}" for key in collect.open_uploads(world)]
    result.kills = world.subject.killed
    result.faults = {**world.tally, **world.cloud.done()}


def default_image() -> str:
    """Return an image that is on this host and will do, or one to be pulled."""
    for image in ("busybox:latest", "busybox:1", "debian:12-slim", "alpine:latest"):
        with suppress(BuildspecdError):
            if Hands(image).has_image():
                return image
    return "busybox:latest"
