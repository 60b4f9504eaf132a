"""A TCP proxy that a test cuts, holds and slows while programs talk through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, Self

from tests.support import PATIENCE_S, free_port


class Mode(Enum):
    """What becomes of connections, those that are there and those that come."""

    PASS = "pass"
    REFUSE = "refuse"  # nobody listens, and what was there is cut
    DROP = "drop"  # each is cut, new ones as soon as they come
    HOLD = "hold"  # accepted and silent: half-open; the bytes go on when the mode is PASS again


class Proxy:
    """Listens on `port` and passes on to `target` on the loopback, as its mode allows."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.connections = 0  # that were ever accepted
        self.held = 0  # bytes, or ends, that came while it held
        self._target = target
        self._mode = Mode.PASS
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._passing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.switch(Mode.PASS)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def switch(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        """From here on `mode`; what passes does so in pieces, each `delay_s` late."""
        self._call(self._switch(mode, delay_s))

    def cut(self) -> None:
        """End the connections that are there, once."""
        self._call(self._cut())

    @property
    def open_now(self) -> int:
        return len(self._open)

    # ---- in its thread

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _switch(self, mode: Mode, delay_s: float) -> None:
        self._mode, self._delay_s = mode, delay_s
        if mode is Mode.PASS:
            self._passing.set()
        else:
            self._passing.clear()
        if mode is Mode.REFUSE:
            await self._close_server()
        elif self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        if mode in {Mode.REFUSE, Mode.DROP}:
            await self._cut()

    async def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _end(self) -> None:
        await self._close_server()
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open[task] = [writer]
        task.add_done_callback(self._gone)
        if self._mode is Mode.DROP:
            task.cancel()

    def _gone(self, task: asyncio.Task[None]) -> None:
        for writer in self._open.pop(task):
            if task.cancelled():  # a reset, and what was under way is not delivered
                connected = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._open[task].append(far_writer)
            pumps = [
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            if not self._passing.is_set():
                self.held += len(data) or 1
                await self._passing.wait()
            if not data:
                break
            await asyncio.sleep(self._delay_s)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()  # what is on its way arrives before the end
            await writer.drain()
