"""What can be read of a journal's file, whole, live or damaged, without a change to it.

SQLite gives up a table at its first broken page. Here each page is read for itself, as the "SQLite
Database File Format" describes (1.6 B-tree pages, 2.1 records, 4.1 the write-ahead log), and the
sum in each row tells whether it is what was written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from edge.journal_format import (
    FRAME_BYTES,
    PAGE_BYTES,
    SEQ_BITS,
    SEQ_LIMIT,
    Damaged,
    Row,
    Whose,
    restored,
)
from edge.journal_log import HEADER_BYTES, log_of

INDEX_LEAF, TABLE_LEAF = 10, 13
BATCH_ROWS = 500  # a reading may wait for them
SPARE_BYTES = 4 * 1024 * 1024
# Bytes of a whole number, by its type in a record; the others are 0, 1, a float, texts and blobs.
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Value = int | float | str | None


def rows(path: Path) -> Iterator[tuple[Whose, Row]]:
    """All rows that are as they were written, in no order; some perhaps twice. Raises OSError."""
    whose: dict[int, set[tuple[Whose, int]]] = {}
    for values in _records(path):
        match values:
            case [int(key), _, str(uuid), str(node), str(sensor), last, int()] | [
                str(uuid), str(node), str(sensor), last, int(key)
            ] if last is None or isinstance(last, int):  # fmt: skip
                with contextlib.suppress(ValueError):
                    one = Whose(UUID(uuid), node, sensor)
                    whose.setdefault(key, set()).add((one, SEQ_LIMIT if last is None else last))
    for values in _records(path):
        if len(values) != 9 or not isinstance(values[0], int):
            continue
        named = whose.get(values[0] >> SEQ_BITS, set())
        for one in {one for one, _ in named}:
            with contextlib.suppress(Damaged):
                row = restored((values[0], *values[2:]), one)
                if row.seq <= min(last for of, last in named if of == one):
                    yield one, row


def batches(path: Path, newest_ms: int) -> Iterator[list[tuple[Whose, Row]]]:
    """The rows, some at a time, on a clock by which the newest is of `newest_ms`.

    Raises OSError; also if a copy of the file would leave no room for new readings.
    """
    if shutil.disk_usage(path.parent).free < path.stat().st_size + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    shift_ms = newest_ms - max((row.elapsed_ms for _, row in rows(path)), default=0)
    found = ((whose, row.later(shift_ms)) for whose, row in rows(path))
    while batch := list(islice(found, BATCH_ROWS)):
        yield batch


def snapshot(path: Path, folder: Path) -> Path:
    """A copy of a file and its log as they belong together, though an edge may be writing both.

    What is copied while SQLite moves pages from the log to the file is in the log, too; only when
    it begins a new log must both be copied again. Raises OSError.
    """
    copy = folder / "journal.db"
    for _ in range(10):
        before = _log_header(path)
        shutil.copyfile(path, copy)
        log_of(copy).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(log_of(path), log_of(copy))
        if _log_header(path) == before:
            break
    return copy


def _log_header(path: Path) -> bytes:
    try:
        with log_of(path).open("rb") as log:
            return log.read(HEADER_BYTES)
    except FileNotFoundError:
        return b""


def _pages(path: Path) -> Iterator[bytes]:
    """Every page of the file, and every state of a page in the log."""
    with path.open("rb") as file:
        while page := file.read(PAGE_BYTES):
            yield page
    with contextlib.suppress(FileNotFoundError), log_of(path).open("rb") as log:
        log.seek(HEADER_BYTES)
        while frame := log.read(FRAME_BYTES):
            yield frame[FRAME_BYTES - PAGE_BYTES :]


def _records(path: Path) -> Iterator[list[Value]]:
    """Every record in a leaf of a table, after its rowid, or of an index."""
    for page in _pages(path):
        if page[:1] not in (bytes([TABLE_LEAF]), bytes([INDEX_LEAF])) or len(page) < 8:
            continue
        for number in range(min(int.from_bytes(page[3:5]), PAGE_BYTES // 4)):
            # whatever is broken about a cell, the next may be whole
            with contextlib.suppress(IndexError, struct.error, ValueError):
                at = int.from_bytes(page[8 + 2 * number : 10 + 2 * number])
                size, at = _varint(page, at)
                rowid: list[Value] = []
                if page[0] == TABLE_LEAF:
                    key, at = _varint(page, at)
                    rowid = [key]
                yield rowid + _record(page[at : at + size])


def _record(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    values: list[Value] = []
    body = end
    while at < end:
        kind, at = _varint(payload, at)
        size = INTEGERS.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        data = payload[body : body + size]
        body += size
        if kind in INTEGERS:
            values.append(int.from_bytes(data, signed=True))
        elif kind == 7:
            values.append(struct.unpack(">d", data)[0])
        elif kind >= 13 and kind % 2:
            values.append(data.decode())
        else:
            values.append({8: 0, 9: 1}.get(kind))
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the first the highest; a ninth byte has eight. The number, and its end."""
    value = 0
    for _ in range(8):
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return value << 8 | data[at], at + 1
