"""The one door to Starlette and uvicorn: the control socket, and the HTTP listener that says how the daemon is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.daemon.control import Control
from agent.errors import BuildspecdError, RequestInvalid, Unavailable
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.web import codebuild, hooks, unixsocket
from agent.web.hosts import host_allowed
from agent.web.logstream import log_bytes
from agent.web.peers import user_name, user_of_peer

SOCKET_NAME = "agent.sock"
BODY_LIMIT = 1 << 20
"""Bytes of a request's body; a StartBuild with a whole buildspec in it is far below."""
_JSON = "application/x-amz-json-1.1"
_GRACE = 2
"""Seconds that open connections get to end when the daemon stops."""
_log = get_logger("web")

_HOOKS_AT_ONCE = 2000
"""Connections that the HTTP listener holds; a burst of deliveries must not be sent away."""

Endpoint = Callable[[Request], Awaitable[Response]]
Figures = Callable[[str], tuple[bytes, str]]


class ControlServer:
    """Service: the CodeBuild API and the logs of builds on `<state_dir>/agent.sock`.

    *arn* makes the ARN of a resource (`project/web`). Whoever may open the socket may do all that it offers.
    """

    name = "control socket"

    def __init__(self, control: Control, state_dir: Path, arn: Callable[[str], str]) -> None:
        self._control = control
        self._path = state_dir / SOCKET_NAME
        self._arn = arn

    def run(self, stop: StopToken) -> None:
        """Listen until *stop* is set. Raises `StateDirBusy` where another daemon answers on the socket."""
        listener = unixsocket.listen(self._path)
        made = self._path.stat()
        _log.info("listening", socket=str(self._path))
        try:
            serve_app(control_app(self._control, self._arn, stop), listener, stop)
        finally:
            # Only our own: a daemon that took over in the meantime keeps its socket.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(made, self._path.stat()):
                    self._path.unlink()


class HttpServer:
    """Service: the TCP listener. It serves `/healthz`, `/readyz`, `/metrics` and `/hooks/...`, and else 404.

    *figures* makes what `/metrics` shows, and its content type, from an `Accept` header.
    """

    name = "http"

    def __init__(
        self,
        control: Control,
        host: str,
        port: int,
        receive: hooks.Receive | None = None,
        figures: Figures | None = None,
    ) -> None:
        self._control = control
        self._receive = receive
        self._figures = figures
        self._host = host
        self._port = port
        self.port: int | None = None
        """The port in use, once it listens; of interest where port 0 was asked for."""

    def run(self, stop: StopToken) -> None:
        """Listen until *stop* is set. Raises `Unavailable` where the address cannot be had."""
        listener = _tcp_listener(self._host, self._port)
        self.port = listener.getsockname()[1]
        _log.info("listening", host=self._host, port=self.port)
        app = health_app(self._control, self._host, self._receive, self._figures)
        serve_app(app, listener, stop, at_once=_HOOKS_AT_ONCE)


def control_app(control: Control, arn: Callable[[str], str], stop: StopToken) -> ASGIApp:
    """Return the application of the control socket: `POST /` (JSON 1.1) and `GET /builds/{id}/log`."""

    async def api(request: Request) -> Response:
        body = await _body(request)
        target, caller = request.headers.get("x-amz-target", ""), _caller(request)
        output = await run_in_threadpool(codebuild.call, control, target, body, caller, arn)
        return _api_response(200, output)

    async def log(request: Request) -> Response:
        build = await run_in_threadpool(control.get, request.path_params["build"])
        offset, follow = _offset(request), request.query_params.get("follow") == "1"
        stream = log_bytes(control, build.id, offset, follow, stop)
        return StreamingResponse(stream, media_type="application/octet-stream", headers={"x-build-id": build.id})

    async def cbor(_request: Request) -> Response:
        body = {"__type": "UnsupportedProtocol", "message": "buildspecd speaks JSON 1.1 here, at POST /, and no CBOR"}
        return JSONResponse(body, status_code=415)

    return Starlette(
        routes=[
            Route("/", _guarded(api), methods=["POST"]),
            Route("/builds/{build:path}/log", _guarded(log), methods=["GET"]),
            Route("/service/{service}/operation/{operation}", _guarded(cbor), methods=["POST"]),
        ]
    )


