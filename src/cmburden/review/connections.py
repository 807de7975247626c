"""Connections of the review's server: few, and none that stays open without a request.

Any user of the machine can connect without the token. The server therefore closes a connection
whose request does not come in time and, where there are too many, the oldest without a request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections at a time. A browser opens six.
MOST = 64
#: Connections that the system holds until the server takes them, and that it takes at a time.
#: Small, so that descriptors of connections that are yet to be closed stay below any usual limit.
BACKLOG = 32
#: Seconds for the first line and the header of a request.
HEADER_S = 10.0
_REFUSED = 400


class Connection(H11Protocol):
    """A connection that has ``HEADER_S`` for the header of each request."""

    _limit: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_header()
        present = [one for one in self._all() if not one.transport.is_closing()]
        silent = [one for one in present if one._limit is not None]
        if len(present) > MOST and silent:
            min(silent, key=lambda one: one._since).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # IDLE: the header of the next request is not whole yet.
        if self.conn.their_state is not h11.IDLE:
            self._forget_limit()
        elif self._limit is None:
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_limit()
        super().connection_lost(exc)

    def _all(self) -> list[Connection]:
        return [one for one in self.connections if isinstance(one, Connection)]

    def _await_header(self) -> None:
        self._since = self.loop.time()
        self._limit = self.loop.call_later(HEADER_S, self.transport.abort)

    def _forget_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class CloseRefused:
    """Closes the connection of a request that is refused: who has no token holds none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _REFUSED:
                headers = [*message.get("headers", []), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, sending)
