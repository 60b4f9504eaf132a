"""The database: restored from an old copy while all runs; and one that comes late."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.harness import Chaos, Truth, running
from tests.databases import USER, Database, PostgresqlServer
from tests.support import PATIENCE_S, RunningBroker, eventually


def copied(source: Path, target: Path) -> None:
    """By SQLite's own backup: whole, whoever writes at the same time."""
    here, there = sqlite3.connect(source), sqlite3.connect(target, timeout=PATIENCE_S)
    with contextlib.closing(here), contextlib.closing(there):
        here.backup(there)


def sqlite_copy(database: Database, folder: Path) -> Callable[[], None]:
    copy = folder / "copy.db"
    copied(Path(database.name), copy)
    return lambda: copied(copy, Path(database.name))


def sqlite_file(database: Database, folder: Path) -> Callable[[], None]:
    """Another file comes to lie in its place, while the recorder has the old one open."""
    copy, path = folder / "copy.db", Path(database.name)
    copied(path, copy)

    def restore() -> None:
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        copy.replace(path)

    return restore


def postgresql_dump(database: Database, folder: Path) -> Callable[[], None]:
    """pg_dump, and psql in one transaction."""
    server = database.server
    assert isinstance(server, PostgresqlServer)
    dump = folder / "dump.sql"
    where = ["--host=127.0.0.1", f"--port={server.port}", f"--username={USER}"]
    where.append(f"--dbname={database.name}")

    def run(program: str, *words: str) -> None:
        done = subprocess.run(
            [server.program(program), *where, *words],
            env={**os.environ, "PGPASSWORD": database.password},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    run("pg_dump", "--clean", "--if-exists", f"--file={dump}")
    return lambda: run(
        "psql", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={dump}"
    )


Copy = Callable[[Database, Path], Callable[[], None]]


def check_restore(broker: RunningBroker, database: Database, folder: Path, copy: Copy) -> None:
    with running(broker, database) as chaos:
        chaos.caught_up()
        restore = copy(database, folder)
        before = chaos.caught_up()
        chaos.heard(100)
        before = chaos.caught_up()
        recorder = chaos.system.recorder
        restore()
        eventually("the mark goes back", lambda: mark_now(chaos) < before)
        chaos.caught_up()
        assert chaos.ear.sent_again
        chaos.prove()
        assert chaos.system.recorder is recorder
        assert recorder is not None
        assert recorder.popen.poll() is None


def mark_now(chaos: Chaos) -> int:
    """The lowest of the latest that were said: the very last may be whole again."""
    return min(stored.seq for _, _, stored in chaos.ear.said[-10:])


@pytest.mark.parametrize("copy", [sqlite_copy, sqlite_file])
def test_sqlite_is_restored_while_all_runs(
    copy: Copy, mosquitto: RunningBroker, sqlite: Database, tmp_path: Path
) -> None:
    check_restore(mosquitto, sqlite, tmp_path, copy)


def test_postgresql_is_restored_while_all_runs(
    mosquitto: RunningBroker, postgresql: Database, tmp_path: Path
) -> None:
    check_restore(mosquitto, postgresql, tmp_path, postgresql_dump)


def test_the_recorder_comes_to_a_system_that_ran_without_it(
    mosquitto: RunningBroker, database: Database
) -> None:
    with running(mosquitto, database, recorder=False) as chaos:
        chaos.heard(300)
        edge = chaos.part("edge")
        edge.kill()
        edge.start()
        newest = chaos.heard(100)
        assert not chaos.ear.said
        assert not chaos.ear.sent_again  # nobody said that anything is missing
        chaos.system.start_recorder()
        chaos.stored_up_to(newest)
        chaos.caught_up()
        chaos.prove()


def test_two_recorders_by_mistake(mosquitto: RunningBroker, database: Database) -> None:
    """Both write, and both say how far they are, now one and now the other later than it is."""
    with running(mosquitto, database) as chaos, Truth(chaos) as truth:
        first = chaos.system.recorder
        assert first is not None
        with first:
            second = chaos.system.start_recorder()
            second.wait_for("connected to the broker")
            chaos.heard(300)
            chaos.caught_up()
            chaos.prove()
            for recorder in (first, second):
                assert recorder.popen.poll() is None
                assert not re.search("WARN|ERROR|Traceback", recorder.output)
        assert truth.checked
        assert not truth.lies


def test_the_database_is_away_and_comes_back(
    mosquitto: RunningBroker, own_postgresql: Database
) -> None:
    with running(mosquitto, own_postgresql) as chaos:
        chaos.caught_up()
        own_postgresql.stop()
        chaos.heard(500)
        own_postgresql.start()
        chaos.caught_up()
        chaos.prove()
        recorder = chaos.system.recorder
        assert recorder is not None
        assert "Traceback" not in recorder.output
