"""/api/v1/stream: driven as ASGI in the process, then over a real uvicorn and a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from broker.contract import Kind, Topic
from gateway.asgi import Message
from gateway.board import Snapshot
from gateway.connection import Connection
from gateway.headers import SECURITY_HEADERS
from gateway.problems import ProblemView
from gateway.sensor import Key
from gateway.stream import (
    HEARTBEAT_S,
    PATH,
    PAUSE_PER_ROUND,
    PIECE_BYTES,
    SHORTEST_PAUSE_S,
    STALLED_AFTER_HEARTBEATS,
    Pieces,
    Stream,
)
from gateway.views import Changes, FeedView, SensorList
from tests.unit.told import Told

WAIT_S = 10


@dataclass
class Event:
    name: str
    data: dict[str, Any]
    id: str | None


@dataclass
class Client:
    """One viewer: collects what is sent, and can stop reading."""

    method: str = "GET"
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    status: int = 0
    answer: dict[str, str] = field(default_factory=dict)
    text: str = ""
    ended: bool = False
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.gone = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.blocked = asyncio.Event()
        self._rest = ""

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.reads.is_set():
            self.blocked.set()
            await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer = {k.decode(): v.decode() for k, v in message["headers"]}
            return
        self.text += message["body"].decode()
        *blocks, self._rest = (self._rest + message["body"].decode()).split("\n\n")
        for block in blocks if self.status == 200 else ():
            lines = dict(line.split(": ", maxsplit=1) for line in block.splitlines())
            if "event" in lines:
                event = Event(lines["event"], json.loads(lines["data"]), lines.get("id"))
                self.events.put_nowait(event)
        if not message["more_body"]:
            self.ended = True
            self.gone.set()

    async def next(self) -> Event:
        return await asyncio.wait_for(self.events.get(), WAIT_S)

    @asynccontextmanager
    async def on(self, stream: Stream) -> AsyncIterator[Client]:
        scope: dict[str, Any] = {"type": "http", "method": self.method, "path": PATH}
        scope |= {"headers": self.headers, "query_string": self.query}
        task = asyncio.create_task(stream(scope, self.receive, self.send))
        yield self
        self.gone.set()
        await asyncio.wait_for(task, WAIT_S)


@asynccontextmanager
async def streaming(told: Told, **options: Any) -> AsyncIterator[Stream]:
    stream = Stream(told.board, shortest_pause_s=0, utcnow=told.clock.utcnow, **options)
    stream.start()
    yield stream
    await stream.close()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def last_seen(event: Event) -> Client:
    assert event.id is not None
    return Client(headers=[(b"last-event-id", event.id.encode())])


@pytest.fixture
def told() -> Told:
    told = Told()
    told.board.feed_up()
    told.reading(1)
    return told


def test_the_first_event_is_the_full_state_with_the_gateways_time(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            event = await client.next()
        assert (event.name, event.id) == ("state", f"{told.board.epoch}-{told.board.version}")
        assert event.data["server_time"] == "2026-11-23T12:00:00.000Z"
        assert SensorList.model_validate(event.data).sensors[0].seq == 1
        assert event.data["feed"]["connected"] is True
        assert client.text.startswith("retry: ")
        assert client.answer["content-type"] == "text/event-stream; charset=utf-8"
        for name, value in SECURITY_HEADERS.items():
            assert client.answer[name.lower()] == value

    run(check())


def test_a_change_reaches_every_viewer_once_and_holds_only_what_changed(told: Told) -> None:
    async def check() -> None:
        one, two = Client(), Client()
        async with streaming(told) as stream, one.on(stream), two.on(stream):
            await one.next()
            await two.next()
            told.reading(1, sensor="new")
            stream.notify()
            for client in (one, two):
                event = await client.next()
                assert event.name == "change"
                changes = Changes.model_validate(event.data)
                assert [view.sensor for view in changes.sensors] == ["new"]
                assert client.events.empty()

    run(check())


def test_notify_comes_from_another_thread(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            await client.next()
            told.reading(2)
            await asyncio.to_thread(stream.notify)
            assert (await client.next()).data["sensors"][0]["seq"] == 2

    run(check())


def test_a_slow_reader_gets_the_newest_and_never_a_backlog_nor_holds_up_others(told: Told) -> None:
    async def check() -> None:
        slow, quick = Client(), Client()
        async with streaming(told) as stream, slow.on(stream), quick.on(stream):
            await slow.next()
            await quick.next()
            slow.reads.clear()
            for seq in range(2, 12):
                told.reading(seq)
                stream.notify()
                assert (await quick.next()).data["sensors"][0]["seq"] == seq
            assert slow.blocked.is_set()
            slow.reads.set()
            assert (await slow.next()).data["sensors"][0]["seq"] == 2
            newest = await slow.next()
            assert [view["seq"] for view in newest.data["sensors"]] == [11]
            assert slow.events.empty()

    run(check())


def test_much_data_arrives_whole_and_no_faster_than_it_is_read(told: Told) -> None:
    for number in range(199):
        told.reading(1, sensor=f"s{number}")

    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            event = await client.next()
            assert len(SensorList.model_validate(event.data).sensors) == 200
            client.reads.clear()
            for number in range(199):
                told.reading(2, sensor=f"s{number}")
            stream.notify()
            await asyncio.wait_for(client.blocked.wait(), WAIT_S)
            sent = len(client.text)
            await asyncio.sleep(0)
            assert len(client.text) == sent
            client.reads.set()
            assert len((await client.next()).data["sensors"]) == 199

    run(check())


@pytest.mark.parametrize("sensors", [1, 100, 140, 150, 400, 900])
def test_an_event_is_written_in_as_few_pieces_as_there_can_be(told: Told, sensors: int) -> None:
    told.reading(2)
    for number in range(sensors):
        told.reading(1, node=f"n{number % 10}", sensor=f"s{number}")

    async def check() -> None:
        written: list[bytes] = []
        async with streaming(told) as stream, Client().on(stream) as client:

            async def send(message: Message) -> None:
                written.append(message["body"])

            await client.next()
            viewer = next(iter(stream._viewers))
            viewer.send, viewer.version = send, told.board.version - sensors
            await stream._round(())
        event = b"".join(written)
        # a break at the very end may take one more
        assert len(written) in (-(-len(event) // PIECE_BYTES), len(event) // PIECE_BYTES + 1)
        assert event.startswith(b"event: change\n")
        assert event.endswith(b"}\n\n")
        data = event.split(b"\ndata: ")[1]
        assert len(Changes.model_validate_json(data).sensors) == sensors

    run(check())


def test_what_a_viewer_was_greeted_with_is_not_kept(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream:
            made: list[weakref.ref[memoryview]] = []
            news = stream._news

            def watched(seen: int, only: Key | None) -> tuple[int, Pieces]:
                version, pieces = news(seen, only)
                event = memoryview(b"".join(pieces))  # which, unlike bytes, can be watched
                made.append(weakref.ref(event))
                return version, (event,)

            stream._news = watched  # type: ignore[method-assign]
            async with Client().on(stream) as client:
                await client.next()
                assert [event() for event in made] == [None]

    run(check())


def test_a_viewer_in_the_middle_of_an_event_gets_its_end_before_the_stream_ends(
    told: Told,
) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            await client.next()
            client.reads.clear()
            told.reading(2)
            stream.notify()
            await asyncio.wait_for(client.blocked.wait(), WAIT_S)
            await stream.close()
            client.reads.set()
            assert (await client.next()).data["sensors"][0]["seq"] == 2
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
            assert client.text.rsplit("\n\n", 2)[1].startswith("retry: ")

    run(check())


def test_rounds_are_as_far_apart_as_their_work_asks_and_take_everything_since(told: Told) -> None:
    work_s, pauses_s = iter([10.0, 13.0, 20.0, 20.001]), []
    go_on = asyncio.Event()

    async def sleep(pause_s: float) -> None:
        pauses_s.append(pause_s)
        await go_on.wait()

    async def check() -> None:
        stream = Stream(told.board, worked_s=lambda: next(work_s), sleep=sleep)
        stream.start()
        async with Client().on(stream) as client:
            await client.next()
            told.reading(2)
            stream.notify()
            assert (await client.next()).data["sensors"][0]["seq"] == 2
            for seq in range(3, 9):
                told.reading(seq)
                stream.notify()
            go_on.set()
            assert (await client.next()).data["sensors"][0]["seq"] == 8
            assert client.events.empty()
            assert pauses_s == [3.0 * PAUSE_PER_ROUND, SHORTEST_PAUSE_S]
        await stream.close()

    run(check())


def test_losing_the_broker_is_an_event_of_its_own(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            await client.next()
            told.board.feed_lost()
            stream.notify()
            event = await client.next()
            assert event.name == "feed"
            assert FeedView.model_validate(event.data["feed"]).connected is False

    run(check())


def test_a_heartbeat_comes_though_nothing_changes(told: Told) -> None:
    async def check() -> None:
        async with streaming(told, heartbeat_s=0.01) as stream, Client().on(stream) as client:
            assert (await client.next()).name == "state"
            for _ in range(2):
                beat = await client.next()
                assert (beat.name, beat.id) == ("heartbeat", None)
                assert beat.data == {"server_time": "2026-11-23T12:00:00.000Z"}

    run(check())


def test_a_round_that_raises_is_followed_by_the_next_and_heartbeats_go_on(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delta, failures = told.board.delta, iter([ValueError("one"), ValueError("two")])

    def fails_twice(since: int, only: Key | None) -> Snapshot | None:
        if error := next(failures, None):
            raise error
        return delta(since, only)

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def check() -> None:
        async with (
            streaming(told, heartbeat_s=0.01, sleep=at_once) as stream,
            Client().on(stream) as client,
        ):
            await client.next()
            monkeypatch.setattr(told.board, "delta", fails_twice)
            told.reading(2)
            stream.notify()
            while (event := await client.next()).name == "heartbeat":
                pass
            assert event.data["sensors"][0]["seq"] == 2
            assert (await client.next()).name == "heartbeat"
            assert stream.liveness_errors() == []

    run(check())
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_rounds_that_only_raise_fail_liveness(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        failed.set()
        await asyncio.sleep(0)

    def fails(_since: int, _only: Key | None) -> None:
        raise ValueError("always")

    async def check() -> None:
        async with (
            streaming(told, sleep=sleep, monotonic=told.clock.monotonic) as stream,
            Client().on(stream) as client,
        ):
            await client.next()
            monkeypatch.setattr(told.board, "delta", fails)
            told.reading(2)
            stream.notify()
            await asyncio.wait_for(failed.wait(), WAIT_S)
            told.clock.pass_(HEARTBEAT_S)
            assert stream.liveness_errors() == []
            told.clock.pass_(STALLED_AFTER_HEARTBEATS * HEARTBEAT_S)
            (error,) = stream.liveness_errors()
            assert "fan-out has made no progress" in error

    run(check())


def test_a_fan_out_that_is_gone_fails_liveness_and_does_not_keep_the_stream_from_closing(
    told: Told,
) -> None:
    async def dies(_seconds: float) -> None:
        raise SystemError("not even a pause")

    async def check() -> None:
        stream = Stream(told.board, sleep=dies)
        assert stream.liveness_errors() == ["the stream's fan-out is dead"]
        stream.start()
        assert stream.liveness_errors() == []
        async with Client().on(stream) as client:
            await client.next()
            stream.notify()
            assert stream._fan_out is not None
            await asyncio.wait([stream._fan_out], timeout=WAIT_S)
            assert stream.liveness_errors() == ["the stream's fan-out is dead"]
            await stream.close()
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
        assert client.ended
        assert stream.liveness_errors() == []

    run(check())


def test_a_viewer_that_comes_back_gets_what_it_missed(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream:
            async with Client().on(stream) as client:
                event = await client.next()
            told.reading(1, sensor="missed")
            async with last_seen(event).on(stream) as again:
                change = await again.next()
                assert change.name == "change"
                assert [view["sensor"] for view in change.data["sensors"]] == ["missed"]
            async with last_seen(change).on(stream) as again:
                assert (await again.next()).data["sensors"] == []

    run(check())


@pytest.mark.parametrize("seen", ["0123456789ab-1", "garbage", "{epoch}-99", "{epoch}--1", ""])
def test_a_viewer_of_another_epoch_gets_the_full_state(told: Told, seen: str) -> None:
    async def check() -> None:
        event_id = seen.format(epoch=told.board.epoch).encode()
        client = Client(headers=[(b"last-event-id", event_id)])
        async with streaming(told) as stream, client.on(stream):
            assert (await client.next()).name == "state"

    run(check())


def test_a_first_connect_may_name_the_event_that_the_page_shows(told: Told) -> None:
    async def check() -> None:
        begins_at = told.board.event_id()
        told.reading(1, sensor="missed")
        asked = Client(query=f"last_event_id={begins_at}".encode())
        async with streaming(told) as stream, asked.on(stream):
            change = await asked.next()
            assert (change.name, change.id) == ("change", told.board.event_id())
            assert [view["sensor"] for view in change.data["sensors"]] == ["missed"]

    run(check())


def test_what_the_browser_has_heard_since_goes_before_what_the_page_showed(told: Told) -> None:
    async def check() -> None:
        query = f"last_event_id={told.board.event_id()}".encode()
        told.reading(1, sensor="missed")
        heard = told.board.event_id().encode()
        again = Client(query=query, headers=[(b"last-event-id", heard)])
        elsewhere = Client(query=query, headers=[(b"last-event-id", b"0123456789ab-1")])
        async with streaming(told) as stream, again.on(stream), elsewhere.on(stream):
            change = await again.next()
            assert (change.name, change.data["sensors"]) == ("change", [])
            # what it heard of another gateway may be older, or newer, than what its page showed
            assert (await elsewhere.next()).name == "state"

    run(check())


@pytest.mark.parametrize("seen", ["0123456789ab-1", "garbage", "{epoch}-99", "{epoch}--1", ""])
def test_a_page_of_another_gateway_gets_the_full_state(told: Told, seen: str) -> None:
    async def check() -> None:
        query = f"last_event_id={seen.format(epoch=told.board.epoch)}".encode()
        async with streaming(told) as stream, Client(query=query).on(stream) as client:
            assert (await client.next()).name == "state"

    run(check())


# ---- of one sensor


def of_one(told: Told, key: str = "aula/dht11", *, seen: bool = False) -> Client:
    begins_at = f"&last_event_id={told.board.event_id()}" if seen else ""
    return Client(query=f"sensor={key}{begins_at}".encode())


def test_a_stream_of_one_sensor_tells_of_no_other(told: Told) -> None:
    told.reading(1, sensor="other")

    async def check() -> None:
        client = of_one(told)
        async with streaming(told) as stream, client.on(stream), Client().on(stream) as of_all:
            state = await client.next()
            await of_all.next()
            assert [
                view["sensor"] for view in SensorList(**state.data).model_dump()["sensors"]
            ] == ["dht11"]
            told.reading(2, sensor="other")
            stream.notify()
            assert (await of_all.next()).data["sensors"][0]["sensor"] == "other"
            told.reading(2)
            stream.notify()
            change = await client.next()
            assert (change.name, change.id) == ("change", told.board.event_id())
            assert [view["seq"] for view in change.data["sensors"]] == [2]
            assert client.text.count("event: ") == 2

    run(check())


def test_a_stream_of_one_sensor_goes_on_from_what_its_page_shows(told: Told) -> None:
    async def check() -> None:
        nothing, missed = of_one(told, seen=True), of_one(told, seen=True)
        told.reading(1, sensor="other")
        async with streaming(told) as stream:
            async with nothing.on(stream):
                assert (await nothing.next()).data["sensors"] == []
            told.reading(2)
            async with missed.on(stream):
                assert [view["seq"] for view in (await missed.next()).data["sensors"]] == [2]

    run(check())


def test_a_stream_of_one_sensor_tells_that_it_goes_and_comes_and_of_the_broker(told: Told) -> None:
    async def check() -> None:
        client = of_one(told, seen=True)
        async with streaming(told) as stream, client.on(stream):
            assert (await client.next()).data["removed"] == []
            told.raw(Topic(Kind.READING, "aula", "dht11"), b"")
            stream.notify()
            assert (await client.next()).data["removed"] == ["aula/dht11"]
            told.reading(1)
            stream.notify()
            assert [view["seq"] for view in (await client.next()).data["sensors"]] == [1]
            told.board.feed_lost()
            stream.notify()
            assert (await client.next()).name == "feed"

    run(check())


def test_a_stream_of_a_sensor_that_is_not_known_yet_waits_for_it(told: Told) -> None:
    async def check() -> None:
        client = of_one(told, "aula/new")
        async with streaming(told) as stream, client.on(stream):
            assert (await client.next()).data["sensors"] == []
            told.reading(1, sensor="new")
            stream.notify()
            assert [view["sensor"] for view in (await client.next()).data["sensors"]] == ["new"]

    run(check())


def test_a_removal_that_is_not_remembered_is_told_by_the_full_state() -> None:
    told = Told(max_sensors=2)
    told.reading(1)

    async def check() -> None:
        client = of_one(told, seen=True)
        async with streaming(told) as stream, client.on(stream):
            await client.next()
            for sensor in ("dht11", "a", "b"):  # which forgets the first
                told.reading(9, sensor=sensor)
                told.raw(Topic(Kind.READING, "aula", sensor), b"")
            stream.notify()
            state = await client.next()
            assert (state.name, state.data["sensors"]) == ("state", [])

    run(check())


@pytest.mark.parametrize("key", [b"", b"aula", b"aula/", b"aula/a/b", b"aula/%3Cb%3E", b"AULA/x"])
def test_a_sensor_that_cannot_be_is_400_by_name(told: Told, key: bytes) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client(query=b"sensor=" + key).on(stream) as client:
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
        view = ProblemView.model_validate_json(client.text)
        assert (client.status, view.status, view.parameter) == (400, 400, "sensor")

    run(check())


# ---- who is let in, and how it ends


def test_viewers_beyond_the_limit_are_asked_to_come_later(told: Told) -> None:
    async def check() -> None:
        async with streaming(told, max_viewers=1) as stream, Client().on(stream) as first:
            await first.next()
            assert stream.viewers() == 1
            async with Client().on(stream) as second:
                await asyncio.wait_for(second.gone.wait(), WAIT_S)
            assert (second.status, second.answer["retry-after"]) == (503, "30")
            assert ProblemView.model_validate_json(second.text).status == 503
            first.gone.set()
        assert stream.viewers() == 0

    run(check())


def test_the_place_of_a_viewer_that_left_is_free_again(told: Told) -> None:
    async def check() -> None:
        async with streaming(told, max_viewers=1) as stream:
            for _ in range(3):
                async with Client().on(stream) as client:
                    assert (await client.next()).name == "state"

    run(check())


def test_closing_ends_each_stream_with_a_hint_when_to_come_again(told: Told) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client().on(stream) as client:
            await client.next()
            client.text = ""
            await stream.close()
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
            assert client.ended
            assert client.text.startswith("retry: ")
            async with Client().on(stream) as late:
                await asyncio.wait_for(late.gone.wait(), WAIT_S)
            assert late.status == 503

    run(check())


def test_a_viewer_whose_socket_failed_is_dropped_and_others_go_on(told: Told) -> None:
    async def check() -> None:
        broken, good = Client(), Client()
        async with streaming(told) as stream, broken.on(stream), good.on(stream):
            await broken.next()
            await good.next()

            async def fails(_message: Message) -> None:
                raise OSError("gone")

            next(v for v in stream._viewers if v.send == broken.send).send = fails
            told.reading(2)
            stream.notify()
            assert (await good.next()).data["sensors"][0]["seq"] == 2
            assert stream.viewers() == 1

    run(check())


def test_a_stream_that_opens_while_the_gateway_closes_ends_at_once(told: Told) -> None:
    async def check() -> None:
        client = Client()
        client.reads.clear()
        async with streaming(told) as stream, client.on(stream):
            await asyncio.wait_for(client.blocked.wait(), WAIT_S)  # in the middle of its head
            await stream.close()
            client.reads.set()
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
        assert client.ended

    run(check())


def test_nothing_is_written_to_a_viewer_that_left_during_the_round(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stream.VIEWERS_AT_A_STRETCH", 1)  # all may come in between

    async def check() -> None:
        stream = Stream(told.board, utcnow=told.clock.utcnow)
        one, two = Client(), Client()
        async with one.on(stream), two.on(stream):
            await one.next()
            await two.next()
            written: list[Message] = []

            async def leave(message: Message) -> None:
                written.append(message)
                one.gone.set()
                two.gone.set()

            for viewer in stream._viewers:
                viewer.send = leave
            told.reading(2)
            await stream._round(())
            assert len(written) == 1

    run(check())


@pytest.mark.parametrize("query", [b"x=1", b"x", b"x=1&y=2", b"x=%ff"])
def test_an_unknown_query_parameter_is_400_by_name(told: Told, query: bytes) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client(query=query).on(stream) as client:
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
        view = ProblemView.model_validate_json(client.text)
        assert (client.status, view.status, view.parameter) == (400, 400, "x")

    run(check())


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405), ("DELETE", 405)])
def test_only_get_is_a_stream(told: Told, method: str, status: int) -> None:
    async def check() -> None:
        async with streaming(told) as stream, Client(method=method).on(stream) as client:
            await asyncio.wait_for(client.gone.wait(), WAIT_S)
        assert client.status == status
        if status == 405:
            assert client.answer["allow"] == "GET, HEAD"
            assert ProblemView.model_validate_json(client.text).status == 405
        else:
            assert client.text == ""

    run(check())


# ---- over a socket


@contextmanager
def served(told: Told, http: Any = "h11") -> Iterator[tuple[str, Stream]]:
    """A real uvicorn in a thread, on a free port."""
    stream = Stream(told.board, shortest_pause_s=0)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(stream, interface="asgi3", lifespan="off", http=http, log_config=None)
    server = uvicorn.Server(config)

    async def serve() -> None:
        stream.start()
        await server.serve(sockets=[listener])
        await stream.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}", stream
    finally:
        server.should_exit = True
        thread.join()


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_over_a_socket_a_change_arrives_and_a_viewer_that_leaves_is_forgotten(told: Told) -> None:
    with served(told) as (url, stream):
        with httpx.stream("GET", url, timeout=WAIT_S) as response:
            assert response.status_code == 200
            received = events(response)
            assert next(received)[0] == "state"
            told.reading(2)
            stream.notify()
            name, data = next(received)
            assert (name, data["sensors"][0]["seq"]) == ("change", 2)
        # Another viewer's arrival shows that the loop has gone round since.
        with httpx.stream("GET", url, timeout=WAIT_S) as response:
            received = events(response)
            next(received)
            told.reading(3)
            stream.notify()
            next(received)
            assert stream.viewers() == 1


def test_one_connection_too_many_takes_the_place_of_an_idle_one_and_of_no_stream(
    told: Told,
) -> None:
    class Two(Connection):
        at_most = 2

    with served(told, Two) as (url, stream), contextlib.ExitStack() as opened:
        address = (httpx.URL(url).host, httpx.URL(url).port or 0)

        def connect() -> socket.socket:
            return opened.enter_context(socket.create_connection(address, WAIT_S))

        first = opened.enter_context(httpx.stream("GET", url, timeout=WAIT_S))
        assert next(received := events(first))[0] == "state"
        idle = connect()
        idle.sendall(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += idle.recv(4096)
        second = opened.enter_context(httpx.stream("GET", url, timeout=WAIT_S))
        assert next(others := events(second))[0] == "state"
        assert idle.recv(1) == b""  # it gave way
        assert connect().recv(1) == b""  # now both are streams: nobody does
        told.reading(2)
        stream.notify()
        assert (next(received)[0], next(others)[0]) == ("change", "change")


def test_over_a_socket_one_who_does_not_read_holds_up_nobody(told: Told) -> None:
    told.health("retrying", reason="x" * 500)
    with served(told) as (url, stream), socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = httpx.URL(url).host, httpx.URL(url).port
        lazy.connect((host, port))
        lazy.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        with httpx.stream("GET", url, timeout=WAIT_S) as response:
            received = events(response)
            next(received)
            seq = 1
            # Until the lazy one's buffers are full, and then some: the other still gets each.
            while not any(viewer.writing for viewer in list(stream._viewers)):
                for sensor in range(150):
                    told.reading(seq, sensor=f"s{sensor}")
                stream.notify()
                next(received)
                seq += 1
                assert seq < 500
            told.reading(seq, sensor="last")
            stream.notify()
            assert next(received)[1]["sensors"][0]["sensor"] == "last"
