"""Fixtures that need a real broker, or a real database."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from broker.local import mosquitto_path
from tests.databases import (
    SERVERS,
    Database,
    NotInstalledError,
    Server,
    database_on,
    sqlite_database,
)
from tests.proxy import Proxy
from tests.support import RunningBroker, running_broker

NODES = ("pi-1", "pi-2")

# A shell starts what runs behind it with Ctrl-C ignored, and so would all be that the tests start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skip is a failure: what was not run was not shown."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {item.nodeid}: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests noted of their run: seeds, by which it can be had again."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    if name == "note":
                        terminalreporter.write_line(f"{report.nodeid}: {value}")


def need_mosquitto() -> None:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed: apt-get install mosquitto mosquitto-clients")


@pytest.fixture(params=["mosquitto", "embedded"])
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    """Each of the two brokers in turn."""
    if request.param == "mosquitto":
        need_mosquitto()
    with running_broker(request.param, tmp_path / "broker", NODES) as broker:
        yield broker


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[RunningBroker]:
    """The real Mosquitto, with the configuration and the ACL of the cluster."""
    need_mosquitto()
    with running_broker("mosquitto", tmp_path / "broker", NODES) as broker:
        yield broker


@contextlib.contextmanager
def need_server(kind: str, *, durable: bool) -> Iterator[Server]:
    try:
        server = SERVERS[kind](durable=durable)
    except NotInstalledError as error:
        pytest.skip(str(error))
    with contextlib.closing(server):
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """One for all the tests of this process: do not kill it."""
    with need_server("postgresql", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """One for all the tests of this process: do not kill it."""
    with need_server("mariadb", durable=False) as server:
        yield server


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """A file that is not there yet."""
    with sqlite_database(tmp_path) as database:
        yield database


@pytest.fixture
def postgresql(postgresql_server: Server, tmp_path: Path) -> Iterator[Database]:
    """An empty database on a real PostgreSQL that others use too."""
    with database_on(postgresql_server, tmp_path) as database:
        yield database


@pytest.fixture
def mariadb(mariadb_server: Server, tmp_path: Path) -> Iterator[Database]:
    """An empty database on a real MariaDB that others use too."""
    with database_on(mariadb_server, tmp_path) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_database(request: pytest.FixtureRequest) -> Database:
    """Each of the three kinds in turn, empty."""
    database: Database = request.getfixturevalue(request.param)
    return database


@pytest.fixture(params=["postgresql", "mariadb"])
def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Each of the two kinds in turn, on a server of the test's own, which it may kill."""
    with need_server(request.param, durable=True) as server, database_on(server, tmp_path) as own:
        yield own


@pytest.fixture
def own_postgresql(tmp_path: Path) -> Iterator[Database]:
    """An empty database on a PostgreSQL of the test's own, which it may kill."""
    with need_server("postgresql", durable=True) as server, database_on(server, tmp_path) as own:
        yield own


@pytest.fixture
def proxy(mosquitto: RunningBroker) -> Iterator[Proxy]:
    """A TCP proxy before Mosquitto, which a test may cut or hold."""
    with Proxy(mosquitto.port) as between:
        yield between
