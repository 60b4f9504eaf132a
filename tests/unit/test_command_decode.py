from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from edge.capture import write
from edge.commands import decode as command
from edge.encode import TIMINGS, edges, frame_bytes, summed, wrong_sum
from edge.frame import Model

GOOD = frame_bytes(24.4, 46.4, Model.DHT22)


def decode(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["decode", *arguments])
    code: int = args.run(args)
    return code


def captured(*frames: bytes) -> str:
    stream = io.StringIO()
    write(stream, edges(frames, TIMINGS[Model.DHT22], jitter_us=0))
    return stream.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.csv"


def test_each_frame_is_one_json_object(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(captured(GOOD, wrong_sum(GOOD)))
    assert decode(str(path), "--model", "dht22") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "start_us": 520_044,
        "bytes": [1, 208, 0, 244, 197],
        "checksum_ok": True,
        "temperature_c": 24.4,
        "humidity_pct": 46.4,
    }
    assert second == {
        "start_us": 5_520_044,
        "bytes": [1, 208, 0, 244, 213],
        "checksum_ok": False,
        "temperature_c": None,
        "humidity_pct": None,
    }


def test_bytes_that_are_no_reading_have_no_values(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(captured(bytes(5), summed(b"\xff" * 4)))
    assert decode(str(path), "--model", "dht22") == 0
    for line in capsys.readouterr().out.splitlines():
        said = json.loads(line)
        assert said["checksum_ok"] is True
        assert (said["temperature_c"], said["humidity_pct"]) == (None, None)


def test_the_model_decides_what_the_bytes_mean(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(captured(summed(bytes([2, 0, 0, 9]))))
    for model, meant in (("dht11", (0.9, 2.0)), ("dht22", (0.9, 51.2))):
        decode(str(path), "--model", model)
        said = json.loads(capsys.readouterr().out)
        assert (said["temperature_c"], said["humidity_pct"]) == meant


def test_a_fractional_time_stays_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = captured(GOOD).splitlines()
    path.write_text("\n".join([rows[0], rows[1], *(row.replace(",", ".25,") for row in rows[2:])]))
    decode(str(path), "--model", "dht22")
    assert json.loads(capsys.readouterr().out)["start_us"] == 520_044.25


def test_a_dash_is_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(captured(GOOD)))
    assert decode("-", "--model", "dht22") == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == list(GOOD)


def test_a_capture_without_a_frame_is_one_line_and_code_1(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("".join(captured(GOOD).splitlines(keepends=True)[:60]))
    assert decode(str(path), "--model", "dht22") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"edge decode: {path}: no frame found in 59 rows: a sensor's answer has a response,"
        " 40 or 64 bits and a closing low, all of them whole\n"
    )


def test_the_help_says_what_each_exit_code_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decode("--help")
    assert "1 the capture has none" in capsys.readouterr().out


def test_an_am2301_s_answer_of_64_bits_is_one_frame(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(captured(GOOD + bytes(3), GOOD + bytes(3)))
    assert decode(str(path), "--model", "dht22") == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [frame["bytes"] for frame in frames] == [list(GOOD)] * 2


def test_a_missing_file_is_one_line_and_code_2(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(str(path), "--model", "dht22") == 2
    assert capsys.readouterr().err == f"edge decode: {path}: No such file or directory\n"


def test_a_bad_row_is_one_line_and_code_2(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("time_us,level\n0,1\nsoon,0\n")
    assert decode(str(path), "--model", "dht22") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"edge decode: {path}, line 3: 'soon': expected is a time in µs, as 1234 or 1234.5\n"
    )
