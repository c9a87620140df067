"""Roles: each build with a service role gets credentials of it, at a token of its own, for as long as it runs.

What a build was given (`Pass`: port and token) lies in its directory in memory. The credentials themselves lie nowhere:
a daemon that finds a pass of an open build assumes the role again, and listens where the build will ask.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from agent.aws import Aws
from agent.container.inside import LOOPBACK
from agent.daemon.counter import Answer, Counter, Question
from agent.daemon.ports import Ports, any_port
from agent.environment.roles import RoleKeys, RoleWish
from agent.errors import BuildspecdError, EngineUnavailable
from agent.kit.clock import Clock
from agent.kit.files import write_atomic
from agent.kit.heed import LOOK_SECONDS, Errand, begun, heed, patiently
from agent.kit.logging import get_logger
from agent.kit.service import StopToken

_log = get_logger("roles")
RENEW_SECONDS = 20 * 60.0
"""With less left than this credentials are fetched anew; SDKs ask again when 15 minutes are left."""
_TURN_SECONDS = 5.0
_RETRY_SECONDS = 30.0
_LEAST_SECONDS = 60.0
_HANDS = 8
"""How many builds are looked after at once: what hangs for one of them keeps no other waiting."""
_GLANCE_SECONDS = 1.0
"""How long a turn waits for those who are busy; the next one finds them again."""
_FILE = "role.json"


class Assume(Protocol):
    """Assumes roles (`AssumedRoles`)."""

    def __call__(self, wish: RoleWish) -> RoleKeys: ...

    def through(self, given: RoleKeys) -> Aws: ...


class Listen(Protocol):
    """Opens a socket in the network of a container (`Inside`)."""

    def listen(self, container: str, port: int) -> socket.socket: ...


@dataclass(frozen=True)
class Pass:
    """What one build was given. `inside`: its network is not the host's."""

    wish: RoleWish
    port: int
    inside: bool
    token: str = field(repr=False)

    @property
    def path(self) -> str:
        return f"/v1/builds/{self.wish.session}/credentials"

    @property
    def uri(self) -> str:
        return f"http://{LOOPBACK}:{self.port}{self.path}"

    @property
    def variables(self) -> dict[str, str]:
        """What SDKs and tools look for (service.md 10.6)."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.uri,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass
class _Session:
    """One build at the desk. `due`: when its credentials are fetched next, by the monotonic clock."""

    given: Pass
    file: Path
    keys: RoleKeys | None = None
    due: float = 0.0
    adopted: bool = False
    """Whether an earlier daemon admitted it: nobody else opens its socket."""
    trouble: str = ""
    errand: Errand[None] | None = None
    """Who looks after it aside; nobody else does until that is over."""
    busy: threading.Lock = field(default_factory=threading.Lock)
    door: threading.Lock = field(default_factory=threading.Lock)


class RoleDesk:
    """A Service, and what the steps of a build's route ask for roles. Safe to share between threads."""

    name = "roles"

    def __init__(
        self,
        assume: Assume,
        inside: Listen,
        passes: Path,
        clock: Clock,
        *,
        find: Callable[[str], str | None],
        port: int = 0,
    ) -> None:
        """*passes* holds one directory a running build, *find* returns its container. *port* 0: any free one."""
        self._assume = assume
        self._inside = inside
        self._passes = passes
        self._clock = clock
        self._find = find
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._taken_up = False
        self._counter = Counter(self._answer, clock)
        self.ports = Ports(self._counter.open, port)
        self._keeper: threading.Thread | None = None
        self._doormen, self._messengers = threading.Semaphore(_HANDS), threading.Semaphore(_HANDS)

    def admit(self, wish: RoleWish, network: str) -> Pass:
        """Return the pass of a build, made with its credentials unless it has one.

        Raises `RoleRefused`, `AwsRefused`, `AwsUnavailable`.
        """
        session = self._session(wish, network)
        self._have_keys(session)
        return session.given

    def enter(self, wish: RoleWish, container: str) -> None:
        """Serve the build in the network of its *container*, which was started. Raises `EngineUnavailable`.

        A container that was started once more has another network than before.
        """
        session = self._known(wish.session)
        if session is not None and session.given.inside:
            self._enter(session, container, anew=True)

    def aws_of(self, wish: RoleWish, network: str) -> Aws:
        """Return clients that are let in as the role is. Raises as `admit`."""
        return self._assume.through(self._have_keys(self._session(wish, network)))

    def dismiss(self, wish: RoleWish) -> None:
        """Let nobody in with the token of a build any more."""
        self._leave(wish.session)
        (self._passes / wish.session / _FILE).unlink(missing_ok=True)

    def run(self, stop: StopToken) -> None:
        """Serve, and renew credentials in time, until *stop*."""
        while not stop.is_set:
            if self._keeper is None or not self._keeper.is_alive():
                run = partial(self._counter.run, stop)
                self._keeper = threading.Thread(target=run, name="roles-counter", daemon=True)
                self._keeper.start()
            self.turn()
            self._clock.wait(_TURN_SECONDS, stop)
        self._counter.wake()
        if self._keeper is not None:
            self._keeper.join()
        self._counter.shut()

    def turn(self) -> None:
        """Take up the builds of an earlier daemon, fetch what is due, and forget builds that are gone.

        Each is looked after aside: neither an STS nor an engine that hangs for one build is in the way of the others.
        """
        for given, file in self._found():
            with self._lock:
                self._sessions.setdefault(given.wish.session, _Session(given, file, adopted=True))
        until = self._clock.monotonic() + _GLANCE_SECONDS
        for session in self._all():
            if not session.file.exists():
                self._leave(session.given.wish.session)
            elif session.errand is None and (self._lacks_door(session) or self._is_due(session)):
                session.errand = begun(partial(self._look_after, session), "role")
        for session in self._all():
            if (errand := session.errand) and errand.over.wait(max(0.0, until - self._clock.monotonic())):
                session.errand = None
                errand.answer()  # what nobody expected is raised here

    def _look_after(self, session: _Session) -> None:
        if self._lacks_door(session):
            with self._doormen:
                self._be_there(session)
        if self._is_due(session):
            with self._messengers:
                self._renew(session)

    def _lacks_door(self, session: _Session) -> bool:
        """Whether nobody listens where the build asks; inside of its container only its route opens the first one."""
        given = session.given
        if given.inside:
            return session.adopted and not self._counter.listens_for(given.wish.session)
        return given.port not in self.ports

    def _is_due(self, session: _Session) -> bool:
        worn = session.keys is None or self._wears_out(session.keys)
        return worn and self._clock.monotonic() >= session.due

    def _session(self, wish: RoleWish, network: str) -> _Session:
        if (known := self._known(wish.session)) is not None and known.given.wish == wish:
            return known
        file = self._passes / wish.session / _FILE
        given = _read(file)
        adopted = given is not None and given.wish == wish
        if given is None or not adopted:
            inside = network != "host"
            port = any_port() if inside else self.ports.any()
            given = Pass(wish, port, inside, secrets.token_urlsafe(32))
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(file, json.dumps(asdict(given)).encode(), mode=0o600, sync=False)
        with self._lock:
            return self._sessions.setdefault(wish.session, _Session(given, file, adopted=adopted))

    def _have_keys(self, session: _Session) -> RoleKeys:
        """Return credentials that hold: newer ones where these wear out, and STS gives some."""
        with _held(session.busy):
            known = session.keys
            if known is not None and not self._wears_out(known):
                return known
            try:
                session.keys = self._assume(session.given.wish)
            except BuildspecdError as error:
                session.due = self._clock.monotonic() + _RETRY_SECONDS
                if known is None or known.expires - self._clock.now() < _LEAST_SECONDS:
                    raise
                _log.warning("a role is not renewed", build=session.given.wish.build, error=error.message)
                return known
            return session.keys

    def _enter(self, session: _Session, container: str, *, anew: bool) -> None:
        whose = session.given.wish.session
        with _held(session.door):
            if not container:
                raise EngineUnavailable("its container is not there", hint="was it removed?")
            if self._counter.listens_for(whose) and not anew:
                return
            self._counter.close(whose)  # its port may be that of this very container
            self._counter.open(patiently(lambda: self._inside.listen(container, session.given.port)), whose)
            if self._known(whose) is not session:  # the build has ended meanwhile
                self._counter.close(whose)

    def _renew(self, session: _Session) -> None:
        wish = session.given.wish
        try:
            self._have_keys(session)
        except BuildspecdError as error:
            _log.warning("the role of a build is not renewed, trying again", build=wish.build, error=error.message)

    def _wears_out(self, keys: RoleKeys) -> bool:
        return keys.expires - self._clock.now() < RENEW_SECONDS

    def _be_there(self, session: _Session) -> None:
        """Listen where the build asks, unless we do; a port that somebody else has is tried again at the next turn."""
        given = session.given
        try:
            if not given.inside:
                self.ports.listen(given.port)
            elif container := self._find(given.wish.build):  # else its route makes one, and enters it
                self._enter(session, container, anew=False)
        except (OSError, BuildspecdError) as error:
            if session.trouble != str(error):
                session.trouble = str(error)
                _log.error("credentials of a build are not served", build=given.wish.build, error=str(error))

    def _answer(self, question: Question) -> Answer | None:
        """Say what a caller gets; whether its build or its token is wrong is not told."""
        session = self._known(_build_in(question.path))
        expected = session.given.token if session else secrets.token_urlsafe(32)
        right = hmac.compare_digest(question.token.encode(), expected.encode())
        if session is None or not right or question.room not in (None, session.given.wish.session):
            return 403, {"code": "AccessDenied", "message": "no build that runs has this address and this token"}
        keys = session.keys
        if keys is None or keys.expires <= self._clock.now():
            return None
        return 200, _document(keys)

    def _known(self, session: str) -> _Session | None:
        with self._lock:
            return self._sessions.get(session)

    def _all(self) -> list[_Session]:
        with self._lock:
            return list(self._sessions.values())

    def _leave(self, session: str) -> None:
        with self._lock:
            self._sessions.pop(session, None)
        self._counter.close(session)

    def _found(self) -> Iterable[tuple[Pass, Path]]:
        """Yield what an earlier daemon handed out; once is enough."""
        if self._taken_up:
            return
        for file in sorted(self._passes.glob(f"*/{_FILE}")):
            if (given := _read(file)) is not None and given.wish.session == file.parent.name:
                yield given, file
        self._taken_up = True


