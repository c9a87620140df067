"""A server that plays GitHub, GitLab and Bitbucket as their documentation has them, and a door that leads to it."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from agent.errors import Unavailable
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.notify.statusdesk import Answer

_SHA = r"(?P<sha>[0-9a-f]{40})"
_ROUTES = {
    "github": re.compile(rf"/(?:api/v3/)?repos/(?P<repo>[^/]+/[^/]+)/statuses/{_SHA}"),
    "gitlab": re.compile(rf"/api/v4/projects/(?P<repo>[^/]+)/statuses/{_SHA}"),
    "bitbucket": re.compile(rf"/2\.0/repositories/(?P<repo>[^/]+/[^/]+)/commit/{_SHA}/statuses/build"),
}
_STATES = {
    "github": {"error", "failure", "pending", "success"},
    "gitlab": {"pending", "running", "success", "failed", "canceled"},
    "bitbucket": {"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"},
}
_NEEDED = {"github": {"state"}, "gitlab": {"state"}, "bitbucket": {"key", "state", "url"}}


@dataclass
class Told:
    """One status as a host took it."""

    host: str
    repo: str
    sha: str
    body: dict[str, str]

    @property
    def state(self) -> str:
        return self.body["state"]


@dataclass
class GitHosts:
    """All three hosts at one address. `says` answers before them where a test wants it to: status, headers, text."""

    told: list[Told] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    says: dict[str, list[tuple[int, dict[str, str], str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def post(self, source: Source, address: str, body: Mapping[str, str], stop: StopToken | None = None) -> Answer:
        """Obey `HostApi`: whatever host the address names, this server is asked."""
        path = address.partition("://")[2].partition("/")[2]
        request = urllib.request.Request(
            f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                rest = error.headers.get("Retry-After")
                return Answer(error.code, error.read().decode(), float(rest) if rest else None)
        except OSError as error:
            raise Unavailable(str(error)) from error

    def states(self, host: str) -> list[str]:
        """Return the states that *host* was told, oldest first."""
        return [told.state for told in self.told if told.host == host]

    def answer(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        self.asked.append(path)
        host, found = next(
            ((host, match) for host, route in _ROUTES.items() if (match := route.fullmatch(path))), ("", None)
        )
        if found is None:
            return 404, {}, {"message": "Not Found"}
        if self.says.get(host):
            return self.says[host].pop(0)
        return self._take(Told(host, unquote(found["repo"]), found["sha"], body))

    def _take(self, new: Told) -> tuple[int, dict[str, str], Any]:
        body = new.body
        if not _NEEDED[new.host] <= body.keys() or body["state"] not in _STATES[new.host]:
            return 422 if new.host == "github" else 400, {}, {"message": "Validation Failed"}
        if len(body.get("description", "")) > (140 if new.host == "github" else 255) or len(body.get("key", "")) > 40:
            return 422 if new.host == "github" else 400, {}, {"message": "description is too long"}
        before = [old for old in self.told if (old.host, old.repo, old.sha) == (new.host, new.repo, new.sha)]
        if new.host == "gitlab" and before and before[-1].state == new.state:
            event = {"pending": "enqueue", "running": "run"}.get(new.state, new.state)
            why = f'(Reason(s): Status cannot transition via "{event}")'
            return 400, {}, {"message": f"Cannot transition status via :{event} from :{new.state} {why}"}
        self.told.append(new)
        return 200 if new in before and new.host == "bitbucket" else 201, {}, {"state": body["state"], "id": 1}


def _handler(hosts: GitHosts) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, content = hosts.answer(self.path, body)
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
