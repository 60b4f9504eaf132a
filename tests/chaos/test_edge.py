"""The edge: a journal that is too small, old or overwritten, and a clock that is wrong at first."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.ear import EPOCH
from tests.chaos.edge_with_clock import CONTROL, set_clock
from tests.chaos.evidence import Ranges, database_rows, journal_rows, newest
from tests.chaos.harness import EDGE_ENV, NODE, SENSOR, running
from tests.databases import Database
from tests.support import PATIENCE_S, RunningBroker, eventually

YEARS_S = 3 * 365 * 86_400.0
SMALLEST_JOURNAL = {"BRISA_JOURNAL_BYTES": "65536"}


@pytest.mark.long
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


def test_an_old_copy_of_the_journal_is_put_back_while_the_database_has_a_hole(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    """The watermark is that of the copy: only what is stored past the hole tells it from the
    newest. What it would have numbered next has been stored, and is another's."""
    with running(mosquitto, sqlite) as chaos:
        journal, ear = chaos.system.journal, chaos.ear
        chaos.caught_up()
        assert chaos.system.edge is not None
        assert chaos.system.edge.stop() == 0
        chaos.system.edge.close()
        copied = journal.read_bytes()  # ended in order: there is no more to it
        last = max(journal_rows(journal))
        chaos.stored_up_to(last)
        # a hole that is not filled yet: what is measured while there is no recorder
        chaos.system.edge_env["BRISA_BACKFILL_AFTER_S"] = "3600"
        chaos.part("recorder").kill()
        chaos.system.start_edge()
        chaos.heard(50)
        chaos.system.start_recorder()
        with ear.changed:
            assert ear.changed.wait_for(lambda: ear.marks[last.of].newest > last.seq, PATIENCE_S)
            assert ear.mark(last.of) == last.seq
        chaos.heard(50)
        chaos.part("edge").kill()
        taken = journal_rows(journal)
        for file in journal.parent.glob(f"{journal.name}*"):
            file.unlink()
        journal.write_bytes(copied)
        chaos.system.edge_env["BRISA_BACKFILL_AFTER_S"] = EDGE_ENV["BRISA_BACKFILL_AFTER_S"]
        chaos.system.start_edge()
        chaos.system.edge.wait_for(f"readings past {last.seq} that are not of this journal")
        chaos.caught_up()
        chaos.rest()
        put_back = journal_rows(journal)
        assert max(key.seq for key in put_back if key.of == last.of) == last.seq
        stored = [key.seq for key, _ in database_rows(sqlite) if key.of == last.of]
        reach = max(stored)
        (first_after,) = (seq for seq in stored if seq > last.seq and seq - 1 not in stored)
        assert first_after >= last.seq + 50
        # what nobody has any more; the rest of the one that was taken out is stored as it was
        chaos.lost = {last.of: [(last.seq + 1, first_after - 1)]}
        chaos.whole({**newest(put_back), last.of: reach})
        of_it = {key: row for key, row in taken.items() if first_after <= key.seq <= reach}
        chaos.compare({**put_back, **of_it})
        chaos.shown()


def a_stretch(file: bytes, chance: random.Random) -> bytes:
    """Noise in the second half of the rows, and not at the end."""
    first, end = len(file) * 60 // 100, len(file) * 85 // 100
    return file[:first] + chance.randbytes(end - first) + file[end:]


def all_of_it(file: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(len(file))


@pytest.mark.parametrize("overwritten", [a_stretch, all_of_it])
def test_the_journal_is_overwritten_by_noise_while_the_edge_is_down(
    overwritten: Callable[[bytes, random.Random], bytes],
    mosquitto: RunningBroker,
    sqlite: Database,
    chance: random.Random,
) -> None:
    with running(mosquitto, sqlite) as chaos:
        journal = chaos.system.journal
        chaos.caught_up()
        chaos.part("recorder").kill()
        chaos.heard(100)
        assert chaos.system.edge is not None
        assert chaos.system.edge.stop() == 0
        chaos.system.edge.close()
        written = journal_rows(journal)
        last = max(written)
        journal.write_bytes(overwritten(journal.read_bytes(), chance))
        chaos.system.start_recorder()
        eventually(
            "what the broker retained is stored", lambda: last in dict(database_rows(sqlite))
        )
        stored = dict(database_rows(sqlite))
        chaos.system.start_edge()
        chaos.caught_up()
        health = chaos.ear.health[NODE, SENSOR]
        assert "the journal was damaged" in health.journal
        assert str(health.stream) != last.stream
        chaos.rest()
        now = journal_rows(journal)
        saved = {key: reading for key, reading in now.items() if key.of == last.of}
        assert saved.items() <= written.items()
        gone = sorted(written.keys() - saved.keys() - stored.keys())
        assert gone
        if overwritten is a_stretch:
            assert saved.keys() - stored.keys()  # or the salvage was of no use
        chaos.lost = {last.of: ranges(key.seq for key in gone)}
        chaos.whole({**newest(now), last.of: last.seq})
        # what was stored before is no longer in the journal, and is as it was
        chaos.compare({**{key: written[key] for key in stored}, **now})
        chaos.shown()
        (sensor,) = chaos.system.get("/api/v1/audit").json()["sensors"]
        assert sensor["lost"] == len(gone)


def ranges(numbers: Iterable[int]) -> Ranges:
    found: Ranges = []
    for number in sorted(numbers):
        joined = found and found[-1][1] + 1 == number
        found.append((found.pop()[0] if joined else number, number))
    return found


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
