"""`/api/v1/stream`: server-sent events, as a plain ASGI application.

Events: `state` (a SensorList) first; `change` (Changes); `feed` (a FeedView, when the broker is lost
or found); `heartbeat` every 15 s. Each carries `server_time`. Who says what he has seen, by the
header Last-Event-ID or at his first connect by `last_event_id`, begins with a `change` instead of a
`state`. `sensor=NODE/SENSOR`: of this one alone.

One task writes the same bytes to every viewer that is up to date. A viewer whose last write has not
gone out yet misses rounds; when it has, it gets one event with the newest of all that it missed.
So nobody has a backlog, and nobody waits for another.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

from gateway import asgi, problems
from gateway.asgi import Receive, Scope, Send
from gateway.board import Board
from gateway.problems import Problem
from gateway.sensor import Key
from gateway.views import utcnow

log = logging.getLogger(__name__)

Pieces = tuple[bytes | memoryview, ...]  # of what is to be written

PATH = "/api/v1/stream"
HEARTBEAT_S = 15.0
# The pause after a round: at the least this, and as long as the loop worked during it, so that many
# viewers make rounds rarer, and half of the loop's time is left for others. Work, not time: where
# other processes take the processor, rounds last long already, and pauses would add to that.
SHORTEST_PAUSE_S = 0.05
PAUSE_PER_ROUND = 1.0
VIEWERS_AT_A_STRETCH = 200
AFTER_FAILURE_S = 1.0
# Without a round that ended well for so long, a page takes its stream for dead; see live.js.
STALLED_AFTER_HEARTBEATS = 2.5
# As much as asyncio takes before it says that a socket is full; each piece costs a system call.
PIECE_BYTES = 64 * 1024
RETRY_MS = (1000, 3000)  # at random, so that not all come back in the same moment
FULL_RETRY_AFTER_S = 30
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that collects events would make them late
}


class Viewer:
    """One open stream. `version` is what it was last sent; `writing`: that has not gone out yet.

    only: the one sensor that it is of; None: all.
    """

    __slots__ = ("only", "send", "version", "writing")

    def __init__(self, send: Send, version: int, only: Key | None = None) -> None:
        self.send = send
        self.version = version
        self.only = only
        self.writing = False


class Stream:
    """Call `start` and `close` in the event loop; `notify` from any thread."""

    def __init__(
        self,
        board: Board,
        *,
        max_viewers: int = 2000,
        heartbeat_s: float = HEARTBEAT_S,
        shortest_pause_s: float = SHORTEST_PAUSE_S,
        utcnow: Callable[[], datetime] = utcnow,
        worked_s: Callable[[], float] = time.thread_time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._board = board
        self._max_viewers = max_viewers
        self._heartbeat_s = heartbeat_s
        self._shortest_pause_s = shortest_pause_s
        self._utcnow = utcnow
        self._worked_s = worked_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._viewers: set[Viewer] = set()
        self._unfinished: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fan_out: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._closing = False
        self._progress_s = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._progress_s = self._monotonic()
        self._fan_out = self._loop.create_task(self._run())

    def notify(self) -> None:
        """The board may have changed."""
        loop = self._loop
        # A flag that is set needs no second call: the round that clears it sees all up to then.
        if loop is not None and not self._changed.is_set():
            with suppress(RuntimeError):  # the loop has ended: nobody is left to tell
                loop.call_soon_threadsafe(self._changed.set)

    async def close(self) -> None:
        """End every stream with a hint when to come again; refuse new ones."""
        self._closing = True
        if self._fan_out is not None:
            self._fan_out.cancel()
            await asyncio.wait([self._fan_out])
        for viewer in list(self._viewers):
            if not viewer.writing:  # those that are end when they have written
                self._write(viewer, (_retry(),), last=True)

    def viewers(self) -> int:
        return len(self._viewers)

    def liveness_errors(self) -> list[str]:
        """Why only a new process can help, one line each. From any thread."""
        if self._closing:
            return []
        if self._fan_out is None or self._fan_out.done():
            return ["the stream's fan-out is dead"]
        behind_s = self._monotonic() - self._progress_s
        if behind_s > STALLED_AFTER_HEARTBEATS * self._heartbeat_s:
            return [f"the stream's fan-out has made no progress for {behind_s:.0f} s"]
        return []

    # ---- one request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            query = asgi.query(scope, "last_event_id", "sensor")
            only = problems.checked_key(query["sensor"]) if "sensor" in query else None
            self._check_room()
        except Problem as problem:
            await asgi.respond(send, asgi.refusal(problem))
            return
        await send(asgi.head(HTTPStatus.OK, STREAM_HEADERS))
        if scope["method"] == "HEAD":
            await send(asgi.body(b"", last=True))
            return
        # What a browser sends by itself is newer than what the page's address said at first.
        seen = asgi.header(scope, b"last-event-id") or query.get("last_event_id", "")
        await self._serve(Viewer(send, self._version(seen), only), receive)

    def _version(self, event_id: str) -> int:
        """The version that a viewer says it has seen; -1: none, or another epoch's."""
        epoch, _, version = event_id.partition("-")
        mine = epoch == self._board.epoch and version.isascii() and version.isdigit()
        return int(version) if mine and len(version) < 19 else -1

    def _check_room(self) -> None:
        """Raises Problem."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        if self._closing:
            raise Problem(status, "shutting down", retry_after_s=1)
        if len(self._viewers) >= self._max_viewers:
            detail = f"all {self._max_viewers} streams are taken"
            raise Problem(status, detail, retry_after_s=FULL_RETRY_AFTER_S)

    async def _serve(self, viewer: Viewer, receive: Receive) -> None:
        self._viewers.add(viewer)
        try:
            self._greet(viewer)
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._viewers.discard(viewer)

    def _greet(self, viewer: Viewer) -> None:
        """In a function of its own: what it writes must not live as long as the stream is open."""
        viewer.version, news = self._news(viewer.version, viewer.only)
        # Closing may have begun while the head was being sent.
        self._write(viewer, (_retry(), *news), last=self._closing)

    # ---- the fan-out

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_beat_s = loop.time() + self._heartbeat_s
        failing = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat_s):
                    await self._changed.wait()
            self._changed.clear()
            began_s = self._worked_s()
            beat_due = loop.time() >= next_beat_s
            try:
                await self._round(self._heartbeat() if beat_due else ())
            except Exception:
                if not failing:  # what fails in every round would fill the log
                    log.exception("a round of the stream failed; it is tried again")
                failing = True
                self._changed.set()  # some viewers may not have been told yet
                await self._sleep(AFTER_FAILURE_S)
                continue
            failing = False
            self._progress_s = self._monotonic()
            if beat_due:
                next_beat_s = loop.time() + self._heartbeat_s
            took_s = self._worked_s() - began_s
            await self._sleep(max(self._shortest_pause_s, PAUSE_PER_ROUND * took_s))

    async def _round(self, beat: Pieces) -> None:
        """Bring every viewer that is not still writing up to date."""
        news: dict[tuple[int, Key | None], tuple[int, Pieces]] = {}  # by what is seen, and of what
        for number, viewer in enumerate(list(self._viewers), start=1):
            if number % VIEWERS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)  # let others in: probes, pages, new viewers
            if viewer.writing or viewer not in self._viewers:
                continue
            pieces = beat
            if viewer.version < self._newest(viewer):
                seen = viewer.version, viewer.only
                if seen not in news:
                    news[seen] = self._news(*seen)
                viewer.version, pieces = news[seen]
                pieces = (*pieces, *beat)
            if pieces:
                self._write(viewer, pieces)

    def _newest(self, viewer: Viewer) -> int:
        """The version of the last change that this viewer is to be told of."""
        board = self._board
        return board.version if viewer.only is None else board.newest(viewer.only)

    def _news(self, seen: int, only: Key | None) -> tuple[int, Pieces]:
        """All since the version `seen`, as events, and the version that this leads to."""
        board = self._board
        delta = board.delta(seen, only)
        snapshot = delta or board.full(only)
        event_id = f"{board.epoch}-{snapshot.version}"
        now = self._utcnow()
        events: Pieces = ()
        if delta is not None and board.feed_version > seen:
            events = _event("feed", b'{"feed":%s}' % board.feed.to_json(), now)
        events += _event("change" if delta else "state", snapshot.body, now, event_id)
        return snapshot.version, events

    def _heartbeat(self) -> Pieces:
        return _event("heartbeat", b"{}", self._utcnow())

    def _write(self, viewer: Viewer, pieces: Pieces, *, last: bool = False) -> None:
        """Write without waiting; what does not go out at once is finished by a task."""
        writing = _send(viewer.send, pieces, last)
        try:
            waits_for = writing.send(None)
        except StopIteration:
            return
        except Exception:  # noqa: BLE001 - a viewer that has gone; its own request hears of it
            self._viewers.discard(viewer)
            return
        viewer.writing = True
        task = asyncio.get_running_loop().create_task(self._finish(viewer, writing, waits_for))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)

    async def _finish(
        self, viewer: Viewer, writing: Coroutine[Any, Any, None], waits_for: object
    ) -> None:
        try:
            await _rest_of(writing, waits_for)
        except Exception:  # noqa: BLE001 - as above
            self._viewers.discard(viewer)
            return
        viewer.writing = False
        if self._closing:
            self._write(viewer, (_retry(),), last=True)
        elif viewer.version < self._newest(viewer):
            self._changed.set()


async def _send(send: Send, pieces: Pieces, last: bool) -> None:
    """Much data goes bit by bit: then no more of it waits in memory than the socket's buffer."""
    for piece in pieces:
        for start in range(0, len(piece), PIECE_BYTES):
            await send(asgi.body(bytes(piece[start : start + PIECE_BYTES])))
    if last:
        await send(asgi.body(b"", last=True))


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    """Await a coroutine that has already been begun, and waits for `waits_for`."""
    try:
        while True:
            try:
                answer = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(answer)
    except StopIteration:
        return


def _event(name: str, body: bytes, now: datetime, event_id: str = "") -> Pieces:
    """`body`, a JSON object in one line, with the gateway's time put in front.

    In as few pieces as there can be; what is large is not copied for each viewer, but for its ends.
    """
    server_time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    comma = "" if body == b"{}" else ","
    lines = f"event: {name}\n" + (f"id: {event_id}\n" if event_id else "")
    head = f'{lines}data: {{"server_time":"{server_time}"{comma}'.encode()
    rest = memoryview(body)[1:]
    cut = PIECE_BYTES - len(head)
    pieces: list[bytes | memoryview] = [head + rest[:cut]]
    pieces += [rest[at : at + PIECE_BYTES] for at in range(cut, len(rest), PIECE_BYTES)]
    pieces[-1] = bytes(pieces[-1]) + b"\n\n"
    return tuple(pieces)


def _retry() -> bytes:
    return f"retry: {random.randint(*RETRY_MS)}\n\n".encode()  # noqa: S311 - spread, not secret
