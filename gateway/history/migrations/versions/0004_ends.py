"""Which streams ended in order, and of which the end is not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    for table, column in (
        ("sensor", sa.Column("open_ends", sa.BigInteger, nullable=False, server_default="0")),
        ("stream", sa.Column("ended_seq", sa.BigInteger)),
        ("stream", sa.Column("open_end", sa.Integer, nullable=False, server_default="0")),
    ):
        # MariaDB commits each by itself: a server killed between two must not stop the next try
        if column.name not in {found["name"] for found in there.get_columns(table)}:
            op.add_column(table, column)
