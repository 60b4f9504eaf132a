"""The schema's history, for Alembic; Store.upgrade runs it."""
