"""Back-fill as a whole: a real journal, the real account of numbers, and a line that loses, repeats
and reorders; whatever happens in between, it ends complete.
"""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.contract import (
    MAX_EARLIER_STREAMS,
    Backfill,
    Mark,
    Measured,
    Reading,
    SensorHealth,
    SensorState,
    Stored,
    parse_payload,
)
from edge import salvage
from edge.catchup import (
    ANSWER_FIRST_S,
    ANSWER_IN_A_HURRY_S,
    ANSWER_LONGEST_S,
    BATCH_READINGS,
    CatchUp,
)
from edge.journal import RETRY_S, Journal, StreamInfo
from edge.journal_format import Row as JournalRow
from edge.journal_format import Whose
from gateway.history.ledger import LOST, STORED, UNDATED, Room, Row
from gateway.history.writer import _Stream
from tests.support import PATIENCE_S
from tests.unit.journals import SetClock, add, everything, journal, make, settled

AFTER_S = 5.0
Said = Reading | Backfill | SensorHealth


class Database:
    """What the recorder keeps, in memory: its real account, and the rows as a dict."""

    def __init__(self) -> None:
        self.accounts: dict[UUID, tuple[set[Row], int]] = {}
        self.ends: dict[UUID, tuple[int | None, bool]] = {}
        self.rows: dict[tuple[UUID, int], Measured] = {}
        self.current: UUID | None = None

    def take(self, said: Said) -> None:
        if said.stream is None:
            return
        one = self._stream(said.stream)
        assert one.hear(said, 0)
        measured = said.readings if isinstance(said, Backfill) else [said]
        for reading in measured:
            if isinstance(reading, Measured) and (
                reading.seq in one.new or reading.seq in one.dated
            ):
                fields = reading.model_dump(exclude={"stream"})
                self.rows[said.stream, reading.seq] = Measured(**fields)
        self.accounts[said.stream] = (one.ledger.rows(), one.ledger.newest_seq)
        self.ends[said.stream] = (one.ledger.ended_seq, one.ledger.open_end)
        if not isinstance(said, Backfill):
            self.current = said.stream

    def _stream(self, stream: UUID) -> _Stream:
        rows, newest = self.accounts.get(stream, (set(), 0))
        ended_seq, open_end = self.ends.get(stream, (None, False))
        head: Any = SimpleNamespace(
            id=1, sensor_id=1, newest_seq=newest, ended_seq=ended_seq, open_end=open_end
        )
        return _Stream(head, sorted(rows), Room())

    def stored(self) -> Stored | None:
        marks = {}
        for stream, (rows, _) in self.accounts.items():
            ledger = self._stream(stream).ledger
            stored, undated, lost = (
                [(r.first_seq, r.last_seq) for r in sorted(rows) if r.kind == kind][-16:]
                for kind in (STORED, UNDATED, LOST)
            )
            marks[stream] = Mark(
                stream=stream,
                seq=ledger.watermark(),
                missing=ledger.missing(),
                newest=stored[-1][1] if stored else 0,
                undated=undated,
                lost=lost,
            )
        if not marks:
            return None
        current = marks.pop(self.current or next(iter(marks)), None) or marks.popitem()[1]
        return Stored(**dict(current), earlier=list(marks.values()))

    def lost(self, stream: UUID) -> set[int]:
        rows, _ = self.accounts.get(stream, (set(), 0))
        return {
            seq
            for row in rows
            if row.kind == "lost"
            for seq in range(row.first_seq, row.last_seq + 1)
        }


