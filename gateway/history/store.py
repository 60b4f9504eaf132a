"""The database that the history is in: its transactions, its schema, and its faults in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url

from gateway.history.dialects import DRIVERS, QUERY_S, server_engine, sqlite_engine
from gateway.history.faults import Conflict, Refused, StoreError, Unavailable, WrongSchema, fault
from gateway.history.schema import HEAD

__all__ = ["Conflict", "Refused", "Store", "StoreError", "Unavailable", "WrongSchema"]
log = logging.getLogger(__name__)

ALLOWED = (
    "sqlite:///FILE, postgresql://USER@HOST[:PORT]/DATABASE, or mysql:// and mariadb:// likewise"
)
_UPGRADE_KEY = 0x6272697361  # for advisory locks: "brisa"


class Store:
    """One database; made without touching it. Raises StoreError for a URL that it cannot use.

    read_only: never writes, and gives up soon.
    """

    def __init__(self, url: str, password: str | None = None, *, read_only: bool = False) -> None:
        self.shown = _shown(url)
        self._url = _parsed(url, self.shown, password)
        self._read_only = read_only
        local = self._url.drivername == "sqlite"
        self._path = Path(self._url.database or "").absolute() if local else None
        self._made = False  # the file was there once: it is not for us to begin another

    @cached_property
    def engine(self) -> Engine:
        if self._path is not None:
            return sqlite_engine(self._path, read_only=self._read_only)
        return server_engine(self._url, read_only=self._read_only)

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction that writes; committed at the end of the block, or not at all.

        Raises StoreError, for what the block does as well.
        """
        return self._transaction(write=True)

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the database throughout. Raises StoreError."""
        level = {} if self._path else {"isolation_level": "REPEATABLE READ"}
        return self._transaction(**level)

    @contextmanager
    def _transaction(self, **options: object) -> Iterator[Connection]:
        try:
            with (
                self.engine.connect() as connection,
                connection.execution_options(**options).begin(),
            ):
                yield connection
        except sa.exc.DBAPIError as error:
            self._say(error.orig or error)
        except self.engine.dialect.loaded_dbapi.Error as error:  # COPY is the driver's own
            self._say(error)
        except sa.exc.TimeoutError:
            raise Unavailable(f"{self.shown}: every connection is in use") from None

    def _say(self, error: BaseException) -> NoReturn:
        kind, text = fault(error, self.engine.dialect.loaded_dbapi)
        if self._path is not None and not self._path.exists():
            kind = Unavailable
            text = "there is no such file: put it back, or restart the recorder"
        what = " is not as brisa made it" if kind is WrongSchema else ""
        raise kind(f"{self.shown}{what}: {text}") from error

    def close(self) -> None:
        """Close the connections; the next transaction opens new ones."""
        self.engine.dispose()

    # ---- schema

    def check(self) -> None:
        """Is the schema ours? Raises WrongSchema, or another StoreError."""
        if self._path is not None and not self._path.exists():
            how = "`python -m gateway.history` makes it"
            raise WrongSchema(f"{self.shown}: there is no such file; {how}")
        found = self._found()
        if not found:
            raise WrongSchema(self._no_tables)
        if found != HEAD:
            raise WrongSchema(
                f"{self.shown} was made by an older brisa (schema {found}, here {HEAD}):"
                " start `python -m gateway.history` once, which brings it up to date"
            )

    @property
    def _no_tables(self) -> str:
        return f"{self.shown} has no brisa tables yet: start `python -m gateway.history` once"

    def _found(self) -> str:
        """The schema's version, none later than ours; empty if there is none."""
        with self.read() as connection:
            found = _version(connection)
        if found > HEAD:
            raise WrongSchema(
                f"{self.shown} was made by a newer brisa (schema {found}); this one knows up to"
                f" {HEAD}: update this recorder"
            )
        return found

    def upgrade(self) -> None:
        """Make the tables, or bring them up to date; another that does so is waited for.

        A SQLite file is made only the first time: one that goes later is to be put back. Raises
        StoreError.
        """
        if self._path is not None and not self._made:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch()
            except OSError as error:
                raise StoreError(f"{self.shown}: {error.strerror}: {error.filename}") from None
            self._made = True
        if self._found() == HEAD:
            return
        with self.begin() as connection:
            _lock(connection)
            found = _version(connection)  # by now
            if found < HEAD:
                _migrate(connection)
                was = f"brought from schema {found}" if found else "new"
                log.info("history: %s is at schema %s, %s", self.shown, HEAD, was)
            _unlock(connection)


def _parsed(url: str, shown: str, password: str | None) -> URL:
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # a port that is no number
        raise StoreError(f"{shown}: allowed are {ALLOWED}") from None
    if parsed.password is not None or "password" in parsed.query:
        raise StoreError(f"{shown}: a password belongs in BRISA_HISTORY_PASSWORD_FILE")
    local = parsed.drivername == "sqlite"
    foreign = parsed.drivername not in DRIVERS or not parsed.database
    if foreign or (local and (parsed.host or parsed.query or parsed.database == ":memory:")):
        raise StoreError(f"{shown}: allowed are {ALLOWED}")
    return parsed.set(drivername=DRIVERS[parsed.drivername], password=password or None)


def _shown(url: str) -> str:
    """A URL without what may be a secret: a password, or what comes after `?`."""
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.partition("?")[0].rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}{separator}{user}{colon and ':…'}{at}{place}"


def _version(connection: Connection) -> str:
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    table = sa.table("alembic_version", sa.column("version_num"))
    return str(connection.scalar(sa.select(table.c.version_num)) or "")


def _lock(connection: Connection) -> None:
    """Nobody else upgrades this database now. (In SQLite the transaction itself is alone.)"""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_KEY})")
    elif connection.dialect.name == "mysql":
        connection.exec_driver_sql(f"SELECT GET_LOCK('{_UPGRADE_KEY}', {QUERY_S})")


def _unlock(connection: Connection) -> None:
    if connection.dialect.name == "mysql":  # which gives up the lock of a connection that is lost
        connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{_UPGRADE_KEY}')")


def _migrate(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it has a line for each of its plugins
    from alembic import command, config  # noqa: PLC0415 - megabytes that are seldom needed

    settings = config.Config(attributes={"connection": connection})
    folder = str(Path(__file__).with_name("migrations"))
    settings.set_main_option("script_location", folder.replace("%", "%%"))
    command.upgrade(settings, "head")
