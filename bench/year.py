"""A year of readings, one each 5 s, in SQLite and PostgreSQL: 6.3 million rows with their roll-ups.

Made by SQL in two minutes, and kept below /var/tmp for the next run: 2.4 GB.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.processes import BenchError, say
from bench.stores import POSTGRESQL, SQLITE, driver, opened, postgresql
from gateway.history import schema
from tests.databases import USER, Database, PostgresqlServer

FOLDER = Path("/var/tmp/brisa-bench")  # noqa: S108 - refused if it is not ours
NODE, SENSOR = "pi-1", "dht22"
UUID = "00000000-0000-4000-8000-000000000001"
INTERVAL_MS = 5000
FROM_MS = 1_761_955_200_000  # 2025-11-01
ROWS = 365 * 86_400_000 // INTERVAL_MS
TO_MS = FROM_MS + ROWS * INTERVAL_MS

HEADS = f"""
INSERT INTO sensor (id, node, name, interval_s, current)
    VALUES (1, '{NODE}', '{SENSOR}', 5, '{UUID}');
INSERT INTO stream
    (id, sensor_id, uuid, first_heard_ms, last_heard_ms, newest_seq, watermark, missing)
    VALUES (1, 1, '{UUID}', {FROM_MS}, {TO_MS}, {ROWS}, {ROWS}, 0);
INSERT INTO span (stream_id, kind, first_seq, last_seq) VALUES (1, 'stored', 1, {ROWS});
"""  # noqa: S608 - our own numbers, here and below
READINGS = f"""
SELECT 1, n, {FROM_MS} + (n - 1) * {INTERVAL_MS}, TRUE, (180 + n * 7 % 83 + n / 360 % 40) / 10.0,
    (400 + n * 3 % 61 + n / 720 % 90) / 10.0, 'dht22' FROM numbers
"""  # noqa: S608
MINUTES = """
INSERT INTO minute SELECT 1, measured_ms / 60000 * 60, count(*),
    min(temperature_c), sum(CAST(round(temperature_c * 1000) AS BIGINT)), max(temperature_c),
    min(humidity_pct), sum(CAST(round(humidity_pct * 1000) AS BIGINT)), max(humidity_pct)
    FROM reading GROUP BY measured_ms / 60000 ORDER BY 2;
"""
HOURS = """
INSERT INTO hour SELECT 1, start_s / 3600 * 3600, sum(readings),
    min(temperature_min), sum(temperature_sum), max(temperature_max),
    min(humidity_min), sum(humidity_sum), max(humidity_max)
    FROM minute GROUP BY start_s / 3600 ORDER BY 2;
"""
INDEX = "CREATE INDEX reading_measured ON reading (stream_id, measured_ms);"
IN_SQLITE = f"""
PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; DROP INDEX reading_measured;
BEGIN; {HEADS}
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})
INSERT INTO reading {READINGS};
COMMIT; {INDEX} {MINUTES} {HOURS} PRAGMA optimize; PRAGMA journal_mode = WAL;
"""  # noqa: S608
# As a superuser, so that no row is looked up in `stream`.
IN_POSTGRESQL = f"""
SET session_replication_role = replica; {HEADS}
DROP INDEX reading_measured; ALTER TABLE reading DROP CONSTRAINT reading_pkey;
INSERT INTO reading WITH numbers(n) AS (SELECT * FROM generate_series(1::bigint, {ROWS})) {READINGS};
ALTER TABLE reading ADD CONSTRAINT reading_pkey PRIMARY KEY (stream_id, seq); {INDEX}
{MINUTES} {HOURS}
"""  # noqa: S608


@contextlib.contextmanager
def years() -> Iterator[dict[str, Database]]:
    """By name; only to be read. Raises BenchError."""
    with _kept() as folder, _in_postgresql(folder / "postgresql", folder) as database:
        yield {SQLITE: _in_sqlite(folder), POSTGRESQL: database}


@contextlib.contextmanager
def _kept() -> Iterator[Path]:
    """What was made from the same SQL and schema; anything else is removed."""
    made_from = [Path(schema.__file__).read_text(encoding="utf-8"), IN_SQLITE, IN_POSTGRESQL]
    name = hashlib.sha256("".join(made_from).encode()).hexdigest()[:12]
    FOLDER.mkdir(mode=0o711, exist_ok=True)  # the server is another user
    if FOLDER.is_symlink() or FOLDER.stat().st_uid != os.geteuid():
        raise BenchError(f"{FOLDER} belongs to somebody else")
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"{FOLDER} is in use by another run") from None
        for old in FOLDER.glob("year-*"):
            if old.name != f"year-{name}":
                shutil.rmtree(old)
        folder = FOLDER / f"year-{name}"
        folder.mkdir(mode=0o711, exist_ok=True)
        yield folder


def _in_sqlite(folder: Path) -> Database:
    path, half = folder / "year.db", folder / "half.db"
    if not path.exists():
        say(f"a year in SQLite, once, in {folder}")
        half.unlink(missing_ok=True)
        database = Database("sqlite", f"sqlite:///{half}", "", folder, name=str(half))
        opened(database).close()
        with contextlib.closing(driver(database)) as connection:
            connection.executescript(IN_SQLITE)
        os.sync()
        half.rename(path)
    return Database("sqlite", f"sqlite:///{path}", "", folder, name=str(path))


@contextlib.contextmanager
def _in_postgresql(kept: Path, folder: Path) -> Iterator[Database]:
    """The server's data are the kept ones; the password is in them."""
    secret = folder / "password"
    if not kept.exists():
        say(f"a year in PostgreSQL, once, in {folder}")
        with postgresql() as server:
            server.create("year")
            opened(_year(server, secret)).close()
            with contextlib.closing(server.connect("year", "admin")) as connection:
                for statement in IN_POSTGRESQL.split(";"):
                    connection.execute(statement.encode())
                connection.execute("VACUUM (ANALYZE, FREEZE)")
            server.stop()
            os.sync()
            secret.touch(mode=0o600)
            secret.write_text(server.password, encoding="ascii")
            shutil.move(server.folder / "data", kept)
            (server.folder / "data").mkdir()
    with postgresql() as server:
        server.stop()
        data = server.folder / "data"
        shutil.rmtree(data)
        data.symlink_to(kept)
        server.password = secret.read_text(encoding="ascii")
        server.start()
        yield _year(server, secret)


def _year(server: PostgresqlServer, secret: Path) -> Database:
    url = f"postgresql://{USER}@127.0.0.1:{server.port}/year"
    return Database("postgresql", url, server.password, secret, server, "year")
