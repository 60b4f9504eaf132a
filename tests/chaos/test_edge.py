"""The edge: a journal that is too small, and a clock that is wrong at first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.ear import EPOCH
from tests.chaos.edge_with_clock import CONTROL, set_clock
from tests.chaos.evidence import database_rows, journal_rows, newest
from tests.chaos.harness import running
from tests.databases import Database
from tests.support import RunningBroker, eventually

YEARS_S = 3 * 365 * 86_400.0
SMALLEST_JOURNAL = {"BRISA_JOURNAL_BYTES": "65536"}


def test_exactly_what_aged_out_is_lost(mosquitto: RunningBroker, sqlite: Database) -> None:
    with running(mosquitto, sqlite, edge_env=SMALLEST_JOURNAL) as chaos:
        chaos.caught_up()
        chaos.part("recorder").kill()
        last = max(key for key, _ in database_rows(sqlite))

        def aged_out() -> bool:
            return min(key.seq for key in journal_rows(chaos.system.journal)) > last.seq + 100

        eventually("rows age out that nobody stored", aged_out, 120)
        chaos.rest()
        journal = journal_rows(chaos.system.journal)  # it does not change any more
        oldest = min(journal)
        assert oldest.of == last.of
        chaos.lost = {last.of: [(last.seq + 1, oldest.seq - 1)]}
        chaos.system.start_recorder()
        chaos.whole(newest(journal))
        assert journal_rows(chaos.system.journal) == journal
        chaos.compare(journal)
        said = chaos.system.get("/api/v1/audit").json()
        assert f"{oldest.seq - 1 - last.seq:,}" in str(said)  # how many, where people look


@pytest.mark.parametrize("wrong_s", [-YEARS_S, YEARS_S])
def test_a_clock_that_is_wrong_until_it_is_synchronised(
    wrong_s: float, mosquitto: RunningBroker, sqlite: Database, tmp_path: Path
) -> None:
    control = tmp_path / "clock"
    set_clock(control, offset_s=wrong_s, synchronised=False)
    with running(
        mosquitto,
        sqlite,
        edge_module="tests.chaos.edge_with_clock",
        edge_env={CONTROL: str(control)},
    ) as chaos:
        chaos.heard(100)
        chaos.caught_up()
        # also what an earlier process of the same boot measured will be dated
        edge = chaos.part("edge")
        edge.kill()
        edge.start()
        chaos.caught_up()
        undated = [reading for _, reading in database_rows(sqlite) if not reading.synchronised]
        assert len(undated) > 100
        stream = chaos.heard(1).of
        assert chaos.ear.marks[stream].undated
        set_clock(control, offset_s=0, synchronised=True)
        chaos.heard(50)
        eventually("nothing is undated", lambda: not chaos.ear.marks[stream].undated)
        chaos.caught_up()
        chaos.prove()
        rows = sorted(database_rows(sqlite))
        assert all(reading.synchronised for _, reading in rows)
        dates = [reading.measured_ms for _, reading in rows]
        assert dates == sorted(dates)
        for key, reading in rows:  # the right date: when it was heard, and not three years off
            heard = chaos.ear.heard_at.get(key)
            if heard is not None:
                late = heard - (EPOCH + timedelta(milliseconds=reading.measured_ms))
                assert abs(late) < timedelta(minutes=5)
