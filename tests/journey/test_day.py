"""A day in the life (issue 4): every head that was ever pushed is built once, or a build says that it stands for it.

Fifty repositories on four kinds of source; webhooks, AWS events and polling; half of the news is lost, doubled or out
of order; the daemon is killed twice. `BUILDSPECD_DAY_SEED` chooses another day.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from moto.sqs.models import sqs_backends

from tests.fakes.git_http import git_http
from tests.journey.cloud import ACCOUNT, REGION, Cloud
from tests.journey.daemon import KEPT, Daemon
from tests.journey.day import account, plan
from tests.journey.day.codecommit import codecommit
from tests.journey.day.places import CODECOMMIT, World
from tests.journey.day.plan import Plan, Plot
from tests.journey.day.post import SECRET, Post
from tests.journey.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SEED = int(os.environ.get("BUILDSPECD_DAY_SEED", "4"))
LONG = 300.0
"""Seconds for what takes a minute on a machine that has nothing else to do."""
AHEAD = 12
"""Builds that may wait or run when the next push comes."""
LOGIN = ("ci", "pa55-w0rd")


class Day:
    """One day: the world, the agent in it, and the post between the two."""

    def __init__(self, world: World, daemon: Daemon, queue: str, the_plan: Plan) -> None:
        self.world, self.daemon, self.queue, self.plan = world, daemon, queue, the_plan
        self.alive, self.starts, self.known = False, 0, -1
        self.born, self.sums = time.monotonic(), Counter[str]()
        self.post = Post(world.aws, queue, self.port, random.Random(SEED))

    def port(self) -> int | None:
        """Return where webhooks are taken by the daemon that runs now."""
        return self._ports()[-1] if self.alive else None

    def _ports(self) -> list[int]:
        entries = [json.loads(line) for line in self.daemon.said().splitlines() if '"listening"' in line]
        return [entry["port"] for entry in entries if entry.get("port")]

    def start(self) -> None:
        self.starts += 1
        self.daemon.start()
        until(lambda: len(self._ports()) == self.starts, "a listener for webhooks")
        self.alive = True
        self.time_passes()

    def kill(self) -> None:
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGKILL)
        self.daemon.process.wait(10)
        self.alive = False

    def time_passes(self) -> None:
        """Let the queue give out again, now and not in a minute, what was taken and not deleted."""
        backend = sqs_backends[ACCOUNT][REGION].queues[self.queue.rpartition("/")[2]]
        for message in list(backend._messages):
            message.visible_at = 0

    def push(self, push: plan.Push) -> None:
        self.post.take(self.world.push(push), push.delays)
        self.post.now += 1
        self.post.carry()

    def live(self) -> None:
        """Push all that is planned; kill the daemon, and start it some pushes later."""
        for number, push in enumerate(self.plan.pushes):
            if number in self.plan.kills:
                self.kill()
            if number - self.plan.away in self.plan.kills:
                self.start()
            if self.alive:
                until(lambda: self.count("queue") < AHEAD, "builds that end", LONG)
            self.push(push)
        if not self.alive:
            self.start()

    def is_over(self) -> bool:
        """Whether nothing is under way, and the last head of every ref has a build."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.world.aws.client("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)
        if any(number != "0" for number in found["Attributes"].values()) or self.count("queue, hook_backlog"):
            return False
        asked = self.count("builds")
        if asked == self.known:
            return False
        lasts = {line[-1] for heads in self.world.heads.values() for line in heads.values() if line}
        if lasts <= {head for plot in self.plan.plots for head in map(account.head_of, self.builds(plot))}:
            return True
        self.known = asked
        return False

    def wait_until_over(self, what: str) -> None:
        self.known = -1
        try:
            until(self.is_over, what, LONG)
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}: {error}\n{self.report()}\n{self.daemon.said()[-3000:]}") from None

    def count(self, tables: str) -> int:
        """Count the rows of some tables of the daemon's database, which costs the daemon nothing."""
        with closing(sqlite3.connect(self.daemon.state / "builds.db", timeout=60)) as database:
            each = [database.execute(f"SELECT count(*) FROM {table}") for table in tables.split(", ")]
            return sum(int(one.fetchone()[0]) for one in each)

    def looked(self) -> set[str]:
        """Return the names of the repositories that polling has seen."""
        with closing(sqlite3.connect(self.daemon.state / "builds.db", timeout=60)) as database:
            return {key.split(":")[1] for (key,) in database.execute("SELECT key FROM cursors WHERE key GLOB 'poll:*'")}

    def builds(self, plot: Plot) -> list[Any]:
        return self.daemon.builds(plot.name)

    def check(self, dead: str) -> None:
        """Hold everything against everything."""
        found = self.report()
        print(f"seed {SEED}: {self.sums}, {self.post.carried} copies of news, {time.monotonic() - self.born:.0f} s")
        assert not found, f"seed {SEED}:\n{found}"
        assert self.post.refused == [], f"seed {SEED}"
        assert self.world.aws.client("sqs").receive_message(QueueUrl=dead).get("Messages") is None, f"seed {SEED}"
        assert self.count("queue, hook_backlog") == 0, f"seed {SEED}"
        assert self.daemon.containers() == [], f"seed {SEED}"
        left = {path.name for root in (self.daemon.state / "builds").iterdir() for path in root.iterdir()}
        assert left <= KEPT, f"seed {SEED}"
        assert list((self.daemon.runtime / self.daemon.agent_id()).iterdir()) == [], f"seed {SEED}"

    def report(self) -> str:
        """Return what is wrong with this day; empty where nothing is."""
        told = []
        self.sums.clear()
        for plot in self.plan.plots:
            builds = [self.daemon.show(build) for build in self.builds(plot)]
            found = account.settle(plot, self.world.heads[plot.name], builds)
            self.sums.update(found.sums)
            if found.wrong:
                told.append(f"{plot}\n  " + "\n  ".join(found.wrong))
                told.append(account.shown(self.world.heads[plot.name], builds))
        return "\n".join(told)


