"""Mishaps: every fault that a torture run does to the host's side of the agent; each mends itself after a while."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from agent.model.cause import Cause
from agent.torture import damage
from agent.torture.cloud import KINDS, Fault
from agent.torture.damage import GIT_CAUSES
from agent.torture.recipes import draw
from agent.torture.world import HAND, World

Mishap = Callable[[World], bool]
"""Does its work and returns whether there was anything to do it to."""


def kill(world: World) -> bool:
    """SIGKILL, whatever it does; a new daemon comes a moment later."""
    killed = world.subject.kill()
    world.later(world.chance.uniform(0, 1.5), world.subject.start)
    return killed


def kill_at_start(world: World) -> bool:
    """SIGKILL twice, the second time inside the first second of a start."""
    world.subject.kill()
    world.subject.start()

    def again() -> None:
        world.subject.kill()
        world.subject.start()

    world.later(world.chance.uniform(0.05, 1.0), again)
    return True


def kill_while_draining(world: World) -> bool:
    """SIGKILL while it takes no new builds; the drain is taken back later."""
    if world.subject.ask("Drain") is None:
        return False
    world.later(world.chance.uniform(0.1, 1.0), lambda: _ignored(kill(world)))
    world.later(3.0, lambda: resume(world))
    return True


def drain(world: World) -> bool:
    """Take no new builds for a while."""
    world.later(world.chance.uniform(1.0, 3.0), lambda: resume(world))
    return world.subject.ask("Drain") is not None


def resume(world: World) -> None:
    """Take builds again, as soon as somebody is there to be told."""
    if world.subject.ask("Resume") is None:
        world.later(0.5, lambda: resume(world))


def restart(world: World) -> bool:
    """SIGTERM, as a restart of the service does it."""
    if not world.subject.alive:
        return False
    code = world.subject.terminate()
    if code is None:
        world.wrong.append("a daemon did not end within a minute of SIGTERM")
    world.subject.start()
    return True


def freeze(world: World) -> bool:
    """SIGSTOP, as a suspended virtual machine does it."""
    process = world.subject.process
    if process is None or not world.subject.signal(signal.SIGSTOP):
        return False
    # On a thread of its own: the one that deals may just wait for the daemon's answer.
    timer = threading.Timer(world.chance.uniform(0.5, 4.0), lambda: process.send_signal(signal.SIGCONT))
    timer.daemon = True
    timer.start()
    return True


def reload(world: World) -> bool:
    """SIGHUP; systemd sends it only to a daemon that has said that it is ready."""
    return world.subject.ask("State") is not None and world.subject.signal(signal.SIGHUP)


def bad_project(world: World) -> bool:
    """Break a project's file, and mend it."""
    name = world.chance.choice(("web", "lib", HAND))
    (world.ground.projects / f"{name}.json").write_text('{"name": "' + name + '", "source": [')
    world.later(world.chance.uniform(1.0, 3.0), world.write_projects)
    return True


def bad_settings(world: World) -> bool:
    """Break agent.yml and tell the daemon to read it; a daemon that starts meanwhile refuses to."""
    world.ground.config.write_text("builds: {max_concurrent: lots}\nno_such_section: 1\n")
    world.subject.excused_until = time.monotonic() + 15

    def mend() -> None:
        world.write_settings()
        reload(world)

    world.later(world.chance.uniform(0.5, 2.0), mend)
    return reload(world)


def _git_mood(mood: str) -> Mishap:
    def act(world: World) -> bool:
        seconds = world.chance.uniform(2.0, 7.0)
        world.server.mood = mood
        world.window(f"git-{mood}", seconds + 20, *GIT_CAUSES)
        world.later(seconds, lambda: setattr(world.server, "mood", ""))
        return True

    return act


def force_push(world: World) -> bool:
    """Rewrite the last commit of a branch."""
    project = world.chance.choice(("web", "app", "lib"))
    world.push(project, forced=True)
    return len(world.forge.heads[project]) > 1


def push_burst(world: World) -> bool:
    """Push three commits so quickly that nobody looks in between."""
    project = world.chance.choice(("web", "lib"))
    for _ in range(3):
        tag = f"{world.seed:x}-{project}-{len(world.forge.heads[project]) + 1}"
        world.push(project, draw(world.chance, project, tag))
    return True


def _container(name: str, act: Callable[[World, str], bool], *causes: Cause) -> Mishap:
    def mishap(world: World) -> bool:
        running = world.hands.running()
        if not running:
            return False
        container = world.chance.choice(sorted(running))
        world.excuses.target(running[container], name, *causes)
        return act(world, container)

    return mishap


def _pause(world: World, container: str) -> bool:
    world.later(world.chance.uniform(1.0, 4.0), lambda: _ignored(world.hands.unpause(container)))
    return world.hands.pause(container)


def git_killed(world: World) -> bool:
    """SIGKILL what runs of git below the daemon, as the kernel does when memory is short."""
    found = [pid for pid, name in world.subject.children() if name.startswith("git")]
    world.window("git-killed", 5, *GIT_CAUSES)
    for pid in found:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def _ignored(_: object) -> None:
    """Take it that a timer wants no answer."""


