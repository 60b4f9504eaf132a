"""`make run`: what a newcomer starts, and what becomes of it when something in it dies."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.evidence import database_rows, journal_rows, newest
from tests.databases import Database
from tests.support import PATIENCE_S, REPOSITORY, Process, eventually, free_port, python
from tests.system import captures
from tools import run as make_run

# One after the other: each looks for the first free port from 1883 on.
pytestmark = pytest.mark.xdist_group("make_run")

PROCESSES = 5  # supervisor, and the broker, recorder, gateway and edge that it keeps


@contextmanager
def running(state: Path, *arguments: str, port: int | None = None) -> Iterator[Process]:
    port = port or free_port()
    with python(
        "-m", "tools.run", "--port", str(port), "--state", str(state), *arguments
    ) as process:
        process.url = f"http://127.0.0.1:{port}"
        try:
            yield process
        finally:
            if process.popen.poll() is None:
                process.stop(signal.SIGINT)


def sensors(run: Process) -> dict[str, dict[str, Any]]:
    answer = httpx.get(f"{run.url}/api/v1/sensors", timeout=30)
    return {view["sensor"]: view for view in answer.json()["sensors"]}


def live(run: Process, *names: str) -> bool:
    shown = sensors(run)
    return all(name in shown and shown[name]["state"] == "live" for name in names)


def children(pid: int) -> dict[str, int]:
    """What runs below a process: module or program → pid."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if int(stat[1]) == pid:
            name = words[words.index("-m") + 1] if "-m" in words else Path(words[0]).name
            found[name.removesuffix(".supervisord")] = int(folder.name)
    return found


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def programs(run: Process) -> dict[str, int]:
    return children(children(run.popen.pid)["supervisor"])


def test_it_shows_two_sensors_and_starts_again_whatever_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "state") as run:
        line = run.wait_for("brisa is at http://localhost:")
        assert "Ctrl-C ends it" in line
        assert "http://0.0.0.0" not in run.output
        assert "mosquitto_sub" in run.wait_for("subscribers: ")
        eventually("two sensors", lambda: live(run, "aula", "patio"))
        first = programs(run)
        for name in sorted(first):
            before = programs(run)
            os.kill(before[name], signal.SIGKILL)
            eventually(
                f"{name} is started again",
                lambda name=name, old=before[name]: programs(run).get(name, old) != old,  # type: ignore[misc]
            )
            stamp = time.time()
            eventually(
                "the page heals",
                lambda stamp=stamp: live(run, "aula", "patio") and fresh(run, stamp),  # type: ignore[misc]
            )
        assert set(programs(run).values()).isdisjoint(first.values())
        os.kill(children(run.popen.pid)["supervisor"], signal.SIGKILL)
        run.wait_for("the process manager was killed .signal 9.; starting it again")
        stamp = time.time()
        eventually("it heals", lambda: live(run, "aula", "patio") and fresh(run, stamp))
        with python("-m", "tools.run", "--state", str(tmp_path / "state")) as second:
            assert second.wait() == 1
            assert run.url.rpartition(":")[2] in second.output  # says where the first is
            assert len(second.lines) == 1
        group = list(programs(run).values())
        assert run.stop(signal.SIGINT) == 0
        assert run.lines[-1] == "run: stopped"
        assert "Traceback" not in run.output
        assert not any(map(lives, group))


def test_nothing_is_left_when_it_is_killed_itself(tmp_path: Path) -> None:
    with running(tmp_path / "state") as run:
        run.wait_for("brisa is at")
        group = [*programs(run).values(), *children(run.popen.pid).values()]
        run.stop(signal.SIGKILL)
        eventually("all ended", lambda: not any(map(lives, group)))


def test_two_that_start_at_once_do_not_take_each_other_s_ports(tmp_path: Path) -> None:
    with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        for run in (one, two):
            eventually("two sensors", lambda run=run: live(run, "aula", "patio"))  # type: ignore[misc]
            assert "in use" not in run.output


