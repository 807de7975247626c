"""The review over HTTP, for the readers who have an address of it.

The server answers a request under two conditions. First, the request carries the token of a reader:
256 random bits, drawn at each start, which are part of the address. The page sends the token as a
header, which a page of another site cannot do. Second, the Host header names the interface that the
server listens on: the loopback interface, or over TLS the one of ``--host``. A foreign name that
resolves to this machine (DNS rebinding) is refused. All other requests get 403 or 400 without
content. No parameter of a request is part of a file's path: paths of requests hold only
numbers of the worklist.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import socket
import ssl
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmburden import RESEARCH_USE_ONLY
from cmburden.core.errors import CMBurdenError, ScanError, sentence
from cmburden.review import hanging
from cmburden.review.connections import BACKLOG, CloseRefused, Connection
from cmburden.review.reader_file import NotKept
from cmburden.review.session import Refused, Sitting
from cmburden.review.worklist import Item

HOSTS = ("127.0.0.1", "localhost")
#: Key of a request's scope under which its reader's sitting lies.
_SITTING = "cmburden.sitting"
#: Bytes of a request. A decision with the longest note has fewer.
_MOST_BYTES = 16_384
#: An item in an address.
_NUMBER = re.compile(r"[0-9]{1,9}")
_BINARY = "application/octet-stream"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the review is served: a host, and certificate and key of TLS (PEM files) or neither."""

    host: str = HOSTS[0]
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise CMBurdenError("--tls-certificate and --tls-key go together: give both")
        if self.host not in HOSTS and self.certificate is None:
            raise CMBurdenError(
                f"--host {self.host}: other machines reach it only over TLS: give "
                "--tls-certificate and --tls-key, or forward a port over SSH (docs/review.md)"
            )
        if self.certificate is not None and self.key is not None:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                    self.certificate, self.key
                )
            except (OSError, ssl.SSLError) as error:
                raise CMBurdenError(
                    f"--tls-certificate {self.certificate}, --tls-key {self.key}: cannot be used "
                    f"({error}); both are PEM files, the key without a password"
                ) from error

    def address(self, port: int, token: str) -> str:
        """The address of a reader's page."""
        kind = "http" if self.certificate is None else "https"
        return f"{kind}://{self.host}:{port}/?token={token}"


class Guard:
    """Passes on only requests with a reader's token: in the page's address, else in a header."""

    def __init__(self, app: ASGIApp, sittings: Mapping[str, Sitting]) -> None:
        self.app, self.sittings = app, sittings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sitting = self._sitting(scope) if scope["type"] == "http" else None
        if sitting is not None:
            await self.app({**scope, _SITTING: sitting}, receive, self._with_headers(send))
        elif scope["type"] == "http":
            refusal = PlainTextResponse("Forbidden", 403, headers=_HEADERS)
            await refusal(scope, receive, send)
        # Other protocols (websocket, lifespan) are not served.

    def _sitting(self, scope: Scope) -> Sitting | None:
        """The sitting of the reader whose token the request carries."""
        given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
        if not given and scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token", "")
        # All tokens are compared, whichever fits: the time of an answer tells nothing of them.
        fitting = [
            sitting
            for token, sitting in self.sittings.items()
            if secrets.compare_digest(given.encode(), token.encode())
        ]
        return fitting[0] if fitting else None

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        return sending


