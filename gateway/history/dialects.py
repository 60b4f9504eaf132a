"""What differs between SQLite, PostgreSQL, and MariaDB or MySQL: engines and upserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import URL

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",  # which finds out by itself that it is a MariaDB
    "mariadb": "mysql+pymysql",
}
CONNECT_S = 5
# A writer waits so long for another one; a reader, behind whom a person waits, for its query.
LOCK_S, QUERY_S = 10, 60
READ_ONLY_LOCK_S, READ_ONLY_QUERY_S = 2, 15


def server_engine(url: URL, *, read_only: bool) -> Engine:
    """For PostgreSQL and MariaDB. Nothing waits for ever: not for a lock, a query or a peer."""
    lock_s = READ_ONLY_LOCK_S if read_only else LOCK_S
    query_s = READ_ONLY_QUERY_S if read_only else QUERY_S
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_S}
    setup: list[str] = []
    if url.drivername == DRIVERS["postgresql"]:
        options = {
            "statement_timeout": f"{query_s}s",
            "lock_timeout": f"{lock_s}s",
            "idle_in_transaction_session_timeout": f"{query_s}s",
            "default_transaction_read_only": "on" if read_only else "off",
        }
        arguments |= {
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
            "application_name": "brisa",
            # a server that is gone without a word is noticed within half a minute
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        }
    else:
        arguments |= {"read_timeout": query_s + lock_s, "write_timeout": query_s}
        setup += [
            f"SET SESSION innodb_lock_wait_timeout={lock_s}",
            "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            f"SET SESSION TRANSACTION READ {'ONLY' if read_only else 'WRITE'}",
        ]
    engine = sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        # each costs the server 2 MB, of the 96 that it has on a Pi
        pool_size=2,
        max_overflow=3,
        connect_args=arguments,
    )
    event.listen(engine, "connect", lambda raw, _: _run(raw, setup))
    return engine


def sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """For a file that is there. It is opened anew where it is another by now (a restored copy).

    With the execution option `write` a transaction is the only one that writes, from its begin.
    """
    uri = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rw'}"
    setup = ["PRAGMA foreign_keys=ON"]
    if not read_only:
        # FULL: a watermark that was said must hold after a power cut (docs/adr/0008)
        setup += ["PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"]

    def connect() -> sqlite3.Connection:
        lock_s = READ_ONLY_LOCK_S if read_only else LOCK_S
        return sqlite3.connect(
            uri, uri=True, timeout=lock_s, isolation_level=None, check_same_thread=False
        )

    def connected(raw: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identity(path)
        _run(raw, setup)

    def taken(_raw: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _identity(path):
            raise sa.exc.DisconnectionError

    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begin)
    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _run(raw: Any, statements: Sequence[str]) -> None:
    cursor = raw.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def upsert(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], **merge: str
) -> None:
    """Insert rows; where the key is there already, merge: a column's `sum`, `min`, `max` or `new`.

    With no `merge` at all every other column is new.
    """
    if not rows:
        return
    merge = merge or {column.name: "new" for column in table.columns if not column.primary_key}
    name = connection.dialect.name
    functions: Mapping[str, Callable[[Any, Any], Any]] = {
        "new": lambda _, new: new,
        "sum": lambda old, new: old + new,
        "min": sa.func.min if name == "sqlite" else sa.func.least,
        "max": sa.func.max if name == "sqlite" else sa.func.greatest,
    }
    module: Any = {"sqlite": sqlite, "postgresql": postgresql, "mysql": mysql}[name]
    insert = module.insert(table)
    come = insert.inserted if name == "mysql" else insert.excluded
    changes = {c: functions[how](table.c[c], come[c]) for c, how in merge.items()}
    if name == "mysql":
        statement = insert.on_duplicate_key_update(changes)
    else:
        statement = insert.on_conflict_do_update(index_elements=table.primary_key, set_=changes)
    connection.execute(statement, rows)


def bulk_insert(connection: Connection, table: sa.Table, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of all columns in order, as fast as the database can: COPY in PostgreSQL."""
    if not rows:
        return
    names = [column.name for column in table.columns]
    if connection.dialect.name != "postgresql":
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
        return
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
