"""The journal with a file that is damaged or cannot be written: the sampling goes on, and no row
that is read again is another than was written."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract import Reading
from edge import journal as journal_module
from edge import journal_faults, salvage
from edge.journal import Journal
from edge.journal_db import JournalDb
from edge.journal_faults import set_aside
from edge.journal_format import Row, Whose
from edge.journal_log import log_of
from tests.support import PATIENCE_S
from tests.unit.journals import SetClock, add, journal, kept, killed, make, settled

Original = dict[tuple[UUID, int], Reading]
SENSORS = ("dht11", "roof")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pi-1.db"


class Good:
    """A journal of 400 rows in 3 streams, closed in order, or left as a kill leaves it."""

    def __init__(self, folder: Path, *, closed: bool) -> None:
        path, clock = folder / "made" / "pi-1.db", SetClock()
        with journal(path, clock, max_bytes=1 << 20) as it:
            given = [row for _ in range(20) for name in SENSORS for row in add(it, clock, 10, name)]
            it.fork("roof", 150)
            left = killed(path, folder / "killed")
            self.rows = {
                (row.stream, row.seq): row for sensor in SENSORS for row in kept(it, sensor)
            }
        # and those that were under other numbers before the fork
        self.ever = {(row.stream, row.seq): row for row in given} | self.rows
        left = path if closed else left
        self.file = left.read_bytes()
        self.log = b"" if closed else log_of(left).read_bytes()

    def put(self, path: Path, file: bytes | bytearray, log: bytes | bytearray) -> None:
        path.write_bytes(file)
        if log:
            log_of(path).write_bytes(log)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return Good(tmp_path_factory.mktemp("closed"), closed=True)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return Good(tmp_path_factory.mktemp("left"), closed=False)


def works(path: Path, good: Good) -> int:
    """Open what there is, add readings, and count what is still there of the good ones."""
    clock = SetClock()
    clock.pass_(10_000)
    with journal(path, clock) as it:
        new = add(it, clock, 3) + add(it, clock, 3, "roof")
        settled(it)
        new += add(it, clock, 3)
        rows = {(row.stream, row.seq): row for sensor in SENSORS for row in kept(it, sensor)}
        for row in new:
            assert rows.pop((row.stream, row.seq)) == row
        assert all(row == good.ever[key] for key, row in rows.items())
        given = [row for sensor in SENSORS for row in kept(it, sensor)]
        if rows and it.problem:  # they are as old as the file that they were found in
            assert min(it.age_s(*key) or 0 for key in rows) == 9 * 5
    with journal(path, clock) as it:
        assert [row for sensor in SENSORS for row in kept(it, sensor)] == given
        assert (it.problem, it.whole) == ("", True)
    return len(rows)


def test_what_a_kill_leaves_is_whole(path: Path, left: Good) -> None:
    left.put(path, left.file, left.log)
    assert works(path, left) == 400


def test_a_file_cut_off_anywhere_is_set_aside_and_its_rows_saved(
    tmp_path: Path, closed: Good
) -> None:
    size = len(closed.file)
    assert size > 16_000
    for number, cut in enumerate(range(1, size - 1, 499)):
        path = tmp_path / str(number) / "pi-1.db"
        path.parent.mkdir()
        closed.put(path, closed.file[:cut], b"")
        saved = works(path, closed)
        assert len(set_aside(path)) == 1, cut
        assert saved >= 400 * (cut - 6000) / size, cut


def test_a_log_cut_off_anywhere_gives_the_rows_before(tmp_path: Path, left: Good) -> None:
    saved = []
    for number, cut in enumerate(range(0, len(left.log), 4999)):
        path = tmp_path / str(number) / "pi-1.db"
        path.parent.mkdir()
        left.put(path, left.file, left.log[:cut])
        saved.append(works(path, left))
    assert saved == sorted(saved)
    assert saved[-1] > 350


def test_a_log_that_is_gone_begins_a_new_stream(path: Path, left: Good) -> None:
    """Nobody knows which numbers were given."""
    left.put(path, left.file, b"")
    with journal(path, SetClock()) as it:
        old = [info.stream for info in it.streams("dht11")]
        assert add(it, SetClock())[0].stream not in old


@pytest.mark.parametrize("at", [0, 5, 20, 32, 50, 60, 5000])
def test_a_broken_log_is_set_aside_and_what_follows_is_saved(
    path: Path, left: Good, at: int
) -> None:
    """SQLite would end before the broken page, and the numbers after it would be given again."""
    log = bytearray(left.log)
    log[at] ^= 0xFF
    left.put(path, left.file, log)
    assert works(path, left) >= 385
    assert len(set_aside(path)) == 1


def test_a_write_that_was_broken_off_is_no_damage(path: Path, left: Good) -> None:
    left.put(path, left.file, left.log[:-100])
    assert works(path, left) >= 385
    assert not set_aside(path)


@given(seed=st.integers(0, 2**32), spots=st.integers(1, 40), longest=st.sampled_from([1, 9, 3000]))
@settings(max_examples=40, deadline=None)
def test_noise_never_makes_a_row_that_was_not_written(
    closed: Good, left: Good, seed: int, spots: int, longest: int
) -> None:
    chance = random.Random(seed)
    good = chance.choice([closed, left])
    file, log = bytearray(good.file), bytearray(good.log)
    for _ in range(spots):
        part = chance.choice([file, log]) or file
        at, size = chance.randrange(len(part)), chance.randint(1, longest)
        noise = chance.randbytes(min(size, len(part) - at))
        part[at : at + len(noise)] = noise
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pi-1.db"
        good.put(path, file, log)
        for whose, row in salvage.rows(path):
            expected = good.ever[whose.uuid, row.seq]
            assert Reading(stream=whose.uuid, **dict(row.measured())) == expected
        clock = SetClock()
        clock.pass_(10_000)
        with journal(path, clock) as it:
            first = add(it, clock, 3)
            for sensor in SENSORS:
                kept(it, sensor)  # finds what opening did not
            new = add(it, clock, 3)
            assert all((row.stream, row.seq) not in good.ever for row in first + new)
            settled(it)
            rows = {(row.stream, row.seq): row for sensor in SENSORS for row in kept(it, sensor)}
        assert all(rows.pop((row.stream, row.seq)) == row for row in new)
        allowed = good.ever | {(row.stream, row.seq): row for row in first}
        assert all(row == allowed[key] for key, row in rows.items())


def test_one_broken_page_costs_no_other(path: Path, closed: Good) -> None:
    file = bytearray(closed.file)
    page = len(file) // 1024 * 512
    file[page : page + 512] = b"\xa5" * 512
    closed.put(path, file, b"")
    assert 380 <= works(path, closed) < 400


def test_the_list_of_streams_is_there_twice(path: Path, closed: Good) -> None:
    uuid = str(next(iter(closed.rows))[0]).encode()
    pages = [at // 512 for at in range(len(closed.file)) if closed.file.startswith(uuid, at)]
    assert len(set(pages)) == 2
    for page in set(pages):
        file = bytearray(closed.file)
        file[page * 512 : page * 512 + 512] = bytes(512)
        for old in set_aside(path):
            old.unlink()
        closed.put(path, file, b"")
        assert works(path, closed) == 400


def broken(file: bytes, log: bytes) -> tuple[bytes, bytes]:
    """What SQLite takes for no database, and no log; every row is still there."""
    return b"\0" * 100 + file[100:], b"\0" * 32 + log[32:]


def test_a_fork_is_remembered_by_the_salvage(path: Path, left: Good) -> None:
    """The log still holds the moved rows with the numbers that they had before."""
    left.put(path, *broken(left.file, left.log))
    assert works(path, left) == 400
    found = {(whose.uuid, row.seq) for whose, row in salvage.rows(set_aside(path)[0])}
    assert found == set(left.rows)


def test_the_salvage_takes_the_rows_that_have_a_date_and_gives_none(
    path: Path, tmp_path: Path, clock: SetClock
) -> None:
    clock.right = False
    with journal(path, clock) as it:
        add(it, clock, 50)
        clock.right = True
        add(it, clock, 1)
        clock.right = False
        add(it, clock, 20, "roof")
        given = kept(it) + kept(it, "roof")
        left = killed(path, tmp_path / "left")
    file, log = broken(left.read_bytes(), log_of(left).read_bytes())
    left.write_bytes(file)
    log_of(left).write_bytes(log)
    with journal(left, clock) as it:
        settled(it)
        assert kept(it) + kept(it, "roof") == given
        assert [row.clock_synchronised for row in given] == [True] * 51 + [False] * 20
        clock.right = True  # when the others were measured by this clock, nobody knows any more
        add(it, clock, 1)
        assert kept(it)[1:] + kept(it, "roof") == given


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (b"my notes\n" * 500, "file is not a database"),
        (b"x", "not even one page"),
    ],
    ids=["notes", "a byte"],
)
def test_a_file_that_is_none_is_set_aside(
    path: Path, clock: SetClock, what: bytes, said: str
) -> None:
    path.write_bytes(what)
    with journal(path, clock) as it:
        assert add(it, clock, 2)[1].seq == 2
        settled(it)
        assert set_aside(path)[0].name == "pi-1.db.damaged-20261123T120000Z"
        assert set_aside(path)[0].read_bytes() == what
        assert it.problem == (
            f"the journal was damaged ({said}) and set aside as pi-1.db.damaged-20261123T120000Z;"
            " readings that were not sent by then may be lost"
        )
    with journal(path, clock) as it:
        assert (it.problem, it.rows()) == ("", 2)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA user_version = 2", "not a journal, or one of another version of brisa"),
        ("PRAGMA application_id = 7", "not a journal, or one of another version of brisa"),
        ("UPDATE meta SET value = 'no'", "its state cannot be read"),
        ("UPDATE stream SET uuid = 'no'", "a stream without a name"),
        ("DROP TABLE reading", "no such table: reading"),
        ("UPDATE reading SET source = CAST(X'FF' AS TEXT)", "decode"),
        ("UPDATE reading SET temperature_c = 21", "a row that is not what was written"),
        ("UPDATE reading SET elapsed_ms = 'no'", "a row that is not what was written"),
        ("UPDATE reading SET humidity_pct = NULL", "an impossible row"),
    ],
)
def test_a_database_that_says_what_cannot_be_is_set_aside(
    path: Path, clock: SetClock, statement: str, said: str
) -> None:
    with journal(path, clock) as it:
        add(it, clock, 2)
    with sqlite3.connect(path) as other:
        other.execute(statement)
    other.close()
    with journal(path, clock) as it:
        assert said in it.problem
        assert add(it, clock, 1)[0].seq == 1
        settled(it)


def test_damage_while_it_is_in_use_is_found_and_set_aside(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        before = {row.seq: row for row in add(it, clock, 12_000)}
        stream = before[1].stream
        with path.open("r+b") as file:
            for at in range(50_000, 500_000, 50_000):
                file.seek(at)
                file.write(b"noise" * 200)
        after = 0
        while rows := it.after(stream, after, 500):
            assert all(Reading(stream=stream, **dict(row)) == before[row.seq] for row in rows)
            after = rows[-1].seq
        assert "damaged" in it.problem
        assert after < 12_000
        new = add(it, clock, 2)
        assert new[0].stream != stream
        settled(it)
        assert {info.stream for info in it.streams("dht11")} == {stream, new[0].stream}
        saved = it.after(stream, 0, 20_000)
        assert 11_700 < len(saved) < 12_000
        assert all(Reading(stream=stream, **dict(row)) == before[row.seq] for row in saved)
        age_s = it.age_s(stream, 12_000)
        assert age_s is not None
        assert 0 < age_s < 100  # by the journal's own clock, they are as old as before


def test_no_more_than_three_files_are_kept_aside(path: Path, clock: SetClock) -> None:
    for number in range(5):
        path.write_text(f"notes {number}")
        clock.pass_(1)
        with journal(path, clock) as it:
            settled(it)
    assert [file.read_text() for file in set_aside(path)] == ["notes 2", "notes 3", "notes 4"]
    path.write_text("in the same second")
    with journal(path, clock) as it:
        settled(it)
    assert set_aside(path)[-1].read_text() == "in the same second"
    assert len(set_aside(path)) == 3


def test_rows_that_still_arrive_are_not_shown_and_go_on_after_a_restart(
    path: Path, clock: SetClock, closed: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed.put(path, b"\0" * 100 + closed.file[100:], b"")
    first_came, may_fail = threading.Event(), threading.Event()
    whole = salvage.batches

    def interrupted(path: Path, newest_ms: int) -> Iterator[list[tuple[Whose, Row]]]:
        yield next(whole(path, newest_ms))[:100]
        first_came.set()
        may_fail.wait(60)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(salvage, "batches", interrupted)
    with journal(path, clock) as it:
        assert first_came.wait(60)
        assert it.rows() == 100
        assert (it.streams("dht11"), it.sensors(), it.whole) == ([], [], False)
        assert all(it.after(key[0], 0, 9) == [] for key in closed.rows)
        may_fail.set()
    assert it.whole is False
    monkeypatch.setattr(salvage, "batches", whole)
    assert works(path, closed) == 400


class Lock:
    """A journal's lock; `after_release` is called once, as soon as others may have it."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.after_release: Callable[[], None] | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        act, self.after_release = self.after_release, None
        if act is not None:
            act()


