"""The journal in real processes: killed, twice on one file, on a full disk, in a read-only folder."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.contract import Reading
from edge.clock import Clock
from edge.journal import Journal
from edge.sensors.base import Measurement, Sample
from tests.support import Process, eventually, python
from tests.unit.journals import SetClock, add, everything, journal, kept

# Writes until it is killed, and says each reading only after `append` returned.
WRITER = """
import sys, time
from pathlib import Path
from edge.clock import Clock
from edge.journal import Journal
from edge.sensors.base import Measurement, Sample

clock = Clock()
journal = Journal(Path(sys.argv[1]), node="pi-1", clock=clock, sync_every=12)
journal.open()
print("begin", journal.problem, flush=True)
for number in range(int(sys.argv[2])):
    value = Measurement(20 + number % 400 / 10, 40.0)
    sample = Sample(value, clock.monotonic_s(), clock.utc_now(), clock.synchronised())
    print(journal.append("dht11", sample, "dht11").to_json().decode(), flush=True)
    time.sleep(float(sys.argv[3]))
journal.close()
print("end", flush=True)
"""


def writer(path: Path, count: int = 1_000_000, pause_s: float = 0.0) -> Process:
    return python("-c", WRITER, str(path), str(count), str(pause_s))


def said(process: Process) -> list[Reading]:
    """Every reading that was said in full; the last line of a killed process may be cut."""
    return [
        Reading.model_validate_json(line)
        for line in process.lines
        if line.startswith("{") and line.endswith("}")
    ]


def one(clock: Clock, journal: Journal, temperature_c: float = 24.0) -> Reading:
    sample = Sample(Measurement(temperature_c, 41.0), clock.monotonic_s(), clock.utc_now(), True)
    return journal.append("dht11", sample, "dht11")


def test_kill_9_loses_no_reading_that_was_said(tmp_path: Path) -> None:
    """Ten times over on one file, at moments that chance chooses."""
    path, chance = tmp_path / "pi-1.db", random.Random(20261123)
    told: list[Reading] = []
    for _ in range(10):
        with writer(path) as process:
            process.wait_for("begin $")
            enough = chance.randint(1, 900)
            eventually("readings", lambda: len(process.lines) > enough)  # noqa: B023
            process.popen.kill()
            process.wait()
        told += said(process)
    with journal(path, Clock()) as it:
        rows = {row.seq: row for row in kept(it)}
        assert it.problem == ""
        assert len(it.streams("dht11")) == 1  # the machine was not switched off
        assert list(rows) == list(range(1, len(rows) + 1))
        for reading in told:
            expected = rows[reading.seq]
            assert reading == expected or _dated_later(reading, expected)
        assert len(told) == len({reading.seq for reading in told})
        assert len(rows) - len(told) <= 10  # written, and killed before it was said


def _dated_later(said: Reading, kept: Reading) -> bool:
    dated = {"measured_at": said.measured_at, "clock_synchronised": False}
    return kept.model_copy(update=dated) == said


def test_a_second_process_leaves_the_file_alone_and_takes_over_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pi-1.db"
    with writer(path, pause_s=0.01) as first:
        first.wait_for("begin $")
        with writer(path, count=3) as second:
            assert "another process uses it" in second.wait_for("begin")
            assert second.wait() == 0
        process_lines = len(first.lines)
        eventually("more readings", lambda: len(first.lines) > process_lines + 5)
        first.popen.kill()
        first.wait()
    with journal(path, Clock()) as it:
        assert it.problem == ""
        rows = kept(it)
        assert {row.stream for row in rows} == {said(first)[0].stream}
        assert len(rows) >= len(said(first))


def test_a_live_file_is_exported_whole_and_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "pi-1.db"
    with writer(path, count=12_000) as process:
        process.wait_for("begin $")
        exports = 0
        while process.popen.poll() is None:
            before = len(said(process))
            export = [sys.executable, "-m", "edge", "journal", "export", str(path)]
            done = subprocess.run(export, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            assert re.search(rf"pi-1\.db: {len(rows)} readings? in 1 stream$", done.stderr)
            assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
            assert len(rows) >= before
            exports += 1
        assert process.wait() == 0
        assert exports >= 2
    with journal(path, Clock()) as it:
        assert it.rows() == 12_000


def mounted(folder: Path, *options: str) -> Callable[..., None]:
    """A small file system of its own, which only root may mount."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words], check=True, capture_output=True)

    folder.mkdir()
    mount("-t", "tmpfs", "-o", ",".join(options), "none", str(folder))
    return mount


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Path, Callable[..., None]]]:
    """A folder with room for 300 KiB, and the command that mounts."""
    folder = tmp_path / "small"
    mount = mounted(folder, "size=300k", "mode=0755")
    try:
        yield folder, mount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path) -> Path:
    """The file that takes all the room."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return filler


class Hasty(Clock):
    """A minute passes whenever it is told so."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


