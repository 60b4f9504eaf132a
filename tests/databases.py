"""Real databases for tests: Debian's PostgreSQL and MariaDB, and SQLite as a file.

A server runs on a free port with its data in a folder of its own below /tmp, as an unprivileged
user (both refuse to be root), and ends with the process that started it. A test gets a database
of its own on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import pymysql

from tests.support import PATIENCE_S, eventually, free_port

FOLDER = "brisa-database-"
USER = "brisa"  # may do all in its own database, and nothing else
_SHARE = Path("/usr/share/mysql")
Rows = list[tuple[Any, ...]]


class NotInstalledError(Exception):
    """A server is not on this machine; the text says how to get it."""


class Server(ABC):
    """A database server of our own. `durable`: it syncs to the disk as it would in earnest.

    Start it from the main thread: it is killed when the thread that started it ends.
    """

    kind: str
    package: str
    death: str  # the signal it gets when we are gone

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self._program = self.find()
        self._as_user = _as_user(self.death)
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._lock = (self.folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # until we end, however that comes
        if os.geteuid() == 0:
            os.chown(self.folder, *_unprivileged())
        self._log: IO[bytes] | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._initialise()

    @classmethod
    @abstractmethod
    def find(cls) -> Path:
        """The program. Raises NotInstalledError."""

    @abstractmethod
    def _initialise(self) -> None: ...
    @abstractmethod
    def _command(self) -> Sequence[str]: ...
    @abstractmethod
    def query(self, database: str, user: str, sql: str) -> Rows:
        """What `sql` gives, on a connection of its own; committed."""

    @abstractmethod
    def create(self, name: str) -> None:
        """Make an empty database that belongs to USER."""

    @abstractmethod
    def drop(self, name: str) -> None: ...

    def start(self) -> None:
        self._log = (self.folder / "log").open("ab")
        self._popen = subprocess.Popen(
            [*self._as_user, *self._command()],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        eventually(f"{self.kind} answers", self._answers)

    def _answers(self) -> bool:
        assert self._popen is not None
        if self._popen.poll() is not None:
            raise RuntimeError(f"{self.kind} ended:\n{(self.folder / 'log').read_text()[-2000:]}")
        with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
            return self.query(self._maintenance, "admin", "SELECT 1") == [(1,)]
        return False

    _maintenance: str

    def kill(self) -> None:
        """As the kernel's out-of-memory killer would: the server and all that it started."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGSTOP)  # it starts nothing more, and tidies up nothing
        children = _children(self._popen.pid)
        for pid in (*children, self._popen.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._ended()
        eventually("its children are gone", lambda: not any(_lives(pid) for pid in children))

    def stop(self) -> None:
        """End it in order; clients are thrown out."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM)
        self._ended()

    def _ended(self) -> None:
        if self._popen is not None:
            self._popen.wait(PATIENCE_S)
        if self._log is not None:
            self._log.close()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        if self._popen is not None and self._popen.poll() is None:
            self.stop()
        self._lock.close()
        shutil.rmtree(self.folder)

    def _run(self, *command: str, stdin: bytes = b"") -> None:
        done = subprocess.run(
            [*self._as_user, *command],
            cwd="/",
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout.decode(errors='replace')[-2000:]}")

    def _private(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, *_unprivileged())
        return path


class PostgresqlServer(Server):
    kind = "postgresql"
    package = "postgresql"
    death = "QUIT"  # at once, but its shared memory goes with it
    _maintenance = "postgres"

    @classmethod
    def find(cls) -> Path:
        found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
        newest = max(found, key=lambda path: int(path.parent.parent.name), default=None)
        if newest is None:
            raise NotInstalledError(_not_installed(cls))
        return newest

    def program(self, name: str) -> str:
        """Another program of the same version, such as pg_dump."""
        return str(self._program.with_name(name))

    def _initialise(self) -> None:
        password = self._private("password", self.password)
        self._run(
            self.program("initdb"), "--no-sync", "--username=admin", f"--pwfile={password}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
            f"--pgdata={self.folder / 'data'}",
        )  # fmt: skip
        self.start()
        self.query("postgres", "admin", f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'")

    def _command(self) -> Sequence[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # below the data folder, and gone with it
        }
        if not self.durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(self._program), "-D", str(self.folder / "data"), *words]

    def connect(self, database: str, user: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=user,
            password=self.password,
            autocommit=True,
        )

    def query(self, database: str, user: str, sql: str) -> Rows:
        with contextlib.closing(self.connect(database, user)) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, name: str) -> None:
        self.query("postgres", "admin", f"CREATE DATABASE {name} OWNER {USER}")

    def drop(self, name: str) -> None:
        self.query("postgres", "admin", f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        if self._popen is not None and self._popen.poll() is None:
            self.stop()
        with contextlib.suppress(FileNotFoundError, IndexError):
            # its seventh line: key and id of a System V segment, which outlives a kill
            pid_file = (self.folder / "data" / "postmaster.pid").read_text()
            segment = pid_file.splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], check=False, stderr=subprocess.DEVNULL)
        super().close()


class MariadbServer(Server):
    kind = "mariadb"
    package = "mariadb-server-core"
    death = "KILL"
    _maintenance = "mysql"

    @classmethod
    def find(cls) -> Path:
        path = Path("/usr/sbin/mariadbd")
        if not path.exists():
            raise NotInstalledError(_not_installed(cls))
        return path

    def _initialise(self) -> None:
        for name in ("data", "tmp"):
            (self.folder / name).mkdir()
            if os.geteuid() == 0:
                os.chown(self.folder / name, *_unprivileged())
        names = ("system_tables", "performance_tables", "system_tables_data")
        lines = ["create database mysql;", "use mysql;"]
        for name in names:
            text = (_SHARE / f"mysql_{name}.sql").read_text()
            # as mariadb-install-db does: what is for the host's name is for others
            lines += [line for line in text.splitlines() if "@current_hostname" not in line]
        accounts = [
            "use mysql;",
            "DELETE FROM global_priv WHERE User = 'root';",
            "FLUSH PRIVILEGES;",
            *(
                f"CREATE USER {user}@127.0.0.1 IDENTIFIED BY '{self.password}';"
                for user in ("admin", USER)
            ),
            "GRANT ALL ON *.* TO admin@127.0.0.1 WITH GRANT OPTION;",
        ]
        script = "\n".join([*lines, *accounts, ""]).encode()
        self._run(*self._command(), "--bootstrap", stdin=script)
        self.start()

    def _command(self) -> Sequence[str]:
        sync = [] if self.durable else ["--innodb-flush-method=nosync"]
        return [
            str(self._program), "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
            f"--socket={self.folder / 'data' / 'socket'}",
            # each server removes at its start what it finds in there of others
            f"--tmpdir={self.folder / 'tmp'}",
            # as in Debian's own configuration
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
            "--innodb-log-file-size=16M", "--performance-schema=OFF", *sync,
        ]  # fmt: skip

    def query(self, database: str, user: str, sql: str) -> Rows:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            database=database,
            user=user,
            password=self.password,
            autocommit=True,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def create(self, name: str) -> None:
        self.query("mysql", "admin", f"CREATE DATABASE {name}")
        self.query("mysql", "admin", f"GRANT ALL ON {name}.* TO {USER}@127.0.0.1")

    def drop(self, name: str) -> None:
        self.query("mysql", "admin", f"DROP DATABASE {name}")


@dataclass
class Database:
    """An empty database for one test, named as BRISA_HISTORY_URL wants it.

    kill, start and stop are of the whole server, and nothing for SQLite, which has none.
    """

    kind: str
    url: str  # without the password
    password: str
    password_file: Path
    server: Server | None = None
    name: str = ""  # SQLite: its file's path

    @property
    def env(self) -> dict[str, str]:
        if self.server is None:
            return {"BRISA_HISTORY_URL": self.url}
        return {
            "BRISA_HISTORY_URL": self.url,
            "BRISA_HISTORY_PASSWORD_FILE": str(self.password_file),
        }

    def kill(self) -> None:
        if self.server is not None:
            self.server.kill()

    def start(self) -> None:
        if self.server is not None:
            self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    def query(self, sql: str) -> Rows:
        """What `sql` gives, by the database's own client and not by ours; committed."""
        if self.server is not None:
            return self.server.query(self.name, USER, sql)
        opened = sqlite3.connect(self.name, timeout=PATIENCE_S)
        with contextlib.closing(opened), opened as connection:
            return connection.execute(sql).fetchall()


@contextlib.contextmanager
def sqlite_database(folder: Path) -> Iterator[Database]:
    path = folder / "history.db"
    yield Database("sqlite", f"sqlite:///{path}", "", folder / "none", name=str(path))


@contextlib.contextmanager
def database_on(server: Server, folder: Path) -> Iterator[Database]:
    """A database of its own on a running server; gone at the end, with its connections."""
    name = f"history_{secrets.token_hex(4)}"
    password_file = folder / f"{name}.password"
    password_file.write_text(server.password + "\n")
    password_file.chmod(0o600)
    server.create(name)
    url = f"{server.kind}://{USER}@127.0.0.1:{server.port}/{name}"
    yield Database(server.kind, url, server.password, password_file, server, name)
    with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
        server.drop(name)  # a test may have left the server dead


SERVERS: dict[str, type[Server]] = {
    "postgresql": PostgresqlServer,
    "mariadb": MariadbServer,
}


def _not_installed(cls: type[Server]) -> str:
    return f"{cls.kind} is not installed: apt-get install {cls.package}"


def _unprivileged() -> tuple[int, int]:
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _as_user(death: str) -> list[str]:
    """A prefix for commands: not as root, and killed when we are gone."""
    if shutil.which("setpriv") is None:
        raise NotInstalledError("setpriv is not installed: apt-get install util-linux")
    words = ["setpriv", "--pdeathsig", death]
    if os.geteuid() == 0:
        uid, gid = _unprivileged()
        words += [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    return words


def sweep() -> None:
    """Remove what test processes left that were killed: their locks are free."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _stat(pid: int | str) -> list[str]:
    """State, parent and more of a process; empty for one that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _children(parent: int) -> list[int]:
    found = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [int(pid) for pid in found if _stat(pid)[1:2] == [str(parent)]]


def _lives(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])
