"""The history's requests: threads of their own, and no thread for who is slow to read."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Iterable, Iterator

import httpx
import pytest

from gateway import bridge
from gateway.asgi import Message
from gateway.bridge import Bridge
from tests.databases import Database
from tests.unit.past import Past
from tests.unit.test_server import WAIT_S, patched, running

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/x",
    "query_string": b"a=1",
    "headers": [(b"x-word", b"y")],
    "http_version": "1.1",
}


class Client:
    """One request. `reads`: it takes what it is sent."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[Message] = []
        self.reads = asyncio.Event()
        self.left = asyncio.Event()
        if reads:
            self.reads.set()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            await self.reads.wait()

    async def ask(self, app: Bridge) -> Client:
        await app(dict(SCOPE), self.receive, self.send)
        return self

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def whole(self) -> bool:
        return not self.sent[-1].get("more_body", False)


class Application:
    """WSGI: `pieces` are its answer."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = pieces
        self.closed = threading.Event()

    def __call__(self, environ: dict[str, object], start: object) -> Iterator[bytes]:
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/x", "a=1")
        assert environ["HTTP_X_WORD"] == "y"
        start("200 OK", [("X-Is", "é")])  # type: ignore[operator]
        return self.answer()

    def answer(self) -> Iterator[bytes]:
        try:
            yield from self.pieces
        finally:
            self.closed.set()


def test_an_answer_is_passed_on_piece_by_piece_and_closed() -> None:
    app = Application([b"one", b"two"])
    client = asyncio.run(_ask(app))
    start, *rest = client.sent
    assert (start["status"], start["headers"]) == (200, [(b"x-is", b"\xe9")])
    assert [message.get("body") for message in rest] == [b"one", b"two", b""]
    assert client.whole
    assert app.closed.wait(WAIT_S)


async def _ask(app: Application) -> Client:
    return await Client().ask(Bridge(app, threads=1))


def test_who_does_not_read_holds_no_thread() -> None:
    async def run() -> None:
        app = Bridge(Application([b"1", b"2"]), threads=1)
        slow = [Client(reads=False) for _ in range(3)]
        asking = [asyncio.create_task(client.ask(app)) for client in slow]
        while not all(client.body for client in slow):
            await asyncio.sleep(0)
        assert (await Client().ask(app)).body == b"12"
        assert [client.body for client in slow] == [b"1"] * 3
        for client in slow:
            client.reads.set()
        await asyncio.gather(*asking)
        assert [client.body for client in slow] == [b"12"] * 3

    asyncio.run(run())


def test_who_takes_nothing_for_too_long_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bridge, "STALLED_AFTER_S", 0.01)
    app = Application([b"1", b"2"])

    async def run() -> None:
        client = await Client(reads=False).ask(Bridge(app, threads=1))
        assert (client.body, client.whole) == (b"1", False)

    asyncio.run(run())
    assert app.closed.wait(WAIT_S)
    assert caplog.messages == []  # what strangers do is not worth a line


def test_who_has_gone_is_not_read_for() -> None:
    made = []

    def endless() -> Iterator[bytes]:
        while True:
            made.append(1)
            yield b"x"

    app = Application(endless())

    async def run() -> None:
        client = Client()
        asking = asyncio.create_task(client.ask(Bridge(app, threads=1)))
        while not made:
            await asyncio.sleep(0)
        client.left.set()
        await asking

    asyncio.run(run())
    assert app.closed.wait(WAIT_S)


def test_an_answer_that_fails_is_one_line_and_never_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing() -> Iterator[bytes]:
        yield b"1"
        raise OSError("the disk is gone")

    client = asyncio.run(_ask(Application(failing())))
    assert (client.body, client.whole) == (b"1", False)
    (line,) = caplog.messages
    assert line == "'/x' was broken off: the disk is gone"


@pytest.mark.parametrize("fails_in", ["its head", "a piece", "its close"])
def test_an_answer_that_fails_leaves_its_thread_to_the_next(fails_in: str) -> None:
    broken = [fails_in]

    class Answer:
        def __init__(self) -> None:
            self.pieces = iter([b"whole"])

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            if broken == ["a piece"]:
                raise SystemError(broken.pop())
            return next(self.pieces)

        def close(self) -> None:
            if broken == ["its close"]:
                raise SystemError(broken.pop())

    def application(_environ: dict[str, object], start: object) -> Answer:
        if broken == ["its head"]:
            raise SystemError(broken.pop())
        start("200 OK", [])  # type: ignore[operator]
        return Answer()

    async def check() -> None:
        app = Bridge(application, threads=1)
        await Client().ask(app)
        client = await Client().ask(app)
        assert (client.body, client.whole) == (b"whole", True)

    asyncio.run(check())
    assert broken == []


# ---- in the process


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with contextlib.closing(Past(sqlite)) as past:
        past.readings(range(1, 4))
        yield past


HISTORY = "/api/v1/sensors/pi-1/dht11/history?from=2026-05-03&to=2026-05-04"


def test_the_gateway_answers_from_its_history(past: Past, sqlite: Database) -> None:
    with running(**sqlite.env) as gateway:
        gateway.wait_for("the page is at")
        shown = httpx.get(gateway.url + HISTORY, timeout=WAIT_S)
        assert sum(point["readings"] for point in shown.json()["points"]) == 3
        text = httpx.get(f"{gateway.url}{HISTORY}&format=csv", timeout=WAIT_S).text
        assert text.count("\n") == 4
        audit = httpx.get(f"{gateway.url}/api/v1/audit", timeout=WAIT_S).json()
        assert audit["sensors"][0]["stored"] == 3
        head = httpx.head(f"{gateway.url}{HISTORY}&format=csv", timeout=WAIT_S)
        assert (head.status_code, head.content) == (200, b"")
        gateway.process.terminate()
        assert gateway.end()[0] == 0


def test_a_database_that_never_answers_holds_up_nothing_else(past: Past, sqlite: Database) -> None:
    hangs = patched(
        "import threading, gateway.history.store as store\n"
        "store.Store.read = store.Store.check = lambda self: threading.Event().wait()"
    )
    request = f"GET {HISTORY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    page = b"GET /sensors/pi-1/dht11 HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(*hangs, **sqlite.env) as gateway, contextlib.ExitStack() as opened:
        gateway.wait_for("the page is at")
        waiting = [
            opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            for _ in range(20)
        ]
        for client in waiting:
            client.sendall(request)
        for _ in range(3):  # of which only some may wait for the database
            waiting.append(
                opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            )
            waiting[-1].sendall(page)
        for path in ("/", "/trends", "/system", "/kiosk", "/readyz", "/metrics", "/api/v1/sensors"):
            assert httpx.get(gateway.url + path, timeout=WAIT_S).status_code in (200, 503)
        with httpx.stream("GET", f"{gateway.url}/api/v1/stream", timeout=WAIT_S) as stream:
            assert "event: state" in list(zip(stream.iter_lines(), range(3), strict=False))[-1][0]
        assert select.select(waiting[:20], [], [], 0)[0] == []


def test_an_export_that_breaks_off_is_seen_to_be_incomplete(past: Past, sqlite: Database) -> None:
    breaks = patched(
        "from gateway.history import query, store\n"
        "def rows(*_):\n"
        "    yield [query.Raw('pi-1', 'dht11', '-', 1, 1, True, 1.0, 1.0, 'dht11')]\n"
        "    raise store.Unavailable('the database went away')\n"
        "query.rows = rows"
    )
    with running(*breaks, **sqlite.env) as gateway:
        gateway.wait_for("the page is at")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{gateway.url}{HISTORY}&format=csv", timeout=WAIT_S)
        gateway.process.terminate()
        code, errors = gateway.end()
    assert code == 0
    assert errors.count("broken off: the database went away") == 1
    assert "Traceback" not in errors
    assert "without completing" not in errors


def test_a_url_of_no_use_is_one_clear_line() -> None:
    with running(BRISA_HISTORY_URL="sqlite:///:memory:") as gateway:
        code, errors = gateway.end()
    assert code in (1, 2)
    assert errors.startswith("gateway: ")
    assert errors.count("\n") == 1
