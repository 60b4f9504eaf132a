from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import capture
from edge.commands import encode as command
from edge.encode import TIMINGS, edges, frame_bytes, room, wrong_sum
from edge.frame import Frame, Model, decode, measurement

DEMO = Path(__file__).resolve().parents[2] / "edge" / "demo"
# What made the demonstration captures; after a change here or in the encoder, run it again.
DEMO_ARGUMENTS = {
    "dht11": "--temperature 24 --humidity 41 --seed 11 --wrong-sum 23",
    "dht22": "--temperature 21.4 --humidity 55.3 --seed 22 --wrong-sum 17 --wrong-sum 44",
}
repeatable = settings(derandomize=True, deadline=None, max_examples=200)


def encode(arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["encode", *arguments.split()])
    code: int = args.run(args)
    return code


@repeatable
@given(temperature=st.integers(-400, 800), humidity=st.integers(0, 1000), complement=st.booleans())
def test_every_dht22_reading_comes_back(temperature: int, humidity: int, complement: bool) -> None:
    if temperature == humidity == 0:
        return  # five zero bytes: no reading
    data = frame_bytes(temperature / 10, humidity / 10, Model.DHT22, complement=complement)
    measured = measurement(data, Model.DHT22)
    assert (measured.temperature_c, measured.humidity_pct) == (temperature / 10, humidity / 10)


@repeatable
@given(temperature=st.integers(-200, 600), humidity=st.integers(0, 1000))
def test_every_dht11_reading_comes_back(temperature: int, humidity: int) -> None:
    if temperature == humidity == 0:
        return
    measured = measurement(frame_bytes(temperature / 10, humidity / 10, Model.DHT11), Model.DHT11)
    assert (measured.temperature_c, measured.humidity_pct) == (temperature / 10, humidity / 10)


def test_bytes_are_those_of_real_sensors() -> None:
    assert frame_bytes(27, 36, Model.DHT11) == bytes([36, 0, 27, 0, 63])
    assert frame_bytes(-7.8, 70.3, Model.DHT22) == bytes([2, 191, 128, 78, 143])
    assert frame_bytes(-10, 50, Model.DHT22, complement=True)[2:4] == b"\xff\x9c"


@pytest.mark.parametrize("reading", [(80.1, 50), (-40.1, 50), (20, 100.1), (20, -0.1)])
def test_a_reading_that_a_sensor_cannot_give_is_refused(reading: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="a dht22 gives"):
        frame_bytes(*reading, Model.DHT22)


def test_a_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="nan °C"):
        frame_bytes(float("nan"), 50, Model.DHT11)


def test_a_wrong_sum_is_wrong_and_nothing_else() -> None:
    data = frame_bytes(21, 50, Model.DHT22)
    assert wrong_sum(data)[:4] == data[:4]
    assert not Frame(0, wrong_sum(data)).checksum_ok


def test_frames_are_an_interval_apart() -> None:
    data = frame_bytes(21, 50, Model.DHT22)
    found = decode(edges([data] * 3, TIMINGS[Model.DHT22], interval_s=2.5, jitter_us=0))
    starts_us = [frame.start_us for frame in found]
    assert starts_us == [520_044, 3_020_044, 5_520_044]


def test_one_seed_gives_one_line() -> None:
    data = [frame_bytes(21, 50, Model.DHT22)]
    timing = TIMINGS[Model.DHT22]
    assert list(edges(data, timing, seed=1)) == list(edges(data, timing, seed=1))
    assert list(edges(data, timing, seed=1)) != list(edges(data, timing, seed=2))


@pytest.mark.parametrize("model", Model)
def test_a_room_changes_slowly_about_its_values(model: Model) -> None:
    readings = room(21.4, 55.3, model, 200, seed=3)
    assert len(readings) == 200
    assert all(abs(t - 21.4) < 2 and abs(h - 55.3) < 4 for t, h in readings)
    steps = [abs(b[0] - a[0]) for a, b in pairwise(readings)]
    assert max(steps) <= 1.0
    assert len(set(readings)) > 3


@pytest.mark.parametrize("model", Model)
def test_the_demonstration_is_what_the_command_makes(model: Model, tmp_path: Path) -> None:
    made = tmp_path / "made.csv"
    assert encode(f"--model {model} {DEMO_ARGUMENTS[model]} --out {made}") == 0
    shipped = (DEMO / f"{model}.csv").read_bytes()
    assert made.read_bytes() == shipped
    assert len(shipped) < 120_000


@pytest.mark.parametrize(("model", "wrong"), [(Model.DHT11, 1), (Model.DHT22, 2)])
def test_the_demonstration_shows_readings_and_an_honest_failure(model: Model, wrong: int) -> None:
    found = decode(capture.load(str(DEMO / f"{model}.csv")))
    assert len(found) == 60
    assert sum(not frame.checksum_ok for frame in found) == wrong
    for frame in found:
        if frame.checksum_ok:
            assert 20 < measurement(frame.data, model).temperature_c < 26


def test_the_command_takes_readings(capsys: pytest.CaptureFixture[str]) -> None:
    assert encode("--model dht22 --reading=-7.8,70.3 --reading=-7.9,70.1 --wrong-sum 2") == 0
    found = decode(capture.rows(capsys.readouterr().out.splitlines(), "stdout"))
    assert [frame.checksum_ok for frame in found] == [True, False]
    assert measurement(found[0].data, Model.DHT22).temperature_c == -7.8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--model dht11 --temperature 90", "°C: a dht11 gives -20.0 to 60.0"),
        ("--model dht11 --count 3 --wrong-sum 4", "--wrong-sum 4: there are 3"),
        ("--model dht11 --out /nowhere/at/all.csv", "/nowhere/at/all.csv: No such file"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--model dht11 --reading 24", "'24': °C and % are expected, as 24.0,41.0"),
        ("--model dht11 --count 0", "'0': a whole number from 1 is expected"),
        ("--model dht11 --interval-s 0", "'0': 0.1 to 31536000 seconds are expected"),
        ("--model dht11 --interval-s nan", "'nan': 0.1 to 31536000 seconds are expected"),
        ("--model dht12", "dht12"),
    ],
)
def test_an_argument_that_means_nothing_is_named(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        encode(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
