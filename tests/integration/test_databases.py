"""The database servers that tests run on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pymysql
import pytest

from tests.databases import Database, sweep
from tests.support import REPOSITORY, eventually

BAD_LOGIN = (psycopg.OperationalError, pymysql.err.OperationalError)


def test_a_test_has_an_empty_database_of_its_own(any_database: Database) -> None:
    assert any_database.password not in any_database.url or not any_database.password
    any_database.query("CREATE TABLE a (b INTEGER)")
    any_database.query("INSERT INTO a VALUES (1), (2)")
    assert any_database.query("SELECT b FROM a ORDER BY b") == [(1,), (2,)]


def test_what_was_committed_survives_a_kill(any_server: Database) -> None:
    any_server.query("CREATE TABLE a (b INTEGER)")
    any_server.query("INSERT INTO a VALUES (1)")
    any_server.kill()
    with pytest.raises(BAD_LOGIN):
        any_server.query("SELECT b FROM a")
    any_server.start()
    assert any_server.query("SELECT b FROM a") == [(1,)]
    any_server.stop()
    any_server.start()
    assert any_server.query("SELECT b FROM a") == [(1,)]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_wrong_password_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)
    assert database.server is not None
    right, database.server.password = database.server.password, "wrong"
    try:
        with pytest.raises(BAD_LOGIN, match="password"):
            database.query("SELECT 1")
    finally:
        database.server.password = right


HOLDER = """
import sys, threading
from tests.databases import SERVERS
server = SERVERS[sys.argv[1]](durable=False)
print(server._popen.pid, server.folder, flush=True)
threading.Event().wait()
"""


@pytest.mark.usefixtures("postgresql", "mariadb")  # both are installed
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_ends_with_the_process_that_started_it(kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
        os.kill(holder.pid, signal.SIGKILL)
    eventually("the server is gone", lambda: not Path(f"/proc/{pid}").exists())
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as second:
        assert second.stdout is not None
        second.stdout.readline()
        assert not Path(folder).exists()  # the next one that starts tidies up
        second.kill()
    sweep()
