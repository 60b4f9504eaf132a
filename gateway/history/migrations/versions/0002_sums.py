"""Sums of each sensor's streams, and when each stream last lost readings."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SUMS = ("stored", "missing", "lost", "gaps")
_MOST = 2**63 - 1


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    for name in _SUMS:
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        _add(there, "sensor", column)
    _add(there, "stream", sa.Column("lost_ms", sa.BigInteger))
    if "stream_lost" not in {found["name"] for found in there.get_indexes("stream")}:
        op.create_index("stream_lost", "stream", ["sensor_id", "lost_ms"])
    _fill(op.get_bind())


def _add(there: sa.Inspector, table: str, column: sa.Column[Any]) -> None:
    # MariaDB commits each one by itself: a server killed between two must not stop the next try
    if column.name not in {found["name"] for found in there.get_columns(table)}:
        op.add_column(table, column)


def _fill(connection: sa.Connection) -> None:
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    kinds = """
        SELECT stream.sensor_id, span.kind, count(*), sum(span.last_seq - span.first_seq + 1)
        FROM span JOIN stream ON stream.id = span.stream_id
        WHERE span.kind IN ('stored', 'lost') GROUP BY stream.id, stream.sensor_id, span.kind
    """
    for sensor_id, kind, ranges, numbers in connection.execute(sa.text(kinds)):
        sums[sensor_id][kind] += int(numbers)
        sums[sensor_id]["gaps"] += ranges if kind == "lost" else 0
    missing = "SELECT sensor_id, missing FROM stream WHERE missing > 0"
    for sensor_id, numbers in connection.execute(sa.text(missing)):
        sums[sensor_id]["missing"] += numbers
    rows = [
        {"of": sensor_id, **{name: min(counts[name], _MOST) for name in _SUMS}}
        for sensor_id, counts in sums.items()
    ]
    if rows:
        values = ", ".join(f"{name} = :{name}" for name in _SUMS)
        connection.execute(sa.text(f"UPDATE sensor SET {values} WHERE id = :of"), rows)  # noqa: S608
    noted = "SELECT max(noted_ms) FROM span WHERE stream_id = stream.id AND kind = 'lost'"
    connection.execute(sa.text(f"UPDATE stream SET lost_ms = ({noted})"))  # noqa: S608
