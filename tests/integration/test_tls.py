"""mqtts:// to the real Mosquitto: a CA of our own, a client certificate, and what is refused."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from broker import credentials, local
from broker.session import Message, Session, Subscription, unique_client_id
from broker.settings import BrokerSettings, load
from tests.conftest import need_mosquitto
from tests.support import PATIENCE_S, Process, eventually, free_port, python


@dataclass
class Secured:
    """A Mosquitto that asks for client certificates, and the files of one client."""

    port: int
    folder: Path
    process: Process

    def environ(self, **changes: str | None) -> dict[str, str]:
        variables = {
            "URL": f"mqtts://pi-1@localhost:{self.port}",
            "PASSWORD_FILE": str(self.folder / "credentials" / "pi-1"),
            "CA": str(self.folder / "ca.pem"),
            "CERT": str(self.folder / "client.pem"),
            "KEY": str(self.folder / "client.key"),
            **changes,
        }
        return {f"BRISA_BROKER_{k}": v for k, v in variables.items() if v is not None}

    def settings(self, **changes: str | None) -> BrokerSettings:
        return load(BrokerSettings, self.environ(**changes))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    need_mosquitto()
    folder = tmp_path_factory.mktemp("tls")
    port = free_port()
    local.prepare("mosquitto", folder, port, [*credentials.SERVICES, "pi-1"])
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    server, client = ca.issue_cert("localhost"), ca.issue_cert("pi-1.example")
    server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    listener = folder / "conf.d" / "listener.conf"
    listener.write_text(
        listener.read_text()
        + "cafile ca.pem\ncertfile server.pem\nkeyfile server.pem\nrequire_certificate true\n"
    )
    program = local.mosquitto_path()
    assert program is not None
    with Process(program, "-c", "mosquitto.conf", cwd=folder) as process:
        yield Secured(port, folder, process)


@pytest.mark.parametrize("protocol", [4, 5])
def test_all_of_a_flood_comes_through(secured: Secured, protocol: int) -> None:
    heard: queue.Queue[bytes] = queue.Queue()

    def take(message: Message) -> None:
        heard.put(bytes(message.payload))

    viewer = secured.settings(
        URL=f"mqtts://viewer@localhost:{secured.port}",
        PASSWORD_FILE=str(secured.folder / "credentials" / "viewer"),
    )
    reader = Session(
        viewer,
        client_id=unique_client_id("viewer"),
        protocol=4 if protocol == 4 else 5,
        subscriptions=[Subscription("brisa/#")],
        on_message=take,
        restful=True,
    )
    writer = Session(secured.settings(), client_id=unique_client_id("pi-1"), protocol=5)
    for session in (reader, writer):
        session.start()
    for session in (reader, writer):
        assert session.wait_until_up(PATIENCE_S), session.last_error
    payloads = [b"%d " % number + bytes(number * 37 % 20_000) for number in range(300)]
    for payload in payloads:
        writer.publish("brisa/pi-1/s/reading", payload)
    assert [heard.get(timeout=PATIENCE_S) for _ in payloads] == payloads
    assert writer.stop(PATIENCE_S)
    reader.stop()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"CA": "other.pem"}, "its certificate is not accepted: self-signed"),
        ({"URL": "mqtts://pi-1@127.0.0.1:{port}"}, "its certificate is not accepted: IP address"),
        ({"CERT": None, "KEY": None}, "does it want a client certificate? BRISA_BROKER_CERT"),
    ],
)
def test_a_connection_that_is_not_trusted_is_refused_with_the_reason(
    secured: Secured, changes: dict[str, str | None], says: str
) -> None:
    full = {k: v and v.format(port=secured.port) for k, v in changes.items()}
    if "CA" in full:
        full["CA"] = str(secured.folder / "other.pem")
    session = Session(secured.settings(**full), client_id="refused", protocol=5)
    session.start()
    eventually("the reason", lambda: says in session.last_error)
    assert not session.connected
    session.stop()


def test_an_edge_speaks_tls(secured: Secured) -> None:
    """Its process puts the import of ssl off where there is no TLS."""
    env = {
        "BRISA_NODE": "pi-1",
        "BRISA_DRIVER": "simulated",
        "BRISA_HEALTH_PORT": "0",
        "BRISA_INTERVAL_S": "0.1",
        **secured.environ(),
    }
    viewer = secured.settings(
        URL=f"mqtts://viewer@localhost:{secured.port}",
        PASSWORD_FILE=str(secured.folder / "credentials" / "viewer"),
    )
    heard: queue.Queue[str] = queue.Queue()
    reader = Session(
        viewer,
        client_id=unique_client_id("viewer"),
        protocol=4,
        subscriptions=[Subscription("brisa/pi-1/dht11/reading")],
        on_message=lambda message: heard.put(message.topic),
    )
    reader.start()
    with python("-m", "edge", env=env) as edge:
        for _ in range(3):
            heard.get(timeout=PATIENCE_S)
        assert edge.stop() == 0
        assert "Traceback" not in edge.output
    reader.stop()


def test_a_certificate_file_that_is_not_there_is_named(secured: Secured) -> None:
    missing = str(secured.folder / "missing.pem")
    session = Session(secured.settings(CERT=missing), client_id="x", protocol=5)
    with pytest.raises(OSError, match=r"missing\.pem") as caught:
        session.start()
    assert caught.value.filename == missing
