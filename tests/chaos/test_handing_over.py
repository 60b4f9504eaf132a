"""An edge that is told to stop gives what the recorder lacks out of its hands first."""

from __future__ import annotations

import signal

from tests.chaos.evidence import journal_rows, newest
from tests.chaos.harness import SENSOR, Chaos, running
from tests.databases import Database
from tests.support import RunningBroker

DRAINING = {"BRISA_DRAIN_S": "3600"}


def stop_while_the_recorder_is_away(chaos: Chaos) -> None:
    chaos.caught_up()
    assert chaos.system.recorder is not None
    assert chaos.system.recorder.stop() == 0
    chaos.system.recorder.close()
    chaos.heard(50)
    assert chaos.system.edge is not None
    chaos.system.edge.popen.send_signal(signal.SIGTERM)
    chaos.system.edge.wait_for("readings: they are handed over first")


def all_is_handed_over(chaos: Chaos) -> None:
    edge = chaos.system.edge
    assert edge is not None
    assert edge.wait() == 0
    assert "in the journal only" not in edge.output
    # no other edge was there: a journal that was deleted with its pod would be no loss
    journal = journal_rows(chaos.system.journal)
    chaos.whole(newest(journal))
    chaos.compare(journal)


def test_all_is_handed_over_when_the_recorder_comes_back(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with running(mosquitto, sqlite, edge_env=DRAINING) as chaos:
        stop_while_the_recorder_is_away(chaos)
        chaos.system.start_recorder()
        all_is_handed_over(chaos)


def test_an_edge_that_has_not_found_the_broker_yet_does_not_leave(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    """It cannot know whether there is a recorder."""
    with running(mosquitto, sqlite, edge_env=DRAINING) as chaos:
        chaos.caught_up()
        assert chaos.system.edge is not None
        chaos.system.edge.close()
        mosquitto.kill()
        chaos.system.start_edge()
        chaos.system.edge.wait_for(f"sensor {SENSOR} is ok")
        chaos.system.edge.popen.send_signal(signal.SIGTERM)
        chaos.system.edge.wait_for("readings: they are handed over first")
        mosquitto.start()
        all_is_handed_over(chaos)


def test_a_second_signal_ends_it_and_says_what_is_left(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with running(mosquitto, sqlite, edge_env=DRAINING) as chaos:
        stop_while_the_recorder_is_away(chaos)
        edge = chaos.system.edge
        assert edge is not None
        assert edge.stop() == 0
        edge.close()
        assert "readings are in the journal only, and not stored yet" in edge.output
        chaos.system.start_recorder()
        chaos.system.start_edge()
        chaos.caught_up()
        chaos.prove()
