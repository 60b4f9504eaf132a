"""The edge: a journal that is too small, old or overwritten, and a clock that is wrong at first."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from broker.contract import NodeState
from tests.chaos.ear import EPOCH
from tests.chaos.edge_with_clock import CONTROL, set_clock
from tests.chaos.evidence import (
    Ranges,
    database_rows,
    journal_rows,
    lost_ranges,
    newest,
)
from tests.chaos.harness import EDGE_ENV, NODE, SENSOR, Chaos, running
from tests.databases import Database
from tests.proxy import Mode, Proxy
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
        overwrite(journal, copied)
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


@pytest.mark.parametrize("in_its_place", [True, False])
def test_an_old_copy_of_the_journal_is_put_back_while_the_recorder_is_away(
    in_its_place: bool, mosquitto: RunningBroker, sqlite: Database
) -> None:
    """What was published past the copy is in no file any more, and is called lost; what comes
    next takes none of its numbers. In its place: only what the broker retained tells the copy."""
    with running(mosquitto, sqlite) as chaos:
        journal = chaos.system.journal
        chaos.caught_up()
        assert chaos.system.edge is not None
        assert chaos.system.edge.stop() == 0
        chaos.system.edge.close()
        copied = journal.read_bytes()
        last = max(journal_rows(journal))
        chaos.stored_up_to(last)
        chaos.part("recorder").kill()
        chaos.system.start_edge()
        newest_heard = chaos.heard(60)
        assert newest_heard.of == last.of
        chaos.part("edge").kill()
        newest_heard = max(key for key in chaos.ear.readings if key.of == last.of)
        overwrite(journal, copied)
        if not in_its_place:
            shutil.copy(journal, journal.with_name("copy"))
            journal.with_name("copy").rename(journal)
        chaos.system.start_edge()
        new = chaos.heard(30)
        assert new.of != last.of
        chaos.system.start_recorder()
        chaos.caught_up()
        chaos.rest()
        now = journal_rows(journal)
        chaos.lost = {last.of: [(last.seq + 1, newest_heard.seq)]}
        chaos.whole({**newest(now), last.of: newest_heard.seq})
        chaos.compare(now)
        assert said_lost(chaos) == newest_heard.seq - last.seq


def overwrite(journal: Path, copied: bytes) -> None:
    """Into the very file, which so is not known for a copy."""
    for file in journal.parent.glob(f"{journal.name}*"):
        if file != journal:
            file.unlink()
    journal.write_bytes(copied)


def said_lost(chaos: Chaos) -> int:
    """How many the page says are lost, once it knows of all that is stored."""
    chaos.shown()
    (sensor,) = chaos.system.get("/api/v1/audit").json()["sensors"]
    return int(sensor["lost"])


def test_what_a_duplicate_has_in_its_journal_is_not_called_lost(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    """It comes back after a while without network, says how far it is, and loses its power."""
    with running(mosquitto, sqlite) as chaos, Proxy(mosquitto.port) as proxy:
        chaos.caught_up()
        first, ear = chaos.system.edge, chaos.ear
        assert first is not None
        ours = ear.newest[NODE, SENSOR].of
        alone = dict(chaos.system.edge_env)
        through = mosquitto.env("pi-1")["BRISA_BROKER_URL"].replace(
            f":{mosquitto.port}", f":{proxy.port}"
        )
        journal = chaos.system.journal.with_name("duplicate.db")
        chaos.system.edge_env |= {
            "BRISA_JOURNAL": str(journal),
            "BRISA_BROKER_URL": through,
            "BRISA_BACKFILL_AFTER_S": "3600",  # it dies before it has sent anything again
        }
        second = chaos.system.start_edge()
        with ear.changed:
            assert ear.changed.wait_for(
                lambda: any(key.of != ours for key in ear.readings), PATIENCE_S
            )
        (theirs,) = {key.of for key in ear.readings} - {ours}
        first.wait_for("another edge")
        proxy.switch(Mode.REFUSE)
        second.wait_for("trying again")
        before = max(key.seq for key in ear.readings if key.of == theirs)
        eventually("it measures", lambda: max(k.seq for k in journal_rows(journal)) > before + 100)
        proxy.switch(Mode.PASS)
        with ear.changed:
            assert ear.changed.wait_for(lambda: ear.marks[theirs].missing > 100, PATIENCE_S)
            said = len(ear.statuses)
        second.close()
        missing = journal_rows(journal).keys()
        with ear.changed:  # its will, and what the first one answers
            assert ear.changed.wait_for(
                lambda: ear.statuses[said:][-2:] == [NodeState.OFFLINE, NodeState.ONLINE],
                PATIENCE_S,
            )
        chaos.heard(200)
        assert lost_ranges(sqlite) == {}
        # and it is all sent when the duplicate is there again
        first.close()
        chaos.system.edge_env["BRISA_BACKFILL_AFTER_S"] = alone["BRISA_BACKFILL_AFTER_S"]
        chaos.system.start_edge()
        chaos.stored_up_to(max(key for key in missing if key.of == theirs))
        assert lost_ranges(sqlite) == {}


@pytest.mark.parametrize("in_order", [True, False])
def test_a_journal_that_is_gone_with_readings_that_nobody_heard_of(
    in_order: bool, mosquitto: RunningBroker, sqlite: Database
) -> None:
    """As the pod of an edge that could not reach its broker when it was told to end."""
    gone = {"BRISA_FORMER_JOURNALS": "gone", "BRISA_DRAIN_S": "0"}
    with running(mosquitto, sqlite, edge_env=gone) as chaos:
        journal = chaos.system.journal
        chaos.caught_up()
        assert chaos.system.edge is not None
        if not in_order:
            reached = max(journal_rows(journal)).seq
            chaos.part("broker").kill()
            eventually("it measures on", lambda: max(journal_rows(journal)).seq > reached + 20)
        assert chaos.system.edge.stop() == 0
        chaos.system.edge.close()
        for file in journal.parent.glob(f"{journal.name}*"):
            file.unlink()
        if not in_order:
            chaos.part("broker").start()
        chaos.system.start_edge()
        chaos.caught_up()

        def open_ends() -> list[int]:
            sensors = chaos.system.get("/api/v1/audit").json().get("sensors", ())
            return [one["open_ends"] for one in sensors if one["stored"]]

        eventually("the audit has counted it", lambda: open_ends() == [0 if in_order else 1])
        page = f"/sensors/{NODE}/{SENSOR}"
        sentence = "Un registro local se eliminó"
        eventually(
            "the page says so",
            lambda: (sentence in chaos.system.get(page).text) is not in_order,
        )


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