def test_a_file_is_not_counted_as_copied_when_what_it_was_copied_to_is_gone(
    path: Path, clock: SetClock, closed: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new database fails just when all of the old one has been copied into it."""
    closed.put(path, b"\0" * 100 + closed.file[100:], b"")
    it = make(path, clock, max_bytes=1 << 20)
    lock = Lock(it._lock)
    it._lock = lock  # type: ignore[assignment]
    may_begin = [threading.Event(), threading.Event(), threading.Event()]
    turns = iter(may_begin)
    batches, arrived = salvage.batches, JournalDb.arrived

    def in_turn(path: Path, newest_ms: int) -> Iterator[list[tuple[Whose, Row]]]:
        assert next(turns).wait(PATIENCE_S)
        return batches(path, newest_ms)

    def fail() -> None:
        assert it._db is not None
        it._failed(it._db, sqlite3.DatabaseError("database disk image is malformed"))

    def arrived_and_gone(db: JournalDb, name: str) -> None:
        arrived(db, name)
        monkeypatch.setattr(JournalDb, "arrived", arrived)
        lock.after_release = fail

    monkeypatch.setattr(salvage, "batches", in_turn)
    monkeypatch.setattr(JournalDb, "arrived", arrived_and_gone)
    it.open()
    first = it._salvage
    assert first is not None
    may_begin[0].set()
    first.join(PATIENCE_S)
    assert it._to_salvage == set_aside(path)
    assert (len(it._to_salvage), it.whole) == (2, False)
    for event in may_begin[1:]:
        event.set()
    settled(it)
    rows = {(row.stream, row.seq): row for sensor in SENSORS for row in kept(it, sensor)}
    assert rows == closed.rows
    it.close()


def test_what_the_salvage_does_not_expect_is_logged_and_it_is_not_whole(
    path: Path,
    clock: SetClock,
    closed: Good,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed.put(path, b"\0" * 100 + closed.file[100:], b"")

    def fail(_path: Path, _newest_ms: int) -> Iterator[list[tuple[Whose, Row]]]:
        raise KeyError("of the salvage")

    monkeypatch.setattr(salvage, "batches", fail)
    with journal(path, clock) as it:
        assert it._salvage is not None
        it._salvage.join(PATIENCE_S)
        assert not it.whole
        assert add(it, clock, 1)[0].seq == 1
    assert "cannot be salvaged" in caplog.text
    assert "KeyError: 'of the salvage'" in caplog.text


def test_what_has_no_place_is_not_salvaged(
    path: Path, clock: SetClock, closed: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed.put(path, b"\0" * 100 + closed.file[100:], b"")
    monkeypatch.setattr(salvage, "SPARE_BYTES", 1 << 60)
    with journal(path, clock) as it:
        assert add(it, clock, 1)[0].seq == 1
    assert (it.whole, it.problem[:11]) == (False, "the journal")


# ---- no file at all


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "blocker").write_text("in the way")
    return tmp_path / "blocker" / "pi-1.db"


def test_without_a_file_readings_are_kept_in_memory_and_put_there_later(
    tmp_path: Path, clock: SetClock
) -> None:
    path = below_a_file(tmp_path)
    clock.right = False
    with journal(path, clock) as it:
        given = add(it, clock, 5) + add(it, clock, 5, "roof")
        assert it.problem == f"readings are kept in memory only: {path.parent}: Not a directory"
        assert kept(it) + kept(it, "roof") == given
        assert (it.whole, it.size_bytes(), it.rows()) == (False, 0, 10)
        path.parent.unlink()
        assert add(it, clock, 1)[0].seq == 6  # not tried again before a minute is over
        assert it.problem
        clock.pass_(60)
        assert add(it, clock, 1)[0].seq == 7
        assert (it.problem, it.whole, it.rows()) == ("", True, 12)
        stream = given[0].stream
        assert [it.age_s(stream, seq) for seq in (1, 5, 6, 7)] == [115, 95, 65, 0]
        clock.right = True
        add(it, clock)
        assert all(row.clock_synchronised for row in kept(it) + kept(it, "roof"))
        given = kept(it)
    with journal(path, clock) as it:
        assert kept(it) == given
        assert [info.newest_seq for info in it.streams("dht11")] == [8]


def test_an_end_while_in_memory_saves_what_it_can(tmp_path: Path, clock: SetClock) -> None:
    path = below_a_file(tmp_path)
    with journal(path, clock) as it:
        given = add(it, clock, 5)
        path.parent.unlink()
    with journal(path, clock) as it:
        assert kept(it) == given
        assert add(it, clock)[0].seq == 6


def test_the_streams_of_the_memory_go_on_in_a_file_that_had_others(
    path: Path, clock: SetClock
) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 3)
    away = path.with_name("away")
    path.rename(away)
    path.mkdir()
    clock.reboot()
    with journal(path, clock) as it:
        assert "unable to open database file" in it.problem
        during = add(it, clock, 3)
        path.rmdir()
        away.rename(path)
        clock.pass_(60)
        during += add(it, clock, 3)
        assert [row.seq for row in during] == [1, 2, 3, 4, 5, 6]
        assert kept(it) == during + before
        ages_s = [it.age_s(during[0].stream, seq) for seq in (1, 3, 4, 6)]
        assert ages_s == [85, 75, 10, 0]
    with journal(path, clock) as it:
        assert add(it, clock)[0].seq == 7


def test_the_memory_is_bounded(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MEMORY_BYTES", 65_536)
    with journal(below_a_file(tmp_path), clock) as it:
        given = add(it, clock, 4000)
        assert 400 < it.rows() < 2000
        assert kept(it) == given[-it.rows() :]


def test_a_second_journal_on_the_same_file_stays_in_memory(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as first, journal(path, clock) as second:
        given = add(first, clock, 2)
        others = add(second, clock, 2)
        assert (
            second.problem == f"readings are kept in memory only: {path}: another process uses it"
        )
        assert others[0].stream != given[0].stream
        first.close()
        clock.pass_(60)
        others += add(second, clock, 1)
        assert (second.problem, kept(second)) == ("", others + given)


def test_a_damaged_file_that_cannot_be_moved_is_left_and_said(
    path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Path:
        raise PermissionError(13, "Permission denied")

    path.write_text("notes")
    monkeypatch.setattr(journal_module, "move_away", refused)
    with journal(path, clock) as it:
        add(it, clock, 2)
        assert it.problem == f"readings are kept in memory only: {path}: not even one page"
    assert path.read_text() == "notes"
    monkeypatch.setattr(journal_module, "move_away", journal_faults.move_away)
    with journal(path, clock) as it:
        assert "set aside" in it.problem
        settled(it)


class Failing:
    """A connection that fails at one statement, as one does on a failing card."""

    def __init__(self, real: sqlite3.Connection, at: str, code: int) -> None:
        self._real, self._at, self._code = real, at, code

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement.startswith(self._at):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._real.execute(statement, *values)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def fail(it: Journal, at: str, code: int) -> None:
    assert it._db is not None
    it._db._sql = Failing(it._db.sql, at, code)  # type: ignore[assignment]


@pytest.mark.parametrize("at", ["BEGIN", "INSERT", "COMMIT", "PRAGMA synchronous = FULL"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_a_write_that_fails_goes_to_the_memory_and_later_to_the_file(
    path: Path, clock: SetClock, at: str, code: int
) -> None:
    with journal(path, clock, sync_every=1) as it:
        before = add(it, clock, 3)
        fail(it, at, code)
        during = add(it, clock, 3)
        assert "in memory only" in it.problem
        assert [row.seq for row in during] == [1, 2, 3]
        assert not set_aside(path)
        clock.pass_(60)
        during += add(it, clock, 1)
        assert it.problem == ""
        assert kept(it) == during + before


def test_a_page_that_the_card_cannot_read_is_damage(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        before = add(it, clock, 3)
        fail(it, "SELECT id", sqlite3.SQLITE_IOERR_READ)
        assert it.after(before[0].stream, 0, 9) == []
        assert "damaged (disk I/O error) and set aside" in it.problem
        new = add(it, clock, 1)
        settled(it)
        assert kept(it) == new + before


def test_a_sound_database_of_something_else_is_left_alone(path: Path, clock: SetClock) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY)")
        other.execute("INSERT INTO reading VALUES (7)")
        other.commit()
    with journal(path, clock) as it:
        assert add(it, clock, 2)[1].seq == 2
        assert it.problem == (
            f"readings are kept in memory only: {path}: it is no journal, and was left alone;"
            " choose another BRISA_JOURNAL"
        )
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT * FROM reading").fetchall() == [(7,)]
    assert not set_aside(path)