class Routes:
    """The answers of the review, a method a route; the Guard says whose sitting a request is of."""

    def __init__(self) -> None:
        self.page = _page_template()

    def index(self, request: Request) -> Response:
        """The page. Only its own script and style run, by a nonce that is drawn for each answer."""
        nonce = secrets.token_urlsafe(16)
        content = self.page.render(
            nonce=nonce,
            style=_asset("review.css"),
            script=_script(),
            reader=_of(request).store.reader,
            research=RESEARCH_USE_ONLY,
        )
        return HTMLResponse(content, headers={"Content-Security-Policy": _policy(nonce)})

    def overview(self, request: Request) -> Response:
        return JSONResponse(_of(request).overview())

    def block(self, request: Request) -> Response:
        """The voxels around a candidate (``pictures``)."""
        item = self._item(request)
        if item.at is None or _of(request).is_locked(item):
            raise Refused("this item has no block")
        message = _of(request).pictures.block(item.scan_id, item.at)
        return Response(message, headers={"Content-Encoding": "gzip"}, media_type=_BINARY)

    def scan(self, request: Request) -> Response:
        """The voxels of an item's whole scan (``pictures``)."""
        item = self._item(request)
        if _of(request).is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        return Response(_of(request).pictures.whole(item.scan_id), media_type=_BINARY)

    def beside(self, request: Request) -> Response:
        """The names of the other images of an item's scan."""
        item = self._item(request)
        others = _of(request).pictures.beside(item.scan_id)
        return JSONResponse({"others": [{"words": one.words, "way": one.way} for one in others]})

    def other(self, request: Request) -> Response:
        """Another image on the grid of an item's block, or of its whole scan (``pictures``)."""
        item = self._item(request)
        number, pictures = request.path_params["number"], _of(request).pictures
        there = len(pictures.beside(item.scan_id))
        if not _NUMBER.fullmatch(number) or int(number) >= there:
            raise Refused("no such image")
        extent = request.path_params["extent"]
        if extent not in ("block", "scan"):
            raise Refused("no such image")
        whole = extent == "scan"
        if _of(request).is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        if not whole and item.at is None:
            raise Refused("this item has no block")
        message = pictures.other(item.scan_id, int(number), None if whole else item.at)
        return Response(message, headers={"Content-Encoding": "gzip"}, media_type=_BINARY)

    async def hang(self, request: Request) -> Response:
        """Keep how the reader likes the pictures."""
        chosen = await _body(request)
        await run_in_threadpool(
            hanging.keep, _of(request).study.layout, _of(request).store.reader, chosen
        )
        return JSONResponse({})

    async def decide(self, request: Request) -> Response:
        decision = await _body(request)
        return JSONResponse(await run_in_threadpool(_of(request).decide, decision))

    async def undo(self, request: Request) -> Response:
        sent = await _body(request)
        return JSONResponse(await run_in_threadpool(_of(request).undo, sent))

    def _item(self, request: Request) -> Item:
        """The item of an address; raises :class:`Refused` if the address names none."""
        number = request.path_params["item"]
        if not _NUMBER.fullmatch(number):
            raise Refused("no such item")
        return _of(request).item(int(number))

    def refused(self, request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    def not_readable(self, request: Request, error: Exception) -> Response:
        """The answer where the operating system does not give a file of the run."""
        words = sentence(error) or f"a file of the run cannot be read ({error})"
        return JSONResponse({"error": words}, 400)

    def not_kept(self, request: Request, error: Exception) -> Response:
        """The answer to a decision that is not on disk, such as on a full one."""
        status = 507 if isinstance(error, NotKept) and error.full else 409
        return JSONResponse({"error": f"{error}. Then repeat the decision"}, status)


def _of(request: Request) -> Sitting:
    """The sitting that the Guard found for a request."""
    sitting: Sitting = request.scope[_SITTING]
    return sitting


def application(sittings: Mapping[str, Sitting], place: Place) -> Starlette:
    """The ASGI application of the reviews of readers, by their tokens."""
    routes, hosts = Routes(), [*dict.fromkeys((*HOSTS, place.host))]
    served = Starlette(
        routes=[
            Route("/", routes.index),
            Route("/api/overview", routes.overview),
            Route("/api/block/{item}", routes.block),
            Route("/api/scan/{item}", routes.scan),
            Route("/api/beside/{item}", routes.beside),
            Route("/api/beside/{item}/{number}/{extent}", routes.other),
            Route("/api/hanging", routes.hang, methods=["POST"]),
            Route("/api/decisions", routes.decide, methods=["POST"]),
            Route("/api/undo", routes.undo, methods=["POST"]),
        ],
        middleware=[
            Middleware(CloseRefused),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(Guard, sittings=sittings),
        ],
        exception_handlers={
            Refused: routes.refused,
            CMBurdenError: routes.refused,
            ScanError: routes.refused,
            NotKept: routes.not_kept,
            OSError: routes.not_readable,
        },
    )
    served.router.redirect_slashes = False  # an address that no route has is no address
    return served


def _policy(nonce: str) -> str:
    """Content-Security-Policy: only the page's own script and style, and requests to its server."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


async def _body(request: Request) -> Any:
    """The JSON that the page sent; raises :class:`Refused` if it is none, or too long."""
    content = b""
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > _MOST_BYTES:
                raise Refused("too long")
        return json.loads(content) if content else None
    except ClientDisconnect:
        raise Refused("broken off") from None
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None


def _asset(name: str) -> str:
    asset = resources.files("cmburden.review").joinpath("static", name)
    return asset.read_text(encoding="utf-8")


def _script() -> str:
    """The drawing of planes, then the page's own script."""
    planes = resources.files("cmburden.images").joinpath("static", "slices.js")
    return planes.read_text(encoding="utf-8") + "\n" + _asset("review.js")


def _page_template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("review.html.j2"))


def listening(port: int, host: str = HOSTS[0]) -> socket.socket:
    """A socket on an interface, by default the loopback one; port 0 takes a free one."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen()  # The address can be opened as soon as it is printed.
    except OSError as error:
        bound.close()
        raise CMBurdenError(
            f"--port {port} of {host}: cannot be used ({error.strerror}); give another, or 0 for "
            "a free one"
        ) from error
    return bound


def settings(sittings: Mapping[str, Sitting], place: Place) -> uvicorn.Config:
    """How reviews are served, by token. Addresses are not logged: they hold the tokens."""
    return uvicorn.Config(
        application(sittings, place),
        http=Connection,
        backlog=BACKLOG,
        # Not warnings: anybody on this machine can send what is no HTTP, a line each.
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
    )


def serve(sittings: Mapping[str, Sitting], bound: socket.socket, place: Place) -> None:
    """Answer until a signal stops the server."""
    uvicorn.Server(settings(sittings, place)).run(sockets=[bound])
