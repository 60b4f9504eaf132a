"""A journal's database, opened and closed in order, and its rows one by one.

Everything here and in `JournalDb` raises sqlite3.Error, OSError or Damaged for the file's faults; a
database that has raised is only good for closing. Who calls has the lock.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from edge.clock import Clock
from edge.journal_faults import FAULTS
from edge.journal_format import (
    APPLICATION_ID,
    CURRENT,
    EARLIER,
    INSERT,
    PAGE_BYTES,
    SCHEMA,
    SELECT,
    VERSION,
    Damaged,
    ForeignError,
    Row,
    Stream,
    Whose,
    packed,
    prepare,
    restored,
    unpacked,
)
from edge.journal_log import log_is_whole


class JournalFile:
    """One SQLite database; `path` None keeps it in memory. node: whose it is."""

    def __init__(self, path: Path | None, *, node: str, clock: Clock, wal_pages: int) -> None:
        self.path = path
        self.node = node
        self.streams: dict[UUID, Stream] = {}
        self.current: dict[str, Stream] = {}  # by sensor
        self.offset_ms = 0  # elapsed = the monotonic clock of this boot + this
        self.created_ms = 0  # elapsed, when the database was made
        self.salvaged: list[str] = []  # files whose rows have all been copied in
        # by stream, its sensor and the highest number that the broker has shown to be used
        self.published: dict[UUID, tuple[str, int]] = {}
        self.forgotten: list[UUID] = []  # streams whose last row aged out, the newest of them
        self.duplicate = False  # was there ever another edge of this node's name?
        self._clock = clock
        self._wal_pages = wal_pages
        self._sql: sqlite3.Connection | None = None
        self._as_closed = True
        self._inode = 0

    def open(self) -> None:
        if self.path and self.path.exists() and 0 < self.path.stat().st_size < PAGE_BYTES:
            raise Damaged("not even one page")  # which SQLite takes for a new file
        self._as_closed = self._is_as_closed()  # before SQLite touches it
        # autocommit; nobody else may have it open, so there is nobody to wait for
        self._sql = sqlite3.connect(
            self.path or ":memory:", isolation_level=None, timeout=0, check_same_thread=False
        )
        prepare(self._sql, self._wal_pages)
        self._inode = self.path.stat().st_ino if self.path else 0
        log_whole = log_is_whole(self.path, PAGE_BYTES) if self.path else None
        if not self.one("SELECT count(*) FROM sqlite_schema")[0]:
            if log_whole is not None:
                raise Damaged("its log cannot be read")
            self._sql.executescript(f"BEGIN; {SCHEMA} COMMIT")
        kind = [self.one(f"PRAGMA {of}")[0] for of in ("application_id", "user_version")]
        if kind != [APPLICATION_ID, VERSION]:
            if not self.one("SELECT count(*) FROM sqlite_schema WHERE name = 'stream_copy'")[0]:
                raise ForeignError(
                    "it is no journal, and was left alone; choose another BRISA_JOURNAL"
                )
            raise Damaged("not a journal, or one of another version of brisa")
        if written := self.one("SELECT value FROM meta WHERE name = 'state'"):
            self._take_up(unpacked(written[0]), log_whole)
        else:
            self.created_ms = self.now_ms()
        self.save(clean=False)

    def _take_up(self, state: dict[str, Any], log_whole: bool | None) -> None:
        """Go on with a file that was in use before."""
        if (fault := self.one("PRAGMA quick_check(1)")[0]) != "ok":
            raise Damaged(str(fault))
        self.offset_ms, self.created_ms = state["offset_ms"], state["created_ms"]
        self.salvaged = state["salvaged"]
        self.published = {
            UUID(uuid): (sensor, seq) for uuid, sensor, seq in state.get("published", ())
        }
        self.forgotten = [UUID(uuid) for uuid in state.get("forgotten", ())]
        self.duplicate = state.get("duplicate", False)
        same_boot = state["boot_id"] == self._clock.boot_id() != ""
        same_file = state.get("inode", self._inode) == self._inode
        if same_boot and log_whole is False:
            raise Damaged("its log is broken")
        ended_in_order = state["clean"] and log_whole is None and self._as_closed
        if not (same_boot and same_file) or not (ended_in_order or log_whole):
            # The power was cut, or the log is gone, or this is a copy of the file: readings that
            # were published may be missing, and their numbers must never be given to others.
            self.one("UPDATE stream SET state = ? WHERE state = ?", EARLIER, CURRENT)
        self.load()
        if not same_boot:
            newest = (stream.newest_ms for stream in self.streams.values() if stream.rows)
            self.offset_ms = max([self.offset_ms, *newest])
            for stream in self.streams.values():
                stream.undated_seq = None

    def close(self, *, clean: bool = True) -> None:
        """Everything to disk; the file says that it was so. Not `clean`: as it is, and no word."""
        try:
            if clean and self._sql:
                self.one("PRAGMA synchronous = FULL")
                self.save(clean=True)
        finally:
            with contextlib.suppress(*FAULTS):
                if self._sql:
                    self._sql.close()
                    if clean and self.path:
                        _witness_of(self.path).write_text(_identity(self.path), encoding="ascii")
            self._sql = None

    def save(self, *, clean: bool) -> None:
        """Write down how far the journal is; on the card when it returns."""
        with self.transaction(durable=True):
            self.write_state(clean=clean)

    def write_state(self, *, clean: bool) -> None:
        """The same in a transaction that is under way."""
        state = {
            "boot_id": self._clock.boot_id(),
            "offset_ms": self.offset_ms,
            "created_ms": self.created_ms,
            "salvaged": self.salvaged,
            "clean": clean,
            "inode": self._inode,
            "published": [[str(uuid), *what] for uuid, what in self.published.items()],
            "forgotten": [str(uuid) for uuid in self.forgotten],
            "duplicate": self.duplicate,
        }
        self.one("INSERT OR REPLACE INTO meta VALUES ('state', ?)", packed(state))

    def _is_as_closed(self) -> bool:
        """Has nobody touched the file since it was closed? True where that is not known."""
        witness = _witness_of(self.path) if self.path else None
        if self.path is None or witness is None or not (self.path.exists() and witness.exists()):
            return True
        return witness.read_text(encoding="ascii", errors="replace") == _identity(self.path)

    def load(self) -> None:
        """Learn what the file holds, by reading all of it once."""
        self.streams, self.current = {}, {}
        for key, uuid, node, sensor, state in self.sql.execute(
            "SELECT key, uuid, node, sensor, state FROM stream"
        ):
            try:
                stream = Stream(key, Whose(UUID(uuid), str(node), str(sensor)), state)
            except (AttributeError, TypeError, ValueError):
                raise Damaged("a stream without a name") from None
            first, last, stream.rows, undated = self.one(
                "SELECT min(id), max(id), count(*), min(CASE WHEN NOT synchronised AND"
                " elapsed_ms > ? THEN id END) FROM reading WHERE id BETWEEN ? AND ?",
                self.offset_ms,
                *stream.ids(),
            )
            if stream.rows:
                (oldest,), (newest,) = (
                    self._select(stream, (id_, id_), 1) for id_ in (first, last)
                )
                stream.oldest_seq, stream.oldest_ms = oldest.seq, oldest.elapsed_ms
                stream.newest_seq, stream.newest_ms = newest.seq, newest.elapsed_ms
                if undated is not None and state in (EARLIER, CURRENT):
                    stream.undated_seq = undated - stream.ids()[0]
            self._know(stream)

    # ---- rows

    def rows(
        self, stream: Stream, first: int, last: int, limit: int, *, synchronised_only: bool = False
    ) -> list[Row]:
        """The rows first..last, oldest first."""
        return self._select(stream, stream.ids(first, last), limit, synchronised_only)

    def everything(self) -> Iterator[tuple[Stream, Row]]:
        """All rows, stream by stream."""
        for stream in self.streams.values():
            for stored in self.sql.execute(SELECT, (*stream.ids(), False)):
                yield stream, restored(stored, stream.whose)

    def begin(self, whose: Whose, state: int) -> Stream:
        """A new stream; if it is a current one, the sensor's other is so no longer."""
        if state == CURRENT and (old := self.current.get(whose.sensor)):
            old.state = EARLIER
            self.one("UPDATE stream SET state = ? WHERE key = ?", EARLIER, old.key)
        (key,) = self.one("SELECT coalesce(max(key), 0) + 1 FROM stream")
        self.one(
            "INSERT INTO stream VALUES (?, ?, ?, ?, NULL, ?)",
            *(key, str(whose.uuid), whose.node, whose.sensor, state),
        )
        stream = Stream(key, whose, state)
        self._know(stream)
        return stream

    def insert(self, stream: Stream, row: Row) -> None:
        self.sql.execute(INSERT, row.stored(stream.key, stream.whose))
        if not stream.rows or row.seq < stream.oldest_seq:
            stream.oldest_seq, stream.oldest_ms = row.seq, row.elapsed_ms
        if not stream.rows or row.seq > stream.newest_seq:
            stream.newest_seq, stream.newest_ms = row.seq, row.elapsed_ms
        stream.rows += 1

    def delete(self, stream: Stream, seq: int) -> None:
        self.one("DELETE FROM reading WHERE id = ?", stream.ids(seq)[0])
        stream.rows -= 1

    # ---- what they share

    @property
    def sql(self) -> sqlite3.Connection:
        if self._sql is None:
            raise Damaged("it is not open")
        return self._sql

    def one(self, statement: str, *values: object) -> Any:
        """The first row that a statement gives; empty if there is none."""
        return self.sql.execute(statement, values).fetchone() or ()

    def now_ms(self) -> int:
        return int(self._clock.monotonic_s() * 1000) + self.offset_ms

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """`durable`: all that was committed until then is on the card, and survives a power cut."""
        if durable:
            self.one("PRAGMA synchronous = FULL")
        self.one("BEGIN IMMEDIATE")
        try:
            yield
            self.one("COMMIT")
        except BaseException:
            with contextlib.suppress(*FAULTS):
                self.sql.rollback()
            raise
        if durable:
            self.one("PRAGMA synchronous = NORMAL")

    def _know(self, stream: Stream) -> None:
        self.streams[stream.whose.uuid] = stream
        stream.ours = stream.whose.node == self.node
        if stream.state == CURRENT and stream.ours:
            self.current[stream.whose.sensor] = stream

    def _select(
        self, stream: Stream, ids: tuple[int, int], limit: int, synchronised: bool = False
    ) -> list[Row]:
        found = self.sql.execute(f"{SELECT} LIMIT ?", (*ids, synchronised, limit)).fetchall()
        return [restored(stored, stream.whose) for stored in found]


def _witness_of(path: Path) -> Path:
    """The file beside a journal that has the identity it was closed with."""
    return path.with_name(f"{path.name}.closed")


def _identity(path: Path) -> str:
    """What no copy of the file has, however it is put in its place: the time of its last change."""
    stat = path.stat()
    return f"{stat.st_ino} {stat.st_ctime_ns} {stat.st_size}"
