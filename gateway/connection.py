"""HTTP connections: how many there may be, and how long one may be open without asking anything."""

from __future__ import annotations

import asyncio
import logging
import resource
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway import problems
from gateway.headers import SECURITY_HEADERS

log = logging.getLogger(__name__)

# For pages and probes, besides the viewers.
SPARE = 200
# Files that are no connection: the broker, what is being read, what was accepted a moment ago.
OTHER_FILES = 96


class Connection(H11Protocol):
    """uvicorn's, which by itself waits for a first request for ever.

    An idle one has `request_within_s` for its next whole request. One too many takes the place of
    the one that has been idle longest; if all are being answered, it is closed.
    """

    request_within_s: ClassVar[float] = 10.0
    at_most: ClassVar[int] = 1000
    idle: ClassVar[dict[Connection, asyncio.TimerHandle]]  # the longest idle first

    def __init_subclass__(cls) -> None:
        cls.idle = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.at_most:
            longest = next(iter(self.idle), self)
            longest.transport.abort()
            longest._forget()
        if not transport.is_closing():
            self._settle()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def send_400_response(self, msg: str) -> None:
        """To what is not HTTP: the same kind of problem as everywhere."""
        headers = {**SECURITY_HEADERS, "Content-Type": problems.MEDIA_TYPE, "Connection": "close"}
        status = HTTPStatus.BAD_REQUEST
        with suppress(h11.LocalProtocolError):  # an answer is on its way already
            for event in (
                h11.Response(status_code=status, headers=[*headers.items()], reason=status.phrase),
                h11.Data(data=problems.body(status, msg)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _settle(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self not in self.idle:
            timer = self.loop.call_later(self.request_within_s, self.transport.abort)
            self.idle[self] = timer

    def _forget(self) -> None:
        if timer := self.idle.pop(self, None):
            timer.cancel()


def room_for(max_viewers: int) -> tuple[int, int]:
    """As many connections, and viewers, as the hard limit of open files lets there be.

    The soft limit is raised as far as that takes.
    """
    wanted = max_viewers + SPARE + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = wanted
    elif soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= wanted:
        return max_viewers + SPARE, max_viewers
    connections = max(2, soft - OTHER_FILES)
    viewers = min(max_viewers, max(connections - SPARE, connections * 4 // 5))
    log.warning(
        "at most %d viewers, not %d: open files are limited to %d", viewers, max_viewers, soft
    )
    return connections, viewers
