"""`python -m edge read`, and `doctor` where there is no hardware."""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.capture import write
from edge.commands import doctor, read
from edge.doctor import Finding, examine_driver
from edge.encode import TIMINGS, edges, frame_bytes, wrong_sum
from edge.frame import Model
from edge.sensors.base import Cause, Measurement, NoReading

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    good = frame_bytes(24.0, 41.0, Model.DHT11)
    path = tmp_path / "two.csv"
    with path.open("w") as stream:
        write(stream, edges([good, wrong_sum(good)], TIMINGS[Model.DHT11]))
    return str(path)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    read.add(subparsers)
    doctor.add(subparsers)
    try:
        args = parser.parse_args(words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    code: int = args.run(args)
    return code


def replayed(recording: str, *words: str) -> int:
    options = ("--driver", "replay", "--option", f"file={recording}", "--interval-s", "0")
    return run("read", *options, *words)


Capsys = pytest.CaptureFixture[str]


def test_the_lines_are_the_report_s(recording: str, capsys: Capsys) -> None:
    assert replayed(recording, "--count", "3") == 0
    assert capsys.readouterr().out == (
        "Temperatura=24.0°C | Humedad=41.0%HR\n"
        "Falla de lectura. Reintentando...\n"
        "Temperatura=24.0°C | Humedad=41.0%HR\n"
    )


def test_in_english(recording: str, capsys: Capsys) -> None:
    replayed(recording, "--count", "2", "--lang", "en")
    assert capsys.readouterr().out == (
        "Temperature=24.0°C | Humidity=41.0%RH\nReading failed. Retrying...\n"
    )


def test_for_machines(recording: str, capsys: Capsys) -> None:
    replayed(recording, "--count", "2", "--json")
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert good == {"temperature_c": 24.0, "humidity_pct": 41.0}
    assert bad["cause"] == "checksum"
    assert bad["error"]


def test_once_is_one_read_and_no_reading_is_exit_code_1(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "bad.csv"
    with path.open("w") as stream:
        bad = wrong_sum(frame_bytes(24.0, 41.0, Model.DHT11))
        write(stream, edges([bad], TIMINGS[Model.DHT11]))
    assert replayed(str(path), "--once") == 1
    assert capsys.readouterr().out == "Falla de lectura. Reintentando...\n"


def test_a_broken_sensor_is_one_line_on_stderr(tmp_path: Path, capsys: Capsys) -> None:
    assert run("read", "--sysfs-root", str(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edge read: no dht11 device below")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--option", "pin=3"), "option 'pin' of the driver iio"),
        (("--option", "pin"), "'pin' is not NAME=VALUE"),
        (("--driver", "w1"), "'w1'"),
        (("--count", "0"), "'0' is not a number of 1 or more"),
        (("--interval-s", "2"), "the driver iio can read a dht11 every 2.1 s at the most"),
        (("--interval-s", "nan"), "--interval-s nan"),
    ],
)
def test_a_bad_argument_is_named(words: tuple[str, ...], says: str, capsys: Capsys) -> None:
    assert run("read", *words) == 2
    assert says in capsys.readouterr().err


def test_each_line_is_flushed_and_ctrl_c_is_a_clean_end() -> None:
    command = [sys.executable, "-m", "edge", "read", "--driver", "simulated"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [*command, "--interval-s", "86400"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Temperatura=")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_doctor_says_of_every_driver_what_to_do(tmp_path: Path, capsys: Capsys) -> None:
    roots = ("--sysfs-root", str(tmp_path), "--dev-root", str(tmp_path))
    assert run("doctor", *roots) == 1
    iio, gpio, adafruit, replay, simulated, *_ = capsys.readouterr().out.splitlines()
    assert "dtoverlay=dht11,gpiopin=3" in iio
    assert "--device /dev/gpiochip0" in gpio
    assert "platform=pi" in adafruit or "pip install" in adafruit
    assert replay.startswith("works  driver replay")
    assert simulated.startswith("works  driver simulated")


class Answering:
    """A sensor that is read at once, or refused for ever."""

    source = "test"
    paces_itself = False
    min_interval_s = 0.0

    def __init__(self, driver: str, model: str, *, refuses: bool = False) -> None:
        self.driver, self.model, self._refuses = driver, model, refuses

    def open(self) -> None:
        pass

    def read(self) -> Measurement:
        if self._refuses:
            raise NoReading(Cause.UNDECODABLE)
        return Measurement(23.0, 47.0)

    def close(self) -> None:
        pass


def test_doctor_says_that_iio_reads_no_dht11_below_zero() -> None:
    reading = "23.0 °C, 47.0 % (test)"
    found = examine_driver("iio", Answering("iio", "dht11"))
    assert found.says.startswith(f"{reading}; reads no dht11 below 0 °C or 4 %, on any kernel")
    refused = examine_driver("iio", Answering("iio", "dht11", refuses=True))
    assert "below 0 °C or 4 %: try the driver gpio" in refused.says
    assert examine_driver("iio", Answering("iio", "dht22")).says == reading
    assert examine_driver("gpio", Answering("gpio", "dht11")).says == reading


def test_doctor_for_machines(tmp_path: Path, capsys: Capsys) -> None:
    assert run("doctor", "--driver", "iio", "--sysfs-root", str(tmp_path), "--json") == 1
    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (found["what"], found["works"]) == ("driver iio", False)


def test_doctor_gives_options_to_the_drivers_that_have_them(capsys: Capsys) -> None:
    pytest.importorskip("Adafruit_DHT", reason="Adafruit_DHT is not installed")
    assert run("doctor", "--option", "platform=test") == 0
    assert "works  driver adafruit: 42.0 °C, 50.0 % (simulated)" in capsys.readouterr().out
    assert run("doctor", "--option", "colour=red") == 2
    assert "option 'colour': allowed are chip, device" in capsys.readouterr().err


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_doctor_s_other_checks_bear_on_the_verdict(works: bool, code: int, capsys: Capsys) -> None:
    parser = argparse.ArgumentParser()
    check = Finding("broker", works, "password refused")
    doctor.add(parser.add_subparsers(), checks=[lambda: check])
    args = parser.parse_args(["doctor", "--driver", "simulated"])
    assert args.run(args) == code
    assert "broker: password refused" in capsys.readouterr().out
