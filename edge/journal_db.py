"""What the journal does with its database: numbers, dates, copies and deletes rows."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID, uuid4

from broker.contract import Reading
from edge.clock import Clock
from edge.journal_file import JournalFile
from edge.journal_format import (
    ARRIVING,
    CURRENT,
    EPOCH,
    FRAME_BYTES,
    MS,
    PAGE_BYTES,
    SALVAGED,
    Row,
    Whose,
)
from edge.sensors.base import Sample

# Rows age out in steps: whole pages are freed at once, and no reading waits for long.
PRUNE_EVERY, PRUNE_ROWS = 64, 256
REDATE_ROWS = 5000  # in one step; the next reading brings the next
REMEMBERED = 100  # streams that are known by no row


class JournalDb(JournalFile):
    """The file, or what stands in for it in memory (`path` None). Arguments: see Journal."""

    def __init__(
        self,
        path: Path | None,
        *,
        node: str,
        clock: Clock,
        days: float,
        max_bytes: int,
        sync_every: int,
    ) -> None:
        # The log, and what is pruned late, have their part of the bound.
        wal_pages = max(16, min(1000, max_bytes // 16 // FRAME_BYTES))
        super().__init__(path, node=node, clock=clock, wal_pages=wal_pages)
        self._kept_ms = round(days * 86_400_000)
        self._max_bytes = max_bytes
        self._max_pages = (max_bytes - 2 * wal_pages * FRAME_BYTES) // PAGE_BYTES - 16
        self._sync_every = sync_every
        self._appended = 0

    def open(self) -> None:
        super().open()
        with self.transaction():
            self._prune()
        if self.path and self.path.stat().st_size > self._max_bytes:
            # The bound is lower than it was. Where there is no room for a copy, it stays so big.
            with contextlib.suppress(sqlite3.OperationalError):
                self.one("VACUUM")
                self.one("PRAGMA wal_checkpoint(TRUNCATE)")

    def append(self, sensor: str, sample: Sample, source: str) -> Reading:
        stream = self.current.get(sensor)
        whose = stream.whose if stream else Whose(uuid4(), self.node, sensor)
        row = Row(
            stream.newest_seq + 1 if stream else 1,
            (sample.measured_at - EPOCH) // MS,
            sample.clock_synchronised,
            int(sample.monotonic_s * 1000) + self.offset_ms,
            float(sample.measurement.temperature_c),
            float(sample.measurement.humidity_pct),
            source,
        )
        reading = Reading(stream=whose.uuid, **dict(row.measured()))
        self._appended += 1
        with self.transaction(durable=self._appended % self._sync_every == 0):
            if row.synchronised:
                self._redate(row.measured_ms - row.elapsed_ms)
            stream = stream or self.begin(whose, CURRENT)
            self.insert(stream, row)
            if not row.synchronised and stream.undated_seq is None:
                stream.undated_seq = row.seq
            if self._appended % PRUNE_EVERY == 0:
                self._prune(PRUNE_ROWS)
        return reading

    def adopt(self, rows: Iterable[tuple[Whose, Row]], state: int) -> None:
        """Copy rows in, under their streams. A row with a known date takes the place of one without."""
        with self.transaction():
            for whose, row in rows:
                stream = self.streams.get(whose.uuid) or self.begin(whose, state)
                found = self.rows(stream, row.seq, row.seq, 1)
                if found and row.synchronised > found[0].synchronised:
                    self.delete(stream, row.seq)
                    found = []
                if not found:
                    self.insert(stream, row)
            self._prune()

    def note_published(self, sensor: str, stream: UUID, seq: int) -> None:
        """The broker has shown that the number was used; in the file when it returns."""
        if seq > self.published.get(stream, ("", 0))[1]:
            self.published.pop(stream, None)
            self.published[stream] = (sensor, seq)
            while len(self.published) > REMEMBERED:
                del self.published[next(iter(self.published))]
            self.save(clean=False)

    def note_duplicate(self) -> None:
        """Another edge uses this node's name."""
        if not self.duplicate:
            self.duplicate = True
            self.save(clean=False)

    def take_over(self, other: JournalDb) -> None:
        """What another database, in whose place this one comes, knew of streams beside its rows."""
        self.published = {**other.published, **self.published}
        self.forgotten = [*other.forgotten, *self.forgotten][-REMEMBERED:]
        self.duplicate |= other.duplicate

    def arrived(self, name: str) -> None:
        """All rows of that file were copied in."""
        self.one("UPDATE stream SET state = ? WHERE state = ?", SALVAGED, ARRIVING)
        self.salvaged = [*self.salvaged, name][-8:]
        self.save(clean=False)
        self.load()

    def fork(self, sensor: str, above: int) -> None:
        if (old := self.current.get(sensor)) is None:
            return
        with self.transaction(durable=True):
            self.one("UPDATE stream SET last = ? WHERE key = ?", above, old.key)
            new = self.begin(Whose(uuid4(), self.node, sensor), CURRENT)
            while moving := self.rows(old, above + 1, old.newest_seq, 1000):
                for row in moving:
                    self.delete(old, row.seq)
                    self.insert(new, row._replace(seq=new.newest_seq + 1))
        self.load()

    def _redate(self, difference_ms: int) -> None:
        """Give rows of this boot their date, now that the clock is right: elapsed + difference."""
        for stream in self.streams.values():
            if stream.undated_seq is None:
                continue
            rows = self.rows(stream, stream.undated_seq, stream.newest_seq, REDATE_ROWS)
            for row in rows:
                if not row.synchronised:
                    ms = row.elapsed_ms + difference_ms
                    self.sql.execute(
                        "UPDATE reading SET measured_ms = ?2, synchronised = ?3, crc = ?8"
                        " WHERE id = ?1",
                        row._replace(measured_ms=ms, synchronised=True).stored(
                            stream.key, stream.whose
                        ),
                    )
            stream.undated_seq = rows[-1].seq + 1 if len(rows) == REDATE_ROWS else None

    def _prune(self, limit: int | None = None) -> None:
        """Delete what is too old or too much, oldest first; at most `limit` rows."""
        horizon_ms = self.now_ms() - self._kept_ms
        while limit is None or limit > 0:
            # the newest row of a current stream says which number comes next
            old = [s for s in self.streams.values() if s.rows > (s.state == CURRENT)]
            oldest = min(old, key=lambda stream: stream.oldest_ms, default=None)
            if oldest is None or (oldest.oldest_ms >= horizon_ms and not self._too_big()):
                return
            self.delete(oldest, oldest.oldest_seq)
            if oldest.rows:
                (row,) = self.rows(oldest, oldest.oldest_seq, oldest.newest_seq, 1)
                oldest.oldest_seq, oldest.oldest_ms = row.seq, row.elapsed_ms
            else:
                del self.streams[oldest.whose.uuid]
                self.one("DELETE FROM stream WHERE key = ?", oldest.key)
                self.forgotten = [*self.forgotten, oldest.whose.uuid][-REMEMBERED:]
                self.write_state(clean=False)
            limit = None if limit is None else limit - 1

    def _too_big(self) -> bool:
        used = self.one("PRAGMA page_count")[0] - self.one("PRAGMA freelist_count")[0]
        return bool(used > self._max_pages)
