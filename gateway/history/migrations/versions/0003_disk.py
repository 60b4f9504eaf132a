"""What the recorder measured last of its disk budget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("disk"):  # MariaDB, killed before the version was noted
        return
    op.create_table(
        "disk",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("measured_ms", sa.BigInteger, nullable=False),
        sa.Column("used_bytes", sa.BigInteger, nullable=False),
        sa.Column("budget_bytes", sa.BigInteger, nullable=False),
        sa.Column("growth_bytes", sa.BigInteger, nullable=False),
        sa.Column("full_ms", sa.BigInteger),
        mysql_engine="InnoDB",
        mysql_charset="ascii",
        mysql_collate="ascii_bin",
    )
