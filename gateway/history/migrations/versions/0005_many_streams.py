"""How many streams a sensor has, and which lack readings, by when those were last heard of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    for table, column in (
        ("sensor", sa.Column("streams", sa.BigInteger, nullable=False, server_default="0")),
        ("stream", sa.Column("lacking_ms", sa.BigInteger)),
    ):
        # MariaDB commits each by itself: a server killed between two must not stop the next try
        if column.name not in {found["name"] for found in there.get_columns(table)}:
            op.add_column(table, column)
    counted = "SELECT count(*) FROM stream WHERE stream.sensor_id = sensor.id"
    op.execute(f"UPDATE sensor SET streams = ({counted})")  # noqa: S608
    op.execute("UPDATE stream SET lacking_ms = last_heard_ms WHERE missing > 0")
    indexes = {found["name"] for found in there.get_indexes("stream")}
    if "stream_lacking" not in indexes:
        op.create_index("stream_lacking", "stream", ["sensor_id", "lacking_ms"])
    if "stream_missing" in indexes:
        op.drop_index("stream_missing", "stream")
