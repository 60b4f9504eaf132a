"""The one door to paho-mqtt: everyone connects through `Session`.

What paho leaves to its user is done here once: nothing escapes from a callback (an exception
there would end the network thread while `is_connected()` still says True); subscribe inside
`on_connect`, after the reason code was checked; back-off with jitter; publishing while away is
an error and not a growing queue; a refused publish is seen by its MQTT 5 reason code; a stop
that delivers what is in flight.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import uuid4

from paho.mqtt.client import (
    MQTT_ERR_QUEUE_SIZE,
    MQTT_ERR_SUCCESS,
    Client,
    ConnectFlags,
    DisconnectFlags,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.buffered import BufferedContext
from broker.network import NetworkLoop
from broker.settings import BrokerSettings
from broker.tls import client_context

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 0.5
# One every process at most: 20 in flight, and what one burst of a node's sensors may add.
MAX_QUEUED = 1000
# A connection that ends before this is no success: the back-off goes on from where it was.
STABLE_S = 10.0
SESSION_TAKEN_OVER = 0x8E  # MQTT 5.0, 3.14.2.1
REPEAT_LOG_S = 60.0


class NotConnectedError(RuntimeError):
    """The broker is away, or too much is queued: do not count on this message.

    If the connection broke while it was handed over, paho may still send it after the next connect.
    """


class Message(Protocol):
    """What a subscriber is told: of paho's MQTTMessage, or of a `Publish`."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes | bytearray: ...
    @property
    def retain(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """A filter; `no_local` (MQTT 5): not what this session published itself."""

    topic: str
    qos: int = 0
    no_local: bool = False


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we vanish; retained, QoS 1."""

    topic: str
    payload: bytes


def unique_client_id(name: str) -> str:
    """`name` and a random part: two replicas, or an old and a new pod, never throw each other off.

    Kept for the process's life, so that a reconnect takes over its own half-open connection.
    """
    return f"brisa-{name}-{uuid4().hex[:8]}"


def backoff_s(
    attempt: int, longest_s: float, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait before attempt 1, 2, 3 …: doubling up to `longest_s`, half of it random."""
    most_s = min(longest_s, BACKOFF_FIRST_S * 2 ** min(attempt - 1, 20))
    return uniform(most_s / 2, most_s)


class Session:
    """A connection to the broker that comes back by itself.

    on_message: called in the network thread for each message. on_up: called there after each
    connect, once every subscription was granted; on_synchronised: and when what the broker retained
    for them has come. on_refused: called there with topic and reason
    when the broker refused a publish (MQTT 5). restful: under load, take messages in by the hundred
    and a few milliseconds late.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        protocol: Literal[4, 5],
        will: Will | None = None,
        subscriptions: Sequence[Subscription] = (),
        on_message: Callable[[Message], None] | None = None,
        on_up: Callable[[], None] | None = None,
        on_synchronised: Callable[[], None] | None = None,
        on_down: Callable[[str], None] | None = None,
        on_refused: Callable[[str, str], None] | None = None,
        restful: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client_id = client_id
        self.connected = False
        self.subscribed = False
        self.synchronised = False
        self.last_error = ""
        self.connects_total = 0
        self.refused_total = 0
        self._settings = settings
        self._address = settings.address
        self._protocol = protocol
        self._will = will
        self._subscriptions = tuple(subscriptions)
        self._on_message = on_message
        self._on_up = on_up
        self._on_synchronised = on_synchronised
        self._on_down = on_down
        self._on_refused = on_refused
        self._restful = restful
        self._monotonic = monotonic
        self._client: Client | None = None
        self._loop: NetworkLoop | None = None
        self._up = threading.Event()
        self._failures = 0
        self._over = False  # has the end of this connection been said?
        self._leaving = False  # have we asked to disconnect?
        self._connected_at_s = 0.0
        self._lost_at_once = 0
        self._subscribe_mid: int | None = None
        self._fence_mid: int | None = None
        self._lock = threading.Condition()
        self._in_flight: dict[int, str] = {}
        self._answered: dict[int, ReasonCode] = {}  # answers that came before publish() returned
        self._logged: dict[str, float] = {}

    # ---- what its owner calls

    def start(self) -> None:
        """Begin to connect, in a thread of its own. Raises OSError for unreadable TLS files."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=MQTTProtocolVersion(self._protocol),
        )
        if self._address.user is not None:
            secret = self._settings.broker_password
            client.username_pw_set(
                self._address.user, secret.get_secret_value() if secret is not None else None
            )
        on_message = _guarded(self._on_message) if self._on_message is not None else None
        # a PUBLISH of MQTT 5 has properties, which are paho's to read
        cut = on_message if self._protocol == 4 else None
        client.tls_set_context(BufferedContext(client_context(self._settings), cut))  # type: ignore[arg-type]
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(MAX_QUEUED)
        client.on_connect = self._connect
        client.on_disconnect = self._disconnect
        client.on_subscribe = self._suback
        client.on_publish = self._published
        if on_message is not None:
            client.on_message = lambda _client, _userdata, message: on_message(message)
        loop = NetworkLoop(
            client,
            connect=self._try_to_connect,
            on_failure=self._connection_failed,
            delay_s=lambda: backoff_s(max(self._failures, 1), self._settings.reconnect_s),
            on_look=self._look,
            restful=self._restful,
        )
        # that it is set tells paho to leave all writing to our loop
        client.on_socket_register_write = lambda *_: loop.wake()
        self._client, self._loop = client, loop
        loop.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Deliver what is in flight, say good-bye and end. False if something was not delivered.

        An orderly good-bye keeps the will unsaid: say `offline` yourself before.
        """
        client = self._client
        if client is None:
            return True
        with self._lock:
            delivered = self._lock.wait_for(
                lambda: not self._in_flight or not self.connected, timeout_s
            )
            delivered = delivered and not self._in_flight
        client.disconnect()
        if self._loop is not None:
            self._loop.stop(timeout_s + CONNECT_TIMEOUT_S)
        self._client = None
        return delivered

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the network thread, QoS 1. Raises NotConnectedError."""
        client, loop = self._client, self._loop
        if client is None or loop is None or not self.connected:
            raise NotConnectedError(self.last_error or "not connected to the broker")
        info = client.publish(topic, payload, qos=1, retain=retain)
        loop.wake()
        if info.rc == MQTT_ERR_QUEUE_SIZE:  # paho has not taken it
            raise NotConnectedError(f"{MAX_QUEUED} messages are on their way")
        with self._lock:
            answer = self._answered.pop(info.mid, None)
            if answer is None:
                self._in_flight[info.mid] = topic
        if answer is not None:
            self._settle(topic, answer)
        if info.rc != MQTT_ERR_SUCCESS:
            # paho keeps a QoS 1 message even now; the connection is gone, and what is in its queue
            # is at most MAX_QUEUED messages, sent in order before anything newer
            raise NotConnectedError(f"not sent: error {int(info.rc)}")

    def wait_until_up(self, timeout_s: float) -> bool:
        """Wait for a connection with all subscriptions granted."""
        return self._up.wait(timeout_s)

    @property
    def network_thread_alive(self) -> bool:
        """Is the thread that serves the socket running? A flag of paho's would not say so."""
        return self._loop is not None and self._loop.alive

    @property
    def where(self) -> str:
        user = f"{self._address.user}@" if self._address.user else ""
        scheme = "mqtts" if self._address.tls else "mqtt"
        return f"{scheme}://{user}{self._address.host}:{self._address.port}"

    # ---- what paho calls, in the network thread

    def _try_to_connect(self) -> None:
        client = self._client
        if client is None:
            return
        self._over = self._leaving = False
        host, port, keepalive_s = self._address.host, self._address.port, self._settings.keepalive_s
        if self._protocol == 5:
            # by default only the first connect would begin with a clean session
            client.connect(host, port, keepalive_s, clean_start=True)
        else:
            client.connect(host, port, keepalive_s)

    def _connect(
        self,
        client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._over = True
            self._failed(f"refused by the broker: {reason}{self._advice(str(reason))}")
            return
        self.connected = True
        self.connects_total += 1
        self._connected_at_s = self._monotonic()
        self.last_error = ""
        if not self._subscriptions:
            self._now_up()
            return
        if self._protocol == 5:
            options = [
                (s.topic, SubscribeOptions(qos=s.qos, noLocal=s.no_local))
                for s in self._subscriptions
            ]
            _, self._subscribe_mid = client.subscribe(options)
        else:
            _, self._subscribe_mid = client.subscribe(
                [(s.topic, s.qos) for s in self._subscriptions]
            )

    def _look(self) -> None:
        """Once a second: a broker that never answers a SUBSCRIBE is left, and tried again."""
        silent_s = self._monotonic() - self._connected_at_s
        waiting = self.connected and self._subscriptions and not self.subscribed
        if waiting and silent_s > 2 * self._settings.keepalive_s and self._client is not None:
            self._leave(self._client, f"{self.where} does not answer a subscription")

    def _suback(
        self,
        client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if mid == self._fence_mid:
            self.synchronised = True
            if self._on_synchronised is not None:
                _guarded_call(self._on_synchronised)
            return
        if mid != self._subscribe_mid:
            return
        for subscription, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                # the back-off decides when to ask again
                self._leave(client, f"may not subscribe to {subscription.topic}: {reason}")
                return
        self.subscribed = True
        # A broker answers in order: when it has granted a filter that nothing matches, all that it
        # retained for the ones before (at QoS 0) is already here.
        _, self._fence_mid = client.subscribe(f"{self._settings.root}/-", 0)
        self._now_up()

    def _now_up(self) -> None:
        log.info("connected to the broker at %s as %s", self.where, self.client_id)
        self._up.set()
        if self._on_up is not None:
            _guarded_call(self._on_up)

    def _connection_failed(self, error: Exception) -> None:
        if self.connected:
            self._over = True  # paho has not noticed, and will not say it
            self._take_down()
            self._say_down(f"lost the broker at {self.where}: {_short(error)}")
        else:
            self._failed(f"cannot reach the broker at {self.where}: {_short(error)}")

    def _disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._over:  # refused; or paho tells twice of a keep-alive that ran out
            return
        self._over = True
        if self.connected:
            self._take_down()
            self._say_down(self._why_lost(reason, said=flags.is_disconnect_packet_from_server))
        else:
            silent = "eep alive" in str(reason)
            hung_up = f"hung up before it answered{self._why_hung_up()}"
            self._failed(f"{self.where} {'does not answer' if silent else hung_up}")

    def _take_down(self) -> None:
        """A connection that was up is gone."""
        self.connected = self.subscribed = self.synchronised = False
        self._up.clear()
        with self._lock:
            self._lock.notify_all()
        if self._monotonic() - self._connected_at_s >= STABLE_S:
            self._failures = self._lost_at_once = 0
        else:
            self._lost_at_once += 1

    def _say_down(self, text: str) -> None:
        """text: why; empty if it was we who left."""
        if text:
            self._failed(text)
        if self._on_down is not None:
            _guarded_call(self._on_down, text)

    def _why_hung_up(self) -> str:
        if self.connects_total:
            return ""
        if self._address.tls and self._settings.broker_cert is None:
            return " (does it want a client certificate? BRISA_BROKER_CERT)"
        other = "; or is MQTT 5 not spoken on this port?" if self._protocol == 5 else ""
        return self._advice("password") + other

    def _why_lost(self, reason: ReasonCode, *, said: bool) -> str:
        """In words; empty if it was we who left. said: it is the broker's own reason."""
        if said and reason.value == SESSION_TAKEN_OVER:
            return f"another client took the id {self.client_id}: two must not share one"
        if not reason.is_failure:
            return ""
        # what paho says where nobody gave a reason tells nobody anything
        unsaid = str(reason) == "Unspecified error"
        why = "the connection was closed" if unsaid else reason
        text = f"lost the broker at {self.where}: {why}"
        if self._lost_at_once >= 3 and unsaid:
            # Mosquitto before 2.0.15 does not say why it hangs up on the first of two
            text += f", again at once; does another client use the id {self.client_id}?"
        return text

    def _published(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._lock:
            topic = self._in_flight.pop(mid, None)
            if topic is None:
                if len(self._answered) < MAX_QUEUED:
                    self._answered[mid] = reason
                return
            self._lock.notify_all()
        self._settle(topic, reason)

    # ---- what they share

    def _settle(self, topic: str, reason: ReasonCode) -> None:
        if not reason.is_failure:
            return
        self.refused_total += 1
        self._say_once(f"the broker refused {topic}: {reason}")
        if self._on_refused is not None:
            _guarded_call(self._on_refused, topic, str(reason))

    def _leave(self, client: Client, text: str) -> None:
        """Disconnect because of `text`; once, however long it takes until the connection is gone."""
        if not self._leaving:
            self._leaving = True
            self._failed(text)
            client.disconnect()

    def _failed(self, text: str) -> None:
        self.last_error = text
        self._failures += 1
        self._say_once(f"{text}; trying again")

    def _say_once(self, text: str) -> None:
        """One line a minute for the same thing."""
        now = self._monotonic()
        if now - self._logged.get(text, -REPEAT_LOG_S) >= REPEAT_LOG_S:
            if len(self._logged) > 100:
                self._logged.clear()
            self._logged[text] = now
            log.warning("%s", text)

    def _advice(self, reason: str) -> str:
        if "uthori" not in reason and "password" not in reason:
            return ""
        who = f"user {self._address.user}" if self._address.user else "no user in the URL"
        return f" ({who}: check BRISA_BROKER_URL and BRISA_BROKER_PASSWORD_FILE)"


def _guarded(callback: Callable[[Message], None]) -> Callable[[Message], None]:
    """`callback`, whose exceptions are logged and go no further."""

    def on_message(message: Message) -> None:
        try:
            callback(message)
        except Exception:
            log.exception("a message could not be handled")

    return on_message


def _guarded_call(callback: Callable[..., None], *arguments: object) -> None:
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback of the session failed")


def _short(error: BaseException) -> str:
    if refused := getattr(error, "verify_message", ""):  # of ssl.SSLCertVerificationError
        return f"its certificate is not accepted: {refused}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
