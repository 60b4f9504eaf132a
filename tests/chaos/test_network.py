"""The network and the broker: cut, silent, slow, wiped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.harness import Chaos, running
from tests.databases import Database
from tests.proxy import Mode, Proxy
from tests.support import RunningBroker, eventually


def wipe(broker: RunningBroker) -> None:
    for path in (broker.state / "data").glob("*"):
        path.unlink()


def test_the_broker_is_killed_and_its_memory_wiped(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with running(mosquitto, sqlite) as chaos:
        chaos.caught_up()
        mosquitto.kill()
        wipe(mosquitto)
        assert chaos.system.edge is not None
        chaos.system.edge.wait_for("lost the broker")
        mosquitto.start()
        chaos.caught_up()
        chaos.prove()


def test_all_is_killed_at_once_and_the_broker_wiped(
    mosquitto: RunningBroker, database: Database
) -> None:
    """A power cut of the house: only what was written down is left."""
    with running(mosquitto, database) as chaos:
        chaos.caught_up()
        for part in chaos.parts:
            part.kill()
        wipe(mosquitto)
        for part in reversed(chaos.parts):  # the edge last: it meets a broker that knows nothing
            part.start()
        chaos.caught_up()
        chaos.prove()


@dataclass
class Lines:
    """The connections of edge and recorder, each through a proxy of its own."""

    chaos: Chaos
    edge: Proxy
    recorder: Proxy

    def wait_until_missed(self, *parts: str) -> None:
        """Until they noticed themselves that they have no broker."""
        for name in parts:
            process = getattr(self.chaos.system, name)
            process.wait_for("lost the broker")


@contextlib.contextmanager
def through_proxies(broker: RunningBroker, database: Database) -> Iterator[Lines]:
    with Proxy(broker.port) as edge, Proxy(broker.port) as recorder:
        edge_env, recorder_env = (
            {"BRISA_BROKER_URL": f"mqtt://{user}@127.0.0.1:{proxy.port}"}
            for user, proxy in (("pi-1", edge), ("recorder", recorder))
        )
        with running(broker, database, edge_env=edge_env, recorder_env=recorder_env) as chaos:
            yield Lines(chaos, edge, recorder)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.DROP])
def test_both_are_cut_off(mode: Mode, mosquitto: RunningBroker, sqlite: Database) -> None:
    with through_proxies(mosquitto, sqlite) as lines:
        lines.chaos.caught_up()
        lines.edge.switch(mode)
        lines.recorder.switch(mode)
        lines.wait_until_missed("edge", "recorder")
        tried = lines.edge.connections
        assert lines.chaos.system.edge is not None
        if mode is Mode.DROP:
            eventually("the edge tries again", lambda: lines.edge.connections > tried)
        else:
            lines.chaos.system.edge.wait_for("cannot reach the broker")
        lines.edge.switch(Mode.PASS)
        lines.recorder.switch(Mode.PASS)
        lines.chaos.caught_up()
        lines.chaos.prove()


@pytest.mark.long
@pytest.mark.parametrize("held", ["edge", "recorder"])
def test_a_half_open_connection_for_longer_than_every_keep_alive(
    held: str, mosquitto: RunningBroker, sqlite: Database
) -> None:
    with through_proxies(mosquitto, sqlite) as lines:
        lines.chaos.caught_up()
        proxy = {"edge": lines.edge, "recorder": lines.recorder}[held]
        before = proxy.connections
        proxy.switch(Mode.HOLD)
        lines.wait_until_missed(held)
        # what it tries now is accepted and not answered
        eventually("it tries again", lambda: proxy.connections > before)
        proxy.switch(Mode.PASS)
        lines.chaos.caught_up()
        if held == "recorder":  # what it did not hear; the edge's own queue may have held all
            assert lines.chaos.ear.sent_again
        lines.chaos.prove()


@pytest.mark.long
def test_a_network_slower_than_the_sensor(mosquitto: RunningBroker, sqlite: Database) -> None:
    """QoS 1 with a bounded number in flight carries less than 50 a second: live ones fall out."""
    with through_proxies(mosquitto, sqlite) as lines:
        lines.chaos.caught_up()
        lines.edge.switch(Mode.PASS, delay_s=0.5)
        lines.recorder.switch(Mode.PASS, delay_s=0.5)
        lines.chaos.heard(200)
        lines.edge.cut()
        lines.chaos.heard(200)
        lines.edge.switch(Mode.PASS)
        lines.recorder.switch(Mode.PASS)
        lines.chaos.caught_up()
        lines.chaos.prove()
