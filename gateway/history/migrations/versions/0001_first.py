"""Sensors, streams, readings, their account, and roll-ups."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "ascii", "mysql_collate": "ascii_bin"}


def upgrade() -> None:
    _table(
        "sensor",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("interval_s", sa.Double),
        sa.Column("current", sa.String(36)),
        sa.Column("pieces", sa.BigInteger, nullable=False, server_default="0"),
        sa.UniqueConstraint("node", "name", name="sensor_node_name"),
    )
    _table(
        "stream",
        sa.Column("id", _ID, primary_key=True),
        sa.Column(
            "sensor_id", _ID, sa.ForeignKey("sensor.id", name="stream_sensor"), nullable=False
        ),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("first_heard_ms", sa.BigInteger, nullable=False),
        sa.Column("last_heard_ms", sa.BigInteger, nullable=False),
        sa.Column("newest_seq", sa.BigInteger, nullable=False),
        sa.Column("watermark", sa.BigInteger, nullable=False),
        sa.Column("missing", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("sensor_id", "uuid", name="stream_sensor_uuid"),
        sa.Index("stream_missing", "sensor_id", "missing"),
        sa.Index("stream_heard", "sensor_id", "last_heard_ms"),
    )
    _table(
        "reading",
        _key("stream_id", _ID, sa.ForeignKey("stream.id", name="reading_stream")),
        _key("seq", sa.BigInteger),
        sa.Column("measured_ms", sa.BigInteger, nullable=False),
        sa.Column("synchronised", sa.Boolean, nullable=False),
        sa.Column("temperature_c", sa.Double, nullable=False),
        sa.Column("humidity_pct", sa.Double, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Index("reading_measured", "stream_id", "measured_ms"),
        sqlite_with_rowid=False,
    )
    _table(
        "span",
        _key("stream_id", _ID, sa.ForeignKey("stream.id", name="span_stream")),
        _key("kind", sa.String(8)),
        _key("first_seq", sa.BigInteger),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("noted_ms", sa.BigInteger),
        sa.Column("after_ms", sa.BigInteger),
        sa.Column("before_ms", sa.BigInteger),
    )
    for name in ("minute", "hour"):
        _table(
            name,
            _key("sensor_id", _ID, sa.ForeignKey("sensor.id", name=f"{name}_sensor")),
            _key("start_s", sa.BigInteger),
            sa.Column("readings", sa.Integer, nullable=False),
            *(
                sa.Column(f"{quantity}_{part}", kind, nullable=False)
                for quantity in ("temperature", "humidity")
                for part, kind in (("min", sa.Double), ("sum", sa.BigInteger), ("max", sa.Double))
            ),
            sqlite_with_rowid=False,
        )


def _key(name: str, kind: Any, *more: sa.ForeignKey) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, primary_key=True, autoincrement=False)


def _table(name: str, *parts: sa.schema.SchemaItem, **options: bool) -> None:
    # MariaDB commits each one by itself: a server killed between two must not stop the next try
    op.create_table(name, *parts, if_not_exists=True, **_MYSQL, **options)
