"""The history's tables. Times are milliseconds (roll-ups: seconds) since 1970, UTC.

A stream belongs to its sensor, and a reading to its stream: whoever may publish as one node can
use another's stream number, and writes in its own history all the same.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
)

AnyRow = Row[*tuple[Any, ...]]
# The newest of migrations/versions, so that Alembic is only imported where there is work for it.
HEAD = "0005"

# A node that never had a network counts from 1970, or from when its system was built: no date.
NO_CLOCK_BEFORE_MS = 1_577_836_800_000  # 2020

metadata = MetaData()

# Ids, UUIDs and words are ASCII, and equal only where every letter is.
_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "ascii",
    "mysql_collate": "ascii_bin",
}
# SQLite numbers rows by itself only in a column of its own INTEGER type.
_Id = BigInteger().with_variant(Integer, "sqlite")

sensor = Table(
    "sensor",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("node", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("interval_s", Double),  # as its health says: what counts as a gap follows from it
    Column("current", String(36)),  # the UUID of the stream that its live messages were of last
    # How many ranges its streams have beside the first of each kind: see ledger.MAX_PIECES.
    Column("pieces", BigInteger, nullable=False, server_default="0"),
    # How many it has: a node may have so many in all its sensors, see writer.MAX_STREAMS_PER_NODE.
    Column("streams", BigInteger, nullable=False, server_default="0"),
    # The sums of its streams' ranges, written with them: an audit reads one row a sensor.
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("stored", "missing", "lost", "gaps", "open_ends")
    ),
    UniqueConstraint("node", "name", name="sensor_node_name"),
    **_MYSQL,
)

stream = Table(
    "stream",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("sensor_id", ForeignKey("sensor.id", name="stream_sensor"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("first_heard_ms", BigInteger, nullable=False),  # by the recorder's clock
    Column("last_heard_ms", BigInteger, nullable=False),
    Column("newest_seq", BigInteger, nullable=False),  # the highest that exists, as far as we know
    # These follow from the spans: of 1 to here each number is stored or lost; so many are neither.
    Column("watermark", BigInteger, nullable=False, default=0),
    Column("missing", BigInteger, nullable=False, default=0),
    Column("lacking_ms", BigInteger),  # its last_heard_ms while numbers are missing
    Column("lost_ms", BigInteger),  # when one of its lost ranges was last added to
    # The number that its edge ended in order with (0: it has not; null: it does not say); and 1
    # if its journal is gone, and it had not ended in order.
    Column("ended_seq", BigInteger),
    Column("open_end", Integer, nullable=False, server_default="0"),
    UniqueConstraint("sensor_id", "uuid", name="stream_sensor_uuid"),
    Index("stream_lacking", "sensor_id", "lacking_ms"),
    Index("stream_heard", "sensor_id", "last_heard_ms"),
    Index("stream_lost", "sensor_id", "lost_ms"),
    **_MYSQL,
)

reading = Table(
    "reading",
    metadata,
    Column("stream_id", ForeignKey("stream.id", name="reading_stream"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("measured_ms", BigInteger, nullable=False),
    Column("synchronised", Boolean(name="reading_synchronised"), nullable=False),
    Column("temperature_c", Double, nullable=False),
    Column("humidity_pct", Double, nullable=False),
    Column("source", String(32), nullable=False),
    Index("reading_measured", "stream_id", "measured_ms"),
    sqlite_with_rowid=False,  # the primary key is the table: nothing is written twice
    **_MYSQL,
)

# What became of each number of a stream, as ranges; the truth that `stored` is said from. Readings
# that retention has removed are still `stored` here.
span = Table(
    "span",
    metadata,
    Column("stream_id", ForeignKey("stream.id", name="span_stream"), primary_key=True),
    Column("kind", String(8), primary_key=True),  # stored, lost, undated (a part of stored)
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("noted_ms", BigInteger),  # of lost ones: when that was last added to,
    Column("after_ms", BigInteger),  # ... and the dates of the readings before and after it
    Column("before_ms", BigInteger),
    **_MYSQL,
)

# What the recorder measured last of the disk budget: one row.
disk = Table(
    "disk",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("measured_ms", BigInteger, nullable=False),
    Column("used_bytes", BigInteger, nullable=False),
    Column("budget_bytes", BigInteger, nullable=False),
    Column("growth_bytes", BigInteger, nullable=False),  # a day
    Column("full_ms", BigInteger),  # when the budget is used up at that rate; null: not foreseen
    **_MYSQL,
)


def _rollup(name: str) -> Table:
    """Count, min, sum and max of both quantities by a unit of time.

    Sums are in thousandths, as whole numbers: in whatever order late readings come, the mean is
    the same.
    """
    return Table(
        name,
        metadata,
        Column("sensor_id", ForeignKey("sensor.id", name=f"{name}_sensor"), primary_key=True),
        Column("start_s", BigInteger, primary_key=True, autoincrement=False),
        Column("readings", Integer, nullable=False),
        *(
            Column(f"{quantity}_{part}", kind, nullable=False)
            for quantity in ("temperature", "humidity")
            for part, kind in (("min", Double()), ("sum", BigInteger()), ("max", Double()))
        ),
        sqlite_with_rowid=False,
        **_MYSQL,
    )


minute = _rollup("minute")
hour = _rollup("hour")
ROLLUPS = ((minute, 60), (hour, 3600))