def socket_flood(world: World) -> bool:
    """Open many connections to the control socket: half requests, nonsense, and questions."""
    path = str(world.subject.client.path)

    def flood() -> None:
        kept = []
        for text in (b"", b"GET", b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n{", b"\x16\x03\x01" * 40) * 12:
            with suppress(OSError):
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                kept.append(connection)
                connection.settimeout(1)
                connection.connect(path)
                connection.sendall(text)
        for _ in range(20):
            world.subject.ask("State")
        for connection in kept:
            connection.close()

    threading.Thread(target=flood, name="flood", daemon=True).start()
    return world.subject.alive


def second_daemon(world: World) -> bool:
    """Start a second daemon on the same directories; it must leave, unless the first one is dead."""
    if not world.subject.alive:
        return False
    other = world.subject.launch()
    world.subject.excused_until = time.monotonic() + 15  # should it win, ours must leave

    def end() -> None:
        if other.poll() is None:
            other.kill()
        other.wait()

    world.later(4.0, end)
    return True


def stop_build(world: World) -> bool:
    """Stop a build by API, wherever it stands."""
    running = world.builds("IN_PROGRESS")
    if not running:
        return False
    build = world.chance.choice(running)
    world.excuses.target(build["id"], "stop", Cause.STOPPED_BY_USER)
    return world.subject.ask("StopBuild", id=build["id"]) is not None


def retry_build(world: World) -> bool:
    """Start a build again that has ended."""
    ended = [build for build in world.builds() if build["buildComplete"]]
    if not ended:
        return False
    return world.subject.ask("RetryBuild", id=world.chance.choice(ended)["id"]) is not None


def start_twice(world: World) -> bool:
    """Ask for a build by API, twice with one token: both times it is the same."""
    token = str(uuid.UUID(int=world.chance.getrandbits(128)))

    def ask() -> None:
        answer = world.subject.ask("StartBuild", projectName=HAND, idempotencyToken=token)
        if answer is not None:
            known = world.tokens.setdefault(token, answer["build"]["id"])
            if known != answer["build"]["id"]:
                world.wrong.append(f"one token started two builds: {known} and {answer['build']['id']}")

    ask()
    world.later(world.chance.uniform(0.0, 3.0), ask)
    return True


_CLOUD: Final = (Cause.AWS_UNAVAILABLE, Cause.REGISTRY_UNAVAILABLE)
_ALSO: Final[Mapping[str, tuple[Cause, ...]]] = {
    "expired": (Cause.CREDENTIALS_EXPIRED,),
    "denied": (Cause.AWS_DENIED, Cause.UPLOAD_DENIED, Cause.VARIABLE_UNRESOLVED, Cause.KMS_DENIED),
}


def _cloud(kind: str) -> Mishap:
    def act(world: World) -> bool:
        lasting, seconds = world.chance.uniform(3.0, 8.0), world.chance.uniform(1.0, 5.0)
        chance = world.chance.choice((0.2, 0.5, 0.9))
        world.cloud.add(Fault(kind, chance=chance, lasting=lasting, seconds=seconds, reads=world.chance.randrange(3)))
        world.window(kind, lasting + seconds, *_CLOUD, *_ALSO.get(kind, ()))
        return True

    return act


def outage(world: World) -> bool:
    """Let nothing of AWS answer for a while."""
    seconds = world.chance.uniform(3.0, 12.0)
    world.cloud.outage(seconds, kind=world.chance.choice(("reset", "unavailable")))
    world.window("outage", seconds, *_CLOUD)
    return True


HOST: Final[Mapping[str, Mishap]] = {
    "kill-at-start": kill_at_start,
    "kill-while-draining": kill_while_draining,
    "restart": restart,
    "freeze": freeze,
    "drain": drain,
    "reload": reload,
    "bad-project": bad_project,
    "bad-settings": bad_settings,
    "git-down": _git_mood("down"),
    "git-slow": _git_mood("slow"),
    "git-hang": _git_mood("hang"),
    "git-reset": _git_mood("reset"),
    "force-push": force_push,
    "push-burst": push_burst,
    "container-killed": _container("container-killed", lambda w, c: w.hands.kill(c), Cause.CONTAINER_KILLED),
    "container-removed": _container(
        "container-removed", lambda w, c: w.hands.remove(c), Cause.CONTAINER_REMOVED, Cause.CONTAINER_KILLED
    ),
    "container-paused": _container("container-paused", _pause),
    "git-killed": git_killed,
    "mirror-damaged": damage.mirror_damaged,
    "mirror-locked": damage.mirror_locked,
    "database-locked": damage.database_locked,
    "socket-flood": socket_flood,
    "second-daemon": second_daemon,
    "stop": stop_build,
    "retry": retry_build,
    "start-twice": start_twice,
    "orphan-container": damage.orphan_container,
    "orphan-directory": damage.orphan_directory,
    "plan-damaged": damage.plan_damaged,
    "disk-full": damage.disk_full,
}
"""What is dealt beside the plain kills, by kind."""
CLOUD: Final[Mapping[str, Mishap]] = {"outage": outage, **{kind: _cloud(kind) for kind in KINDS}}
"""What is dealt at the AWS-shaped server; it counts by itself what it did."""
