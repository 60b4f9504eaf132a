"""The journal with a file that is well: numbers, dates, streams, and what ages out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.contract import Measured, Reading
from edge import journal_db
from edge.clock import Clock
from edge.journal import Journal, StreamInfo
from tests.unit.journals import (
    START,
    SetClock,
    add,
    everything,
    journal,
    kept,
    killed,
    make,
    put_back,
)

DAY_S = 86_400


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pi-1.db"


def test_readings_are_numbered_and_kept_as_they_were_given(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        first = it.append("dht11", clock.sample(24.4, 41.0), "dht11")
        clock.pass_(5)
        second = it.append("dht11", clock.sample(-12.5, 99.9), "simulated")
        assert first == Reading(
            stream=first.stream,
            seq=1,
            measured_at=START.replace(microsecond=123000),
            clock_synchronised=True,
            temperature_c=24.4,
            humidity_pct=41.0,
            source="dht11",
        )
        assert (second.seq, second.stream) == (2, first.stream)
        assert kept(it) == [first, second]
        assert it.streams("dht11") == [StreamInfo(first.stream, 1, 2)]
        assert (it.rows(), it.sensors(), it.problem, it.whole) == (2, ["dht11"], "", True)
        assert it.size_bytes() == sum(file.stat().st_size for file in path.parent.iterdir())


def test_what_is_asked_for_is_what_is_given(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        stream = add(it, clock, 10)[0].stream

        def numbers(rows: list[Measured]) -> list[int]:
            return [row.seq for row in rows]

        assert numbers(it.after(stream, 0, 3)) == [1, 2, 3]
        assert numbers(it.after(stream, 8, 300)) == [9, 10]
        assert numbers(it.after(stream, 10, 300)) == []
        assert numbers(it.after(stream, 2**63 - 2, 300)) == []
        assert numbers(it.between(stream, 4, 6, 300)) == [4, 5, 6]
        assert numbers(it.between(stream, 4, 2**63 - 1, 2)) == [4, 5]
        assert it.after(uuid4(), 0, 300) == []
        assert it.streams("dht22") == []


def test_each_sensor_has_a_stream_of_its_own(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        for _ in range(3):
            add(it, clock, sensor="roof")
            add(it, clock, 2, sensor="cellar")
        assert [reading.seq for reading in kept(it, "roof")] == [1, 2, 3]
        assert [reading.seq for reading in kept(it, "cellar")] == [1, 2, 3, 4, 5, 6]
        assert len({reading.stream for name in it.sensors() for reading in kept(it, name)}) == 2


def test_an_orderly_end_goes_on_with_the_next_number(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        add(it, clock, 3)
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.closed"}
    with journal(path, clock) as it:
        assert add(it, clock)[0].seq == 4
        assert len(it.streams("dht11")) == 1


def test_after_a_reboot_a_new_stream_begins_since_it_may_be_an_old_card(
    path: Path, clock: SetClock
) -> None:
    with journal(path, clock) as it:
        (old,) = add(it, clock, 1)
    clock.reboot()
    with journal(path, clock) as it:
        (new,) = add(it, clock)
        assert new.seq == 1
        assert [info.stream for info in it.streams("dht11")] == [new.stream, old.stream]


def test_readings_of_another_node_are_kept_and_not_shown(
    path: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    with journal(path, clock) as it:
        (theirs,) = add(it, clock, 1)
    renamed = Journal(path, node="pi-2", clock=clock)
    renamed.open()
    assert "it has readings of node pi-1, too" in caplog.text
    (ours,) = add(renamed, clock, 1)
    assert ours.seq == 1
    assert [info.stream for info in renamed.streams("dht11")] == [ours.stream]
    assert renamed.after(theirs.stream, 0, 9) == []
    assert renamed.rows() == 2
    renamed.close()
    with journal(path, clock) as it:
        assert [row.seq for row in it.after(theirs.stream, 0, 9)] == [1]
        assert it.sensors() == ["dht11"]


def test_a_process_that_was_killed_goes_on_with_the_next_number(
    path: Path, tmp_path: Path, clock: SetClock
) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 30)
        left = killed(path, tmp_path / "left")
    with journal(put_back(left, path), clock) as it:
        assert kept(it) == before
        assert add(it, clock)[0].seq == 31


@pytest.mark.parametrize("how", [shutil.copyfile, shutil.copy2, shutil.move])
def test_an_old_copy_begins_a_new_stream_for_its_next_numbers_are_used(
    path: Path, tmp_path: Path, clock: SetClock, how: Callable[[Path, Path], object]
) -> None:
    with journal(path, clock) as it:
        add(it, clock, 3)
    shutil.copytree(path.parent, tmp_path / "old")
    with journal(path, clock) as it:
        add(it, clock, 2)
    for file in (tmp_path / "old").iterdir():
        how(file, path.parent / file.name)
    with journal(path, clock) as it:
        assert [row.seq for row in kept(it)] == [1, 2, 3]
        assert add(it, clock)[0].seq == 1


def test_a_copy_of_a_journal_in_use_begins_a_new_stream(
    path: Path, tmp_path: Path, clock: SetClock
) -> None:
    with journal(path, clock) as it:
        add(it, clock, 3)
        left = killed(path, tmp_path / "left")
    with journal(left, clock) as it:
        assert add(it, clock)[0].seq == 1


def test_what_the_broker_has_shown_outlives_the_process(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        (reading,) = add(it, clock, 1)
        it.note_published("dht11", reading.stream, 9)
        it.note_published("dht11", reading.stream, 7)
        it.note_duplicate()
    with journal(path, clock) as it:
        assert it.published("dht11") == {reading.stream: 9}
        assert it.published("roof") == {}
        assert it.duplicate


def test_a_stream_was_held_also_when_its_last_row_has_aged_out(path: Path, clock: SetClock) -> None:
    with journal(path, clock, days=1) as it:
        (reading,) = add(it, clock, 1)
    clock.reboot()
    clock.pass_(2 * 86_400)
    with journal(path, clock, days=1) as it:
        assert it.rows() == 0
    with journal(path, clock, days=1) as it:
        assert it.held(reading.stream)
        assert not it.held(uuid4())


@pytest.mark.parametrize("boot", ["boot-2", ""])
def test_a_power_cut_begins_a_new_stream_for_its_numbers_may_be_known_elsewhere(
    path: Path, tmp_path: Path, clock: SetClock, boot: str
) -> None:
    clock.boot = "boot-1" if boot else ""
    with journal(path, clock) as it:
        before = add(it, clock, 3) + add(it, clock, 2, sensor="roof")
        left = killed(path, tmp_path / "left")
    clock.boot = boot
    with journal(left, clock) as it:
        assert [info.newest_seq for info in it.streams("dht11")] == [3]
        after = add(it, clock, 2)
        assert [reading.seq for reading in after] == [1, 2]
        new, old = it.streams("dht11")
        assert (new, old) == (
            StreamInfo(after[0].stream, 1, 2),
            StreamInfo(before[0].stream, 1, 3),
        )
        assert kept(it) == after + before[:3]
        assert kept(it, "roof") == before[3:]


def test_a_fork_moves_what_was_numbered_by_others(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        add(it, clock, 2, sensor="roof")
        before = add(it, clock, 10)
        it.fork("dht11", 7)
        new, old = it.streams("dht11")
        assert (old, new[1:]) == (StreamInfo(before[0].stream, 1, 7), (1, 3))
        moved = [
            reading.model_copy(update={"stream": new.stream, "seq": reading.seq - 7})
            for reading in before[7:]
        ]
        assert kept(it) == moved + before[:7]
        assert add(it, clock)[0].seq == 4
        assert [reading.seq for reading in kept(it, "roof")] == [1, 2]
        everything_kept = kept(it)
    with journal(path, clock) as it:
        assert kept(it) == everything_kept
        assert add(it, clock)[0].seq == 5


def test_a_fork_above_all_begins_a_stream_without_rows(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 2)
        it.fork("dht11", 90)
        it.fork("nothing", 90)
        assert [info[1:] for info in it.streams("dht11")] == [(1, 0), (1, 2)]
        after = add(it, clock)
        assert kept(it) == after + before
        assert after[0].seq == 1


def test_rows_of_this_boot_are_dated_when_the_clock_is_set(
    path: Path, tmp_path: Path, clock: SetClock
) -> None:
    clock.right = False
    with journal(path, clock) as it:
        add(it, clock, 2)  # of a boot that never knew the time
    clock.reboot(right=False)
    with journal(path, clock) as it:
        add(it, clock, 3)
        add(it, clock, 2, sensor="roof")
        left = killed(path, tmp_path / "left")
    with journal(put_back(left, path), clock) as it:  # another process, the same boot
        add(it, clock, 1)
        clock.right = True
        clock.utc += timedelta(days=3 * 365)
        (dated,) = add(it, clock, 1)
        rows = kept(it)
        assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 1, 2]  # and what was before the reboot
        assert [row.clock_synchronised for row in rows] == [True] * 5 + [False] * 2
        ages_s = [(dated.measured_at - row.measured_at).total_seconds() for row in rows]
        assert ages_s[:5] == [30, 25, 20, 5, 0]
        assert min(ages_s[5:]) > 3 * 365 * DAY_S
        roof = kept(it, "roof")
        assert [(dated.measured_at - row.measured_at).total_seconds() for row in roof] == [15, 10]
        stream = it.streams("dht11")[0].stream
        known = it.between(stream, 1, 9, 3, synchronised_only=True)
        assert [row.seq for row in known] == [1, 2, 3]


def test_dates_are_given_in_steps_too(
    path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_db, "REDATE_ROWS", 4)
    clock.right = False
    with journal(path, clock) as it:
        add(it, clock, 10)
        clock.right = True
        undated = [
            sum(not row.clock_synchronised for row in kept(it)) for _ in range(4) if add(it, clock)
        ]
        assert undated == [6, 2, 0, 0]


def test_a_step_of_a_clock_that_was_right_changes_no_row_and_no_order(
    path: Path, clock: SetClock
) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 3)
        clock.utc -= timedelta(days=400)
        before += add(it, clock, 3)
        clock.utc += timedelta(days=3 * 365)
        before += add(it, clock, 3)
        assert kept(it) == before
        assert [row.seq for row in before] == list(range(1, 10))
        assert it.age_s(before[0].stream, 1) == 40.0


def test_rows_age_by_the_time_that_the_machine_ran(
    path: Path, tmp_path: Path, clock: SetClock
) -> None:
    with journal(path, clock, days=1) as it:
        stream = add(it, clock, 100)[0].stream
        clock.utc += timedelta(days=3 * 365)
        add(it, clock, 100)
        assert [info.oldest_seq for info in it.streams("dht11")] == [1]
    clock.reboot()
    clock.utc += timedelta(days=90)  # switched off, which ages nothing
    with journal(path, clock, days=1) as it:
        add(it, clock, 100)
        assert [info.oldest_seq for info in it.streams("dht11")] == [1, 1]
        age_s = it.age_s(stream, 1)
        assert age_s == 100 * 5 * 2 - 5 + 20 + 100 * 5
        clock.pass_(DAY_S - 1250)  # from here on, the first 300 are too old, one after the other
        add(it, clock, 128)
        oldest = it.streams("dht11")[1].oldest_seq
        oldest_age_s = it.age_s(stream, oldest)
        assert oldest > 1
        assert oldest_age_s is not None
        assert DAY_S - 5 <= oldest_age_s <= DAY_S + journal_db.PRUNE_EVERY * 5
        assert it.age_s(stream, 1) == oldest_age_s  # the first that there is


def test_a_row_that_says_the_next_number_never_ages(path: Path, clock: SetClock) -> None:
    with journal(path, clock, days=1) as it:
        before = add(it, clock, 3, sensor="unplugged")
        clock.pass_(30 * DAY_S)
        add(it, clock, 200)
        assert kept(it, "unplugged") == before[-1:]
        assert it.streams("unplugged") == [StreamInfo(before[0].stream, 3, 3)]
    with journal(path, clock, days=1) as it:
        assert add(it, clock, sensor="unplugged")[0].seq == 4


def test_an_old_stream_without_rows_is_forgotten(path: Path, clock: SetClock) -> None:
    with journal(path, clock, days=1) as it:
        add(it, clock, 3)
        it.fork("dht11", 3)
        add(it, clock, 1)
        assert len(it.streams("dht11")) == 2
        clock.pass_(2 * DAY_S)
        add(it, clock, 200)
        assert len(it.streams("dht11")) == 1


@pytest.mark.parametrize("sensors", [1, 3])
def test_the_size_bound_holds_and_the_oldest_go_first(
    path: Path, clock: SetClock, sensors: int
) -> None:
    bound, given = 65_536, []
    with journal(path, clock, max_bytes=bound) as it:
        for number in range(6000):
            given += add(it, clock, sensor=f"s{number % sensors}")
            assert number % 50 or it.size_bytes() <= bound
        assert 400 < it.rows() < 3000
        rows = [row for name in it.sensors() for row in kept(it, name)]
        rows.sort(key=lambda row: row.measured_at)
        assert rows == given[-len(rows) :]


def test_a_bound_that_was_lowered_shrinks_the_file(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 6000)
    assert path.stat().st_size > 200_000
    with journal(path, clock, max_bytes=65_536) as it:
        assert it.size_bytes() < 65_536
        assert kept(it) == before[-it.rows() :]
        assert it.rows() > 400


def test_age_is_told_for_the_next_row_that_there_is(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        stream = add(it, clock, 3)[0].stream
        clock.pass_(7.5)
        assert [it.age_s(stream, seq) for seq in (0, 1, 2, 3, 4)] == [17.5, 17.5, 12.5, 7.5, None]
        assert it.age_s(uuid4(), 1) is None


def test_a_journal_that_is_not_open_says_so(path: Path, clock: SetClock) -> None:
    it = make(path, clock)
    with pytest.raises(RuntimeError, match="not open"):
        it.streams("dht11")
    it.open()
    it.close()
    it.close()
    with pytest.raises(RuntimeError, match="not open"):
        it.append("dht11", clock.sample(), "dht11")


def test_the_machine_says_which_boot_this_is() -> None:
    assert UUID(Clock().boot_id()) == UUID(Clock().boot_id())


class Life(RuleBasedStateMachine):
    """Whatever a node goes through, every reading is kept once, under a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = SetClock()
        self.path = Path(self.folder.name) / "pi-1.db"
        self.given: dict[tuple[UUID, int], float] = {}  # what was published, by its temperature
        self.kept: dict[str, list[float]] = {"a": [], "b": []}
        self.count = self.kills = 0
        self.journal = self.opened()

    def opened(self) -> Journal:
        found = make(self.path, self.clock)
        found.open()
        return found

    @rule(sensor=st.sampled_from("ab"), count=st.integers(1, 9), seconds=st.floats(0.01, 9e5))
    def append(self, sensor: str, count: int, seconds: float) -> None:
        for _ in range(count):
            self.clock.pass_(seconds / 1000)
            self.count += 1
            temperature_c = self.count / 100
            reading = self.journal.append(sensor, self.clock.sample(temperature_c), "simulated")
            assert (reading.stream, reading.seq) not in self.given
            assert reading.clock_synchronised == self.clock.right
            self.given[reading.stream, reading.seq] = temperature_c
            self.kept[sensor].append(temperature_c)

    @rule(sensor=st.sampled_from("ab"), back=st.integers(0, 5))
    def fork(self, sensor: str, back: int) -> None:
        streams = self.journal.streams(sensor)
        if streams:
            self.journal.fork(sensor, max(0, streams[0].newest_seq - back))
            new = self.journal.streams(sensor)[0].stream
            if new != streams[0].stream:  # else no number was to be given from it any more
                self.note_moved(new)

    def note_moved(self, new: UUID) -> None:
        for row in everything(self.journal, new):
            assert (new, row.seq) not in self.given
            self.given[new, row.seq] = row.temperature_c

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = self.opened()

    @rule()
    def kill(self) -> None:
        self.leave_as_it_is()
        self.journal = self.opened()

    @rule(clean=st.booleans(), right=st.booleans())
    def reboot(self, clean: bool, right: bool) -> None:
        if clean:
            self.journal.close()
        else:
            self.leave_as_it_is()
        self.clock.reboot(right=right)
        self.journal = self.opened()

    def leave_as_it_is(self) -> None:
        self.kills += 1
        left = killed(self.path, Path(self.folder.name) / str(self.kills))
        self.journal.close()
        put_back(left, self.path)

    @rule(days=st.integers(-900, 900))
    def step(self, days: int) -> None:
        self.clock.utc = max(START, self.clock.utc + timedelta(days=days))

    @precondition(lambda self: not self.clock.right)
    @rule()
    def synchronise(self) -> None:
        self.clock.right = True

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        for sensor, given in self.kept.items():
            rows = []
            for info in reversed(self.journal.streams(sensor)):
                found = everything(self.journal, info.stream, 50)
                assert [row.seq for row in found] == list(range(1, info.newest_seq + 1))
                assert all(self.given[info.stream, row.seq] == row.temperature_c for row in found)
                ages_s = [self.journal.age_s(info.stream, row.seq) or 0 for row in found]
                assert all(older >= newer for older, newer in pairwise(ages_s))
                rows += found
            assert [row.temperature_c for row in rows] == given

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


Life.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