def settings(place: Path, http: str, certificate: Path, queue: str) -> dict[str, Any]:
    host = http.removeprefix("http://")
    (place / "password").write_text(LOGIN[1])
    entry = {"host": host, "username": LOGIN[0], "token": f"file:{place / 'password'}", "allow_http": True}
    return {
        "builds": {"max_concurrent": 4, "stop_grace": "1s"},
        "poll": {"every": "2s", "slowest": "4s"},
        "queue": {"url": queue, "wait": "1s"},
        "git": {"ca_file": str(certificate)},
        "credentials": [entry],
        "events": {"bus": None},
        "metrics": {"namespace": None},
    }


def project(world: World, plot: Plot, image: str, secret: Path) -> dict[str, Any]:
    """Return the project file of *plot*."""
    webhook: dict[str, Any] = {"secret": f"file:{secret}"} if plot.hook else {}
    if len(plot.refs) > 1:
        webhook["filterGroups"] = [[{"type": "EVENT", "pattern": "PUSH"}]]
    agent = {"supersede": plot.supersede} | ({} if plot.is_polled else {"poll": 0})
    return {
        "name": plot.name,
        "source": {"type": plot.type, "location": world.location(plot)},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": image, "computeType": "BUILD_GENERAL1_SMALL"},
        "logsConfig": {"cloudWatchLogs": {"status": "DISABLED"}},
        "agent": agent,
        **({"webhook": webhook} if webhook else {}),
    }


def queues(aws: Cloud, name: str) -> tuple[str, str]:
    """Make the agent's queue, and that of dead letters."""
    sqs = aws.client("sqs")
    dead = str(sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"])
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-dead", "maxReceiveCount": 25}
    answer = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)})
    return str(answer["QueueUrl"]), dead


def test_every_head_of_a_day_is_built_once_or_a_later_one_stands_for_it(
    aws: Cloud, busybox: str, tmp_path: Path, new_daemon: Callable[..., Daemon]
) -> None:
    the_plan = plan.make(SEED)
    world = World(tmp_path, aws)
    queue, dead = queues(aws, f"{world.rule}-agent")
    with (
        git_http(tmp_path / "http", LOGIN) as http,
        codecommit(tmp_path / "codecommit", CODECOMMIT, tmp_path) as (proxy, certificate),
    ):
        world.http_url = http.url
        environment = {**aws.environment, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"}
        daemon = new_daemon(environment=environment, settings=settings(tmp_path, http.url, certificate, queue))
        (tmp_path / "secret").write_text(SECRET)
        for plot in the_plan.plots:
            world.make(plot)
            file = daemon.projects / f"{plot.name}.json"
            file.write_text(json.dumps(project(world, plot, busybox, tmp_path / "secret")))
        day = Day(world, daemon, queue, the_plan)
        for push in the_plan.dawn:
            day.push(push)
        day.start()
        polled = {plot.name for plot in the_plan.plots if plot.is_polled}
        until(lambda: polled <= day.looked(), "a first look at each", LONG)
        day.live()
        day.post.end_the_day()
        day.wait_until_over("the end of the day")
        day.post.bring_the_rest()
        day.time_passes()
        day.wait_until_over("the end of its echo")
        day.check(dead)
