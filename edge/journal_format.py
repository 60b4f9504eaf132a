"""How the journal's file is laid out, what a row holds, and how it is known to be whole."""

from __future__ import annotations

import json
import sqlite3
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from broker.contract import Measured

# A Pi's card is written in pages of the kernel (4 KiB), but a commit costs whole pages of SQLite:
# with small ones six commits fit into one of the kernel's. See docs/adr/0007.
PAGE_BYTES = 512
FRAME_BYTES = PAGE_BYTES + 24  # a page in the write-ahead log
APPLICATION_ID, VERSION = 0x62726A31, 1  # "brj1"
# A reading's id is its stream's key and its seq in one number: the rows of a stream lie together,
# in order, and no index has to be written with each of them.
SEQ_BITS = 40
SEQ_LIMIT = (1 << SEQ_BITS) - 1
# stream.state: no numbers are given from it any more; they are; its rows are still being copied in
# from a file that was set aside; they are all here
EARLIER, CURRENT, ARRIVING, SALVAGED = 0, 1, 2, 3

# stream_copy holds every stream a second time, in other pages: without its stream, no row is
# worth anything. `last`: numbers above it were somebody else's, see Journal.fork.
SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE stream (key INTEGER PRIMARY KEY, uuid TEXT, node TEXT, sensor TEXT, last INTEGER,
    state INTEGER);
CREATE UNIQUE INDEX stream_copy ON stream (uuid, node, sensor, last);
CREATE TABLE reading (id INTEGER PRIMARY KEY, measured_ms INTEGER, synchronised INTEGER,
    elapsed_ms INTEGER, temperature_c REAL, humidity_pct REAL, source TEXT, crc INTEGER);
"""
COLUMNS = "id, measured_ms, synchronised, elapsed_ms, temperature_c, humidity_pct, source, crc"
INSERT = f"INSERT INTO reading ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
SELECT = f"SELECT {COLUMNS} FROM reading WHERE id BETWEEN ? AND ? AND synchronised >= ? ORDER BY id"  # noqa: S608
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)

Stored = tuple[int, int, int, int, float, float, str, int]


class Damaged(Exception):
    """The file is no journal, or what it says cannot be so."""


class ForeignError(OSError):
    """The file is a sound database of something else."""


class Whose(NamedTuple):
    """Whose readings a stream holds."""

    uuid: UUID
    node: str
    sensor: str


class Row(NamedTuple):
    """A reading as the journal keeps it.

    measured_ms: since 1970, UTC. elapsed_ms: on the journal's own clock, which counts while the
    machine runs and knows no dates. Dates end in whole milliseconds, as they do on the wire.
    """

    seq: int
    measured_ms: int
    synchronised: bool
    elapsed_ms: int
    temperature_c: float
    humidity_pct: float
    source: str

    def crc(self, whose: Whose) -> int:
        """A sum of the row and of whose it is, as the 4 bytes with a sign that SQLite packs."""
        text = f"{whose.uuid} {whose.node} {whose.sensor} {tuple(self)!r}"
        return zlib.crc32(text.encode()) - (1 << 31)

    def stored(self, key: int, whose: Whose) -> Stored:
        """As it is written."""
        return (key << SEQ_BITS | self.seq, *self[1:], self.crc(whose))

    def later(self, shift_ms: int) -> Row:
        """On the clock of another journal."""
        return self._replace(elapsed_ms=self.elapsed_ms + shift_ms)

    def measured(self) -> Measured:
        return Measured(
            seq=self.seq,
            measured_at=EPOCH + self.measured_ms * MS,
            clock_synchronised=self.synchronised,
            temperature_c=self.temperature_c,
            humidity_pct=self.humidity_pct,
            source=self.source,
        )


def restored(stored: tuple[object, ...], whose: Whose) -> Row:
    """A row as it was read. Raises Damaged if it is not what was written."""
    try:
        number, measured_ms, synchronised, elapsed_ms, temperature_c, humidity_pct, source, crc = (
            stored
        )
        row = Row(
            number & SEQ_LIMIT,  # type: ignore[operator]
            measured_ms,  # type: ignore[arg-type]
            bool(synchronised),
            elapsed_ms,  # type: ignore[arg-type]
            float(temperature_c),  # type: ignore[arg-type]
            float(humidity_pct),  # type: ignore[arg-type]
            source,  # type: ignore[arg-type]
        )
        good = row.crc(whose) == crc
    except (TypeError, ValueError) as error:
        raise Damaged(f"an impossible row: {error}") from None
    if not good:
        raise Damaged("a row that is not what was written")
    return row


@dataclass
class Stream:
    """A stream, and what of it is in the database; the numbers are those of rows, 0 without any."""

    key: int
    whose: Whose
    state: int
    ours: bool = True  # not of another node, whose file this was
    rows: int = 0
    oldest_seq: int = 0
    newest_seq: int = 0
    oldest_ms: int = 0  # elapsed
    newest_ms: int = 0
    undated_seq: int | None = None  # no row of this boot before it waits for its date

    @property
    def shown(self) -> bool:
        here = self.state == CURRENT or (self.rows > 0 and self.state != ARRIVING)
        return self.ours and here

    def ids(self, first: int = 0, last: int = SEQ_LIMIT) -> tuple[int, int]:
        """What the ids of these numbers lie between."""
        base = self.key << SEQ_BITS
        return base + min(max(first, 0), SEQ_LIMIT + 1), base + min(last, SEQ_LIMIT)


def prepare(sql: sqlite3.Connection, wal_pages: int) -> None:
    """Take hold of a database. Nothing is written but the head of a new one."""
    for pragma in (
        "locking_mode = EXCLUSIVE",  # and no file of shared memory
        f"page_size = {PAGE_BYTES}",
        "cache_size = -256",  # KiB
        "mmap_size = 0",
        "secure_delete = OFF",  # Debian's default would write what is deleted once more
        "journal_mode = WAL",
        f"wal_autocheckpoint = {wal_pages}",
        f"journal_size_limit = {wal_pages * FRAME_BYTES + 32}",
        "synchronous = NORMAL",
    ):
        sql.execute(f"PRAGMA {pragma}").fetchall()


def packed(state: dict[str, Any]) -> str:
    """The file's state as it is written: with its sum before it."""
    text = json.dumps(state)
    return f"{zlib.crc32(text.encode())} {text}"


def unpacked(written: object) -> dict[str, Any]:
    """Raises Damaged."""
    crc, _, text = str(written).partition(" ")
    if crc != str(zlib.crc32(text.encode())):
        raise Damaged("its state cannot be read")
    state: dict[str, Any] = json.loads(text)
    return state
