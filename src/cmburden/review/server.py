"""The review over HTTP on the loopback interface, for the one who has its address.

Who may ask: the address holds a token of 256 bits made at each start, the page sends it with every
request as a header (so another site's page cannot), and the Host header must name the loopback
(so a name that is rebound to it does not help). All else gets 403 or 400 and no content. No
parameter is part of a path: the only ones are numbers of the worklist.
"""

from __future__ import annotations

import json
import secrets
import socket
import sqlite3
from importlib import resources

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cmburden import RESEARCH_USE_ONLY
from cmburden.core.errors import CMBurdenError
from cmburden.review.session import Refused, Session

HOSTS = ("127.0.0.1", "localhost")
#: A decision with the longest note is below this.
_MOST_BYTES = 16_384
_BINARY = "application/octet-stream"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Answers only requests with the token: in the page's address, in a header for all else."""

    def __init__(self, app: ASGIApp, token: str):
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._may(scope):
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "http":
            refusal = PlainTextResponse("Forbidden", 403, headers=_HEADERS)
            await refusal(scope, receive, send)
        # Nothing else is spoken here: no websocket, no lifespan.

    def _may(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
        if not given and scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token", "")
        return secrets.compare_digest(given.encode(), self.token.encode())

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message):
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message = message | {"headers": [*message["headers"], *extra]}
            await send(message)

        return sending


def application(session: Session, token: str) -> Starlette:
    """The ASGI application of one reader's review."""
    page = _page_template()

    def index(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        content = page.render(
            nonce=nonce,
            style=_asset("review.css"),
            script=_asset("review.js"),
            reader=session.store.reader,
            research=RESEARCH_USE_ONLY,
        )
        return HTMLResponse(content, headers={"Content-Security-Policy": policy})

    def overview(request: Request) -> Response:
        return JSONResponse(session.overview())

    def block(request: Request) -> Response:
        item = session.item(request.path_params["item"])
        if item.at is None or session.is_locked(item):
            raise Refused("this item has no block")
        message = session.pictures.block(item.scan_id, item.at)
        return Response(message, headers={"Content-Encoding": "gzip"}, media_type=_BINARY)

    def whole(request: Request) -> Response:
        item = session.item(request.path_params["item"])
        if session.is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        return Response(session.pictures.whole(item.scan_id), media_type=_BINARY)

    async def decide(request: Request) -> Response:
        sent = await _body(request)
        return JSONResponse(await run_in_threadpool(session.decide, sent))

    def undo(request: Request) -> Response:
        return JSONResponse(session.undo())

    def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    def full(request: Request, error: Exception) -> Response:
        said = f"{session.store.path} does not take it ({error}); free space, then repeat it"
        return JSONResponse({"error": said}, 507)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/api/overview", overview),
            Route("/api/block/{item:int}", block),
            Route("/api/scan/{item:int}", whole),
            Route("/api/decisions", decide, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
            Middleware(Guard, token=token),
        ],
        exception_handlers={Refused: refused, CMBurdenError: refused, sqlite3.Error: full},
    )


async def _body(request: Request):
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MOST_BYTES:
            raise Refused("too long")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None


def _asset(name: str) -> str:
    return resources.files("cmburden.review").joinpath("static", name).read_text()


def _page_template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("review.html.j2"))


def listening(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes a free one."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen()  # so that the address can be opened as soon as it is printed
    except OSError as error:
        bound.close()
        raise CMBurdenError(
            f"--port {port}: cannot be used ({error.strerror}); give another, or 0 for a free one"
        ) from error
    return bound


def serve(session: Session, bound: socket.socket, token: str) -> None:
    """Answer until stopped by a signal. Addresses, and so the token, are not logged."""
    settings = uvicorn.Config(
        application(session, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(settings).run(sockets=[bound])