def health_app(
    control: Control, host: str, receive: hooks.Receive | None = None, figures: Figures | None = None
) -> ASGIApp:
    """Return the application of the TCP listener on *host*; requests that name another host are refused.

    Only hooks are not: they come through whatever stands in front, and their signature lets them in.
    """

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        state = await run_in_threadpool(control.state)
        trouble = sorted(name for name, text in state.services.items() if text)
        ready = not state.draining and not trouble
        body = {"ready": ready, "draining": state.draining, "trouble": trouble}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(request: Request) -> Response:
        if figures is None:
            return await nothing(request)
        page, content_type = await run_in_threadpool(figures, request.headers.get("accept", ""))
        return Response(page, headers={"content-type": content_type})

    async def nothing(request: Request) -> Response:
        return PlainTextResponse("there is nothing here\n", status_code=404)

    def checked(endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            if not host_allowed(request.headers.get("host"), host, (request.scope.get("server") or ("",))[0]):
                return PlainTextResponse("the Host header names another host\n", status_code=403)
            return await endpoint(request)

        return _guarded(answer)

    reader = hooks.BodyReader()
    posts = [Route(f"/hooks/{name}", _guarded(_hook(name, reader, receive)), methods=["POST"]) for name in hooks.HOSTS]
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(
        routes=[
            Route("/healthz", checked(healthz), methods=["GET"]),
            Route("/readyz", checked(readyz), methods=["GET"]),
            Route("/metrics", checked(metrics), methods=["GET"]),
            *(posts if receive else ()),
            Route("/{path:path}", checked(nothing), methods=methods),
        ]
    )


def _hook(name: str, reader: hooks.BodyReader, receive: hooks.Receive | None) -> Endpoint:
    """Return what takes the deliveries of one kind of host: read, and handed to *receive*."""

    async def hook(request: Request) -> Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        if refused := hooks.refusal(headers):
            return PlainTextResponse(refused[1], status_code=refused[0])
        try:
            body = await reader.read(aiter(request.stream()))
        except ClientDisconnect:
            return Response(status_code=400)  # it was cut off; nobody is there to read this
        if receive is None:
            return Response(status_code=404)
        status, document = await run_in_threadpool(receive, name, headers, body)
        return JSONResponse(document, status_code=status)

    return hook


def serve_app(app: ASGIApp, listener: socket.socket, stop: StopToken, *, at_once: int = 200) -> None:
    """Serve *app* on a listening socket, in this thread, until *stop* is set; close the socket.

    More connections than *at_once* are told to come again later.
    """
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=at_once,
        timeout_graceful_shutdown=_GRACE,
    )
    with listener:
        asyncio.run(_Server(config, stop).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its ten wake-ups a second: it ends with the token."""

    def __init__(self, config: uvicorn.Config, stop: StopToken) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await asyncio.to_thread(self._stop.wait)


class _Connection(H11Protocol):
    """Knows the user at the other end of a Unix socket: the kernel says it, so nobody can claim another name."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = user_of_peer(transport.get_extra_info("socket"))
        if peer is not None:
            self.client = peer


def _guarded(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint: what it raises becomes an answer with a request id."""

    async def answer(request: Request) -> Response:
        request_id = str(uuid.uuid4())
        try:
            response = await endpoint(request)
        except BuildspecdError as error:
            response = _api_response(*codebuild.error_json(error))
        except Exception:  # noqa: BLE001  # one of the four: a bug behind one request leaves the others alone
            _log.exception("request failed", request=request_id, path=request.url.path)
            body = {
                "__type": "InternalFailure",
                "message": f"internal error; the daemon's log has request {request_id}",
            }
            response = _api_response(500, body)
        response.headers["x-amzn-requestid"] = request_id
        return response

    return answer


def _api_response(status: int, body: dict[str, Any]) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status_code=status, media_type=_JSON)


async def _body(request: Request) -> bytes:
    """Return the body, read no further than the limit. Raises `RequestInvalid` for a longer one."""
    received = bytearray()
    async for piece in request.stream():
        received += piece
        if len(received) > BODY_LIMIT:
            raise RequestInvalid(f"the request is longer than {BODY_LIMIT} bytes")
    return bytes(received)


def _offset(request: Request) -> int:
    text = request.query_params.get("offset", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RequestInvalid(f"offset must be a number of bytes, not {text[:50]!r}")
    return int(text)


def _caller(request: Request) -> str:
    return user_name(request.client)


def _tcp_listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="free the port, or set http.listen in agent.yml to another one",
        ) from error
    return listener
