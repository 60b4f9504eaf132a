"""Session against both brokers: what it promises holds on each."""

from __future__ import annotations

import itertools
import os
import queue
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from broker.buffered import BufferedSocket
from broker.session import (
    MAX_QUEUED,
    Message,
    NotConnectedError,
    Session,
    Subscription,
    Will,
    backoff_s,
    unique_client_id,
)
from broker.settings import BrokerSettings
from tests.proxy import Mode, Proxy
from tests.support import PATIENCE_S, RunningBroker, eventually, free_port, running_broker


class Inbox:
    """What arrived, in order."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Message] = queue.Queue()

    def __call__(self, message: Message) -> None:
        self.messages.put(message)

    def next(self) -> tuple[str, bytes, bool]:
        message = self.messages.get(timeout=PATIENCE_S)
        return message.topic, bytes(message.payload), message.retain


Connect = Callable[..., Session]


@contextmanager
def sessions(broker: RunningBroker) -> Iterator[Connect]:
    opened: list[Session] = []

    def connect(
        user: str, protocol: Literal[4, 5], *, wait: bool = True, **options: Any
    ) -> Session:
        options.setdefault("client_id", unique_client_id(user))
        session = Session(broker.settings(user), protocol=protocol, **options)
        opened.append(session)
        session.start()
        if wait:
            assert session.wait_until_up(PATIENCE_S), session.last_error
        return session

    try:
        yield connect
    finally:
        for session in opened:
            session.stop(1)


@pytest.fixture
def connect(any_broker: RunningBroker) -> Iterator[Connect]:
    with sessions(any_broker) as opener:
        yield opener


@pytest.mark.parametrize("restful", [False, True])
def test_a_reader_gets_the_retained_state_then_what_follows(
    connect: Connect, restful: bool
) -> None:
    edge = connect("pi-1", 5)
    for number in range(50):
        edge.publish(f"brisa/pi-1/s{number}/reading", b"%d" % number, retain=True)
    assert edge.stop()
    inbox = Inbox()
    reader = connect(
        "gateway", 4, subscriptions=[Subscription("brisa/#")], on_message=inbox, restful=restful
    )
    retained = {inbox.next() for _ in range(50)}
    assert retained == {(f"brisa/pi-1/s{n}/reading", b"%d" % n, True) for n in range(50)}
    eventually("the fence", lambda: reader.synchronised)
    connect("pi-1", 5).publish("brisa/pi-1/s/reading", b"live", retain=True)
    assert inbox.next() == ("brisa/pi-1/s/reading", b"live", False)


def test_large_payloads_pass_through_the_buffered_socket_whole(connect: Connect) -> None:
    inbox = Inbox()
    connect("recorder", 4, subscriptions=[Subscription("brisa/#")], on_message=inbox, restful=True)
    edge = connect("pi-1", 5)
    sizes = [1, 40_000, 3, 32_768, 32_767, 0, 49_000]
    for size in sizes:
        edge.publish("brisa/pi-1/s/backfill", bytes(size))
    assert [len(inbox.next()[1]) for _ in sizes] == sizes


def test_the_will_is_said_when_a_client_vanishes_and_not_when_it_leaves(
    any_broker: RunningBroker, connect: Connect
) -> None:
    inbox = Inbox()
    connect("viewer", 4, subscriptions=[Subscription("brisa/+/status")], on_message=inbox)
    will = Will("brisa/pi-1/status", b"gone")
    connect("pi-1", 5, will=will).stop()
    other = connect("pi-1", 5)
    other.publish("brisa/pi-1/status", b"left in order")
    assert inbox.next()[1] == b"left in order"
    vanishing = connect("pi-1", 5, will=will)
    break_connection(vanishing)
    assert inbox.next()[1] == b"gone"


def break_connection(session: Session) -> None:
    """Cut the wire below paho, as a network does."""
    client = session._client
    assert client is not None
    sock = client.socket()
    assert isinstance(sock, BufferedSocket)
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def test_it_comes_back_and_subscribes_again_after_the_broker_was_killed(
    any_broker: RunningBroker, connect: Connect
) -> None:
    inbox, ups = Inbox(), queue.Queue[bool]()
    reader = connect(
        "viewer",
        4,
        subscriptions=[Subscription("brisa/#")],
        on_message=inbox,
        on_up=lambda: ups.put(True),
    )
    ups.get(timeout=PATIENCE_S)
    any_broker.kill()
    eventually("the loss is seen", lambda: not reader.connected)
    with pytest.raises(NotConnectedError):
        reader.publish("brisa/x/y/reading", b"")
    assert reader.last_error
    any_broker.start()
    ups.get(timeout=PATIENCE_S)
    connect("pi-1", 5).publish("brisa/pi-1/s/reading", b"after")
    assert inbox.next()[1] == b"after"


def test_a_callback_that_fails_does_not_end_the_network_thread(connect: Connect) -> None:
    inbox = Inbox()

    def fragile(message: Message) -> None:
        inbox(message)
        if message.payload == b"bad":
            raise ZeroDivisionError

    reader = connect("viewer", 4, subscriptions=[Subscription("brisa/#")], on_message=fragile)
    edge = connect("pi-1", 5)
    edge.publish("brisa/pi-1/s/reading", b"bad")
    edge.publish("brisa/pi-1/s/reading", b"good")
    assert [inbox.next()[1] for _ in range(2)] == [b"bad", b"good"]
    assert reader.network_thread_alive
    reader.stop()
    assert not reader.network_thread_alive


def test_a_wrong_password_is_said_with_what_to_check(
    any_broker: RunningBroker, connect: Connect
) -> None:
    (any_broker.state / "credentials" / "nobody").write_text("wrong")
    session = connect("nobody", 5, wait=False)
    eventually("the refusal", lambda: session.last_error)
    assert (
        "user nobody: check BRISA_BROKER_URL and BRISA_BROKER_PASSWORD_FILE" in session.last_error
    )
    assert "Not authorized" in session.last_error
    assert not session.connected


def field(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text


def connect_packet(name: bytes, level: int, password: bytes) -> bytes:
    """A CONNECT as `viewer`, with a will; MQTT 3.1.1, 3.1 and MQTT 5.0, 3.1."""
    properties = b"\0" if level == 5 else b""
    will = properties + field(b"brisa/x/status") + field(b"{}")
    body = field(name) + bytes([level, 0b1100_0110, 0, 30]) + properties + field(b"raw") + will
    body += field(b"viewer") + field(password)
    return bytes([0x10, len(body)]) + body


def test_the_embedded_broker_answers_every_connect(tmp_path: Path) -> None:
    with running_broker("embedded", tmp_path, ["pi-1"]) as broker:
        right = broker.password("viewer").encode()
        for packet, answer in (
            (connect_packet(b"MQTT", 4, right), b"\x20\x02\x00\x00"),
            (connect_packet(b"MQTT", 4, b"wrong"), b"\x20\x02\x00\x05"),
            (connect_packet(b"MQTT", 5, b"wrong"), b"\x20\x03\x00\x87\x00"),
            (connect_packet(b"MQTT", 9, right), b"\x20\x02\x00\x01"),
            (connect_packet(b"MQIsdp", 3, right), b"\x20\x02\x00\x01"),
            # what is no CONNECT
            (b"GET / HTTP/1.1\r\n\r\n", b""),
            (b"\x10\xff\xff\xff\x7f", b""),
            (b"\x10\x02\x00\x04", b""),
        ):
            with socket.create_connection(("127.0.0.1", broker.port), PATIENCE_S) as client:
                client.sendall(packet)
                with suppress(ConnectionResetError):  # it did not read all of it
                    assert client.recv(100) == answer, packet
                    if answer != b"\x20\x02\x00\x00":
                        assert client.recv(100) == b"", packet
        assert broker.process is not None
        assert broker.process.stop() == 0
        assert "Traceback" not in broker.process.output


def test_stopping_delivers_what_is_in_flight(connect: Connect) -> None:
    inbox = Inbox()
    connect("viewer", 4, subscriptions=[Subscription("brisa/#")], on_message=inbox)
    edge = connect("pi-1", 5)
    for number in range(200):
        edge.publish("brisa/pi-1/s/reading", b"%d" % number)
    assert edge.stop()
    assert [inbox.next()[1] for _ in range(200)] == [b"%d" % n for n in range(200)]


def test_two_of_a_kind_do_not_throw_each_other_off(connect: Connect) -> None:
    subscriptions = [Subscription("brisa/#")]
    inboxes = [Inbox(), Inbox()]
    replicas = [
        connect("gateway", 4, subscriptions=subscriptions, on_message=inbox) for inbox in inboxes
    ]
    connect("pi-1", 5).publish("brisa/pi-1/s/reading", b"1")
    assert [inbox.next()[1] for inbox in inboxes] == [b"1", b"1"]
    assert [replica.connects_total for replica in replicas] == [1, 1]


def test_an_id_that_another_took_is_said(mosquitto: RunningBroker) -> None:
    """Mosquitto 2.0.15 and later say so (0x8E); with an older one we can only ask."""
    with sessions(mosquitto) as connect:
        pair = [connect("pi-1", 5, client_id="same") for _ in range(2)]
        eventually(
            "one says so", lambda: any("another client" in session.last_error for session in pair)
        )


def test_a_publish_that_the_acl_refuses_is_seen_by_its_reason(
    mosquitto: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    refused: queue.Queue[tuple[str, str]] = queue.Queue()
    with sessions(mosquitto) as connect:
        edge = connect("pi-1", 5, on_refused=lambda topic, why: refused.put((topic, why)))
        edge.publish("brisa/pi-2/s/reading", b"1")
        assert refused.get(timeout=PATIENCE_S) == ("brisa/pi-2/s/reading", "Not authorized")
        assert edge.refused_total == 1
        assert "refused brisa/pi-2/s/reading" in caplog.text


def test_what_finds_no_room_is_not_waited_for(mosquitto: RunningBroker, proxy: Proxy) -> None:
    """The wire is silent, and what is queued is at its bound."""
    inbox = Inbox()
    with sessions(mosquitto) as connect:
        connect("viewer", 4, subscriptions=[Subscription("brisa/#", 1)], on_message=inbox)
        url = f"mqtt://pi-1@127.0.0.1:{proxy.port}"
        settings = mosquitto.settings("pi-1").model_copy(update={"broker_url": url})
        edge = Session(settings, client_id="slow", protocol=5)
        edge.start()
        assert edge.wait_until_up(PATIENCE_S)
        proxy.switch(Mode.HOLD)
        for number in range(MAX_QUEUED):
            edge.publish("brisa/pi-1/s/reading", b"%d" % number)
        with pytest.raises(NotConnectedError, match=f"{MAX_QUEUED} messages are on their way"):
            edge.publish("brisa/pi-1/s/reading", b"one more")
        proxy.switch(Mode.PASS)
        assert edge.stop(PATIENCE_S)
        assert [inbox.next()[1] for _ in range(MAX_QUEUED)] == [
            b"%d" % number for number in range(MAX_QUEUED)
        ]


def test_what_a_connection_broke_over_is_sent_again(mosquitto: RunningBroker, proxy: Proxy) -> None:
    """As CONTRACT.md allows: what was not acknowledged, and what was refused as it broke."""
    inbox, downs = Inbox(), queue.Queue[str]()
    with sessions(mosquitto) as connect:
        connect("viewer", 4, subscriptions=[Subscription("brisa/#", 1)], on_message=inbox)
        url = f"mqtt://pi-1@127.0.0.1:{proxy.port}"
        settings = mosquitto.settings("pi-1").model_copy(update={"broker_url": url})
        edge = Session(settings, client_id="broken", protocol=5, on_down=downs.put)
        edge.start()
        assert edge.wait_until_up(PATIENCE_S)
        proxy.switch(Mode.HOLD)
        edge.publish("brisa/pi-1/s/reading", b"not acknowledged")
        proxy.switch(Mode.REFUSE)
        assert downs.get(timeout=PATIENCE_S)
        edge.connected = True  # as in the moment before the network thread sees that it is not
        with pytest.raises(NotConnectedError, match="not sent"):
            edge.publish("brisa/pi-1/s/reading", b"refused")
        edge.connected = False
        proxy.switch(Mode.PASS)
        assert [inbox.next()[1] for _ in range(2)] == [b"not acknowledged", b"refused"]
        assert edge.stop(PATIENCE_S)


def test_an_unreachable_broker_is_named_and_does_not_block(
    caplog: pytest.LogCaptureFixture,
) -> None:

    from tests.support import free_port

    port = free_port()
    session = Session(
        BrokerSettings(broker_url=f"mqtt://127.0.0.1:{port}"), client_id="x", protocol=5
    )
    session.start()
    eventually("the error", lambda: f"127.0.0.1:{port}: Connection refused" in session.last_error)
    assert session.stop()


def test_the_broker_comes_back_to_a_process_with_a_thousand_open_files(
    mosquitto: RunningBroker,
) -> None:
    """As a gateway with a thousand open pages is; select() would know no such file."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2000:
        pytest.skip(f"a process may open {most} files here; 2000 are needed")
    ups: queue.Queue[bool] = queue.Queue()
    with ExitStack() as files, sessions(mosquitto) as connect:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (before, most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (2000, most))
        connect("viewer", 4, on_up=lambda: ups.put(True))
        ups.get(timeout=PATIENCE_S)
        mosquitto.kill()
        null = files.enter_context(Path(os.devnull).open())
        while null.fileno() < 1100:
            null = files.enter_context(Path(os.devnull).open())
        mosquitto.start()
        assert ups.get(timeout=PATIENCE_S)


