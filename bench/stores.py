"""Databases to measure: SQLite as a file, PostgreSQL as a server, both forced to the disk."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.processes import BenchError
from gateway.history.store import Store
from tests.databases import (
    USER,
    Database,
    NotInstalledError,
    PostgresqlServer,
    database_on,
    sqlite_database,
)

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
SENSOR = "INSERT INTO sensor (id, node, name) VALUES (?, ?, ?)"
STREAM = (
    "INSERT INTO stream (id, sensor_id, uuid, first_heard_ms, last_heard_ms, newest_seq, watermark,"
    " missing) VALUES (?, ?, ?, 0, 0, 0, 0, 0)"
)
INSERT = "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)"
COPY = "COPY reading FROM STDIN"
PlainRow = tuple[int, int, int, bool, float, float, str]
Insert = Callable[[Sequence[PlainRow]], None]  # of one transaction
New = Callable[[], AbstractContextManager[Database]]


@contextlib.contextmanager
def databases() -> Iterator[dict[str, New]]:
    """By name, what makes an empty database. Raises BenchError without PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name, postgresql() as server:
        folder = Path(name)

        @contextlib.contextmanager
        def sqlite() -> Iterator[Database]:
            with (
                tempfile.TemporaryDirectory(dir=folder) as own,
                sqlite_database(Path(own)) as database,
            ):
                yield database

        yield {SQLITE: sqlite, POSTGRESQL: lambda: database_on(server, folder)}


@contextlib.contextmanager
def postgresql() -> Iterator[PostgresqlServer]:
    """A server as it comes, which forces each commit to the disk."""
    try:
        server = PostgresqlServer(durable=True)
    except NotInstalledError as error:
        raise BenchError(str(error)) from None
    try:
        yield server
    finally:
        server.close()


def opened(database: Database, *, read_only: bool = False) -> Store:
    """Ours, with its tables."""
    store = Store(database.url, database.password or None, read_only=read_only)
    if not read_only:
        store.upgrade()
    return store


@contextlib.contextmanager
def plain(database: Database, sensors: Sequence[tuple[str, str, str]]) -> Iterator[Insert]:
    """Rows into table `reading` by the driver alone: executemany, or COPY.

    The table, and how a commit is forced to the disk, are those of the recorder. sensors: node,
    name, stream; their rows get the ids 1, 2, 3 ….
    """
    opened(database).close()
    connection = driver(database)
    sql = connection.cursor()
    for number, (node, name, uuid) in enumerate(sensors, 1):
        for statement, values in ((SENSOR, (number, node, name)), (STREAM, (number, number, uuid))):
            sql.execute(statement.replace("?", "%s") if database.server else statement, values)

    def executemany(rows: Sequence[PlainRow]) -> None:
        sql.execute("BEGIN IMMEDIATE")
        sql.executemany(INSERT, rows)
        sql.execute("COMMIT")

    def copy(rows: Sequence[PlainRow]) -> None:
        with connection.transaction(), sql.copy(COPY) as into:
            for row in rows:
                into.write_row(row)

    try:
        yield copy if database.server else executemany
    finally:
        connection.close()


def driver(database: Database) -> Any:
    """A connection that commits each statement, by sqlite3 or psycopg, with no SQLAlchemy."""
    if isinstance(database.server, PostgresqlServer):
        return database.server.connect(database.name, USER)
    connection = sqlite3.connect(database.name, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
