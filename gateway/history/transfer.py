"""Readings out of the database and into it, as lines of JSON or CSV; both in constant memory."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, ValidationError
from sqlalchemy import ScalarSelect, select

from broker.contract import (
    MAX_BACKFILL_READINGS,
    Backfill,
    Measured,
    Reading,
    checked_id,
    one_line,
)
from gateway.history import query
from gateway.history.marks import chunks
from gateway.history.moments import milliseconds
from gateway.history.schema import reading, sensor, span, stream
from gateway.history.spans import Spans
from gateway.history.store import Store
from gateway.history.writer import Heard, Writer

COLUMNS = query.CSV_HEADER.strip().split(",")
BATCH_ROWS = 5000
_VALUES = "temperature_c", "humidity_pct", "source"
_NO_COLUMNS = (
    "the first line must name the columns (node,sensor,stream,…), or each line be a JSON object"
)
Key = tuple[str, str]  # node and sensor


class Line(Reading):
    """A reading in a file."""

    node: Annotated[str, AfterValidator(lambda value: checked_id("node", value))]
    sensor: Annotated[str, AfterValidator(lambda value: checked_id("sensor", value))]


# ---- out


def sensors(store: Store) -> list[Key]:
    """All that the database knows, sorted. Raises StoreError."""
    every = select(sensor.c.node, sensor.c.name).order_by(sensor.c.node, sensor.c.name)
    with store.read() as connection:
        return [(node, name) for node, name in connection.execute(every)]


def exported(
    store: Store, keys: Iterable[Key], from_ms: int | None, to_ms: int | None, *, as_csv: bool
) -> Iterator[tuple[int, str]]:
    """How many readings, and their lines; sensor by sensor, stream by stream, by seq.

    Raises StoreError.
    """
    if as_csv:
        yield 0, query.CSV_HEADER
    for key in keys:
        for chunk in query.rows(store, key, from_ms, to_ms):
            yield len(chunk), query.csv(chunk) if as_csv else "".join(map(_json, chunk))


def _json(row: query.Raw) -> str:
    node, name, uuid, seq, ms, synchronised, *rest = row
    values = (node, name, uuid, seq, query.iso(ms), bool(synchronised), *rest)
    return json.dumps(dict(zip(COLUMNS, values, strict=True)), separators=(",", ":")) + "\n"


# ---- in


class Import:
    """Takes in files of either format, in any order and as often as one likes.

    on_refused: called with the number of a line, and what is wrong with it. What is stored already
    stays as it is; `differ` counts those of `known` that are something else in the file.
    """

    def __init__(
        self, store: Store, writer: Writer, on_refused: Callable[[int, str], None]
    ) -> None:
        self.new = self.known = self.refused = self.differ = 0
        self._store = store
        self._writer = writer
        self._on_refused = on_refused
        self._waiting: dict[tuple[str, str, UUID], dict[int, Line]] = defaultdict(dict)
        self._rows = 0

    def take(self, lines: Iterable[str]) -> bool:
        """All the lines of one file; False: none. Raises StoreError; what was written stays."""
        number = 0
        for number, line in _parsed(lines):
            if isinstance(line, str):
                self.refused += 1
                self._on_refused(number, line)
                continue
            of_stream = self._waiting[line.node, line.sensor, line.stream]
            if self._rows >= BATCH_ROWS or line.seq in of_stream:
                self._write()
                of_stream = self._waiting[line.node, line.sensor, line.stream]
            of_stream[line.seq] = line
            self._rows += 1
        self._write()
        return number > 0

    def _write(self) -> None:
        """As a back-fill that vouches for nothing: what is not in the file is not lost for that."""
        waiting, self._waiting, self._rows = dict(self._waiting), defaultdict(dict), 0
        before = self._known(waiting)
        batch = []
        for (node, name, uuid), of_stream in waiting.items():
            readings: list[Measured] = [of_stream[seq] for seq in sorted(of_stream)]
            for at in range(0, len(readings), MAX_BACKFILL_READINGS):
                part = readings[at : at + MAX_BACKFILL_READINGS]
                batch.append(Heard(node, name, Backfill(stream=uuid, readings=part)))
        if batch:
            self._writer.write(batch)
        after = self._known(waiting)
        self.differ += self._differing(waiting) if before else 0
        self.known += before
        self.new += after - before
        if not_taken := sum(map(len, waiting.values())) - after:
            self.refused += not_taken
            self._on_refused(0, f"{not_taken} readings: too many sensors, streams or gaps")

    def _known(self, waiting: dict[tuple[str, str, UUID], dict[int, Line]]) -> int:
        """How many of them are stored."""
        count = 0
        with self._store.read() as connection:
            for (node, name, uuid), of_stream in waiting.items():
                rows = connection.execute(
                    select(span.c.first_seq, span.c.last_seq)
                    .where(span.c.stream_id == _id(node, name, uuid), span.c.kind == "stored")
                    .where(span.c.first_seq <= max(of_stream), span.c.last_seq >= min(of_stream))
                )
                there = Spans((first, last) for first, last in rows)
                count += sum(seq in there for seq in of_stream)
        return count

    def _differing(self, waiting: Mapping[tuple[str, str, UUID], Mapping[int, Line]]) -> int:
        """How many of them are stored with other values; with another date, if both are right."""
        count = 0
        c = reading.c
        with self._store.read() as connection:
            for key, of_stream in waiting.items():
                stream_id = connection.scalar(select(_id(*key)))
                for some in chunks(of_stream):
                    wanted = select(reading).where(c.stream_id == stream_id, c.seq.in_(some))
                    for row in connection.execute(wanted):
                        line = of_stream[row.seq]
                        same = all(getattr(row, name) == getattr(line, name) for name in _VALUES)
                        if same and row.synchronised and line.clock_synchronised:
                            same = row.measured_ms == milliseconds(line.measured_at)
                        count += not same
        return count


def _id(node: str, name: str, uuid: UUID) -> ScalarSelect[int]:
    found = select(stream.c.id).join(sensor, sensor.c.id == stream.c.sensor_id)
    mine = sensor.c.node == node, sensor.c.name == name, stream.c.uuid == str(uuid)
    return found.where(*mine).scalar_subquery()


def _parsed(lines: Iterable[str]) -> Iterator[tuple[int, Line | str]]:
    """Number and reading of each line that is not empty, or what is wrong with it."""
    columns: list[str] = []
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            if text.startswith("{"):
                yield number, Line.model_validate_json(text)
                continue
            # no value needs quotes, so that a line is a row
            values = next(csv.reader([text]))
            if {"node", "seq"} <= {*values}:  # no reading's seq is a word
                columns = values
            elif not columns:
                yield number, _NO_COLUMNS
            elif len(values) != len(columns):
                yield number, f"{len(values)} columns, where the first line names {len(columns)}"
            else:
                row = dict(zip(columns, values, strict=True))
                yield number, Line.model_validate_strings(row)
        except ValidationError as error:
            yield number, one_line(error)
        except csv.Error:
            yield number, "neither CSV nor a JSON object"
