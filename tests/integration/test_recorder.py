"""`python -m gateway.history` as a process, on real brokers and databases; the test is the edge."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from broker.contract import Backfill, Kind, Stored, Topics, parse_payload
from broker.session import Message, NotConnectedError, Session, Subscription, unique_client_id
from gateway.history.inbox import Inbox
from gateway.history.recorder import Recorder
from gateway.history.store import Store
from gateway.history.writer import Writer
from gateway.rejections import Rejections
from tests.databases import Database, sqlite_database
from tests.support import (
    PATIENCE_S,
    REPOSITORY,
    Process,
    RunningBroker,
    eventually,
    free_port,
    python,
)

STREAM = UUID("00000000-0000-4000-8000-000000000001")
TOPICS = Topics()
ROWS = "SELECT seq FROM reading ORDER BY seq"


def measured(seq: int) -> dict[str, object]:
    return {
        "seq": seq,
        "measured_at": f"2026-11-23T12:{seq // 60 % 60:02}:{seq % 60:02}Z",
        "clock_synchronised": True,
        "temperature_c": 20.0 + seq % 10,
        "humidity_pct": 41.0,
        "source": "dht11",
    }


class Edge:
    """What an edge does on the wire, by hand. `check` is called with each `stored`, as it comes."""

    def __init__(
        self, broker: RunningBroker, check: Callable[[Stored], None] | None = None
    ) -> None:
        self.stored: dict[str, Stored] = {}
        self.heard = 0
        self.faults: list[str] = []
        self._check = check
        self.session = Session(
            broker.settings("pi-1"),
            client_id=unique_client_id("test"),
            protocol=5,
            subscriptions=[Subscription("brisa/pi-1/+/stored", qos=1)],
            on_message=self._take,
        )
        self.session.start()
        assert self.session.wait_until_up(PATIENCE_S)

    def _take(self, message: Message) -> None:
        if message.payload:
            stored = parse_payload(Stored, message.payload)
            self.stored[TOPICS.parse(message.topic).sensor] = stored
            self.heard += 1
            if self._check is not None:
                try:
                    self._check(stored)
                except AssertionError as error:
                    self.faults.append(str(error))

    def publish(self, kind: Kind, payload: dict[str, object], sensor: str = "dht11") -> None:
        topic = TOPICS.of(kind, "pi-1", sensor)
        text = json.dumps({"stream": str(STREAM), **payload}).encode()

        def published() -> bool:
            try:
                self.session.publish(topic, text, retain=kind is not Kind.BACKFILL)
            except NotConnectedError:
                return False
            return True

        eventually("published", published)

    def readings(self, *seqs: int, sensor: str = "dht11") -> None:
        for seq in seqs:
            self.publish(Kind.READING, measured(seq), sensor)

    def backfill(self, seqs: Sequence[int], after: int | None = None) -> None:
        readings = [measured(seq) for seq in seqs]
        Backfill.model_validate_json(
            json.dumps({"stream": str(STREAM), "after": after, "readings": readings})
        )
        vouched = {} if after is None else {"after": after}
        self.publish(Kind.BACKFILL, {"readings": readings, **vouched})

    def health(self, **fields: object) -> None:
        health = {
            "state": "ok",
            "since": "2026-11-23T12:00:00Z",
            "driver": "iio",
            "model": "dht11",
            "interval_s": 1.0,
        }
        self.publish(Kind.HEALTH, {**health, **fields})

    def wait_for(self, seq: int, sensor: str = "dht11") -> Stored:
        def there() -> Stored | None:
            stored = self.stored.get(sensor)
            return stored if stored is not None and stored.seq == seq else None

        return eventually(f"{sensor} stored up to {seq}", there)


@contextlib.contextmanager
def running_edge(
    broker: RunningBroker, check: Callable[[Stored], None] | None = None
) -> Iterator[Edge]:
    edge = Edge(broker, check)
    try:
        yield edge
    finally:
        edge.session.stop()
    assert edge.faults == []


def start_recorder(broker: RunningBroker, database: Database, **variables: str) -> Process:
    env = {
        "BRISA_KEEPALIVE_S": "5",
        "BRISA_COMMIT_S": "0.05",
        "BRISA_HEALTH_HOST": "127.0.0.1",
        "BRISA_HEALTH_PORT": str(free_port()),
        **broker.env("recorder"),
        **database.env,
        **{f"BRISA_{name}": value for name, value in variables.items()},
    }
    recorder = python("-m", "gateway.history", env=env)
    recorder.url = f"http://127.0.0.1:{env['BRISA_HEALTH_PORT']}"
    return recorder


@contextlib.contextmanager
def running_recorder(
    broker: RunningBroker, database: Database, **variables: str
) -> Iterator[Process]:
    """One that hears what is published from now on."""
    with start_recorder(broker, database, **variables) as recorder:
        eventually("ready", lambda: ready(recorder))
        yield recorder


def get(recorder: Process, path: str) -> tuple[int, str]:
    answer = httpx.get(f"{recorder.url}{path}", timeout=PATIENCE_S)
    return answer.status_code, answer.text


def metric(recorder: Process, name: str) -> float:
    for family in text_string_to_metric_families(get(recorder, "/metrics")[1]):
        for sample in family.samples:
            if sample.name == f"brisa_recorder_{name}":
                return sample.value
    raise AssertionError(f"no {name}")


def ready(recorder: Process) -> bool:
    return get(recorder, "/readyz") == (200, "ok\n")


def seqs(database: Database) -> list[int]:
    return [seq for (seq,) in database.query(ROWS)]


# ---- the way of a reading


def test_a_reading_is_stored_and_only_then_said_to_be(
    any_broker: RunningBroker, sqlite: Database
) -> None:
    def check(stored: Stored) -> None:
        there = seqs(sqlite)
        assert set(range(1, stored.seq + 1)) <= set(there), f"{stored.seq}: {there}"

    with running_recorder(any_broker, sqlite) as recorder:
        with running_edge(any_broker, check) as edge:
            for seq in range(1, 51):
                edge.readings(seq)
            edge.wait_for(50)
            edge.readings(1, 2, sensor="patio")
            assert edge.wait_for(2, "patio").stream == STREAM
        assert get(recorder, "/healthz") == (200, "ok\n")
        assert metric(recorder, "commit_seconds_count") > 0
        assert metric(recorder, "database_up") == 1
        assert recorder.stop() == 0
        assert recorder.output.count("\n") <= 5
        assert "Traceback" not in recorder.output


def test_holes_are_filled_or_found_to_be_lost_on_each_database(
    mosquitto: RunningBroker, any_database: Database
) -> None:
    with running_recorder(mosquitto, any_database), running_edge(mosquitto) as edge:
        edge.readings(1, 2, 5, 6)
        edge.wait_for(2)
        edge.backfill([3, 4])
        edge.wait_for(6)
        edge.readings(10)
        edge.backfill([8], after=6)  # it has no 7; 9 is to come
        assert edge.wait_for(8).missing == 1
        edge.health(oldest_seq=10, newest_seq=10)
        assert edge.wait_for(10).missing == 0
        assert seqs(any_database) == [1, 2, 3, 4, 5, 6, 8, 10]
        lost = "SELECT first_seq, last_seq FROM span WHERE kind = 'lost' ORDER BY first_seq"
        assert any_database.query(lost) == [(7, 7), (9, 9)]
        edge.backfill([9])  # and after all …
        eventually("stored", lambda: seqs(any_database)[-2:] == [9, 10])


def test_each_backfill_is_answered(mosquitto: RunningBroker, sqlite: Database) -> None:
    with running_recorder(mosquitto, sqlite), running_edge(mosquitto) as edge:
        edge.readings(1)
        edge.wait_for(1)
        heard = edge.heard
        edge.backfill([1])
        eventually("said again", lambda: edge.heard > heard)
        assert edge.stored["dht11"].seq == 1


def test_a_day_comes_in_by_backfill(any_broker: RunningBroker, sqlite: Database) -> None:
    day = 17_280
    with running_recorder(any_broker, sqlite), running_edge(any_broker) as edge:
        for first in range(1, day, 240):
            edge.backfill(range(first, first + 240), after=first - 1)
        edge.wait_for(day)
        assert sqlite.query("SELECT COUNT(*) FROM reading") == [(day,)]


def test_what_strangers_send_is_counted_in_one_line(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with running_recorder(mosquitto, sqlite) as recorder, running_edge(mosquitto) as edge:
        for _ in range(50):
            edge.session.publish("brisa/pi-1/x/reading", b"{}")
            edge.session.publish("brisa/pi-1/x/reading", b"", retain=True)
        edge.readings(1)
        edge.wait_for(1)
        recorder.wait_for("not stored: [0-9]+ bad_payload")
        eventually("counted", lambda: metric(recorder, "rejected_total") is not None)
        assert len([line for line in recorder.lines if "not stored" in line]) == 1


# ---- restarts


def test_sigterm_writes_and_says_what_is_queued(
    any_broker: RunningBroker, sqlite: Database
) -> None:
    with (
        running_recorder(any_broker, sqlite, COMMIT_S="60") as recorder,
        running_edge(any_broker) as edge,
    ):
        edge.readings(*range(1, 51))
        eventually("queued", lambda: metric(recorder, "queue_messages") == 50)
        assert sqlite.query("SELECT COUNT(*) FROM reading") == [(0,)]
        assert recorder.stop() == 0
        assert seqs(sqlite) == list(range(1, 51))
        edge.wait_for(50)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_time_ends_it_quietly(
    mosquitto: RunningBroker, sqlite: Database, number: signal.Signals
) -> None:
    with start_recorder(mosquitto, sqlite) as recorder:
        recorder.wait_for(" into sqlite:")
        assert recorder.stop(number) == 0
        assert "Traceback" not in recorder.output


def test_a_new_recorder_puts_right_what_is_said(
    any_broker: RunningBroker, sqlite: Database
) -> None:
    with running_edge(any_broker) as edge:
        with running_recorder(any_broker, sqlite) as recorder:
            edge.readings(1, 2, 3)
            edge.wait_for(3)
            recorder.stop(signal.SIGKILL)
        other = Session(
            any_broker.settings("recorder"), client_id=unique_client_id("test"), protocol=4
        )
        other.start()
        assert other.wait_until_up(PATIENCE_S)
        wrong = Stored(stream=STREAM, seq=77).to_json()
        other.publish("brisa/pi-1/dht11/stored", wrong, retain=True)
        assert other.stop()
        edge.wait_for(77)
        with running_recorder(any_broker, sqlite):
            edge.wait_for(3)


def test_a_broker_that_forgot_everything_hears_it_again(
    any_broker: RunningBroker, sqlite: Database
) -> None:
    with running_recorder(any_broker, sqlite) as recorder, running_edge(any_broker) as edge:
        edge.readings(1, 2, 3)
        edge.wait_for(3)
        any_broker.kill()
        for path in (any_broker.state / "data").glob("*"):
            path.unlink()
        eventually("noticed", lambda: not ready(recorder))
        assert get(recorder, "/healthz")[0] == 200
        edge.stored.clear()
        any_broker.start()
        eventually("ready again", lambda: ready(recorder))
        edge.readings(3)
        edge.wait_for(3)


def test_two_recorders_by_mistake_lose_and_double_nothing(
    mosquitto: RunningBroker, any_database: Database
) -> None:
    with (
        running_recorder(mosquitto, any_database) as one,
        running_recorder(mosquitto, any_database) as two,
    ):
        with running_edge(mosquitto) as edge:
            edge.readings(*range(1, 201))
            edge.backfill(range(1, 201))
            edge.wait_for(200)
        assert seqs(any_database) == list(range(1, 201))
        assert any_database.query("SELECT SUM(readings) FROM hour") == [(200,)]
        for recorder in (one, two):
            assert recorder.stop() == 0
            assert "Traceback" not in recorder.output


# ---- a database that is away, full, or not ours


def test_a_lock_that_somebody_holds_is_waited_for(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with running_recorder(mosquitto, sqlite) as recorder, running_edge(mosquitto) as edge:
        edge.readings(1)
        edge.wait_for(1)
        with contextlib.closing(sqlite3.connect(sqlite.name, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            edge.readings(2, 3)
            line = recorder.wait_for("trying again")
            assert "locked" in line
            assert sqlite.name in line
            status, text = get(recorder, "/readyz")
            assert (status, "locked" in text) == (503, True)
            assert get(recorder, "/healthz") == (200, "ok\n")
            assert metric(recorder, "database_up") == 0
            other.execute("ROLLBACK")
        recorder.wait_for("the database is back after [0-9]+ s; 0 messages were dropped")
        edge.wait_for(3)
        assert len([line for line in recorder.lines if "trying again" in line]) == 1


def test_a_database_that_comes_later_is_waited_for(
    mosquitto: RunningBroker, own_postgresql: Database
) -> None:
    own_postgresql.stop()
    with start_recorder(mosquitto, own_postgresql) as recorder, running_edge(mosquitto) as edge:
        recorder.wait_for("trying again")
        edge.readings(1)
        own_postgresql.start()
        edge.wait_for(1)
        recorder.wait_for("the database is back")
        own_postgresql.kill()
        edge.readings(2)
        recorder.wait_for("trying again")
        edge.readings(3)
        own_postgresql.start()
        edge.wait_for(3)
        assert "Traceback" not in recorder.output


def test_what_the_queue_has_no_room_for_comes_by_backfill(
    mosquitto: RunningBroker, own_postgresql: Database
) -> None:
    store = Store(own_postgresql.url, own_postgresql.password)
    inbox = Inbox(max_messages=10)
    recorder = Recorder(
        store,
        Writer(store, utc_now_ms=lambda: 1_795_000_000_000),
        TOPICS,
        Rejections(),
        commit_s=0.0,
        inbox=inbox,
    )
    session = Session(
        mosquitto.settings("recorder"),
        client_id=unique_client_id("recorder"),
        protocol=5,
        subscriptions=[Subscription("brisa/#", qos=1)],
        on_message=recorder.on_message,
        on_up=recorder.on_up,
    )
    recorder.watch(session)
    session.start()
    recorder.start()
    try:
        with running_edge(mosquitto) as edge:
            edge.readings(1)
            edge.wait_for(1)
            own_postgresql.kill()
            edge.readings(*range(2, 101))
            eventually("dropped", lambda: inbox.dropped > 50)
            assert len(inbox) == 10
            assert recorder.alive() == []
            own_postgresql.start()
            eventually("back", lambda: recorder.database_up and edge.stored["dht11"].seq > 1)
            while (done := edge.stored["dht11"].seq) < 100:
                heard = edge.heard
                edge.backfill(range(done + 1, min(done + 41, 101)), after=done)
                eventually("answered", functools.partial(lambda before: edge.heard > before, heard))
        assert seqs(own_postgresql) == list(range(1, 101))
    finally:
        assert recorder.stop(PATIENCE_S)
        session.stop()
        store.close()


def test_a_node_that_floods_it_takes_its_own_share_of_memory_and_queue(
    mosquitto: RunningBroker, own_postgresql: Database
) -> None:
    """While the database is away; when it is back, another's reading is not behind the flood."""
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
    limit_mib = int(compose["services"]["recorder"]["mem_limit"].removesuffix("m"))
    flood = Session(mosquitto.settings("pi-2"), client_id=unique_client_id("flood"), protocol=5)
    flood.start()
    assert flood.wait_until_up(PATIENCE_S)
    with (
        running_recorder(mosquitto, own_postgresql) as recorder,
        running_edge(mosquitto) as edge,
    ):
        edge.readings(1)
        edge.wait_for(1)
        own_postgresql.kill()
        rows = [measured(seq) for seq in range(1, 201)]
        number = 0

        def full() -> bool:
            nonlocal number
            for _ in range(50):
                number += 1
                batch = {"stream": str(STREAM), "readings": rows, "after": 0}
                topic = TOPICS.of(Kind.BACKFILL, "pi-2", f"s{number % 100}")
                with contextlib.suppress(NotConnectedError):
                    flood.publish(topic, json.dumps(batch).encode())
            return metric(recorder, "dropped_total") > 0

        eventually("there is no more room", full)
        edge.readings(2)
        eventually("it is in the queue", lambda: metric(recorder, "queue_messages") > 0)
        status = Path(f"/proc/{recorder.popen.pid}/status").read_text(encoding="ascii")
        (used_kib,) = (int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
        assert used_kib / 1024 < limit_mib
        own_postgresql.start()
        edge.wait_for(2)
        assert metric(recorder, "queue_messages") > 0, "the flood was stored before it"
    flood.stop(0)


def test_a_disk_that_is_full_is_waited_for(mosquitto: RunningBroker, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        with (
            sqlite_database(disk) as database,
            running_recorder(mosquitto, database) as recorder,
            running_edge(mosquitto) as edge,
        ):
            edge.readings(1)
            edge.wait_for(1)
            with contextlib.suppress(OSError), (disk / "film").open("wb", buffering=0) as film:
                while film.write(bytes(4096)):
                    pass
            for first in range(2, 4802, 240):
                edge.backfill(range(first, first + 240))
            assert "disk is full" in recorder.wait_for("trying again")
            assert get(recorder, "/healthz") == (200, "ok\n")
            (disk / "film").unlink()
            recorder.wait_for("the database is back")
            edge.wait_for(4801)
            assert len([line for line in recorder.lines if "disk is full" in line]) == 1
            assert recorder.stop() == 0
            assert "Traceback" not in recorder.output
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_database_that_is_put_back_from_an_old_copy_is_believed(
    mosquitto: RunningBroker, sqlite: Database, tmp_path: Path
) -> None:
    with running_recorder(mosquitto, sqlite) as recorder, running_edge(mosquitto) as edge:
        edge.readings(1, 2, 3)
        edge.wait_for(3)
        copy = tmp_path / "copy.db"
        with (
            contextlib.closing(sqlite3.connect(sqlite.name)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        edge.readings(4, 5)
        edge.wait_for(5)
        for path in Path(sqlite.name).parent.glob("history.db*"):
            path.unlink()
        copy.rename(sqlite.name)
        edge.readings(6)
        edge.wait_for(3)
        edge.backfill([4, 5])
        edge.wait_for(6)
        assert recorder.stop() == 0
        assert seqs(sqlite) == [1, 2, 3, 4, 5, 6]


def test_a_newer_schema_is_refused_in_one_line(mosquitto: RunningBroker, sqlite: Database) -> None:
    with start_recorder(mosquitto, sqlite) as recorder:
        eventually("ready", lambda: ready(recorder))
        assert recorder.stop() == 0
    sqlite.query("UPDATE alembic_version SET version_num = '9999'")
    with start_recorder(mosquitto, sqlite) as recorder:
        assert recorder.wait() == 1
        said = [line for line in recorder.lines if "newer brisa (schema 9999)" in line]
        assert len(said) == 1
        assert "Traceback" not in recorder.output


def test_a_wrong_password_is_said_in_one_line(
    mosquitto: RunningBroker, postgresql: Database, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("n0t-this")
    with start_recorder(mosquitto, postgresql, HISTORY_PASSWORD_FILE=str(wrong)) as recorder:
        assert recorder.wait() == 1
        assert len([line for line in recorder.lines if "password authentication" in line]) == 1
        assert "Traceback" not in recorder.output
        assert "n0t-this" not in recorder.output


# ---- the rest of the world


def test_a_user_who_may_not_say_stored_is_told_so(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    account = mosquitto.env("viewer")
    variables = {name.removeprefix("BRISA_"): value for name, value in account.items()}
    with (
        start_recorder(mosquitto, sqlite, **variables) as recorder,
        running_edge(mosquitto) as edge,
    ):
        edge.readings(1)
        recorder.wait_for("the broker refused brisa/pi-1/dht11/stored: Not authorized")
        assert metric(recorder, "refused_total") == 1
        assert edge.stored == {}


def test_a_port_that_is_taken_is_said_in_one_line(
    mosquitto: RunningBroker, sqlite: Database
) -> None:
    with start_recorder(mosquitto, sqlite, HEALTH_PORT=str(mosquitto.port)) as recorder:
        assert recorder.wait() == 1
        assert recorder.lines == [
            f"recorder: BRISA_HEALTH_PORT: 127.0.0.1:{mosquitto.port} (0: none):"
            " Address already in use"
        ]


@pytest.mark.parametrize(
    ("variable", "value", "code", "line"),
    [
        ("COMMIT_S", "61", 2, "history: BRISA_COMMIT_S=61: allowed are 0 to 60"),
        ("HISTORY_URL", "sqlite:///:memory:", 1, "recorder: sqlite:///:memory:: allowed are"),
    ],
)
def test_a_setting_that_is_not_allowed_is_said_in_one_line(
    variable: str, value: str, code: int, line: str
) -> None:
    with python("-m", "gateway.history", env={f"BRISA_{variable}": value}) as recorder:
        assert recorder.wait() == code
        assert len(recorder.lines) == 1
        assert recorder.lines[0].startswith(line)