def below(pid: int) -> list[int]:
    """All that a process started, and what that started."""
    found = list(children(pid).values())
    return found + [one for child in found for one in below(child)]


def count(history: Path) -> int:
    """How many readings are stored."""
    if not history.exists():
        return 0
    with contextlib.closing(sqlite3.connect(history)) as opened:
        try:
            found: int = opened.execute("SELECT count(*) FROM reading").fetchone()[0]
        except sqlite3.OperationalError:  # it has no tables yet
            return 0
        return found


def stores(run: Process, history: Path, before: int) -> bool:
    """Are more stored than before? If not, what does it say?"""
    assert count(history) > before, run.output
    return True


def audit(history: Path) -> tuple[int, str]:
    """What `python -m gateway.history audit` says: its exit code, and its words."""
    with python(
        *("-m", "gateway.history", "audit", "--verify"),
        env={"BRISA_HISTORY_URL": f"sqlite:///{history}"},
    ) as process:
        return process.wait(), process.output


@pytest.mark.long
def test_nothing_is_lost_when_it_is_killed_ten_times(tmp_path: Path) -> None:
    """In turn it alone, whose programs end with it, and all of it at once; also while it starts."""
    state = tmp_path / "state"
    history = state / "history" / "history.db"
    for number in range(10):
        before = count(history)
        with running(state) as run:
            eventually("all is started", lambda run=run: len(below(run.popen.pid)) == PROCESSES)  # type: ignore[misc]
            if number % 3:
                eventually("it stores", functools.partial(stores, run, history, before))
            group = below(run.popen.pid)
            for pid in (run.popen.pid, *(group if number % 2 else ())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            run.wait()
        eventually("all ended", lambda group=group: not any(map(lives, group)))  # type: ignore[misc]
    before = count(history)
    with running(state) as run:
        eventually("it stores", lambda: stores(run, history, before))
        eventually("all is stored", lambda: audit(history)[0] == 0)
        assert run.stop(signal.SIGINT) == 0
        assert "Traceback" not in run.output
    code, said = audit(history)
    assert code == 0, said
    database = Database("sqlite", f"sqlite:///{history}", "", state, name=str(history))
    rows = database_rows(database)
    stored, journal = dict(rows), journal_rows(state / "edge" / "demo.db")
    assert len(stored) == len(rows)
    reach = newest(stored)
    assert len(reach) == 2, said  # a process that is killed needs no new stream
    assert stored == {key: row for key, row in journal.items() if key.seq <= reach[key.of]}
    for sensor in ("aula", "patio"):
        assert re.search(
            rf"^demo/{sensor}: All \d+ readings since .* are stored\.$", said, re.MULTILINE
        )


def fresh(run: Process, stamp: float) -> bool:
    """Was something of every sensor received after `stamp`? What was retained is not new."""
    from datetime import datetime

    received = [view["received_at"] for view in sensors(run).values()]
    return all(at and datetime.fromisoformat(at).timestamp() > stamp for at in received)


@pytest.mark.captures
def test_it_replays_the_recording_that_is_named(tmp_path: Path) -> None:
    file = captures() / "am2302_1mhz_200s.csv"
    if not file.exists():
        pytest.skip(f"{file} is not there: BRISA_CAPTURES names another place")
    arguments = ("--capture", str(file), "--model", "dht22")
    with running(tmp_path / "state", *arguments) as run:
        run.wait_for("brisa is at")
        eventually("live", lambda: live(run, "capture"))
        view = sensors(run)["capture"]
        assert (view["source"], view["model"]) == ("replay", "dht22")
        assert 24 < view["temperature_c"] < 25
        eventually("the next", lambda: sensors(run)["capture"]["seq"] > view["seq"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--capture", "/nowhere.csv"], "run: .*/nowhere.csv.*No such file"),
        (["--capture", __file__], "run: CAPTURE: .*test_make_run.py.*time_us"),
        (["--driver", "iio", "--capture", "x.csv"], "run: DRIVER=iio with CAPTURE=x.csv"),
        (["--driver", "magic"], "run: DRIVER=magic: allowed are iio, gpio, adafruit"),
        (["--model", "bme280"], "run: MODEL=bme280: allowed are dht11, dht22"),
        (["--port", "http"], "run: PORT=http: must be 1–65535"),
    ],
)
def test_what_is_wrong_is_one_clear_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    with python("-m", "tools.run", "--state", str(tmp_path), *arguments) as run:
        assert run.wait() == 1
        run.wait_for(says)
        assert len(run.lines) == 1


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with python("-m", "tools.run", "--state", str(tmp_path), "--port", str(port)) as run:
            assert run.wait() == 1
            assert run.lines == [f"run: PORT={port}: taken; choose another with make run PORT=…"]


def test_a_port_that_only_root_may_use_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_host: str, _port: int) -> None:
        raise PermissionError

    monkeypatch.setattr(make_run, "_bind", refuse)
    with pytest.raises(ValueError, match="PORT=80: only root may use it; choose one from 1024 on"):
        make_run._ports("80")


