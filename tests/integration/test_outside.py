"""The broker for subscribers outside of the cluster: attacked, it takes nothing with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import credentials
from broker.local import mosquitto_path
from broker.session import Session, Subscription
from tests.integration.test_edge import get_metric, start_edge
from tests.support import PATIENCE_S, REPOSITORY, Process, RunningBroker, eventually, free_port
from tools import credentials as cluster_credentials

CONF = REPOSITORY / "broker" / "outside.conf"
LISTENER = REPOSITORY / "k8s" / "base" / "outside-listener.conf"
SLOTS = 100  # its max_connections
MEMORY_BYTES = 50_000_000  # its memory_limit
LONGEST_ID, TOO_LONG_ID = 48_000, 60_000  # its max_packet_size lies between
NOT_AUTHORISED = b"\x20\x02\x00\x05"


@dataclass
class Outside:
    """It, bridged to a broker inside."""

    port: int
    probe_port: int
    password: str
    process: Process

    def subscribe(self, topic: str, user: str, password: str) -> subprocess.CompletedProcess[str]:
        words = ["-h", "127.0.0.1", "-p", str(self.port), "-u", user, "-P", password]
        command = ["mosquitto_sub", *words, "-t", topic, "-C", "1", "-W", "20"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def answers(self) -> bool:
        """As its probes ask: without a password, by the door that no stranger has."""
        with socket.create_connection(("127.0.0.1", self.probe_port), PATIENCE_S) as probe:
            probe.settimeout(PATIENCE_S)
            probe.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x3c" + text("probe")))
            return probe.recv(4) == NOT_AUTHORISED

    def leave_session(self, client_id: str) -> bool:
        """One that is not clean, subscribed to everything at QoS 1, and left. Is it accepted?"""
        connect = text("MQTT") + b"\x04\xc0\x00\x3c"  # user, password, not clean
        connect += text(client_id) + text("viewer") + text(self.password)
        subscribe = b"\x00\x01" + text("brisa/#") + b"\x01"
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as one:
                one.settimeout(PATIENCE_S)
                one.sendall(packet(0x10, connect) + packet(0x82, subscribe))
                return one.recv(4) == b"\x20\x02\x00\x00"
        except OSError:
            return False


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    """MQTT 3.1.1, 2.2.3: the length in groups of seven bits."""
    length, left = b"", len(body)
    while True:
        left, low = divmod(left, 128)
        length += bytes([low | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


@contextmanager
def outside(inside: RunningBroker, folder: Path) -> Iterator[Outside]:
    """Of the files that the cluster's is made of; but for addresses, which are this machine's."""
    made, run = folder / "credentials", folder / "outside"
    cluster_credentials.make(made, ["pi-1"])
    port, probe_port = free_port(), free_port()
    for name in ("conf.d", "bridge.d"):
        (run / name).mkdir(parents=True)
    shutil.copy(CONF, run / "mosquitto.conf")
    shutil.copy(REPOSITORY / "broker" / "acl", run / "acl")
    (run / "acl").chmod(0o600)
    shutil.copy(made / "outside" / "passwords", run / "passwords")
    listener = LISTENER.read_text(encoding="utf-8")
    listener = listener.replace("listener 1883", f"listener {port} 127.0.0.1")
    listener = listener.replace("listener 1880 127", f"listener {probe_port} 127")
    (run / "conf.d" / "listener.conf").write_text(f"{listener}user root\n", encoding="utf-8")
    ours = (made / "users" / "outside").read_text(encoding="utf-8").strip()
    bridge = (made / "outside" / "plain.conf").read_text(encoding="utf-8")
    bridge = bridge.replace("mosquitto:1883", f"127.0.0.1:{inside.port}")
    bridge = bridge.replace(ours, inside.password("outside"))
    credentials.write_private(run / "bridge.d" / "bridge.conf", bridge)
    program = mosquitto_path()
    assert program is not None
    password = (made / "users" / "viewer").read_text(encoding="utf-8").strip()
    with Process(program, "-c", "mosquitto.conf", cwd=run) as process:
        found = Outside(port, probe_port, password, process)
        eventually("it answers", found.answers)
        yield found


@pytest.fixture
def there(mosquitto: RunningBroker, tmp_path: Path) -> Iterator[Outside]:
    with outside(mosquitto, tmp_path) as found:
        yield found


def test_it_shows_all_to_the_viewer_and_to_nobody_else(
    mosquitto: RunningBroker, there: Outside
) -> None:
    with start_edge(mosquitto):
        found = there.subscribe("brisa/pi-1/aula/reading", "viewer", there.password)
        assert '"temperature_c"' in found.stdout
        for user, password in (("viewer", "guessed"), ("pi-1", mosquitto.password("pi-1"))):
            assert "not authorised" in there.subscribe("brisa/#", user, password).stderr


def test_the_viewers_password_takes_no_node_off_the_air(
    mosquitto: RunningBroker, there: Outside
) -> None:
    """Sessions with the longest ids there may be, left behind until the memory is used up."""
    with start_edge(mosquitto) as edge:
        eventually("it is connected", lambda: get_metric(edge, "brisa_edge_connected") == 1)
        assert not there.leave_session("x" * TOO_LONG_ID)
        left = 0
        while there.leave_session(f"{left:05}".ljust(LONGEST_ID, "x")):
            left += 1
            assert left * LONGEST_ID < 2 * MEMORY_BYTES, "it is bounded by nothing"
        assert left
        before = get_metric(edge, "brisa_edge_published_total")
        eventually(
            "the node goes on",
            lambda: get_metric(edge, "brisa_edge_published_total") > before + 10,
        )
        assert get_metric(edge, "brisa_edge_connects_total") == 1


def test_idle_strangers_take_the_places_of_strangers_only(
    mosquitto: RunningBroker, there: Outside
) -> None:
    strangers = [
        socket.create_connection(("127.0.0.1", there.port), PATIENCE_S) for _ in range(SLOTS + 50)
    ]
    try:
        eventually("there is no room", lambda: not there.leave_session("late"))
        assert there.answers(), "or its probes would start it again and again"
        gateway = Session(
            mosquitto.settings("gateway"),
            client_id="gateway-1",
            protocol=5,
            subscriptions=[Subscription("brisa/#")],
            on_message=lambda _: None,
        )
        gateway.start()
        assert gateway.wait_until_up(PATIENCE_S)
        assert gateway.stop()
    finally:
        for stranger in strangers:
            stranger.close()