CONNACK, SUBACK_REFUSED = b"\x20\x02\x00\x00", b"\x80"


@contextmanager
def false_broker(answer: Callable[[socket.socket], None]) -> Iterator[BrokerSettings]:
    """A listener that is no broker: `answer` plays each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as opened:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = opened.enter_context(listener.accept()[0])
                    threading.Thread(target=played, args=(connection,), daemon=True).start()

        def played(connection: socket.socket) -> None:
            with suppress(OSError):
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        yield BrokerSettings(broker_url=f"mqtt://127.0.0.1:{port}", keepalive_s=5)
        listener.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    connection.recv(1024)


def connack_and_no_more(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(CONNACK)


def refuses_subscriptions(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(CONNACK)
    subscribe = connection.recv(1024)
    connection.sendall(b"\x90\x03" + subscribe[2:4] + SUBACK_REFUSED)


def answers_pings_only(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(CONNACK)
    while data := connection.recv(1024):
        if data[0] == 0xC0:
            connection.sendall(b"\xd0\x00")


def sends_too_much(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(CONNACK + b"\x30\xff\xff\xff\x7f" + bytes(1000))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (silent, "does not answer"),
        (connack_and_no_more, "Keep alive timeout|does not answer a subscription"),
        (refuses_subscriptions, "may not subscribe to brisa/#"),
        (answers_pings_only, "does not answer a subscription"),
        (sends_too_much, "lost the broker"),
    ],
)
def test_what_is_no_good_broker_is_said_and_left_and_tried_again(
    answer: Callable[[socket.socket], None], says: str
) -> None:
    tried: queue.Queue[bool] = queue.Queue()

    def counted(connection: socket.socket) -> None:
        tried.put(True)
        answer(connection)

    with false_broker(counted) as settings:
        session = Session(
            settings,
            client_id="x",
            protocol=4,
            subscriptions=[Subscription("brisa/#")],
            on_message=lambda _: None,
        )
        session.start()
        eventually("it is said", lambda: re.search(says, session.last_error))
        assert "PASSWORD" not in session.last_error
        for _ in range(2):
            assert tried.get(timeout=PATIENCE_S)
        session.stop(0)
        assert not session.network_thread_alive


def test_what_fails_between_two_attempts_does_not_end_the_network_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: queue.Queue[None] = queue.Queue()

    def monotonic() -> float:
        asked.put(None)
        if asked.qsize() == 1:
            raise KeyError("of the clock")
        return time.monotonic()

    session = Session(
        BrokerSettings(broker_url=f"mqtt://127.0.0.1:{free_port()}", reconnect_s=1),
        client_id="x",
        protocol=4,
        monotonic=monotonic,
    )
    session.start()
    eventually("tried again", lambda: asked.qsize() > 1)
    assert session.network_thread_alive
    session.stop(0)
    assert "KeyError: 'of the clock'" in caplog.text


def test_what_fails_while_it_is_connected_ends_the_connection_and_it_connects_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or what must not go out before the broker's memory has come would go out on the next."""
    said: queue.Queue[str] = queue.Queue()
    fill = BufferedSocket.fill

    def fails_once(sock: BufferedSocket) -> int:
        monkeypatch.setattr(BufferedSocket, "fill", fill)
        raise KeyError("of the socket")

    session = connect(
        "pi-1",
        5,
        on_up=lambda: said.put("up"),
        on_down=lambda why: said.put(f"down: {why}"),
        subscriptions=[Subscription("brisa/pi-1/status")],
    )
    assert said.get(timeout=PATIENCE_S) == "up"
    monkeypatch.setattr(BufferedSocket, "fill", fails_once)
    session.publish("brisa/pi-1/status", b"{}")  # what comes back of it is read
    assert said.get(timeout=PATIENCE_S).startswith("down: ")
    assert said.get(timeout=PATIENCE_S) == "up"
    assert session.connects_total == 2
    assert caplog.text.count("KeyError: 'of the socket'") == 1


def test_the_wait_between_attempts_doubles_is_bounded_and_partly_random() -> None:
    longest = [backoff_s(attempt, 30, lambda _low, high: high) for attempt in range(1, 12)]
    assert longest[:4] == [0.5, 1, 2, 4]
    assert max(longest) == longest[-1] == 30
    assert backoff_s(99, 3600, lambda _low, high: high) == 3600
    assert [backoff_s(attempt, 30, lambda low, _high: low) for attempt in (1, 2)] == [0.25, 0.5]


def test_a_disconnect_that_takes_its_time_counts_as_one_failure() -> None:
    """Or the back-off would be at its longest after a few seconds of one broken connection."""
    clock_s = itertools.count(11.0)
    session = Session(
        BrokerSettings(broker_url="mqtt://127.0.0.1:1883", keepalive_s=5),
        client_id="x",
        protocol=4,
        subscriptions=[Subscription("brisa/#")],
        monotonic=lambda: next(clock_s),
    )
    session._client = Client(CallbackAPIVersion.VERSION2)  # whose connection does not end
    session.connected = True
    for _ in range(3):
        session._look()
    assert "does not answer a subscription" in session.last_error
    assert session._failures == 1