class Story(RuleBasedStateMachine):
    """Edge, line and recorder; a rule is something that happens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="brisa-story-"))
        self.path = self.folder / "journal.db"
        self.clock = SetClock()
        self.database = Database()
        self.line: deque[bytes] = deque()
        self.connected = False
        self.made: dict[int, None] = {}  # what the sensor measured, by a number that is its value
        self.number = 0
        self.journal = self._opened()
        self.cards: list[Path] = []  # copies of it
        self.retained: Reading | None = None  # by the broker, which forgets nothing
        self.backup: Database | None = None
        self.unheard = False  # is the card an old one, and the recorder has not told us?

    def _opened(self) -> Journal:
        opened = make(self.path, self.clock, days=2 / 24, sync_every=4)
        opened.open()
        self.catch_up = CatchUp("s", opened, after_s=AFTER_S)
        self.catch_up.start()
        return opened

    def teardown(self) -> None:
        try:
            if self.made:  # else the story fell over before it began
                self.ends_complete()
        finally:
            self.journal.close()
            shutil.rmtree(self.folder)

    # ---- what happens

    @initialize(right=st.booleans())
    def begin(self, right: bool) -> None:
        self.clock.right = right
        self.connect()
        self.live(5, "works")

    @rule(count=st.integers(1, 30), line=st.sampled_from(["works", "loses", "holds", "is cut"]))
    def live(self, count: int, line: str) -> None:
        """Readings, over a line that is as it is; on one that is cut, they are only journalled."""
        if line == "is cut":
            self.disconnect()
        elif not self.connected:
            self.connect()
        self._measure(count, arrives=line in ("works", "holds"))
        if line == "works":
            self.look()
            self.deliver(len(self.line))

    def _measure(self, count: int, *, arrives: bool) -> None:
        for _ in range(count):
            self.clock.pass_(5)
            self.number += 1
            # the value is the number: 50 °C in steps of a hundredth, and per cent above that
            sample = self.clock.sample(self.number % 5000 / 100, float(self.number // 5000))
            reading = self.journal.append("s", sample, "dht22")
            self.made[self.number] = None
            if self.connected:
                self.catch_up.published(reading)
                self.retained = reading
                if arrives:
                    self._send(reading)

    @rule()
    def connect(self) -> None:
        self.connected = True
        self.unheard = False
        self._hear()
        if self.retained is not None:
            above = self.catch_up.heard_published(self.retained.stream, self.retained.seq)
            self._fork_if(above)
        self._say_health()

    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.catch_up.disconnected()
        self.line.clear()

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule()
    def look(self) -> None:
        """The back-fill thread comes round."""
        if self.connected and (batch := self.catch_up.next(self.clock.now_s)):
            assert 0 <= len(batch.readings) <= BATCH_READINGS
            self._send(batch)

    @rule()
    def say_health(self) -> None:
        self._say_health()

    @rule(count=st.integers(1, 10))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.line))):
            self._take(self.line.popleft())
        self._hear()

    @rule(seed=st.integers(0, 99))
    def reorder_repeat_and_lose(self, seed: int) -> None:
        chance = random.Random(seed)
        messages = [m for m in self.line for _ in range(chance.choice([0, 1, 1, 1, 2]))]
        # A claim may be repeated, and come late, but not overtake the readings it speaks of.
        if not any(b'"after"' in m or b'"oldest_seq"' in m for m in messages):
            chance.shuffle(messages)
        self.line = deque(messages)

    @precondition(lambda self: not self.unheard)
    @rule()
    def restart_of_the_edge(self) -> None:
        self.disconnect()
        self.journal.close()
        self.journal = self._opened()

    @rule(right=st.booleans())
    def power_cut(self, right: bool) -> None:
        """Nothing is closed; the monotonic clock begins again."""
        self.disconnect()
        cut = self._copied()  # as it is: open, and with a word in it that it was not closed
        self.journal.close()
        self._bring_back(cut)
        self.clock.reboot(right=right)
        self.journal = self._opened()

    @precondition(lambda self: not self.unheard)
    @rule()
    def a_copy_of_the_card(self) -> None:
        self.disconnect()
        self.journal.close()
        self.cards.append(self._copied())
        self.journal = self._opened()

    @precondition(lambda self: self.cards)
    @rule(rebooted=st.booleans(), data=st.data())
    def another_card_is_put_in(self, rebooted: bool, data: st.DataObject) -> None:
        """An old copy, and perhaps later again the one that was taken out for it."""
        card = data.draw(st.sampled_from(self.cards))
        self.disconnect()
        self.journal.close()
        if not self.unheard:
            self.cards.append(self._copied())
        self._bring_back(card)
        if rebooted:
            self.clock.reboot()
        else:
            self.unheard = True
        self.journal = self._opened()

    @rule()
    def a_backup_of_the_database(self) -> None:
        self.backup = copy.deepcopy(self.database)

    @precondition(lambda self: self.backup)
    @rule()
    def the_database_is_put_back(self) -> None:
        assert self.backup is not None
        self.database = copy.deepcopy(self.backup)
        self._hear()

    @rule()
    def the_clock_is_set(self) -> None:
        if not self.clock.right:
            self.clock.right = True
            self.clock.utc = self.clock.utc.replace(year=2029)

    # ---- what must be

    @invariant()
    def no_number_means_two_readings(self) -> None:
        """And no reading has two numbers."""
        numbers = [_number(row) for row in self.database.rows.values()]
        assert len(numbers) == len(set(numbers))
        # until it is connected, an old card cannot know that its numbers were used
        for (stream, seq), row in self._kept_by_key().items() if self.connected else ():
            stored = self.database.rows.get((stream, seq))
            assert stored is None or _number(stored) == _number(row)

    def ends_complete(self) -> None:
        """With a line that works again, everything the journal has is stored, and dated alike."""
        self.connect()
        self.the_clock_is_set()  # a date that an old card had is sent once it is
        for _ in range(400):
            # a sensor goes on, which is how the recorder hears of a stream
            self._measure(1, arrives=True)
            self._say_health()
            while self.line:
                self._take(self.line.popleft())
            self._hear()
            before = self.catch_up.next(self.clock.now_s)
            if before is None and self._whole():
                break
            if before is not None:
                self._send(before)
            self.clock.pass_(ANSWER_LONGEST_S / 100)
        kept = self._kept_by_key()
        for key, row in kept.items():
            assert self._has(key, row), f"{key} of {self.catch_up.behind}"
        stored = {_number(row) for row in self.database.rows.values()}
        journalled = {_number(row) for row in kept.values()}
        for stream in self.database.accounts:
            # what is called lost is lost
            assert not {seq for of, seq in kept if of == stream} & self.database.lost(stream)
        told = self.database.stored()
        assert told is not None
        # of a stream that was only ever on another card, nothing is called lost
        held = [mark for mark in (told, *told.earlier) if self.journal.held(mark.stream)]
        assert all(mark.missing == 0 for mark in held)
        assert journalled <= stored

    def _whole(self) -> bool:
        told = self.database.stored()
        marks = (told, *told.earlier) if told else ()
        missing = sum(mark.missing for mark in marks if self.journal.held(mark.stream))
        return not missing and all(self._has(*kept) for kept in self._kept_by_key().items())

    def _has(self, key: tuple[UUID, int], row: Measured) -> bool:
        stored = self.database.rows.get(key)
        if stored is not None and stored.clock_synchronised > row.clock_synchronised:
            stored = stored.model_copy(  # an old card does not know the date that it was given
                update={"measured_at": row.measured_at, "clock_synchronised": False}
            )
        return stored == row

    # ---- how

    def _send(self, said: Said) -> None:
        self.line.append(said.to_json())

    def _say_health(self) -> None:
        one = self.journal.current("s")
        if one is None or not self.connected:
            return
        self.catch_up.let_out(one.stream, one.oldest_seq - 1)
        self._send(
            SensorHealth(
                state=SensorState.OK, since=self.clock.utc, driver="replay", model="dht22",
                interval_s=5, stream=one.stream, oldest_seq=one.oldest_seq,
                newest_seq=one.newest_seq or None,
            )
        )  # fmt: skip

    def _take(self, message: bytes) -> None:
        if b'"interval_s"' in message:
            self.database.take(parse_payload(SensorHealth, message))
        elif b'"readings":[' in message:
            self.database.take(parse_payload(Backfill, message))
        else:
            self.database.take(parse_payload(Reading, message))

    def _hear(self) -> None:
        stored = self.database.stored()
        if stored is None or not self.connected:
            return
        self._fork_if(self.catch_up.heard(parse_payload(Stored, stored.to_json())))

    def _fork_if(self, above: int | None) -> None:
        if above is not None:
            self.journal.fork("s", above)
            self.catch_up.start()

    def _kept(self) -> list[tuple[UUID, Measured]]:
        return [
            (info.stream, row)
            for info in self.journal.streams("s")
            for row in everything(self.journal, info.stream, page=100)
        ]

    def _kept_by_key(self) -> dict[tuple[UUID, int], Measured]:
        return {(stream, row.seq): row for stream, row in self._kept()}

    def _copied(self) -> Path:
        to = self.folder / uuid4().hex
        to.mkdir()
        for file in self.folder.glob("journal.db*"):
            shutil.copy(file, to)
        return to

    def _bring_back(self, copied: Path) -> None:
        for file in self.folder.glob("journal.db*"):
            file.unlink()
        for file in copied.iterdir():
            shutil.copy(file, self.folder)


def _number(row: Measured) -> int:
    return round(row.humidity_pct) * 5000 + round(row.temperature_c * 100)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


# ---- single rules, said plainly


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def mark(stream: UUID, seq: int, **more: object) -> Stored:
    return Stored(stream=stream, seq=seq, **more)  # type: ignore[arg-type]


def test_without_a_word_of_the_recorder_nothing_is_sent(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        add(kept, clock, 500, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        clock.pass_(3600)
        assert catch_up.next(clock.now_s) is None
        assert catch_up.behind == 0


def test_what_is_just_on_its_way_is_not_sent_again(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        (reading,) = add(kept, clock, 1, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.published(reading)
        catch_up.heard(mark(reading.stream, 0))
        clock.pass_(AFTER_S - 1)
        assert catch_up.next(clock.now_s) is None
        clock.pass_(1)
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert (batch.after, [row.seq for row in batch.readings]) == (0, [1])


def test_one_batch_at_a_time_and_patience_grows_with_silence(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        readings = add(kept, clock, 450, "s")
        stream = readings[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        for reading in readings:
            catch_up.published(reading)
        clock.pass_(60)
        catch_up.heard(mark(stream, 0))
        first = catch_up.next(clock.now_s)
        assert first is not None
        assert [row.seq for row in first.readings] == list(range(1, BATCH_READINGS + 1))
        waits = []
        for _ in range(9):
            waited = 0.0
            while (again := catch_up.next(clock.now_s)) is None:
                clock.pass_(1)
                waited += 1
            assert again == first
            waits.append(waited)
        assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
        assert waits[0] == ANSWER_FIRST_S
        catch_up.heard(mark(stream, 200))  # an answer: the next goes at once
        second = catch_up.next(clock.now_s)
        assert second is not None
        assert (second.after, second.readings[0].seq) == (200, 201)
        catch_up.heard(mark(stream, 100))  # a word that goes back is believed
        third = catch_up.next(clock.now_s)
        assert third is not None
        assert third.after == 100


def test_of_an_old_stream_of_its_own_it_says_that_nothing_more_is_here(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 7, "s")[0].stream
    clock.reboot()
    with journal(tmp_path / "j.db", clock) as kept:
        (reading,) = add(kept, clock, 1, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.published(reading)
        old = Mark(stream=stream, seq=7, missing=2)
        catch_up.heard(mark(reading.stream, 1, earlier=[old]))
        assert catch_up.next(clock.now_s, alone=False) is None  # it may be the other's
        assert catch_up.next(clock.now_s) == Backfill(stream=old.stream, after=7, readings=[])
        catch_up.heard(mark(reading.stream, 1, earlier=[old.model_copy(update={"missing": 0})]))
        assert catch_up.next(clock.now_s) is None


@pytest.mark.parametrize("former_gone", [False, True])
def test_a_stream_that_this_journal_never_held_is_gone_only_if_its_journal_is(
    tmp_path: Path, clock: SetClock, former_gone: bool
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        (reading,) = add(kept, clock, 1, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S, former_gone=former_gone)
        catch_up.published(reading)
        theirs = Mark(stream=uuid4(), seq=7, missing=2)
        closed = Mark(stream=uuid4(), seq=9, closed=True)
        catch_up.heard_published(theirs.stream, 12)
        catch_up.heard(mark(reading.stream, 1, earlier=[theirs, closed]))
        assert catch_up.next(clock.now_s, alone=False) is None
        gone = Backfill(stream=theirs.stream, after=7, newest=12, gone=True, readings=[])
        assert catch_up.next(clock.now_s) == (gone if former_gone else None)
        clock.pass_(ANSWER_LONGEST_S)  # a recorder that does not know `gone` does not answer
        assert catch_up.next(clock.now_s) is None
        catch_up.disconnected()
        kept.note_duplicate()  # another edge of this name: its file may be there
        catch_up.heard(mark(reading.stream, 1, earlier=[theirs]))
        assert catch_up.next(clock.now_s) is None


def test_of_the_stream_in_use_nothing_is_called_lost(tmp_path: Path, clock: SetClock) -> None:
    """What the recorder lacks of it may be on its way."""
    with journal(tmp_path / "j.db", clock) as kept:
        (reading,) = add(kept, clock, 1, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.published(reading)
        clock.pass_(2 * AFTER_S)
        catch_up.heard(mark(reading.stream, 1, missing=1))
        assert catch_up.next(clock.now_s) is None


def test_a_batch_of_an_old_stream_lets_out_no_number_of_the_one_in_use(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        old = add(kept, clock, 9, "s")[0].stream
    clock.reboot()
    with journal(tmp_path / "j.db", clock) as kept:
        new = add(kept, clock, 2, "s")[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        catch_up.heard(mark(new, 2, newest=2))
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert (batch.stream, batch.readings[-1].seq) == (old, 9)
        assert catch_up.heard(mark(new, 2, newest=7)) == 2, "seven is another's"


def test_a_journal_whose_numbers_were_used_by_another_is_found_out(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        add(kept, clock, 5, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        stream = kept.streams("s")[0].stream
        assert catch_up.heard(mark(stream, 5)) is None
        catch_up.disconnected()
        add(kept, clock, 20, "s")  # measured while away: nobody can know of them
        assert catch_up.heard(mark(stream, 9)) == 5


def test_it_is_found_out_too_if_the_watermark_stands_before_a_hole(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        add(kept, clock, 5, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        stream = kept.streams("s")[0].stream
        assert catch_up.heard(mark(stream, 5, missing=1, newest=5)) is None
        assert catch_up.heard(mark(stream, 5, missing=1, newest=7)) == 5


def test_what_was_called_lost_and_is_here_is_sent(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        readings = add(kept, clock, BATCH_READINGS + 50, "s")
        stream = readings[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        newest, gone = readings[-1].seq, (readings[-1].seq + 1, readings[-1].seq + 9)
        catch_up.heard(mark(stream, gone[1], lost=[(1, newest - 1), gone]))
        first = catch_up.next(clock.now_s)
        assert first is not None
        assert first.after is None
        assert [row.seq for row in first.readings] == list(range(1, BATCH_READINGS + 1))
        rest = (BATCH_READINGS + 1, newest - 1)
        catch_up.heard(mark(stream, gone[1], lost=[rest, gone]))
        second = catch_up.next(clock.now_s)
        assert second is not None
        assert [row.seq for row in second.readings] == list(range(rest[0], rest[1] + 1))
        catch_up.heard(mark(stream, gone[1], lost=[gone]))
        assert catch_up.next(clock.now_s) is None


def test_a_stream_that_is_not_answered_holds_up_no_other(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        (refused,) = add(kept, clock, 1, "s")
        kept.fork("s", 1)
        readings = add(kept, clock, 2 * BATCH_READINGS, "s")
        clock.pass_(60)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.heard(mark(readings[0].stream, 0))
        asked = []
        seq = 0
        for _ in range(6):
            while (batch := catch_up.next(clock.now_s)) is None:
                clock.pass_(1)
            asked.append(batch.stream == refused.stream)
            if batch.stream != refused.stream:
                seq = batch.readings[-1].seq
                catch_up.heard(mark(batch.stream, seq))
        assert seq == 2 * BATCH_READINGS
        assert asked == [True, False, False, True, True, True]


def test_of_streams_that_are_not_answered_the_one_that_was_asked_least_is_next(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        refused = []
        for _ in range(3):
            refused.append(add(kept, clock, 1, "s")[0].stream)
            kept.fork("s", 1)
        clock.pass_(60)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.recorder_is_there()
        asked, waits = [], []
        for _ in range(7):
            waited = 0
            while (batch := catch_up.next(clock.now_s)) is None:
                clock.pass_(1)
                waited += 1
            waits.append(waited)
            asked.append(refused.index(batch.stream))
        assert asked == [0, 1, 2, 0, 1, 2, 0]
        assert waits == [0, 5, 5, 5, 10, 10, 10]
        # to a recorder that is heard of again, all may be said anew, and at once
        catch_up.disconnected()
        catch_up.recorder_is_there()
        assert catch_up.next(clock.now_s) is not None
        clock.pass_(ANSWER_FIRST_S)
        assert catch_up.next(clock.now_s) is not None


def test_an_answer_ends_the_patience_that_a_stream_had_grown(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 2 * BATCH_READINGS, "s")[0].stream
        kept.fork("s", 2 * BATCH_READINGS)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.heard(mark(stream, 0))
        for wait_s in (5, 10):
            assert catch_up.next(clock.now_s) is not None
            clock.pass_(wait_s)
        assert catch_up.next(clock.now_s) is not None
        catch_up.heard(mark(stream, BATCH_READINGS))
        assert catch_up.next(clock.now_s) is not None
        clock.pass_(ANSWER_FIRST_S - 1)
        assert catch_up.next(clock.now_s) is None
        clock.pass_(1)
        assert catch_up.next(clock.now_s) is not None


def test_in_a_hurry_it_asks_at_once_and_never_waits_long(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 1, "s")[0].stream
        kept.fork("s", 1)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.heard(mark(stream, 0))
        assert catch_up.next(clock.now_s) is not None
        assert catch_up.next(clock.now_s) is None
        catch_up.hurry()
        waits = []
        for _ in range(5):
            waited = 0
            while catch_up.next(clock.now_s) is None:
                clock.pass_(1)
                waited += 1
            waits.append(waited)
        assert waits == [0, ANSWER_FIRST_S, 10, ANSWER_IN_A_HURRY_S, ANSWER_IN_A_HURRY_S]


def test_of_a_sensor_that_no_recorder_spoke_of_all_is_sent_when_told_that_there_is_one(
    tmp_path: Path, clock: SetClock
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        add(kept, clock, 2, "s")
        clock.pass_(60)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        assert catch_up.next(clock.now_s) is None
        catch_up.recorder_is_there()
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert (batch.after, [row.seq for row in batch.readings]) == (0, [1, 2])


def test_dates_that_came_to_be_known_are_sent(tmp_path: Path, clock: SetClock) -> None:
    clock.right = False
    with journal(tmp_path / "j.db", clock) as kept:
        undated = add(kept, clock, 5, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        for reading in undated:
            catch_up.published(reading)
        stream = undated[0].stream
        catch_up.heard(mark(stream, 5, undated=[(1, 5)]))
        assert catch_up.next(clock.now_s) is None
        clock.right = True
        (right,) = add(kept, clock, 1, "s")
        catch_up.published(right)
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert batch.after is None
        assert [(row.seq, row.clock_synchronised) for row in batch.readings] == [
            (seq, True) for seq in range(1, 6)
        ]
        catch_up.heard(mark(stream, 6))
        assert catch_up.next(clock.now_s) is None


def test_of_a_range_without_dates_only_what_has_one_by_now_is_sent(
    tmp_path: Path, clock: SetClock
) -> None:
    """The rest is of a boot that never knew the time."""
    clock.right = False
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 3, "s")[0].stream
    clock.reboot(right=False)
    with journal(tmp_path / "j.db", clock) as kept:
        later = add(kept, clock, 2, "s")[0].stream
        clock.right = True
        (right,) = add(kept, clock, 1, "s")
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.published(right)
        never = Mark(stream=stream, seq=3, undated=[(1, 3)])
        catch_up.heard(mark(later, 3, undated=[(1, 2)], earlier=[never]))
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert (batch.stream, [row.seq for row in batch.readings]) == (later, [1, 2])
        catch_up.heard(mark(later, 3, earlier=[never]))
        assert catch_up.next(clock.now_s) is None


def test_what_was_called_lost_is_sent_without_its_date_too(tmp_path: Path, clock: SetClock) -> None:
    clock.right = False
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 5, "s")[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        catch_up.heard(mark(stream, 5, lost=[(2, 4)]))
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert [(row.seq, row.clock_synchronised) for row in batch.readings] == [
            (seq, False) for seq in (2, 3, 4)
        ]


def test_what_was_looked_for_in_vain_is_looked_for_again_after_the_next_connect(
    tmp_path: Path, clock: SetClock
) -> None:
    """And not before: a range of many numbers would be read again with every look."""
    clock.right = False
    with journal(tmp_path / "j.db", clock) as kept:
        readings = add(kept, clock, 3, "s")
        stream = readings[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        catch_up.published(readings[0].model_copy(update={"clock_synchronised": True}))
        word = mark(stream, 9, lost=[(4, 4)], undated=[(1, 3)])
        catch_up.heard(word)
        assert catch_up.next(clock.now_s) is None
        clock.right = True
        add(kept, clock, 1, "s")  # number 4, and dates of the others
        catch_up.heard(word)
        assert catch_up.next(clock.now_s) is None
        catch_up.disconnected()
        catch_up.heard(word)
        lost = catch_up.next(clock.now_s)
        assert lost is not None
        assert [row.seq for row in lost.readings] == [4]
        catch_up.heard(mark(stream, 9, undated=[(1, 3)]))
        undated = catch_up.next(clock.now_s)
        assert undated is not None
        assert [row.seq for row in undated.readings] == [1, 2, 3]


# ---- while the journal is not whole


def its_file_fails(kept: Journal) -> None:
    assert kept._db is not None
    kept._failed(kept._db, OSError(5, "Input/output error"))


@dataclass
class Damaged:
    """A journal whose file was set aside, and of which the salvage has not begun."""

    journal: Journal
    catch_up: CatchUp
    stream: UUID  # the one that the file had, with three numbers
    may_copy: threading.Event

    def is_saved(self) -> None:
        self.may_copy.set()
        settled(self.journal)


@pytest.fixture
def damaged(tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Damaged]:
    path, may_copy = tmp_path / "j.db", threading.Event()
    with journal(path, clock) as kept:
        stream = add(kept, clock, 3, "s")[0].stream
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    batches = salvage.batches

    def held(path: Path, newest_ms: int) -> Iterator[list[tuple[Whose, JournalRow]]]:
        assert may_copy.wait(PATIENCE_S)
        yield from batches(path, newest_ms)

    monkeypatch.setattr(salvage, "batches", held)
    with journal(path, clock) as kept:
        clock.pass_(60)
        yield Damaged(kept, CatchUp("s", kept, after_s=AFTER_S), stream, may_copy)
        may_copy.set()


def test_a_stream_that_may_still_be_saved_is_not_called_lost(
    damaged: Damaged, clock: SetClock
) -> None:
    damaged.catch_up.heard(mark(damaged.stream, 1, missing=2))
    assert damaged.catch_up.next(clock.now_s) is None
    damaged.is_saved()
    batch = damaged.catch_up.next(clock.now_s)
    assert batch is not None
    assert (batch.after, [row.seq for row in batch.readings]) == (1, [2, 3])


def test_a_stream_that_is_saved_while_it_is_looked_for_is_not_called_lost(
    damaged: Damaged, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = damaged.journal.streams

    def just_before(sensor: str) -> list[StreamInfo]:
        found = ask(sensor)
        damaged.is_saved()
        return found

    damaged.catch_up.heard(mark(damaged.stream, 1, missing=2))
    with monkeypatch.context() as patch:
        patch.setattr(damaged.journal, "streams", just_before)
        assert damaged.catch_up.next(clock.now_s) is None
    assert damaged.journal.whole
    batch = damaged.catch_up.next(clock.now_s)
    assert batch is not None
    assert (batch.after, [row.seq for row in batch.readings]) == (1, [2, 3])


def test_a_stream_whose_file_fails_while_it_is_looked_for_is_not_called_lost(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 3, "s")[0].stream
        kept.fork("s", 3)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.heard(mark(stream, 1, missing=2))
        ask = kept.streams

        def just_after(sensor: str) -> list[StreamInfo]:
            its_file_fails(kept)
            return ask(sensor)

        assert kept.whole
        monkeypatch.setattr(kept, "streams", just_after)
        assert catch_up.next(clock.now_s) is None
        assert not kept.whole


def test_what_was_called_lost_and_may_still_be_saved_is_not_looked_for_in_vain(
    damaged: Damaged, clock: SetClock
) -> None:
    damaged.catch_up.heard(mark(damaged.stream, 3, lost=[(2, 3)]))
    assert damaged.catch_up.next(clock.now_s) is None
    damaged.is_saved()
    batch = damaged.catch_up.next(clock.now_s)
    assert batch is not None
    assert (batch.after, [row.seq for row in batch.readings]) == (None, [2, 3])


def test_what_was_called_lost_is_looked_for_again_when_the_file_that_failed_is_back(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 3, "s")[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        catch_up.heard(mark(stream, 3, lost=[(2, 3)]))
        ask = kept.between

        def just_after(*arguments: Any, **options: Any) -> list[Measured]:
            its_file_fails(kept)
            return ask(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(kept, "between", just_after)
            assert catch_up.next(clock.now_s) is None
        assert not kept.whole
        clock.pass_(RETRY_S)
        add(kept, clock, 1, "s")
        assert kept.whole
        batch = catch_up.next(clock.now_s)
        assert batch is not None
        assert (batch.after, [row.seq for row in batch.readings]) == (None, [2, 3])


# ---- and the rest


def test_what_it_sent_from_the_journal_is_its_own(tmp_path: Path, clock: SetClock) -> None:
    with journal(tmp_path / "j.db", clock) as kept:
        stream = add(kept, clock, 3, "s")[0].stream
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.start()
        add(kept, clock, 2, "s")  # measured while away: nobody heard of them but by back-fill
        catch_up.heard(mark(stream, 0))
        clock.pass_(60)
        assert catch_up.next(clock.now_s) is not None
        assert catch_up.heard(mark(stream, 5, newest=5)) is None


def test_more_streams_than_the_recorder_can_name_come_to_an_end(
    tmp_path: Path, clock: SetClock
) -> None:
    """As of a Pi whose power is cut again and again."""
    with journal(tmp_path / "j.db", clock) as kept:
        for _ in range(60):
            add(kept, clock, 1, "s")
            kept.fork("s", 1)
        add(kept, clock, 1, "s")
        current = kept.streams("s")[0].stream
        clock.pass_(60)
        catch_up = CatchUp("s", kept, after_s=AFTER_S)
        catch_up.heard(mark(current, 0))
        stored: dict[UUID, int] = {}
        batches = 0
        while batch := catch_up.next(clock.now_s):
            batches += 1
            assert batches <= 61
            stored.pop(batch.stream, None)  # the last to be heard of is named first
            stored[batch.stream] = batch.readings[-1].seq
            others = [of for of in reversed(stored) if of != current][:MAX_EARLIER_STREAMS]
            earlier = [Mark(stream=of, seq=stored[of]) for of in others]
            catch_up.heard(mark(current, stored.get(current, 0), earlier=earlier))
        assert len(stored) == 61
