"""A node that floods a reader who does not read costs the broker no more than its limit."""

from __future__ import annotations

import socket
from pathlib import Path

from broker.session import NotConnectedError, Session, unique_client_id
from tests.support import PATIENCE_S, RunningBroker, eventually
from tests.system import running_system

LIMIT_KIB = 100_000_000 // 1024
LARGE = bytes(48_000)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def deaf_reader(broker: RunningBroker) -> socket.socket:
    """Subscribes to everything (MQTT 3.1.1, 3.1 and 3.8), and never reads."""

    def text(words: str) -> bytes:
        return len(words).to_bytes(2, "big") + words.encode()

    connect = text("MQTT") + b"\x04\xc2\x00\x3c" + text("deaf")
    connect += text("viewer") + text(broker.password("viewer"))
    subscribe = b"\x00\x01" + text("brisa/#") + b"\x00"
    reader = socket.create_connection(("127.0.0.1", broker.port))
    reader.sendall(b"\x10" + bytes([len(connect)]) + connect)
    reader.sendall(b"\x82" + bytes([len(subscribe)]) + subscribe)
    return reader


def test_the_flood_ends_at_the_limit_and_the_others_go_on(mosquitto: RunningBroker) -> None:
    assert mosquitto.process is not None
    pid = mosquitto.process.popen.pid
    with running_system(mosquitto) as system, deaf_reader(mosquitto):
        before = system.wait_for_state("pi-1/aula", "live")["seq"]
        flood = Session(mosquitto.settings("pi-2"), client_id=unique_client_id("flood"), protocol=5)
        flood.start()
        assert flood.wait_until_up(PATIENCE_S)
        sent = 0

        def hung_up() -> bool:
            nonlocal sent
            try:
                for _ in range(20):
                    flood.publish("brisa/pi-2/s/backfill", LARGE)
                    sent += 1
            except NotConnectedError:
                return True
            return flood.connects_total > 1

        eventually("the broker hangs up on it", hung_up)
        assert sent * len(LARGE) > LIMIT_KIB * 1024 / 2  # it is the limit, and not something else
        assert resident_kib(pid) < 1.5 * LIMIT_KIB
        flood.stop(0)
        eventually("the good go on", lambda: system.sensors()["pi-1/aula"]["seq"] > before)
        assert system.edge is not None
        assert "lost the broker" not in system.edge.output