def test_a_full_disk_stops_nothing_and_nothing_is_lost(
    small: tuple[Path, Callable[..., None]],
) -> None:
    folder, _ = small
    clock, path = Hasty(), folder / "pi-1.db"
    with journal(path, clock) as it:
        given = [one(clock, it, 20 + number / 100) for number in range(100)]
        filler = filled(folder)
        while not it.problem:
            given.append(one(clock, it))
            assert len(given) < 5000
        assert it.problem.endswith("database or disk is full")
        given += [one(clock, it) for _ in range(300)]
        clock.ahead_s += 60
        given.append(one(clock, it))  # tried again: still full
        assert it.problem.endswith("is full")
        filler.unlink()
        clock.ahead_s += 60
        given.append(one(clock, it))
        assert (it.problem, it.whole) == ("", True)
        rows = {(row.stream, row.seq): row for row in kept(it)}
        assert len({reading.stream for reading in given}) == 2
        assert rows == {(row.stream, row.seq): row for row in given}
        assert [file.name for file in folder.iterdir() if "damaged" in file.name] == []


def test_a_disk_that_is_full_from_the_beginning(
    small: tuple[Path, Callable[..., None]],
) -> None:
    folder, _ = small
    filler = filled(folder)
    clock, path = Hasty(), folder / "state" / "pi-1.db"
    with journal(path, clock) as it:
        given = [one(clock, it) for _ in range(10)]
        assert it.problem.startswith("readings are kept in memory only: ")
        filler.unlink()
        clock.ahead_s += 60
        given.append(one(clock, it))
        assert (it.problem, kept(it)) == ("", given)
    assert not [file for file in path.parent.iterdir() if "damaged" in file.name]


def test_a_folder_that_becomes_read_only_and_writable_again(
    small: tuple[Path, Callable[..., None]],
) -> None:
    folder, mount = small
    clock, path = Hasty(), folder / "pi-1.db"
    with journal(path, clock) as it:
        before = [one(clock, it) for _ in range(10)]
    mount("-o", "remount,ro", str(folder))
    with journal(path, clock) as it:
        during = [one(clock, it) for _ in range(10)]
        assert it.problem.startswith("readings are kept in memory only: ")
        assert during[0].stream != before[0].stream
        mount("-o", "remount,rw", str(folder))
        clock.ahead_s += 60
        during.append(one(clock, it))
        assert (it.problem, kept(it)) == ("", during + before)
    assert {file.name for file in folder.iterdir()} == {"pi-1.db", "pi-1.db.closed"}


def test_a_read_only_folder_without_a_journal(small: tuple[Path, Callable[..., None]]) -> None:
    folder, mount = small
    mount("-o", "remount,ro", str(folder))
    clock = Clock()
    for path in (folder / "pi-1.db", folder / "state" / "pi-1.db"):
        with journal(path, clock) as it:
            assert [one(clock, it).seq for _ in range(3)] == [1, 2, 3]
            assert it.problem.startswith("readings are kept in memory only: ")
            assert len(everything(it, it.streams("dht11")[0].stream)) == 3


def test_a_power_cut_takes_no_more_than_was_said(tmp_path: Path) -> None:
    """What is on the device at some moment is what a machine finds that is switched on again."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    image, copy = tmp_path / "image", tmp_path / "copy"
    image.touch()
    os.truncate(image, 16 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    clock, kept_rows = SetClock(), []
    with (
        looped(image, tmp_path / "before") as folder,
        journal(folder / "pi-1.db", clock, sync_every=12) as it,
    ):
        for count in range(1, 61):
            add(it, clock)
            if count % 10 == 5:
                shutil.copyfile(image, copy)
                with looped(copy, tmp_path / f"after-{count}") as found:
                    later = SetClock()
                    later.reboot()
                    with journal(found / "pi-1.db", later) as again:
                        rows = kept(again)
                        assert again.problem == ""
                        assert add(again, later)[0].stream != it.streams("dht11")[0].stream
                assert rows == kept(it)[: len(rows)]
                kept_rows.append((count, len(rows)))
    assert all(count - rows < 12 for count, rows in kept_rows), kept_rows
    assert any(rows < count for count, rows in kept_rows), "a power cut that takes nothing is none"


@contextlib.contextmanager
def looped(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
