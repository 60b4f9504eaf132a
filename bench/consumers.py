"""Subscribers to compare the gateway with: `python -m bench.consumers empty|parsing|session`.

The broker is in BRISA_… variables, as for the gateway. Prints `ready`, and after SIGTERM how many
messages came. Each counts in the same way: by a number that its callback adds to.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from broker.contract import Reading, parse_payload
from broker.session import Message, Session, Subscription
from broker.settings import BrokerSettings, load

TOPICS = "brisa/#"


class Count:
    """The callbacks under test."""

    def __init__(self) -> None:
        self.received = 0

    def empty(self, _client: Client, _userdata: object, _message: Message) -> None:
        self.received += 1

    def parsing(self, _client: Client, _userdata: object, message: Message) -> None:
        parse_payload(Reading, message.payload)
        self.received += 1

    def of_session(self, _message: Message) -> None:
        self.received += 1


def through_paho(
    settings: BrokerSettings,
    on_message: Callable[[Client, object, Message], None],
    done: threading.Event,
) -> None:
    """A client as paho's own examples have it."""
    client = Client(CallbackAPIVersion.VERSION2)
    address, secret = settings.address, settings.broker_password
    client.username_pw_set(address.user or "", secret.get_secret_value() if secret else None)
    client.on_connect = lambda client, *_: client.subscribe(TOPICS)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = on_message
    client.connect(address.host, address.port)
    client.loop_start()
    done.wait()
    client.disconnect()
    client.loop_stop()


def through_session(settings: BrokerSettings, count: Count, done: threading.Event) -> None:
    """As the gateway connects, with a buffer, and nothing behind it."""
    session = Session(
        settings,
        client_id="bench-session",
        protocol=4,
        subscriptions=[Subscription(TOPICS)],
        on_message=count.of_session,
        on_up=lambda: print("ready", flush=True),
        restful=True,
    )
    session.start()
    done.wait()
    session.stop()


def main() -> None:
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    settings, count = load(BrokerSettings, os.environ), Count()
    if sys.argv[1] == "session":
        through_session(settings, count, done)
    else:
        through_paho(settings, {"empty": count.empty, "parsing": count.parsing}[sys.argv[1]], done)
    print(f"received {count.received}", flush=True)


if __name__ == "__main__":
    main()
