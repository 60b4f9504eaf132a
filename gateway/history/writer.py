"""The writer: a batch of what nodes said, into the database in one transaction.

Nothing is remembered from batch to batch. Each transaction locks the rows of its sensors, reads
the account of their streams (ledger.py), and works from that: so a database restored from an old
copy, or a second recorder, needs no thought here.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from broker.contract import SEQ_MAX, Backfill, Measured, Reading, SensorHealth, Stored
from gateway.history import rollup
from gateway.history.dialects import bulk_insert, upsert
from gateway.history.ledger import Ledger, Room, Row, Sums, Taken
from gateway.history.marks import Key, chunks, marks
from gateway.history.moments import exactly
from gateway.history.schema import NO_CLOCK_BEFORE_MS, AnyRow, reading, sensor, span, stream
from gateway.history.store import Conflict, Refused, Store, StoreError

log = logging.getLogger(__name__)

# Why a message is not stored, or not wholly.
CAUSES = (
    *("refused", "not_stored"),  # by the database; by a fault of ours
    *("too_many_sensors", "too_many_streams", "too_scattered"),
)
# What nodes may fill the database with. The gateway shows as many sensors; a node has a handful of
# pins; an edge begins a stream for each when its power was cut. One of 50 sensors that is switched off
# each evening has 37,000 streams by the time that the first of them are forgotten, after two years.
MAX_SENSORS, MAX_SENSORS_PER_NODE, MAX_STREAMS_PER_NODE = 2000, 200, 50_000
TRIES = 5  # of a transaction that another recorder was in the way of


class Heard(NamedTuple):
    """A message of a sensor."""

    node: str
    sensor: str
    said: Reading | Backfill | SensorHealth


class Writer:
    """`rejected` counts messages that were not stored, or not wholly; `examples`: the last ones."""

    def __init__(self, store: Store, *, utc_now_ms: Callable[[], int]) -> None:
        self.rejected: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._store = store
        self._utc_now_ms = utc_now_ms

    def write(self, batch: Sequence[Heard]) -> dict[Key, Stored]:
        """Store a batch, in order; returns how far the sensors in it are, which is committed.

        One that the database does not take, or that we fail at, is counted and does not stop the
        others. Raises StoreError where it is not about a message: nothing of the batch is stored,
        or a part.
        """
        fault: Exception
        try:
            return self._written(batch)
        except Refused as error:
            cause, fault = "refused", error
        except StoreError:
            raise
        except Exception as error:
            log.debug("a batch of %d", len(batch), exc_info=True)
            cause, fault = "not_stored", error
        if len(batch) > 1:
            half = len(batch) // 2
            return {**self.write(batch[:half]), **self.write(batch[half:])}
        for node, name, said in batch:
            where = f"{node}/{name}: a {type(said).__name__.lower()}"
            ours = cause == "not_stored" and not self.rejected[cause]  # one trace is enough
            log.warning("%s is not stored: %s", where, fault, exc_info=fault if ours else None)
            self.rejected[cause] += 1
            self.examples[cause] = f"{where}: {fault}"
        return {}

    def _written(self, batch: Sequence[Heard]) -> dict[Key, Stored]:
        for left in reversed(range(TRIES)):
            try:
                with self._store.begin() as connection:
                    transaction = _Transaction(connection, batch, self._utc_now_ms())
                    said = transaction.write(batch)
            except (Conflict, Refused):  # refused: two recorders made the same sensor
                if not left:
                    raise
            else:
                self.rejected += transaction.rejected
                self.examples |= transaction.examples
                return said
        raise AssertionError("the last try returns or raises")


class _Stream:
    """A stream in a transaction: its account, and what is to be written."""

    def __init__(self, row: AnyRow, account: Sequence[Row], room: Room) -> None:
        self.id: int = row.id
        self.sensor_id: int = row.sensor_id
        self.ledger = Ledger(
            *(account, row.newest_seq, room),
            ended_seq=row.ended_seq,
            open_end=bool(row.open_end),
        )
        self.before = set(account)
        self.sums_before = self.ledger.sums()
        # by seq: measured_ms, synchronised, temperature_c, humidity_pct, source
        self.new: dict[int, tuple[int, bool, float, float, str]] = {}
        self.dated: dict[int, int] = {}  # by seq: measured_ms, of what is in the database

    def take(self, one: Measured) -> bool:
        """A reading; False if it cannot be stored."""
        right = one.clock_synchronised
        taken = self.ledger.take(one.seq, synchronised=right)
        measured_ms = exactly(one.measured_at)
        if taken is Taken.NEW:
            self.new[one.seq] = (
                *(measured_ms, right),
                *(one.temperature_c, one.humidity_pct, one.source),
            )
        elif taken is Taken.DATED and one.seq in self.new:
            self.new[one.seq] = (measured_ms, True, *self.new[one.seq][2:])
        elif taken is Taken.DATED:
            self.dated[one.seq] = measured_ms
        return taken is not Taken.REFUSED

    def hear(self, said: Reading | Backfill | SensorHealth, now_ms: int) -> bool:
        """A message; False if it cannot be stored, or not wholly."""
        ledger = self.ledger
        match said:
            case Reading():
                return self.take(said)
            case Backfill(after=after, readings=readings):
                ledger.newest_seq = max(ledger.newest_seq, said.newest or 0)
                whole = sum(self.take(one) for one in readings) == len(readings)
                last = readings[-1].seq if readings else ledger.newest_seq
                if said.gone:
                    ledger.journal_is_gone()
                elif readings:
                    ledger.open_end = False
                return whole and (after is None or ledger.lose(after + 1, last, now_ms))
            case SensorHealth(oldest_seq=oldest, newest_seq=newest):
                ledger.newest_seq = max(ledger.newest_seq, newest or 0, oldest or 0)
                if said.ended is not None:
                    ledger.ended_seq = (newest or 0) if said.ended else ledger.ended_seq or 0
                gone = oldest - 1 if oldest else newest or 0  # no oldest: it keeps nothing
                return ledger.lose(1, gone, now_ms)


class _Transaction:
    """One batch; made with the rows of its sensors and streams, which it locks or makes."""

    def __init__(self, connection: Connection, batch: Sequence[Heard], now_ms: int) -> None:
        self.rejected: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._connection = connection
        self._now_ms = now_ms
        self._sensors = self._locked(
            sensor, [heard[:2] for heard in batch], self._with_room_for_sensors
        )
        self._of_node = {row.id: row.node for row in self._sensors.values()}
        self._rooms: dict[str, Room] = {}  # a node's streams share one
        self._streams_of: Counter[str] = Counter()  # by node: how many it has
        self._sum_up_nodes()
        self._began: Counter[int] = Counter()  # by sensor: how many of its streams are new
        named = [
            (self._sensors[heard[:2]].id, str(heard.said.stream))
            for heard in batch
            if heard.said.stream is not None and heard[:2] in self._sensors
        ]
        heard_ms = {"first_heard_ms": now_ms, "last_heard_ms": now_ms, "newest_seq": 0}
        rows = self._locked(stream, named, self._with_room_for_streams, **heard_ms)
        accounts: dict[int, list[Row]] = defaultdict(list)
        for ids in chunks(row.id for row in rows.values()):
            for row in connection.execute(sa.select(span).where(span.c.stream_id.in_(ids))):
                accounts[row.stream_id].append(Row(*row[1:]))
        self._streams = {
            key: _Stream(row, accounts[row.id], self._rooms[self._of_node[row.sensor_id]])
            for key, row in rows.items()
        }
        # by sensor: what its health and its live messages say of it
        self._facts = {row.id: (row.interval_s, row.current) for row in self._sensors.values()}

    def _sum_up_nodes(self) -> None:
        """From the rows of their sensors: a node may have thousands of streams."""
        sums = sa.func.sum(sensor.c.pieces), sa.func.sum(sensor.c.streams)
        query = sa.select(sensor.c.node, *sums).group_by(sensor.c.node)
        for some in chunks(set(self._of_node.values())):
            mine = query.where(sensor.c.node.in_(some))
            for node, pieces, streams in self._connection.execute(mine):
                self._rooms[node] = Room(int(pieces))
                self._streams_of[node] = int(streams)

    def _with_room_for_sensors(self, keys: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        query = sa.select(sensor.c.node, sa.func.count()).group_by(sensor.c.node)
        counts: Counter[str] = Counter(dict(self._connection.execute(query).all()))
        for node, name in keys:
            if counts[node] < MAX_SENSORS_PER_NODE and counts.total() < MAX_SENSORS:
                counts[node] += 1
                yield node, name

    def _with_room_for_streams(self, keys: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        for sensor_id, uuid in keys:
            node = self._of_node[sensor_id]
            if self._streams_of[node] < MAX_STREAMS_PER_NODE:
                self._streams_of[node] += 1
                self._began[sensor_id] += 1
                yield sensor_id, uuid

    def _locked(
        self,
        table: sa.Table,
        keys: Iterable[tuple[Any, str]],
        with_room: Callable[[Iterable[tuple[Any, str]]], Iterable[tuple[Any, str]]],
        **values: int,
    ) -> dict[tuple[Any, str], AnyRow]:
        """Rows by their key, which is the table's second and third column: owner and name.

        Made where they are not there; with_room: says for which of them there is room.
        """
        wanted = list(dict.fromkeys(keys))
        found = dict(self._find(table, wanted))
        missing = [key for key in wanted if key not in found]
        if missing:
            owner, name = table.columns[1], table.columns[2]
            made = [{owner.name: key[0], name.name: key[1], **values} for key in with_room(missing)]
            if made:
                self._connection.execute(table.insert(), made)
                found |= self._find(table, missing)
        return found

    def _find(
        self, table: sa.Table, keys: Sequence[tuple[Any, str]]
    ) -> Iterator[tuple[tuple[Any, str], AnyRow]]:
        owner, name = table.columns[1], table.columns[2]
        for some in chunks(sorted(keys), 50):
            # SQLite has no use of an index for pairs: so each half by itself too, of not too many
            owners, names = ({key[part] for key in some} for part in (0, 1))
            halves = owner.in_(owners), name.in_(names)
            query = sa.select(table).where(*halves, sa.tuple_(owner, name).in_(some))
            # two recorders lock them in the same order
            for row in self._connection.execute(query.order_by(table.c.id).with_for_update()):
                yield (row[1], row[2]), row

    def write(self, batch: Iterable[Heard]) -> dict[Key, Stored]:
        for heard in batch:
            if cause := self._take(heard):
                self.rejected[cause] += 1
                self.examples[cause] = f"{heard.node}/{heard.sensor}"
        self._store_sensors()
        self._store_readings()
        self._store_accounts()
        return marks(self._connection, self._now_ms, self._facts)

    def _take(self, heard: Heard) -> str:
        """Returns why it is not to be stored, or not wholly; else nothing."""
        said = heard.said
        if (row := self._sensors.get(heard[:2])) is None:
            return "too_many_sensors"
        interval_s, current = self._facts[row.id]
        if isinstance(said, SensorHealth):
            interval_s = said.interval_s
        one = self._streams.get((row.id, str(said.stream)))
        if one is not None and not isinstance(said, Backfill):
            current = str(said.stream)
        self._facts[row.id] = (interval_s, current)
        if one is None:
            return "too_many_streams" if said.stream is not None else ""
        return "" if one.hear(said, self._now_ms) else "too_scattered"

    def _store_sensors(self) -> None:
        more: dict[int, Counter[str]] = defaultdict(Counter)
        for one in self._streams.values():
            sums = zip(Sums._fields, one.ledger.sums(), one.sums_before, strict=True)
            more[one.sensor_id].update({name: now - before for name, now, before in sums})
        changed = []
        for row in self._sensors.values():
            interval_s, current = self._facts[row.id]
            sums_now = {
                name: min(max(0, getattr(row, name) + more[row.id][name]), SEQ_MAX)
                for name in Sums._fields
            }
            streams = row.streams + self._began[row.id]
            facts = {"interval_s": interval_s, "current": current, "streams": streams, **sums_now}
            if any(getattr(row, name) != value for name, value in facts.items()):
                changed.append({"of": row.id, **facts})
        if changed:
            update = sensor.update().where(sensor.c.id == sa.bindparam("of"))
            self._connection.execute(update, changed)

    def _store_readings(self) -> None:
        """The raw readings, and the roll-ups with them; and the dates beside what is lost."""
        rows = []
        counted: dict[int, list[rollup.Reading]] = defaultdict(list)
        left: dict[int, list[rollup.Reading]] = defaultdict(list)
        for one in self._streams.values():
            rows += [(one.id, seq, *values) for seq, values in one.new.items()]
            counted[one.sensor_id] += [(ms, t, h) for ms, _, t, h, _ in one.new.values()]
            for seq, ms, t, h, _ in self._stored(one.id, one.dated):
                left[one.sensor_id].append((ms, t, h))
                counted[one.sensor_id].append((one.dated[seq], t, h))
            dates_ms = {seq: ms for seq, (ms, right, *_) in one.new.items() if right} | one.dated
            unknown = one.ledger.neighbours() - one.new.keys() - one.dated.keys()
            dates_ms |= {seq: ms for seq, ms, *_, right in self._stored(one.id, unknown) if right}
            # some clocks call themselves right in 1970
            one.ledger.date({seq: ms for seq, ms in dates_ms.items() if ms >= NO_CLOCK_BEFORE_MS})
            if one.dated:
                of = (reading.c.stream_id == one.id, reading.c.seq == sa.bindparam("of"))
                dates = [{"of": seq, "measured_ms": ms} for seq, ms in one.dated.items()]
                update = reading.update().where(*of).values(synchronised=True)
                self._connection.execute(update, dates)
        bulk_insert(self._connection, reading, rows)
        rollup.add(self._connection, counted)
        for sensor_id, readings in left.items():
            rollup.leave(self._connection, sensor_id, readings)

    def _stored(
        self, stream_id: int, numbers: Iterable[int]
    ) -> Iterator[sa.Row[int, int, float, float, bool]]:
        """Seq, date, values, and if the date is right, of those of the numbers that retention has not taken."""
        c = reading.c
        for some in chunks(numbers):
            columns = c.seq, c.measured_ms, c.temperature_c, c.humidity_pct, c.synchronised
            query = sa.select(*columns).where(c.stream_id == stream_id, c.seq.in_(some))
            yield from self._connection.execute(query)

    def _store_accounts(self) -> None:
        """Of the accounts only what changed."""
        come, heads = [], []
        for one in self._streams.values():
            rows = one.ledger.rows()
            come += [{"stream_id": one.id, **row._asdict()} for row in rows - one.before]
            gone = {row[:2] for row in one.before} - {row[:2] for row in rows}
            for keys in chunks(gone):
                of = sa.tuple_(span.c.kind, span.c.first_seq).in_(keys)
                self._connection.execute(span.delete().where(span.c.stream_id == one.id, of))
            ledger = one.ledger
            missing = ledger.missing()
            known = {
                "watermark": ledger.watermark(),
                "missing": missing,
                "lacking_ms": self._now_ms if missing else None,
                "lost_ms": ledger.lost_ms(),
            }
            heard = {
                "last_heard_ms": self._now_ms,
                "newest_seq": ledger.newest_seq,
                "ended_seq": ledger.ended_seq,
                "open_end": int(ledger.open_end),
            }
            heads.append({"of": one.id, **heard, **known})
        upsert(self._connection, span, come)
        if heads:
            update = stream.update().where(stream.c.id == sa.bindparam("of"))
            self._connection.execute(update, heads)
