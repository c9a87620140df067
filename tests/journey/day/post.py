"""Post: brings news to the agent by the plan, that is lost, doubled, late and out of order."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import hooks
from tests.journey.cloud import Cloud
from tests.journey.day.places import News
from tests.journey.day.plan import LATE

SECRET = "correct-horse-battery"


@dataclass(order=True)
class _Copy:
    """One copy of some news, and after how many pushes of the day it arrives."""

    due: int
    number: int
    news: News = field(compare=False)
    id: str = field(compare=False)


class Post:
    """Carries copies. *port* says where the agent takes webhooks now; None: it is dead."""

    def __init__(self, aws: Cloud, queue: str, port: Callable[[], int | None], chance: random.Random) -> None:
        self._sqs, self._queue, self._port, self._chance = aws.client("sqs"), queue, port, chance
        self._bag: list[_Copy] = []
        self._numbers = itertools.count()
        self.now = 0
        self.carried = 0
        self.refused: list[str] = []

    def take(self, news: News, delays: tuple[int, ...]) -> None:
        """Take in news; a host that tells twice may call it one delivery or two."""
        first = str(uuid.UUID(int=self._chance.getrandbits(128)))
        for delay in delays:
            number = first if self._chance.random() < 0.5 else str(uuid.UUID(int=self._chance.getrandbits(128)))
            heapq.heappush(self._bag, _Copy(self.now + delay, next(self._numbers), news, number))

    def carry(self) -> None:
        """Bring what is due; what a dead agent does not take is lost, or brought again later where nothing is lost."""
        due = []
        while self._bag and self._bag[0].due <= self.now:
            due.append(heapq.heappop(self._bag))
        self._chance.shuffle(due)
        for copy in due:
            if self._brought(copy):
                self.carried += 1
            elif copy.news.plot.way == "sure":
                heapq.heappush(self._bag, _Copy(self.now + 3, next(self._numbers), copy.news, copy.id))

    def end_the_day(self) -> None:
        """Bring all but what comes when all else is over."""
        self.now = LATE - 1
        self.carry()

    def bring_the_rest(self) -> None:
        """Bring what is left."""
        self.now = 2 * LATE
        self.carry()
        assert not self._bag

    def _brought(self, copy: _Copy) -> bool:
        if not copy.news.plot.hook:
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=copy.news.body.decode())
            return True
        port = self._port()
        if port is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", f"/hooks/{copy.news.plot.hook}", copy.news.body, _headers(copy))
            answer = connection.getresponse()
            said: Any = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answer.status not in (200, 202):
            self.refused.append(f"{copy.news.plot.name}: {answer.status} {said}")
        return True


def _headers(copy: _Copy) -> dict[str, str]:
    news = copy.news
    match news.plot.hook:
        case "gitlab":
            return hooks.gitlab_headers(news.event, SECRET) | {"x-gitlab-event-uuid": copy.id}
        case "bitbucket":
            return hooks.bitbucket_headers(news.event, news.body, SECRET) | {"x-request-uuid": copy.id}
    return hooks.github_headers(news.event, news.body, SECRET, copy.id)
