"""`python -m edge journal export`: what it prints of files that are well, in use, or damaged."""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.contract import Reading
from edge.commands import journal as command
from edge.journal_log import log_of
from tests.unit.journals import SetClock, add, journal, kept, killed

COLUMNS = [
    "node",
    "sensor",
    "stream",
    "seq",
    "measured_at",
    "clock_synchronised",
    "temperature_c",
    "humidity_pct",
    "source",
]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pi-1.db"


def export(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["journal", "export", *map(str, arguments)])
    code: int = args.run(args)
    return code


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_each_reading_is_one_json_object(
    path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock) as it:
        first = it.append("dht11", clock.sample(24.0, 41.0), "dht11")
        clock.right = False
        clock.pass_(1.5)
        it.append("dht11", clock.sample(-3.5, 99.9), "simulated")
    assert export(path) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert rows == [
        {
            "node": "pi-1",
            "sensor": "dht11",
            "stream": str(first.stream),
            "seq": 1,
            "measured_at": "2026-11-23T12:00:00.123Z",
            "clock_synchronised": True,
            "temperature_c": 24.0,
            "humidity_pct": 41.0,
            "source": "dht11",
        },
        {
            "node": "pi-1",
            "sensor": "dht11",
            "stream": str(first.stream),
            "seq": 2,
            "measured_at": "2026-11-23T12:00:01.623Z",
            "clock_synchronised": False,
            "temperature_c": -3.5,
            "humidity_pct": 99.9,
            "source": "simulated",
        },
    ]
    assert [list(row) for row in rows] == [COLUMNS] * 2
    assert said.err == f"edge journal export: {path}: 2 readings in 1 stream\n"


def test_csv_has_the_same_columns(
    path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock) as it:
        (reading,) = add(it, clock)
    assert export(path, "--format", "csv") == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == COLUMNS
    assert row == [
        *("pi-1", "dht11", str(reading.stream), "1", "2026-11-23T12:00:05.123Z"),
        *("true", "20.0", "40.0", "dht11"),
    ]


def test_a_file_in_use_is_read_with_its_log_and_left_as_it_is(
    path: Path, tmp_path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock) as it:
        given = add(it, clock, 2000) + add(it, clock, 5, "roof")
        before = contents(tmp_path)
        assert export(path) == 0
        assert contents(tmp_path) == before
        assert exported(capsys) == given
        given.insert(2000, add(it, clock)[0])
        assert kept(it) == given[:2001]


def exported(capsys: pytest.CaptureFixture[str]) -> list[Reading]:
    return [
        Reading.model_validate_json(json.dumps(json.loads(line)))
        for line in capsys.readouterr().out.splitlines()
    ]


@pytest.mark.parametrize("whole_log", [True, False])
def test_what_can_be_read_of_a_damaged_file_is_printed(
    path: Path,
    tmp_path: Path,
    clock: SetClock,
    capsys: pytest.CaptureFixture[str],
    whole_log: bool,
) -> None:
    with journal(path, clock) as it:
        given = add(it, clock, 2000)
        left = killed(path, tmp_path / "left")
    file = bytearray(left.read_bytes())
    file[:100] = bytes(100)
    file[4096:4608] = b"\xa5" * 512
    left.write_bytes(file)
    if not whole_log:
        log = log_of(left)
        log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    before = contents(left.parent)
    assert export(left) == 0
    assert contents(left.parent) == before
    said = capsys.readouterr()
    found = [Reading.model_validate_json(line) for line in said.out.splitlines()]
    assert [row for row in given if row in found] == found  # nothing else, and in its order
    assert len(given) * (0.98 if whole_log else 0.5) < len(found) < len(given) + whole_log
    assert said.err.startswith(f"edge journal export: {left}: damaged (")
    assert said.err.endswith(f"); could be read: {len(found)} readings in 1 stream\n")
    assert said.err.count("\n") == 1


def test_an_empty_journal_is_none_to_complain_about(
    path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock):
        pass
    assert export(path) == 0
    assert capsys.readouterr().out == ""


def test_a_file_without_a_reading_in_it_is_code_1(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("my notes\n" * 1000)
    assert export(path) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"edge journal export: {path}: no reading in it: file is not a database\n"


def test_a_file_whose_log_was_not_copied_with_it_is_code_1(
    path: Path, tmp_path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock) as live:
        add(live, clock, 3)
        alone = tmp_path / "elsewhere.db"
        alone.write_bytes(path.read_bytes())
        assert export(alone) == 1
    assert "is elsewhere.db-wal missing beside it?" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_one_line_and_code_2(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(path) == 2
    assert capsys.readouterr().err == f"edge journal export: {path}: No such file or directory\n"
    assert export(tmp_path) == 2
    assert capsys.readouterr().err == f"edge journal export: {tmp_path}: Is a directory\n"


def test_the_output_is_a_new_file(
    path: Path, tmp_path: Path, clock: SetClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(path, clock) as it:
        add(it, clock, 3)
    output = tmp_path / "out.jsonl"
    assert export(path, "-o", output) == 0
    assert len(output.read_text().splitlines()) == 3
    assert capsys.readouterr().out == ""
    for taken in (output, path):
        before = taken.read_bytes()
        assert export(path, "-o", taken) == 2
        assert capsys.readouterr().err == f"edge journal export: {taken}: File exists\n"
        assert taken.read_bytes() == before
    nowhere = tmp_path / "none" / "out"
    assert export(path, "-o", nowhere) == 2
    assert capsys.readouterr().err == f"edge journal export: {nowhere}: No such file or directory\n"


@pytest.mark.parametrize("arguments", [[], ["export"], ["export", "x", "--format", "xml"]])
def test_a_wrong_argument_is_code_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "journal", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("python -m edge journal")


def test_a_reader_that_has_seen_enough_gets_no_stack_trace(path: Path, clock: SetClock) -> None:
    with journal(path, clock) as it:
        add(it, clock, 5000)
    done = subprocess.run(  # noqa: S602
        f"{sys.executable} -m edge journal export {path} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
