"""`python -m gateway.history export | import | audit | prune`, on each database."""

from __future__ import annotations

import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker.contract import Backfill, Measured
from gateway.history import moments, query
from gateway.history.store import Store
from gateway.history.writer import Heard, Writer
from tests.databases import Database, sqlite_database
from tests.support import PATIENCE_S, REPOSITORY, Process, eventually

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE, TWO = UUID(int=1, version=4), UUID(int=2, version=4)
TABLES = {
    "reading": "stream_id, seq, measured_ms, synchronised, temperature_c, humidity_pct, source",
    "span": "stream_id, kind, first_seq, last_seq",
    "minute": "*",
    "hour": "*",
}
Done = subprocess.CompletedProcess[str]


def history(
    database: Database, *words: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.history", *words],
        env=environment(database, **variables),
        cwd=REPOSITORY,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def environment(database: Database, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRISA_")}
    return {**kept, **database.env, **variables}


def measured(seq: int, at: datetime | None = None, *, synchronised: bool = True) -> Measured:
    return Measured(
        seq=seq,
        measured_at=at or START + timedelta(seconds=5 * seq, milliseconds=seq % 1000),
        clock_synchronised=synchronised,
        temperature_c=20 + seq % 13 / 10,
        humidity_pct=40 + seq % 7,
        source="dht11",
    )


def write(database: Database, *heard: Heard) -> None:
    store = Store(database.url, database.password)
    store.upgrade()
    Writer(store, utc_now_ms=lambda: 1_795_000_000_000).write(heard)
    store.close()


def backfill(
    sensor: str,
    stream: UUID,
    readings: Sequence[Measured],
    after: int | None = None,
    node: str = "pi-1",
) -> Heard:
    return Heard(node, sensor, Backfill(stream=stream, after=after, readings=list(readings)))


def fill(database: Database) -> None:
    """1,200 readings of three streams of two sensors, one of them without a date."""
    write(
        database,
        backfill("patio", TWO, [measured(seq) for seq in range(1, 201)], node="pi-2"),
        backfill("aula", ONE, [measured(seq) for seq in range(1, 501)]),
        backfill("aula", ONE, [measured(seq) for seq in range(501, 900)]),
        backfill(
            "aula", ONE, [measured(900, datetime(1970, 1, 2, tzinfo=UTC), synchronised=False)]
        ),
        backfill("aula", TWO, [measured(seq) for seq in range(1, 101)]),
    )


def contents(database: Database, table: str) -> list[tuple[object, ...]]:
    return sorted(database.query(f"SELECT {TABLES[table]} FROM {table}"))  # noqa: S608


def lines(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    """A second database, empty."""
    folder = tmp_path / "other"
    folder.mkdir()
    with sqlite_database(folder) as database:
        yield database


# ---- export and import


def test_what_is_exported_and_imported_is_the_same_history(
    any_database: Database, other: Database, tmp_path: Path
) -> None:
    fill(any_database)
    form = "csv" if any_database.kind == "mariadb" else "jsonl"
    file = tmp_path / f"all.{form}"
    done = history(any_database, "export", "--format", form, "-o", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1200 readings\n")
    assert [path.name for path in tmp_path.glob("*all*")] == [file.name]
    done = history(other, "import", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "1200 new, 0 already there, 0 refused\n"
    again = history(other, "export", "--format", form)
    assert again.stdout == file.read_text()
    back = [tuple(row) for row in contents(other, "hour")]
    assert sum(int(str(row[2])) for row in back) == 1200
    done = history(any_database, "import", str(file))
    assert done.stderr == "0 new, 1200 already there, 0 refused\n"


def test_an_import_into_an_empty_database_makes_equal_rows_and_rollups(
    sqlite: Database, other: Database
) -> None:
    fill(sqlite)
    exported = history(sqlite, "export", "--format", "jsonl").stdout
    backwards = "".join(reversed(exported.splitlines(keepends=True)))
    done = history(other, "import", "-", stdin=backwards)
    assert done.stderr == "1200 new, 0 already there, 0 refused\n"
    by_name = (
        "SELECT node, name, uuid, seq, measured_ms, synchronised, temperature_c, humidity_pct"
        " FROM reading JOIN stream ON stream.id = stream_id JOIN sensor ON sensor.id = sensor_id"
        " ORDER BY 1, 2, 3, 4"
    )
    assert other.query(by_name) == sqlite.query(by_name)
    for table in ("minute", "hour"):
        rollup = f"SELECT node, name, {table}.* FROM {table} JOIN sensor ON sensor.id = sensor_id"  # noqa: S608
        without_ids = [
            sorted((*row[:2], *row[3:]) for row in database.query(rollup))
            for database in (sqlite, other)
        ]
        assert without_ids[0] == without_ids[1] != []
    assert history(other, "audit", "--verify").returncode == 0


def test_the_order_is_by_sensor_stream_and_number(sqlite: Database) -> None:
    fill(sqlite)
    rows = lines(history(sqlite, "export", "--format", "jsonl"))
    keys = [(row["node"], row["sensor"], row["stream"], row["seq"]) for row in rows]
    assert keys == sorted(keys)
    assert list(rows[0]) == [
        "node", "sensor", "stream", "seq", "measured_at", "clock_synchronised", "temperature_c",
        "humidity_pct", "source",
    ]  # fmt: skip
    assert rows[0] == {
        "node": "pi-1", "sensor": "aula", "stream": str(ONE), "seq": 1,
        "measured_at": "2026-11-20T12:00:05.001Z", "clock_synchronised": True,
        "temperature_c": 20.1, "humidity_pct": 41.0, "source": "dht11",
    }  # fmt: skip


def test_export_takes_sensors_and_a_range(sqlite: Database) -> None:
    fill(sqlite)
    patio = ("export", "--format", "jsonl", "--sensor", "pi-2/patio")
    done = history(sqlite, *patio, "--from", "2026-11-20T12:10:00Z")
    assert [row["seq"] for row in lines(done)] == list(range(120, 201))
    assert done.stderr == "81 readings\n"
    span = ("--from", "2026-11-20T12:10:00Z", "--to", "2026-11-20T14:10:10+02:00")
    done = history(sqlite, *patio, *span)
    assert [row["seq"] for row in lines(done)] == [120, 121]
    done = history(sqlite, "export", "--format", "jsonl", "--to", "1980-01-01")
    assert [(row["seq"], row["clock_synchronised"]) for row in lines(done)] == [(900, False)]
    done = history(sqlite, "export", "--sensor", "pi-9/patio")
    assert done.returncode == 1
    where = f"no sensor pi-9/patio in {sqlite.url}"
    assert done.stderr == f"history: {where}; it has pi-1/aula, pi-2/patio\n"
    write(sqlite, *(backfill(f"s{n}", ONE, [measured(1)]) for n in range(10, 20)))
    done = history(sqlite, "export", "--sensor", "pi-9/patio")
    assert done.stderr.endswith("it has pi-1/aula" + "".join(
        f", pi-1/s{n}" for n in range(10, 19)) + " and 2 more\n")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sensor", "aula"), "aula: wanted is NODE/SENSOR"),
        (("--from", "yesterday"), f"yesterday: {moments.ALLOWED}"),
        (("--to", "2026-11-20T12:10:00"), f"2026-11-20T12:10:00: {moments.ALLOWED}"),
        (("--from", "2026-11-21", "--to", "2026-11-20"), "history: --from must be before --to\n"),
    ],
)
def test_what_cannot_be_exported_is_a_wrong_word(
    sqlite: Database, words: Sequence[str], says: str
) -> None:
    done = history(sqlite, "export", *words)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "as_csv"),
    [
        (("-o", "a.csv"), True),
        (("-o", "a.jsonl"), False),
        (("-o", "a.JSON"), False),
        (("-o", "a"), True),
        (("-o", "a.csv", "--format", "jsonl"), False),
    ],
)
def test_the_format_is_what_the_file_s_name_says(
    sqlite: Database, tmp_path: Path, words: Sequence[str], *, as_csv: bool
) -> None:
    fill(sqlite)
    file = tmp_path / words[1]
    assert history(sqlite, "export", "-o", str(file), *words[2:]).returncode == 0
    assert file.read_text().startswith("node,sensor," if as_csv else '{"node":')
    if as_csv:
        assert history(sqlite, "export").stdout == file.read_text()


def test_lines_that_are_no_readings_are_refused_one_by_one(
    sqlite: Database, other: Database, tmp_path: Path
) -> None:
    fill(sqlite)
    good = history(sqlite, "export", "--format", "jsonl").stdout.splitlines()[:3]
    bad = [
        "{",
        good[0].replace('"seq":1', '"seq":0'),
        good[0].replace("pi-1", "recorder"),
        good[0].replace("20.1", "600.0"),
        "1,2,3",
        '\x00"',
    ]
    file = tmp_path / "some.jsonl"
    file.write_bytes("\n".join([good[0], *bad, "", good[1], good[2]]).encode() + b"\n\xff\xfe{\n")
    done = history(other, "import", str(file))
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[-1] == "3 new, 0 already there, 7 refused"
    assert [line.split(": ")[0] for line in said[:-1]] == [
        f"{file}:{number}" for number in (2, 3, 4, 5, 6, 7, 11)
    ]
    assert "seq 0" in said[1]
    assert "the name of a service" in said[2]
    assert "temperature_c 600.0" in said[3]
    file.write_text("{\n" * 100)
    done = history(other, "import", str(file))
    assert done.stderr.splitlines()[20:] == ["… and more", "0 new, 0 already there, 100 refused"]


def test_a_csv_with_its_columns_in_another_order_is_read_by_their_names(
    sqlite: Database, other: Database
) -> None:
    fill(sqlite)
    rows = [
        line.split(",") for line in history(sqlite, "export", "--format", "csv").stdout.splitlines()
    ]
    turned = "\r\n".join(",".join([row[0], *reversed(row[1:])]) for row in rows)
    done = history(other, "import", "-", stdin=turned)
    assert done.stderr == "1200 new, 0 already there, 0 refused\n"
    done = history(other, "import", "-", stdin="\n".join(",".join(row) for row in rows[1:]))
    assert done.returncode == 1
    assert "-:1: the first line must name the columns (node,sensor,stream,…), or" in done.stderr
    done = history(other, "import", "-", stdin="\n".join([",".join(rows[0]), "1,2", "1\r2,3"]))
    assert done.stderr.splitlines()[:2] == [
        "-:2: 2 columns, where the first line names 9",
        "-:3: neither CSV nor a JSON object",
    ]


def test_what_differs_from_what_is_stored_is_counted_and_stays(sqlite: Database) -> None:
    fill(sqlite)
    before = contents(sqlite, "reading")
    said = history(sqlite, "export", "--format", "jsonl").stdout
    undated = said.replace(":true", ":false").replace(
        "2026-11-20T12:00:05.001Z", "1970-01-01T00:00:05Z"
    )
    assert history(sqlite, "import", "-", stdin=undated).returncode == 0
    changed = said.replace("20.1", "20.15", 2).replace("2026-11-20T12:10:", "2026-11-20T13:10:", 1)
    done = history(sqlite, "import", "-", stdin=changed)
    assert done.returncode == 1
    assert done.stderr == (
        "0 new, 1200 already there, 0 refused; 3 differ from what is stored, which stays\n"
    )
    assert contents(sqlite, "reading") == before


def test_a_file_without_readings_and_a_journal_are_told_apart(
    sqlite: Database, tmp_path: Path
) -> None:
    empty, header, journal = tmp_path / "empty.csv", tmp_path / "header.csv", tmp_path / "pi-1.db"
    empty.touch()
    header.write_text(query.CSV_HEADER)
    done = history(sqlite, "import", str(empty), str(header))
    assert done.returncode == 0
    assert done.stderr == (
        f"{empty}: no readings in it\n{header}: no readings in it\n"
        "0 new, 0 already there, 0 refused\n"
    )
    journal.write_bytes(b"SQLite format 3\0" + bytes(4080))
    done = history(sqlite, "import", str(journal))
    assert done.returncode == 1
    what = f"{journal} is a journal: `python -m edge journal export` first"
    assert done.stderr == f"history: {what}\n"


def test_an_import_counts_more_than_one_batch_and_repeated_lines(
    sqlite: Database, other: Database
) -> None:
    readings = [measured(seq) for seq in range(1, 12_001)]
    write(sqlite, *(backfill("aula", ONE, readings[at : at + 500]) for at in range(0, 12_000, 500)))
    exported = history(sqlite, "export", "--format", "jsonl").stdout
    repeated = "".join(exported.splitlines(keepends=True)[:10]) * 2
    done = history(other, "import", "-", stdin=repeated)
    assert done.stderr == "10 new, 10 already there, 0 refused\n"
    done = history(other, "import", "-", stdin=exported)
    assert done.stderr == "11990 new, 10 already there, 0 refused\n"


def test_a_file_is_whole_or_not_there(sqlite: Database, tmp_path: Path) -> None:
    fill(sqlite)
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "all.jsonl"
    file.write_text("old")
    sqlite.query("DROP TABLE hour")  # not needed
    sqlite.query("ALTER TABLE reading RENAME COLUMN source TO gone")
    done = history(sqlite, "export", "-o", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith("history: ")
    assert done.stderr.count("\n") == 1
    assert (file.read_text(), list(folder.iterdir())) == ("old", [file])
    sqlite.query("ALTER TABLE reading RENAME COLUMN gone TO source")
    assert history(sqlite, "export", "-o", str(file)).returncode == 0
    assert len(file.read_text().splitlines()) == 1200
    assert list(folder.iterdir()) == [file]
    nowhere = tmp_path / "no" / "such.csv"
    done = history(sqlite, "export", "-o", str(nowhere))
    assert done.returncode == 1
    assert done.stderr == f"history: {nowhere}: No such file or directory\n"
    assert history(sqlite, "export", "-o", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()


def test_a_reader_that_has_seen_enough_is_no_fault(sqlite: Database) -> None:
    write(
        sqlite,
        *(
            backfill("aula", ONE, [measured(seq) for seq in range(at, at + 500)])
            for at in range(1, 20_000, 500)
        ),
    )
    command = f"{sys.executable} -m gateway.history export --format jsonl | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=environment(sqlite), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["seq"] == 1


def test_ctrl_c_ends_it_quietly(sqlite: Database, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = (sys.executable, "-m", "gateway.history", "import", str(fifo))
    with Process(*command, env=sqlite.env) as importer:
        # that it can be opened for writing means that the other side reads
        writing = eventually("it reads", lambda: os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        # a signal that comes just before read() begins is only seen when that returns
        waits = Path(f"/proc/{importer.popen.pid}/wchan")
        eventually("it waits in read()", lambda: "pipe_read" in waits.read_text())
        assert importer.stop(signal.SIGINT) == 130
        os.close(writing)
        assert importer.output == ""


def test_there_is_a_bar_on_a_terminal_only(sqlite: Database, tmp_path: Path) -> None:
    fill(sqlite)
    file = tmp_path / "all.jsonl"
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    done = subprocess.run(
        [sys.executable, "-m", "gateway.history", "export", "-o", str(file)],
        env=environment(sqlite), cwd=REPOSITORY, stderr=slave, check=False,
    )  # fmt: skip
    os.close(slave)
    said = os.read(master, 65536).decode()
    os.close(master)
    assert done.returncode == 0
    assert " readings/s" in said
    assert said.rstrip().endswith("1200 readings")


# ---- audit


def test_an_audit_of_a_whole_history(any_database: Database) -> None:
    fill(any_database)
    done = history(any_database, "audit", "--verify", "--streams")
    assert done.returncode == 0
    assert re.search(r"pi-1/aula: All 1,000 readings since 20 November.* are stored", done.stdout)
    assert re.search(rf"{ONE} +1 +900 +900 +0 +0", done.stdout)
    assert "pi-2/patio: verified: 200 raw readings; 200 by the account" in done.stdout
    view = json.loads(history(any_database, "audit", "--json").stdout)
    assert [(one["sensor"], one["stored"]) for one in view["sensors"]] == [
        ("aula", 1000),
        ("patio", 200),
    ]
    _, *pages = history(any_database, "audit", "--json", "--streams").stdout.splitlines()
    listed = [[one["stored"] for one in json.loads(page)["streams"]] for page in pages]
    assert listed == [[900, 100], [200]]


@pytest.mark.parametrize(("after", "missing", "lost"), [(None, 5, 0), (3, 3, 2)])
def test_an_audit_says_what_is_missing_and_lost(
    sqlite: Database, after: int | None, missing: int, lost: int
) -> None:
    write(
        sqlite,
        backfill("aula", ONE, [measured(seq) for seq in (1, 2, 3)]),
        backfill("aula", ONE, [measured(6)], after),
        backfill("aula", ONE, [measured(10)]),
    )
    done = history(sqlite, "audit", "--streams")
    assert done.returncode == 1
    assert re.search(rf"{ONE} +1 +10 +5 +{missing} +{lost}", done.stdout)
    when = "measured after 2026-11-20 12:00:15 and before 2026-11-20 12:00:30 UTC, noted 20"
    assert (f"lost: 4 to 5, {when}" in done.stdout) == bool(lost)


def test_an_audit_lists_what_was_lost_in_order_of_number(sqlite: Database) -> None:
    numbers = [*range(2, 120, 2)]
    for seq in (*numbers[1:], numbers[0]):
        write(sqlite, backfill("aula", ONE, [measured(seq)], after=seq - 2))
    lost = re.findall(r"    lost: (.*)", history(sqlite, "audit", "--streams").stdout)
    firsts = [int(line.split()[0]) for line in lost[:-1]]
    assert firsts == sorted(firsts)
    assert len(firsts) == 50
    assert lost[-1] == "9 more ranges, noted before these"


def damage(database: Database, where: str) -> None:
    database.query(f"DELETE FROM reading WHERE {where}")  # noqa: S608


def miscount(database: Database, where: str) -> None:
    database.query(f"UPDATE hour SET readings = readings - 1 WHERE {where}")  # noqa: S608


def miscount_sums(database: Database) -> None:
    database.query("UPDATE sensor SET gaps = gaps + 1 WHERE name = 'aula'")


@pytest.mark.parametrize(
    "harm",
    [
        functools.partial(damage, where="seq = 700"),
        functools.partial(miscount, where="sensor_id = 2 AND start_s > 1000000"),
        miscount_sums,
    ],
)
def test_an_audit_that_counts_finds_what_is_not_there(
    sqlite: Database, harm: Callable[[Database], None]
) -> None:
    fill(sqlite)
    harm(sqlite)
    done = history(sqlite, "audit", "--verify", BRISA_RETENTION_DAYS="36500")
    assert done.returncode == 1
    assert "pi-1/aula: verified: " in done.stdout
    wrong = [line for line in done.stdout.splitlines() if line.endswith("WRONG")]
    assert [line.partition(":")[0] for line in wrong] == ["pi-1/aula"]
    assert history(sqlite, "audit", BRISA_RETENTION_DAYS="36500").returncode == 0


def test_of_a_database_that_is_not_there_one_line_says_so(sqlite: Database) -> None:
    for command in (["export"], ["audit"], ["prune"]):
        done = history(sqlite, *command)
        assert done.returncode == (2 if command == ["audit"] else 1)
        assert done.stderr.count("\n") == 1
        assert "there is no such file; `python -m gateway.history` makes it" in done.stderr
        assert not Path(sqlite.name).exists()
    assert history(sqlite, "import", "-").returncode == 0
    assert history(sqlite, "audit").stdout == "no readings yet\n"


# ---- prune


def test_prune_removes_what_is_old_and_the_account_stays(any_database: Database) -> None:
    now = datetime.now(UTC)
    old = [measured(seq, now - timedelta(days=10, seconds=-seq)) for seq in range(1, 301)]
    new = [measured(seq, now - timedelta(days=2, seconds=-seq)) for seq in range(301, 501)]
    write(any_database, backfill("aula", ONE, [*old, *new]))
    done = history(any_database, "prune", "--days", "5", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "300 readings are older than 5 days\n")
    assert len(contents(any_database, "reading")) == 500
    done = history(any_database, "prune", BRISA_RETENTION_DAYS="5")
    assert done.stdout == "300 readings were older than 5 days, and removed\n"
    assert [row[1] for row in contents(any_database, "reading")] == list(range(301, 501))
    done = history(any_database, "audit", "--streams", "--verify", BRISA_RETENTION_DAYS="5")
    assert done.returncode == 0, done.stdout
    assert re.search(rf"{ONE} +1 +500 +500 +0 +0", done.stdout)
    assert "200 raw readings, 300 removed by retention" in done.stdout
    done = history(any_database, "prune", "--days", "0")
    assert (done.returncode, "allowed are 1 to 36500" in done.stderr) == (2, True)


def test_a_misspelt_variable_is_named(sqlite: Database) -> None:
    done = history(sqlite, "audit", BRISA_RETENTION_DAY="5")
    assert "BRISA_RETENTION_DAY is not a setting; did you mean BRISA_RETENTION_DAYS?" in done.stderr


def test_help_has_every_command_and_variable(sqlite: Database) -> None:
    done = history(sqlite, "--help")
    for word in ("run", "export", "import", "audit", "prune", "BRISA_HISTORY_URL"):
        assert word in done.stdout
