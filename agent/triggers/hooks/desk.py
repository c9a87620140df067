"""Desk: takes a delivery in: who signed it, what it says, what it starts; all of it stored before the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.errors import BuildspecdError, RequestInvalid, Unavailable, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.model.build import Build
from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.model.secret import Secret
from agent.store.hooks import Hooks
from agent.triggers.hooks.address import concerned, takes_hooks
from agent.triggers.hooks.bitbucket import bitbucket
from agent.triggers.hooks.event import Delivery, Event, Host
from agent.triggers.hooks.github import github
from agent.triggers.hooks.gitlab import gitlab
from agent.triggers.hooks.judge import Verdict, judge
from agent.triggers.hooks.secrets import DOUBTED_SECONDS, SecretBook
from agent.triggers.hooks.signatures import signature_of, verified

REMEMBERED_SECONDS = 86400.0
"""How long a delivery is known as one that was taken."""
_log = get_logger("webhooks")

Reader = Callable[[Mapping[str, str], bytes], Delivery]
READERS: Mapping[Host, Reader] = {
    "github": github,
    "github_enterprise": lambda headers, body: github(headers, body, "github_enterprise"),
    "bitbucket": bitbucket,
    "gitlab": gitlab,
}


@dataclass(frozen=True)
class Result:
    """What one project made of one event: `started` (with the build), `later`, `nothing` or `refused`."""

    project: str
    event: str
    outcome: str
    reason: str
    build: str | None = None


@dataclass(frozen=True)
class Desk:
    """Takes deliveries in, on any thread.

    *submit* stores a build, and joins a transaction of *hooks*; *wake* is called when an event needs a longer look.
    *unsigned_allowed* says whether a project without a secret takes hooks that nobody vouches for.
    """

    projects: Callable[[], Iterable[Project]]
    submit: Callable[[BuildRequest], Build]
    hooks: Hooks
    secrets: SecretBook
    clock: Clock
    wake: Callable[[], None] = lambda: None
    unsigned_allowed: Callable[[], bool] = lambda: False

    def receive(self, host: Host, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON that answer a delivery; header names are in lower case.

        Nothing is read of a body before its signature is verified. Raises `RequestInvalid` for a payload of a wrong
        shape, naming the member, and `Unavailable` where a secret cannot be read now; then nothing was stored.
        """
        takers = [project for project in self.projects() if takes_hooks(project, host)]
        vouched = self._vouched(host, takers, headers, body)
        if not vouched:
            return self._refusal(host, headers)
        delivery = READERS[host](headers, body)
        if delivery.ignored:
            return 200, _told(delivery, delivery.ignored)
        found = [(event, project) for event in delivery.events for project in concerned(vouched, event)]
        if not found:
            name = delivery.events[0].repository.full_name
            return 200, _told(delivery, f"no project whose secret signed this has {name} as its source")
        verdicts = [(event, project, self._judged(project, event)) for event, project in found]
        return self._stored(host, delivery, body, verdicts)

    def references(self) -> list[str]:
        """Return the references of all projects' secrets."""
        return sorted({one.webhook.secret for one in self.projects() if one.webhook and one.webhook.secret})

    def _vouched(self, host: Host, takers: Sequence[Project], headers: Mapping[str, str], body: bytes) -> list[Project]:
        """Return the projects whose secret signed the body, and those that take unsigned ones."""
        signature = signature_of(host, headers)
        references = {one.webhook.secret for one in takers if one.webhook and one.webhook.secret}
        signed: set[str] = set()
        if signature is not None and references:
            signed = self._signers(host, references, signature, body)
            if not signed and self.secrets.renew(references, DOUBTED_SECONDS):
                signed = self._signers(host, references, signature, body)
        unsigned = self.unsigned_allowed()
        return [one for one in takers if one.webhook and (one.webhook.secret in signed or _open(one, unsigned))]

    def _signers(self, host: Host, references: Iterable[str], signature: str, body: bytes) -> set[str]:
        known: dict[str, Secret] = {}
        trouble: BuildspecdError | None = None
        for reference in references:
            try:
                known[reference] = self.secrets.get(reference)
            except BuildspecdError as error:
                trouble = error
        good = verified(host, dict.fromkeys(known.values()), signature, body)
        signed = {reference for reference, secret in known.items() if secret in good}
        if not signed and trouble is not None:
            _log.warning("the secret of a webhook cannot be read", error=trouble.message, hint=trouble.hint)
            raise Unavailable("the secret of a webhook cannot be read; deliver this again later")
        return signed

    def _refusal(self, host: Host, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        signature = signature_of(host, headers)
        reason = "the signature fits no secret of a project" if signature else "the delivery is not signed"
        _log.warning("a delivery was refused", host=host, reason=reason)
        hint = "the hook's secret must be that of the project's webhook.secret; an unsigned hook is refused"
        return 401, {"result": "refused", "reason": reason, "hint": hint}

    def _judged(self, project: Project, event: Event) -> Verdict:
        try:
            return judge(project, event)
        except RequestInvalid as error:
            return Verdict("nothing", error.message)

    def _stored(
        self, host: Host, delivery: Delivery, body: bytes, verdicts: Sequence[tuple[Event, Project, Verdict]]
    ) -> tuple[int, dict[str, Any]]:
        now = self.clock.now()
        keys = {project.name: _keys(host, delivery, body, project) for _, project, _ in verdicts}
        with self.hooks.transaction():
            seen = {name for name, known in keys.items() if self.hooks.seen(known, now - REMEMBERED_SECONDS)}
            fresh = [one for one in verdicts if one[1].name not in seen]
            results = [self._kept(event, project, verdict, now) for event, project, verdict in fresh]
            taken = {result.project for result in results if result.outcome in ("started", "later")}
            for name in sorted(taken):
                self.hooks.remember(keys[name], now)
        if not fresh:
            return 200, _told(delivery, "this delivery was taken before")
        if any(result.outcome == "later" for result in results):
            self.wake()
        for result in results:
            _log.info(
                "webhook",
                project=result.project,
                webhook=result.event,
                outcome=result.outcome,
                reason=result.reason,
                build=result.build,
            )
        document = {"result": "taken" if taken else "ignored", "delivery": delivery.id}
        return 202 if taken else 200, {**document, "projects": [asdict(result) for result in results]}

    def _kept(self, event: Event, project: Project, verdict: Verdict, now: float) -> Result:
        """Store what becomes of an event."""
        if verdict.outcome == "look":
            self.hooks.put_off(project.name, event.model_dump_json(), now)
            return Result(project.name, event.event, "later", verdict.reason)
        if verdict.request is None:
            return Result(project.name, event.event, "nothing", verdict.reason)
        try:
            build = self.submit(verdict.request)
        except UserError as error:
            return Result(project.name, event.event, "refused", error.message)
        reason = verdict.reason if build.start_time >= now else "it was built before"
        return Result(project.name, event.event, "started", reason, build.id)


def _open(project: Project, unsigned_allowed: bool) -> bool:
    return unsigned_allowed and project.webhook is not None and project.webhook.secret is None


def _keys(host: Host, delivery: Delivery, body: bytes, project: Project) -> list[str]:
    """Return what a project knows a delivery by: its id, and its body, since the id is not signed.

    Two hooks of one repository send the same body, each for the projects that have its secret.
    """
    keys = [f"{host}:{project.name}:body:{hashlib.sha256(body).hexdigest()}"]
    return [*keys, f"{host}:{project.name}:id:{delivery.id}"] if delivery.id else keys


def _told(delivery: Delivery, reason: str) -> dict[str, Any]:
    return {"result": "ignored", "reason": reason, "delivery": delivery.id}
