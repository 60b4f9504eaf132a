"""The journal: every reading is in a file, numbered, before it goes to MQTT.

A fault of the file never stops the sampling. A damaged file is set aside, a new one begins, and
what can be salvaged is copied into it. Where no file can be written, the readings are kept in
memory, and copied into the file when it can be written again.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import UUID

from broker.contract import SEQ_MAX, Measured, Reading
from edge.clock import Clock
from edge.journal_db import JournalDb
from edge.journal_faults import FAULTS, is_damage, make_folder, move_away, said, set_aside
from edge.journal_format import ARRIVING, CURRENT, EARLIER, Row
from edge.journal_log import log_of
from edge.sensors.base import Sample

log = logging.getLogger(__name__)

MEMORY_BYTES = 4 * 1024 * 1024
RETRY_S = 60.0
T = TypeVar("T")


class StreamInfo(NamedTuple):
    """A stream and the numbers of the rows that there are; 1 and 0 if there is none yet."""

    stream: UUID
    oldest_seq: int
    newest_seq: int


class Journal:
    """Numbers the readings of all sensors of a node and keeps them, in `path`. Thread-safe.

    days: so long are rows kept, by the time that the machine was running, stored or not.
    max_bytes: the oldest go sooner where more than this would be needed.
    sync_every: after so many readings they are forced to the card: a power cut takes no more.
    """

    def __init__(
        self,
        path: Path,
        *,
        node: str,
        clock: Clock,
        days: float = 7.0,
        max_bytes: int = 64 * 1024 * 1024,
        sync_every: int = 12,
    ) -> None:
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._make = functools.partial(
            JournalDb, node=node, clock=clock, days=days, sync_every=sync_every
        )
        self._db: JournalDb | None = None
        self._lock = threading.RLock()
        self._set_aside = ""
        self._memory_only = ""
        self._retry_at_s = 0.0
        self._to_salvage: list[Path] = []
        self._salvage: threading.Thread | None = None
        self._gave_up = False

    @property
    def problem(self) -> str:
        """What a person should know, in one line; empty if all is well."""
        return "; ".join(filter(None, (self._memory_only, self._set_aside)))

    @property
    def whole(self) -> bool:
        """Is everything here that the node has?

        If not, say of no stream that is not in `streams` that its readings are lost: they may be
        in a file that cannot be opened now, or not be copied yet.
        """
        return not self._memory_only and not self._to_salvage

    def open(self) -> None:
        """Begin; with a new file, or in memory, if it must be."""
        with self._lock:
            self._begin()

    def close(self) -> None:
        """Everything to the card. Afterwards the journal is of no use."""
        with self._lock:
            db = self._db
            if db and db.path is None:
                db = self._into_file(db) or db
            self._db = None
            try:
                if db:
                    db.close()
            except FAULTS as error:
                log.error("journal %s: %s", self._path, said(error))  # noqa: TRY400
        if self._salvage:
            self._salvage.join(2.0)  # it goes on when the journal is opened again

    def append(self, sensor: str, sample: Sample, source: str) -> Reading:
        """Number a sample and write it down. A process killed afterwards has not lost it."""
        with self._lock:
            db = self._db
            if db and db.path is None and self._clock.monotonic_s() >= self._retry_at_s:
                self._into_file(db)
            return self._ask(lambda db: db.append(sensor, sample, source))

    def fork(self, sensor: str, above: int) -> None:
        """Numbers above `above` were used by somebody else, too: begin a new stream.

        Rows above it move into the new one, as 1, 2, 3 …
        """
        self._ask(lambda db: db.fork(sensor, above))

    def streams(self, sensor: str) -> list[StreamInfo]:
        """The sensor's streams: the current one first, then those with rows, newest first."""

        def listed(db: JournalDb) -> list[StreamInfo]:
            found = [s for s in db.streams.values() if s.whose.sensor == sensor and s.shown]
            found.sort(key=lambda s: (s.state == CURRENT, s.newest_ms, s.key), reverse=True)
            return [StreamInfo(s.whose.uuid, s.oldest_seq or 1, s.newest_seq) for s in found]

        return self._ask(listed)

    def current(self, sensor: str) -> StreamInfo | None:
        """The stream that the sensor's next reading goes to; None: it begins a new one."""

        def one(db: JournalDb) -> StreamInfo | None:
            found = db.current.get(sensor)
            if found is None:
                return None
            return StreamInfo(found.whose.uuid, found.oldest_seq or 1, found.newest_seq)

        return self._ask(one)

    def sensors(self) -> list[str]:
        """The sensors that have a stream here."""
        return self._ask(
            lambda db: sorted({s.whose.sensor for s in db.streams.values() if s.shown})
        )

    def after(self, stream: UUID, after: int, limit: int) -> list[Measured]:
        """Rows with a number above `after`, oldest first."""
        return self.between(stream, after + 1, SEQ_MAX, limit)

    def between(
        self, stream: UUID, first: int, last: int, limit: int, *, synchronised_only: bool = False
    ) -> list[Measured]:
        """Rows first..last, oldest first; perhaps only those whose date is known."""
        rows = self._rows(stream, first, last, limit, synchronised_only=synchronised_only)
        return [row.measured() for row in rows]

    def age_s(self, stream: UUID, seq: int) -> float | None:
        """How long ago the first row from `seq` on was measured; None if there is none."""
        rows = self._rows(stream, seq, SEQ_MAX, 1)
        age_ms = [self._ask(JournalDb.now_ms) - row.elapsed_ms for row in rows]
        return max(0, age_ms[0]) / 1000 if age_ms else None

    def published(self, sensor: str) -> dict[UUID, int]:
        """By stream, the highest number that the broker has shown to be used; of few streams."""
        return self._ask(
            lambda db: {uuid: seq for uuid, (of, seq) in db.published.items() if of == sensor}
        )

    def note_published(self, sensor: str, stream: UUID, seq: int) -> None:
        """The broker has a reading with this number, which may not be in the file."""
        self._ask(lambda db: db.note_published(sensor, stream, seq))

    def note_duplicate(self) -> None:
        """Another edge uses this node's name: what it published is in its own file."""
        self._ask(JournalDb.note_duplicate)

    def held(self, stream: UUID) -> bool:
        """Did this file ever number, or have, the stream's readings?

        Of a file that was damaged, nobody can tell what was in it; it may have been any stream, so
        long as no other edge of this node's name was ever seen.
        """

        def known(db: JournalDb) -> bool:
            if stream in db.streams or stream in db.forgotten:
                return True
            return bool(db.salvaged or self._to_salvage) and not db.duplicate

        return self._ask(known)

    @property
    def duplicate(self) -> bool:
        """Has another edge of this node's name ever been seen?"""
        return self._ask(lambda db: db.duplicate)

    def rows(self) -> int:
        return self._ask(lambda db: sum(stream.rows for stream in db.streams.values()))

    def size_bytes(self) -> int:
        """What it takes on the card; 0 while it is in memory only."""
        with self._lock:
            files = [] if self._memory_only else [self._path, log_of(self._path)]
            return sum(file.stat().st_size for file in files if file.exists())

    # ---- faults

    def _rows(
        self, stream: UUID, first: int, last: int, limit: int, *, synchronised_only: bool = False
    ) -> list[Row]:
        def rows(db: JournalDb) -> list[Row]:
            found = db.streams.get(stream)
            if not (found and found.shown):
                return []
            return db.rows(found, first, last, limit, synchronised_only=synchronised_only)

        return self._ask(rows)

    def _ask(self, question: Callable[[JournalDb], T], tries: int = 2) -> T:
        """Ask the database; if it fails, what takes its place: a new file, then the memory."""
        with self._lock:
            if self._db is None:
                raise RuntimeError("the journal is not open")
            try:
                return question(self._db)
            except FAULTS as error:
                if not tries:
                    raise
                self._failed(self._db, error)
                return self._ask(question, tries - 1)

    def _failed(self, db: JournalDb, error: Exception) -> None:
        """Put something else in the place of a database that is of no use any more."""
        moved = db.path is not None and is_damage(error) and self._move_away(error)
        db.close(clean=False)  # only now: see move_away
        if moved:
            self._begin()
        else:
            self._in_memory(error)

    def _begin(self) -> None:
        """Open the file; a new one, if it is damaged; or go on in memory."""
        for _ in range(2):
            db = self._make(self._path, max_bytes=self._max_bytes)
            try:
                make_folder(self._path.parent)
                db.open()
            except FAULTS as error:
                fault: Exception = error
                moved = is_damage(error) and self._move_away(error)
                db.close(clean=False)  # only now: see move_away
                if not moved:
                    break
            else:
                self._use(db)
                return
        self._in_memory(fault)

    def _into_file(self, memory: JournalDb) -> JournalDb | None:
        """From memory back into the file, if it can be written again."""
        self._retry_at_s = self._clock.monotonic_s() + RETRY_S
        db = self._make(self._path, max_bytes=self._max_bytes)
        try:
            make_folder(self._path.parent)
            db.open()
            shift_ms = db.offset_ms - memory.offset_ms
            for state in (EARLIER, CURRENT):
                db.adopt(
                    (
                        (stream.whose, row.later(shift_ms))
                        for stream, row in memory.everything()
                        if stream.state == state
                    ),
                    state,
                )
            db.load()
        except FAULTS as error:
            if is_damage(error):
                self._move_away(error)  # the next try finds its place free
            db.close(clean=False)
            return None
        memory.close(clean=False)
        self._memory_only = ""
        log.info("journal %s: can be written again", self._path)
        self._use(db)
        return db

    def _use(self, db: JournalDb) -> None:
        if self._db is not None:
            db.take_over(self._db)
        self._db = db
        for node in sorted({s.whose.node for s in db.streams.values() if not s.ours and s.rows}):
            log.warning(
                "journal %s: it has readings of node %s, too: they are kept, and not sent, unless"
                " BRISA_NODE=%s",
                *(self._path, node, node),
            )
        self._to_salvage = [path for path in set_aside(self._path) if path.name not in db.salvaged]
        if self._to_salvage and not self._gave_up:
            self._salvage = threading.Thread(
                target=self._copy_salvaged, args=(db,), name="journal-salvage", daemon=True
            )
            self._salvage.start()

    def _in_memory(self, error: Exception) -> None:
        memory = self._make(None, max_bytes=MEMORY_BYTES)
        memory.open()
        if self._db is not None:
            memory.take_over(self._db)
        self._db = memory
        self._retry_at_s = self._clock.monotonic_s() + RETRY_S
        where = getattr(error, "filename", None) or self._path
        self._memory_only = f"readings are kept in memory only: {where}: {said(error)}"
        log.error("journal: %s", self._memory_only)

    def _move_away(self, error: Exception) -> bool:
        try:
            aside = move_away(self._path, self._clock.utc_now())
        except OSError as unmoved:
            log.error("journal %s: cannot be set aside: %s", self._path, unmoved.strerror)  # noqa: TRY400
            return False
        self._set_aside = (
            f"the journal was damaged ({said(error)}) and set aside as {aside.name};"
            " readings that were not sent by then may be lost"
        )
        log.error("journal %s: %s", self._path, self._set_aside)
        return True

    def _copy_salvaged(self, db: JournalDb) -> None:
        """Copy what can be read of the files set aside: in a thread, a few rows at a time."""
        from edge import salvage  # noqa: PLC0415  # seldom needed

        for path in list(self._to_salvage):
            copied = 0
            try:
                for batch in salvage.batches(path, db.created_ms):
                    copied += len(batch)
                    if not self._still(db, functools.partial(db.adopt, batch, ARRIVING)):
                        return
            except OSError as error:
                log.error("journal: %s cannot be salvaged: %s", path.name, said(error))  # noqa: TRY400
                return
            except Exception:
                log.exception("journal: %s cannot be salvaged", path.name)
                return
            if not self._still(db, functools.partial(self._salvaged, db, path)):
                return
            log.warning(
                "journal: %d readings of %s could be read, and were copied", copied, path.name
            )

    def _salvaged(self, db: JournalDb, path: Path) -> None:
        db.arrived(path.name)
        self._to_salvage.remove(path)

    def _still(self, db: JournalDb, act: Callable[[], None]) -> bool:
        """Act on a database, if it is still the one in use, and stays so."""
        with self._lock:
            if self._db is db:
                try:
                    act()
                except FAULTS as error:
                    self._gave_up = True  # with less to write, there may be enough room
                    self._failed(db, error)
            return self._db is db