def _read(file: Path) -> Pass | None:
    try:
        document = json.loads(file.read_bytes())
        wish, port = RoleWish(**document["wish"]), int(document["port"])
        given = Pass(**{**document, "wish": wish, "port": port, "inside": bool(document["inside"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    words = (given.token, *asdict(wish).values())
    return given if 0 < port < 65536 and all(isinstance(word, str) and word for word in words) else None


@contextmanager
def _held(lock: threading.Lock) -> Iterator[None]:
    """Hold *lock*; who waits for it ends as soon as its build is to end."""
    while not lock.acquire(timeout=LOOK_SECONDS):
        heed()
    try:
        yield
    finally:
        lock.release()


def _build_in(path: str) -> str:
    """Return the build that an address names; empty when it is no address of ours."""
    parts = path.partition("?")[0].split("/")
    if len(parts) != 5 or parts[:3] != ["", "v1", "builds"] or parts[4] != "credentials":
        return ""
    with suppress(ValueError):
        return str(uuid.UUID(parts[3]))
    return ""


def _document(keys: RoleKeys) -> dict[str, str]:
    """Return credentials in the words of the container credentials protocol (service.md 10.6)."""
    return {
        "AccessKeyId": keys.keys.access,
        "SecretAccessKey": keys.keys.secret,
        "Token": keys.keys.token or "",
        "Expiration": datetime.fromtimestamp(keys.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "AccountId": keys.account,
        "RoleArn": keys.role,
    }