@contextmanager
def writing_to(
    stdout: Any, state: Path, *, stderr: Any = None, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """`make run` with a standard output of another kind."""
    words = ("-m", "tools.run", "--port", str(free_port()), "--state", str(state))
    with subprocess.Popen(
        [*before, sys.executable, *words], cwd=REPOSITORY, stdout=stdout, stderr=stderr
    ) as popen:
        try:
            yield popen
        finally:
            popen.terminate()


def test_its_output_may_be_a_socket(tmp_path: Path) -> None:
    """As under systemd: such a file cannot be opened again by its name."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    with ours, theirs, writing_to(theirs, tmp_path) as popen, ours.makefile() as lines:
        theirs.close()
        said = list(itertools.takewhile(lambda line: "brisa is at" not in line, lines))
        popen.terminate()
        said += lines
        assert popen.wait(PATIENCE_S) == 0
    assert any(line.startswith("broker: ") for line in said)
    assert said[-1] == "run: stopped\n"


def test_its_output_may_be_a_file_that_it_may_not_open(tmp_path: Path) -> None:
    """As after `su`, where the terminal or the log is another user's."""
    log = tmp_path / "log"
    without_root_s = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    before = without_root_s if os.geteuid() == 0 else ()
    with log.open("wb") as file, log.open() as lines:
        log.chmod(0)
        with writing_to(file, tmp_path / "state", before=before) as popen:
            eventually("it says where the page is", lambda: "brisa is at" in lines.read())
            popen.terminate()
            assert popen.wait(PATIENCE_S) == 0
        lines.seek(0)
        said = lines.read()
    assert any(line.startswith("broker: ") for line in said.splitlines())
    assert said.endswith("run: stopped\n")


@pytest.mark.parametrize("with_errors", [False, True])
def test_it_ends_when_nobody_reads_its_output(tmp_path: Path, with_errors: bool) -> None:
    """As in `make run | head`, and `make run 2>&1 | head`."""
    errors = tmp_path / "errors"
    with (
        errors.open("wb") as file,
        writing_to(
            subprocess.PIPE, tmp_path, stderr=subprocess.STDOUT if with_errors else file
        ) as popen,
    ):
        assert popen.stdout is not None
        assert popen.stdout.readline()
        popen.stdout.close()
        assert popen.wait(PATIENCE_S) == 1
    said = "" if with_errors else "run: cannot write to standard output: Broken pipe\n"
    assert errors.read_text() == said


def test_where_nothing_answers_it_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_run, "PATIENCE_S", 0.5)
    manager, port = make_run.Manager(tmp_path / "supervisord.conf"), free_port()
    make_run._welcome({"page": port}, tmp_path, manager)
    assert manager.failed
    assert f"run: nothing answers at http://localhost:{port}" in capsys.readouterr().err
