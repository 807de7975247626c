"""The review over HTTP on the loopback interface, for the reader who has its address.

The server answers a request under two conditions. First, the request carries the token: 256 random
bits, drawn at each start, which are part of the address. The page sends the token as a header,
which a page of another site cannot do. Second, the Host header names the loopback interface. A
foreign name that resolves to this machine (DNS rebinding) is refused. All other requests get 403 or
400 without content. No parameter of a request is part of a file's path: paths of requests hold only
numbers of the worklist.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
from importlib import resources
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


class Guard:
    """Passes on only requests with the token: in the page's address, else in a header."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._may(scope):
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "http":
            refusal = PlainTextResponse("Forbidden", 403, headers=_HEADERS)
            await refusal(scope, receive, send)
        # Other protocols (websocket, lifespan) are not served.

    def _may(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
        if not given and scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token", "")
        return secrets.compare_digest(given.encode(), self.token.encode())

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        return sending


class Routes:
    """The answers of one reader's review, a method a route."""

    def __init__(self, sitting: Sitting) -> None:
        self.sitting = sitting
        self.page = _page_template()

    def index(self, request: Request) -> Response:
        """The page. Only its own script and style run, by a nonce that is drawn for each answer."""
        nonce = secrets.token_urlsafe(16)
        content = self.page.render(
            nonce=nonce,
            style=_asset("review.css"),
            script=_script(),
            reader=self.sitting.store.reader,
            research=RESEARCH_USE_ONLY,
        )
        return HTMLResponse(content, headers={"Content-Security-Policy": _policy(nonce)})

    def overview(self, request: Request) -> Response:
        return JSONResponse(self.sitting.overview())

    def block(self, request: Request) -> Response:
        """The voxels around a candidate (``pictures``)."""
        item = self._item(request)
        if item.at is None or self.sitting.is_locked(item):
            raise Refused("this item has no block")
        message = self.sitting.pictures.block(item.scan_id, item.at)
        return Response(message, headers={"Content-Encoding": "gzip"}, media_type=_BINARY)

    def scan(self, request: Request) -> Response:
        """The voxels of an item's whole scan (``pictures``)."""
        item = self._item(request)
        if self.sitting.is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        return Response(self.sitting.pictures.whole(item.scan_id), media_type=_BINARY)

    def beside(self, request: Request) -> Response:
        """The names of the other images of an item's scan."""
        item = self._item(request)
        others = self.sitting.pictures.beside(item.scan_id)
        return JSONResponse({"others": [{"words": one.words, "way": one.way} for one in others]})

    def other(self, request: Request) -> Response:
        """Another image on the grid of an item's block, or of its whole scan (``pictures``)."""
        item = self._item(request)
        number, pictures = request.path_params["number"], self.sitting.pictures
        there = len(pictures.beside(item.scan_id))
        if not _NUMBER.fullmatch(number) or int(number) >= there:
            raise Refused("no such image")
        extent = request.path_params["extent"]
        if extent not in ("block", "scan"):
            raise Refused("no such image")
        whole = extent == "scan"
        if self.sitting.is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        if not whole and item.at is None:
            raise Refused("this item has no block")
        message = pictures.other(item.scan_id, int(number), None if whole else item.at)
        return Response(message, headers={"Content-Encoding": "gzip"}, media_type=_BINARY)

    async def hang(self, request: Request) -> Response:
        """Keep how the reader likes the pictures."""
        chosen = await _body(request)
        await run_in_threadpool(
            hanging.keep, self.sitting.study.layout, self.sitting.store.reader, chosen
        )
        return JSONResponse({})

    async def decide(self, request: Request) -> Response:
        decision = await _body(request)
        return JSONResponse(await run_in_threadpool(self.sitting.decide, decision))

    async def undo(self, request: Request) -> Response:
        sent = await _body(request)
        return JSONResponse(await run_in_threadpool(self.sitting.undo, sent))

    def _item(self, request: Request) -> Item:
        """The item of an address; raises :class:`Refused` if the address names none."""
        number = request.path_params["item"]
        if not _NUMBER.fullmatch(number):
            raise Refused("no such item")
        return self.sitting.item(int(number))

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


def application(sitting: Sitting, token: str) -> Starlette:
    """The ASGI application of one reader's review."""
    routes = Routes(sitting)
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
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
            Middleware(Guard, token=token),
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


def listening(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes a free one."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen()  # The address can be opened as soon as it is printed.
    except OSError as error:
        bound.close()
        raise CMBurdenError(
            f"--port {port}: cannot be used ({error.strerror}); give another, or 0 for a free one"
        ) from error
    return bound


def settings(sitting: Sitting, token: str) -> uvicorn.Config:
    """How one reader's review is served. Addresses are not logged: they hold the token."""
    return uvicorn.Config(
        application(sitting, token),
        http=Connection,
        backlog=BACKLOG,
        # Not warnings: anybody on this machine can send what is no HTTP, a line each.
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
    )


def serve(sitting: Sitting, bound: socket.socket, token: str) -> None:
    """Answer until a signal stops the server."""
    uvicorn.Server(settings(sitting, token)).run(sockets=[bound])
