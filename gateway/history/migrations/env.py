"""What Alembic runs; the connection, in a transaction of its owner's, comes from Store.upgrade."""

from __future__ import annotations

from alembic import context

from gateway.history.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
