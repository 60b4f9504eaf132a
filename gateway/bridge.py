"""WSGI in a pool of its own, where each piece of an answer is made only once the last is sent.

So a thread is held while something is being read or reckoned, never while a slow client takes it
in; a client that has gone, or takes nothing, ends what it asked for.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from a2wsgi.wsgi import build_environ

from broker.contract import shown
from gateway.asgi import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

STALLED_AFTER_S = 60.0
WSGI = Callable[..., Iterable[bytes]]


class Bridge:
    """An ASGI application. An answer that breaks off is never made to look whole."""

    def __init__(self, app: WSGI, *, threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="history")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        gone = loop.create_task(_gone(receive))
        answer: Iterable[bytes] = ()
        head: Message = {"type": "http.response.start"}

        def start(status: str, headers: list[tuple[str, str]], _: object = None) -> None:
            head["status"] = int(status[:3])
            head["headers"] = [
                (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers
            ]

        environ = build_environ(scope, io.BytesIO())  # type: ignore[arg-type]
        try:
            answer = await loop.run_in_executor(self._pool, self._app, environ, start)
            pieces = iter(answer)
            await send(head)
            while (
                piece := await loop.run_in_executor(self._pool, next, pieces, None)
            ) is not None and not gone.done():
                async with asyncio.timeout(STALLED_AFTER_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.debug("%s was broken off: nobody takes it", shown(scope["path"]))
        except Exception as error:  # noqa: BLE001 - the server closes what was not completed
            log.warning("%s was broken off: %s", shown(scope["path"]), error)
        finally:
            gone.cancel()
            self._pool.submit(_close, answer)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _close(answer: Any) -> None:
    with suppress(AttributeError, ValueError):  # nothing to close; still at its last piece
        answer.close()
