"""The store on each database: its schema, its transactions, and its faults in one line."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.history import dialects
from gateway.history import store as module
from gateway.history.dialects import bulk_insert, upsert
from gateway.history.schema import HEAD, metadata, sensor
from gateway.history.store import (
    Conflict,
    Refused,
    Store,
    StoreError,
    Unavailable,
    WrongSchema,
)
from gateway.history.watch import Watch
from tests.databases import USER, Database
from tests.support import python


@contextlib.contextmanager
def opened(database: Database, *, read_only: bool = False) -> Iterator[Store]:
    store = Store(database.url, database.password, read_only=read_only)
    with contextlib.closing(store):
        yield store


def add(store: Store, *names: str) -> None:
    with store.begin() as connection:
        connection.execute(sensor.insert(), [{"node": "pi-1", "name": name} for name in names])


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.scalars(sa.select(sensor.c.name).order_by(sensor.c.name)))


# ---- the schema


def test_the_schema_is_made_once_and_is_what_the_code_says(
    any_database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    with opened(any_database) as store, caplog.at_level(logging.INFO):
        with pytest.raises(WrongSchema, match=r"no (brisa tables yet: start|such file)"):
            store.check()
        store.upgrade()
        store.check()
        add(store, "dht11")
        store.upgrade()
        assert names(store) == ["dht11"]
        with store.read() as connection:
            context = MigrationContext.configure(connection)
            assert context.get_current_revision() == HEAD
            assert compare_metadata(context, metadata) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"history: {any_database.url} is at schema {HEAD}, new"
    ]


def test_head_is_alembics_head() -> None:
    config = Config()
    folder = Path(module.__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_alembic_is_not_loaded_where_there_is_nothing_to_do(sqlite: Database) -> None:
    with opened(sqlite) as store:
        store.upgrade()
    code = (
        "import sys; from gateway.history.store import Store;"
        f"store = Store({sqlite.url!r}); store.upgrade(); store.check(); print('alembic' in sys.modules)"
    )
    with python("-c", code) as process:
        assert process.wait() == 0
        assert process.lines == ["False"]


def test_two_that_start_at_once_make_it_once(any_database: Database) -> None:
    barrier = threading.Barrier(4)

    def start(_: int) -> None:
        with opened(any_database) as store:
            barrier.wait()
            store.upgrade()
            store.check()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    assert any_database.query("SELECT count(*) FROM alembic_version") == [(1,)]


@pytest.mark.parametrize(
    ("version", "match"),
    [
        ("9999", "made by a newer brisa .schema 9999.; this one knows up to 0005: update"),
        ("0000", "made by an older brisa .schema 0000, here 0005.: start `python -m gateway"),
    ],
)
def test_a_schema_that_is_not_ours(any_database: Database, version: str, match: str) -> None:
    with opened(any_database) as store, opened(any_database, read_only=True) as reader:
        store.upgrade()
        with store.begin() as connection:
            table = sa.table("alembic_version", sa.column("version_num"))
            connection.execute(table.update().values(version_num=version))
        for one in (store, reader):
            with pytest.raises(WrongSchema, match=match):
                one.check()
        if version > HEAD:
            with pytest.raises(WrongSchema, match=match):
                store.upgrade()


def test_tables_that_went_are_said(any_database: Database) -> None:
    with opened(any_database) as store:
        if any_database.kind == "sqlite":
            Path(any_database.name).touch()
        with pytest.raises(WrongSchema, match=r"is not as brisa made it: .*sensor"):
            names(store)
        store.upgrade()
        any_database.query("DELETE FROM alembic_version")
        with pytest.raises(WrongSchema, match="no brisa tables yet"):
            store.check()


# ---- transactions


def test_a_transaction_is_whole_or_nothing(any_database: Database) -> None:
    with opened(any_database) as store:
        store.upgrade()

        def fail() -> None:
            with store.begin() as connection:
                connection.execute(sensor.insert(), [{"node": "pi-1", "name": "a"}])
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert names(store) == []
        add(store, "b")
        assert names(store) == ["b"]
        with pytest.raises(Refused, match=r"(?i)unique|duplicate"):
            add(store, "c", "b")
        assert names(store) == ["b"]


def test_a_read_sees_one_state(any_database: Database) -> None:
    with opened(any_database) as store:
        store.upgrade()
        add(store, "a")
        query = sa.select(sa.func.count()).select_from(sensor)
        with store.read() as connection:
            assert connection.scalar(query) == 1
            add(store, "b")
            assert connection.scalar(query) == 1
        assert names(store) == ["a", "b"]


def test_a_reader_writes_nothing(any_database: Database) -> None:
    with opened(any_database) as store, opened(any_database, read_only=True) as reader:
        store.upgrade()
        add(store, "a")
        reader.check()
        assert names(reader) == ["a"]
        with pytest.raises(StoreError, match=r"(?i)read.?only"):
            add(reader, "b")
        add(store, "c")
        assert names(reader) == ["a", "c"]


def test_upsert_merges_each_column_as_told(any_database: Database) -> None:
    table = sa.Table(
        "thing",
        sa.MetaData(),
        *(sa.Column(name, sa.Integer, primary_key=name == "key") for name in ("key", "n", "low")),
        sa.Column("high", sa.Double),
        sa.Column("word", sa.String(10)),
    )
    how = {"n": "sum", "low": "min", "high": "max", "word": "new"}
    with opened(any_database) as store:
        if any_database.kind == "sqlite":
            Path(any_database.name).touch()
        with store.begin() as connection:
            table.create(connection)
            bulk_insert(connection, table, [(1, 1, 5, 5.5, "a"), (2, 1, 5, 5.5, "b")])
            bulk_insert(connection, table, [])
            upsert(connection, table, [], **how)
            rows = [(2, 4, 4, 4.0, "c"), (3, 4, 4, 4.0, "d"), (2, 7, 9, 9.0, "e")]
            fields = [column.name for column in table.columns]
            upsert(connection, table, [dict(zip(fields, row, strict=True)) for row in rows], **how)
            kept = connection.execute(table.select().order_by(table.c.key)).all()
            assert [tuple(row) for row in kept] == [
                (1, 1, 5, 5.5, "a"),
                (2, 12, 4, 9.0, "e"),
                (3, 4, 4, 4.0, "d"),
            ]
            upsert(connection, table, [{"key": 2, "n": 0, "low": 0, "high": 0, "word": "f"}])
            changed = connection.execute(table.select().where(table.c.key == 2)).one()
            assert tuple(changed) == (2, 0, 0, 0.0, "f")


def test_a_commit_is_on_the_disk(sqlite: Database) -> None:
    with opened(sqlite) as store:
        store.upgrade()
        with store.begin() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_commit_is_on_the_disk_of_postgresql(postgresql: Database) -> None:
    with opened(postgresql) as store, store.begin() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


# ---- faults


def test_a_server_that_dies_is_away_and_comes_back(any_server: Database) -> None:
    with opened(any_server) as store:
        store.upgrade()
        add(store, "a")

        def cut() -> None:
            with store.begin() as connection:
                connection.execute(sensor.insert(), [{"node": "pi-1", "name": "b"}])
                any_server.kill()
                connection.execute(sensor.insert(), [{"node": "pi-1", "name": "c"}])

        with pytest.raises(Unavailable) as in_the_middle:
            cut()
        with pytest.raises(Unavailable) as away:
            add(store, "d")
        for raised in (in_the_middle, away):
            assert "\n" not in str(raised.value)
            assert str(raised.value).startswith(any_server.url)
        any_server.start()
        add(store, "e")
        assert names(store) == ["a", "e"]


def test_a_server_started_anew_is_not_even_noticed(any_server: Database) -> None:
    with opened(any_server) as store:
        store.upgrade()
        add(store, "a")
        any_server.stop()
        any_server.start()
        add(store, "b")
        assert names(store) == ["a", "b"]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_who_may_not_come_in_is_told_so(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)
    for store, match in (
        (Store(database.url, "wrong-secret"), "password authentication failed|Access denied"),
        (Store(database.url), "no password supplied|Access denied"),
        (Store(database.url.replace(database.name, "nowhere"), database.password),
         '"nowhere" does not exist|Access denied .* database|Unknown database'),
    ):  # fmt: skip
        with contextlib.closing(store), pytest.raises(StoreError, match=match) as raised:
            store.upgrade()
        assert not isinstance(raised.value, Unavailable), "waiting would not help"
        assert "\n" not in str(raised.value)
        assert "wrong-secret" not in str(raised.value)


CODES = {
    "full": ("53100", 1021),
    "too many connections": ("53300", 1040),
    "starting": ("57P03", 1053),
    "lock held": ("55P03", 1205),
    "deadlock": ("40P01", 1213),
}


@pytest.mark.parametrize("fault", CODES)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_passes_is_worth_another_try(
    kind: str, fault: str, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(kind)
    state, number = CODES[fault]
    if kind == "postgresql":
        sql = f"DO $$ BEGIN RAISE EXCEPTION 'told: {fault}' USING ERRCODE = '{state}'; END $$"
    else:
        sql = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'told: {fault}'"

    def fail(store: Store) -> None:
        with store.begin() as connection:
            connection.exec_driver_sql(sql)

    with opened(database) as store, pytest.raises(Unavailable, match=f"told: {fault}") as raised:
        fail(store)
    assert isinstance(raised.value, Conflict) == (fault == "deadlock")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_who_may_not_read_the_tables_is_told_so_in_one_line(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    database: Database = request.getfixturevalue(kind)
    with opened(database) as store:
        store.upgrade()
    assert database.server is not None
    user = f"stranger_{secrets.token_hex(4)}"
    account = f"{user}@127.0.0.1" if kind == "mariadb" else user
    how = "IDENTIFIED BY" if kind == "mariadb" else "LOGIN PASSWORD"
    on = f"{database.name}.*" if kind == "mariadb" else "sensor"
    for sql in (f"CREATE USER {account} {how} 'x'", f"GRANT INSERT ON {on} TO {account}"):
        database.server.query(database.name, "admin", sql)
    url = database.url.replace(f"{USER}@", f"{user}@")
    try:
        for read_only in (True, False):
            with contextlib.closing(Store(url, "x", read_only=read_only)) as stranger:
                for attempt in (stranger.check, stranger.upgrade):
                    with pytest.raises(StoreError, match=r"permission denied|denied to") as raised:
                        attempt()
                    assert type(raised.value) is StoreError, "waiting would not help"
                    assert "\n" not in str(raised.value)
                watch = Watch(stranger)
                for _ in range(3):
                    watch.refresh()
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 2, "one of each watch"
        assert all(re.search("cannot be read: .* denied", line) for line in lines)
    finally:
        if kind == "postgresql":
            database.server.query(database.name, "admin", f"DROP OWNED BY {user}")
        database.server.query(database.name, "admin", f"DROP USER {account}")


def test_what_the_driver_has_no_other_word_for_is_one_line_too(postgresql: Database) -> None:
    with opened(postgresql) as store:
        store.upgrade()

        def fail() -> None:
            with store.read() as connection:
                connection.exec_driver_sql("SELECT no_such_function(1)")

        with pytest.raises(StoreError, match="no_such_function") as raised:
            fail()
        assert type(raised.value) is StoreError
        assert "\n" not in str(raised.value)
        assert isinstance(raised.value.__cause__, psycopg.ProgrammingError)


def test_nothing_listens(unused_port_url: str) -> None:
    with (
        contextlib.closing(Store(unused_port_url, "secret")) as store,
        pytest.raises(Unavailable, match=r"(?i)refused") as raised,
    ):
        store.upgrade()
    assert "\n" not in str(raised.value)


@pytest.fixture(params=["postgresql", "mysql"])
def unused_port_url(request: pytest.FixtureRequest) -> str:
    from tests.support import free_port

    return f"{request.param}://brisa@127.0.0.1:{free_port()}/history"


def test_every_connection_in_use(sqlite: Database) -> None:
    with opened(sqlite, read_only=True) as reader, opened(sqlite) as store:
        store.upgrade()
        reader.engine.pool._timeout = 0.01  # type: ignore[attr-defined]

        def nested() -> None:
            with reader.read():
                nested()

        with pytest.raises(Unavailable, match="every connection is in use"):
            nested()
        assert names(reader) == []


# ---- a file


def test_a_lock_held_by_another(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "LOCK_S", 0.05)
    with opened(sqlite) as store:
        store.upgrade()
        with contextlib.closing(sqlite3.connect(sqlite.name, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Unavailable, match="database is locked"):
                add(store, "a")
        add(store, "b")
        assert names(store) == ["b"]


def test_a_full_disk(sqlite: Database) -> None:
    with opened(sqlite) as store:
        store.upgrade()

        def fill() -> None:
            with store.begin() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count = 1")
                rows = [{"node": "pi-1", "name": f"s{n}"} for n in range(1000)]
                connection.execute(sensor.insert(), rows)

        with pytest.raises(Unavailable, match="database or disk is full"):
            fill()
        assert names(store) == []


def test_its_folder_is_made_and_the_file_is_where_the_url_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("sqlite:///new/100%/history.db")
    with contextlib.closing(store):
        monkeypatch.chdir("/")
        store.upgrade()
    assert (tmp_path / "new" / "100%" / "history.db").exists()
    in_the_way = Store(f"sqlite:///{tmp_path}/new/100%/history.db/under.db")
    with pytest.raises(StoreError, match=r"under\.db: (Not a directory|File exists): "):
        in_the_way.upgrade()


def test_a_reader_makes_no_file(sqlite: Database) -> None:
    with opened(sqlite, read_only=True) as reader:
        with pytest.raises(WrongSchema, match="there is no such file; `python -m"):
            reader.check()
        with pytest.raises(Unavailable, match="there is no such file"):
            names(reader)
        assert not Path(sqlite.name).exists()


def test_a_reader_comes_before_and_stays_after_the_writer(sqlite: Database) -> None:
    with opened(sqlite) as store:
        store.upgrade()
        add(store, "a")
    assert not Path(sqlite.name + "-wal").exists()
    with opened(sqlite, read_only=True) as reader:
        assert names(reader) == ["a"]
        with opened(sqlite) as store:
            add(store, "b")
        assert names(reader) == ["a", "b"]


def test_a_file_that_is_no_database(sqlite: Database) -> None:
    Path(sqlite.name).write_bytes(os.urandom(8192))
    with opened(sqlite) as store:
        with pytest.raises(Unavailable, match="not a database"):
            store.upgrade()
        with pytest.raises(Unavailable, match="not a database"):
            store.check()
        Path(sqlite.name).unlink()
        Path(sqlite.name).touch()
        store.upgrade()
        store.check()


def test_a_restored_file_is_seen_at_once(sqlite: Database, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with opened(sqlite) as store, opened(sqlite, read_only=True) as reader:
        store.upgrade()
        add(store, "a")
        with (
            contextlib.closing(sqlite3.connect(sqlite.name)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        add(store, "b")
        assert names(reader) == ["a", "b"]
        for left in ("-wal", "-shm"):
            Path(sqlite.name + left).unlink()
        copy.rename(sqlite.name)
        assert names(reader) == ["a"]
        add(store, "c")
        assert names(reader) == names(store) == ["a", "c"]
        assert sqlite.query("PRAGMA integrity_check") == [("ok",)]


def test_a_database_restored_by_sqlite_itself(sqlite: Database, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with opened(sqlite) as store, opened(sqlite, read_only=True) as reader:
        store.upgrade()
        add(store, "a")
        with (
            contextlib.closing(sqlite3.connect(sqlite.name)) as live,
            contextlib.closing(sqlite3.connect(copy)) as saved,
        ):
            live.backup(saved)
            add(store, "b")
            saved.backup(live)
        assert names(reader) == names(store) == ["a"]
        add(store, "c")
        assert names(reader) == ["a", "c"]


def test_a_file_that_is_gone_is_not_begun_anew(sqlite: Database) -> None:
    path = Path(sqlite.name)
    with opened(sqlite) as store:
        store.upgrade()
        add(store, "a")
        kept = path.rename(path.with_name("kept.db"))
        for attempt in (store.upgrade, lambda: add(store, "b")):
            with pytest.raises(Unavailable, match="there is no such file: put it back"):
                attempt()
        assert not path.exists()
        for left in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(sqlite.name + left).rename(f"{kept}{left}")
        for left in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{kept}{left}").rename(sqlite.name + left)
        store.upgrade()
        add(store, "c")
        assert names(store) == ["a", "c"]


# ---- the URL


@pytest.mark.parametrize(
    "url",
    [
        "",
        "history.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/history.db",
        "sqlite:///history.db?mode=ro",
        "oracle://brisa@db/history",
        "postgresql+asyncpg://brisa@db/history",
        "postgresql://brisa@db",
        "postgresql://brisa@db:port/history",
        "mysql://brisa@db/",
    ],
)
def test_a_url_that_is_not_of_a_database(url: str) -> None:
    with pytest.raises(StoreError, match="allowed are sqlite:///FILE, postgresql:") as raised:
        Store(url)
    assert str(raised.value).startswith(f"{url.partition('?')[0]}: ")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://brisa:geheim@db/history",
        "mysql://brisa:ge@heim@db/history",
        "postgresql://brisa@db/history?password=geheim",
        "postgresql://brisa:geheim@db:port/history",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_said(url: str) -> None:
    with pytest.raises(StoreError) as raised:
        Store(url)
    assert "heim" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://brisa@db:5433/history?sslmode=require", "psycopg"),
        ("mysql://brisa@db/history", "pymysql"),
        ("mariadb://brisa@db/history", "pymysql"),
    ],
)
def test_no_password_is_shown(url: str, driver: str) -> None:
    store = Store(url, "geheim")
    assert store.engine.driver == driver
    assert store.shown == url.partition("?")[0]
    assert "geheim" not in repr(store.engine)
