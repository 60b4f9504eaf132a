"""broker/acl on the real Mosquitto: what each user may, and, rule by rule, what it may not."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.session import Message, Session, Subscription
from broker.settings import BrokerSettings
from tests.conftest import NODES, need_mosquitto
from tests.support import PATIENCE_S, RunningBroker, eventually, running_broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    need_mosquitto()
    state: Path = tmp_path_factory.mktemp("acl") / "broker"
    with running_broker("mosquitto", state, NODES) as running:
        yield running


class Client:
    """One user, what it is refused and what it hears."""

    def __init__(self, broker: RunningBroker, user: str, *topics: str) -> None:
        self.refused: queue.Queue[str] = queue.Queue()
        self.heard: queue.Queue[Message] = queue.Queue()
        self.session = Session(
            broker.settings(user),
            client_id=f"test-{user}-{id(self)}",
            protocol=5,
            subscriptions=[Subscription(topic, qos=1) for topic in topics],
            on_message=self.heard.put,
            on_refused=lambda topic, _reason: self.refused.put(topic),
        )
        self.session.start()

    def up(self) -> bool:
        return self.session.wait_until_up(PATIENCE_S)


@pytest.fixture
def viewer(broker: RunningBroker) -> Iterator[Client]:
    """Hears all that the broker lets pass."""
    client = Client(broker, "viewer", "brisa/#")
    assert client.up()
    yield client
    client.session.stop()


WRITES = [
    # user, topic, allowed?
    ("pi-1", "brisa/pi-1/status", True),
    ("pi-1", "brisa/pi-1/dht11/reading", True),
    ("pi-1", "brisa/pi-1/dht11/health", True),
    ("pi-1", "brisa/pi-1/dht11/backfill", True),
    ("pi-1", "brisa/pi-1/dht11/stored", False),
    ("pi-1", "brisa/pi-2/status", False),
    ("pi-1", "brisa/pi-2/dht11/reading", False),
    ("pi-1", "brisa/pi-2/dht11/stored", False),
    ("pi-1", "elsewhere/pi-1/status", False),
    ("gateway", "brisa/pi-1/dht11/reading", False),
    ("gateway", "brisa/pi-1/status", False),
    ("gateway", "brisa/gateway/status", False),
    ("gateway", "brisa/gateway/dht11/reading", False),
    ("recorder", "brisa/pi-1/dht11/stored", True),
    ("recorder", "brisa/pi-1/dht11/reading", False),
    ("recorder", "brisa/pi-1/status", False),
    ("recorder", "brisa/recorder/dht11/reading", False),
    ("outside", "brisa/pi-1/dht11/reading", False),
    ("outside", "brisa/outside/dht11/reading", False),
    ("viewer", "brisa/pi-1/dht11/stored", False),
    ("viewer", "brisa/viewer/dht11/reading", False),
]


@pytest.mark.parametrize(("user", "topic", "allowed"), WRITES)
def test_a_user_writes_only_what_is_its_own(
    broker: RunningBroker, viewer: Client, user: str, topic: str, allowed: bool
) -> None:
    writer = Client(broker, user)
    assert writer.up()
    writer.session.publish(topic, f"{user}: {topic}".encode())
    assert writer.session.stop()
    if allowed:
        assert viewer.heard.get(timeout=PATIENCE_S).topic == topic
        assert writer.refused.empty()
    else:
        assert writer.refused.get(timeout=PATIENCE_S) == topic
        # what an allowed user says next comes first: the refused message went nowhere
        witness = Client(broker, "pi-2")
        assert witness.up()
        witness.session.publish("brisa/pi-2/status", b"witness")
        witness.session.stop()
        assert viewer.heard.get(timeout=PATIENCE_S).payload == b"witness"


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("gateway", "brisa/pi-1/dht11/reading"),
        ("recorder", "brisa/pi-1/dht11/backfill"),
        ("outside", "brisa/pi-1/dht11/health"),
        ("viewer", "brisa/pi-1/dht11/health"),
        ("pi-1", "brisa/pi-1/status"),
    ],
)
def test_a_user_hears_what_it_may(broker: RunningBroker, user: str, topic: str) -> None:
    reader = Client(broker, user, topic)
    assert reader.up()
    writer = Client(broker, "pi-1")
    assert writer.up()
    writer.session.publish(topic, b"1")
    assert writer.session.stop()
    assert reader.heard.get(timeout=PATIENCE_S).payload == b"1"
    reader.session.stop()


@pytest.mark.parametrize("topic", ["brisa/pi-1/dht11/reading", "brisa/pi-1/status", "brisa/#"])
def test_a_node_hears_nothing_of_another(broker: RunningBroker, topic: str) -> None:
    """An unlawful subscription is refused, or granted and silent (Mosquitto 2.0)."""
    reader = Client(broker, "pi-2", topic, "brisa/pi-2/status")
    eventually("an answer", lambda: reader.session.subscribed or reader.session.last_error)
    if not reader.session.subscribed:
        assert "may not subscribe" in reader.session.last_error
        reader.session.stop()
        return
    writer = Client(broker, "pi-1")
    assert writer.up()
    for forbidden in ("brisa/pi-1/dht11/reading", "brisa/pi-1/status"):
        writer.session.publish(forbidden, b"forbidden")
    assert writer.session.stop()
    # what it may hear comes later, and yet first: the ones before it did not come
    reader.session.publish("brisa/pi-2/status", b"witness")
    assert reader.heard.get(timeout=PATIENCE_S).payload == b"witness"
    reader.session.stop()


def test_a_node_hears_how_far_the_recorder_is(broker: RunningBroker) -> None:
    node = Client(broker, "pi-1", "brisa/pi-1/dht11/stored")
    assert node.up()
    recorder = Client(broker, "recorder")
    assert recorder.up()
    recorder.session.publish("brisa/pi-1/dht11/stored", b"7")
    assert node.heard.get(timeout=PATIENCE_S).payload == b"7"
    recorder.session.stop()
    node.session.stop()


def test_nobody_gets_in_without_a_name_or_with_a_wrong_password(broker: RunningBroker) -> None:
    for url in (f"mqtt://127.0.0.1:{broker.port}", f"mqtt://viewer@127.0.0.1:{broker.port}"):
        session = Session(BrokerSettings(broker_url=url), client_id="nobody", protocol=5)
        session.start()
        eventually("refused", lambda session=session: "Not authorized" in session.last_error)  # type: ignore[misc]
        assert not session.connected
        session.stop()


def test_what_listens_is_the_loopback_alone(broker: RunningBroker) -> None:
    listener = (broker.state / "conf.d" / "listener.conf").read_text()
    assert listener.startswith(f"listener {broker.port} 127.0.0.1\n")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A"}
    assert [a for a in listening if a.endswith(f":{broker.port:04X}")] == [
        f"0100007F:{broker.port:04X}"
    ]
