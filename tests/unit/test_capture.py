from __future__ import annotations

import io
from pathlib import Path

import pytest

from edge.capture import CaptureError, load, rows, write
from edge.frame import Edge


def read(text: str) -> list[Edge]:
    return list(rows(io.StringIO(text), "line.csv"))


def test_whole_and_fractional_times_are_read() -> None:
    assert read("time_us,level\n0,1\n12,0\n12.125,1\n") == [(0, 1), (12, 0), (12.125, 1)]


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbftime_us,level\r\n0,1\r\n5,0\r\n")
    assert load(str(path)) == [(0, 1), (5, 0)]


def test_what_is_written_is_read_again() -> None:
    edges: list[Edge] = [(0, 1), (500_000, 0), (500_000.125, 1), (10**14, 0)]
    stream = io.StringIO()
    write(stream, edges)
    assert stream.getvalue() == ("time_us,level\n0,1\n500000,0\n500000.125,1\n100000000000000,0\n")
    assert read(stream.getvalue()) == edges


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line.csv: empty; expected is the header time_us,level"),
        ("time,level\n", "line.csv, line 1: 'time,level': expected is the header time_us,level"),
        ("time_us,level\n0,1\n\n", "line 3: '': expected is a time in µs, a comma, and 0 or 1"),
        ("time_us,level\n0,2\n", "line 2: '0,2': expected is a time in µs, a comma, and 0 or 1"),
        ("time_us,level\n7\n", "line 2: '7': expected is a time"),
        ("time_us,level\n0,1,0\n", "line 2: '0,1,0': expected is a time"),
        ("time_us,level\n-1,0\n", "line 2: '-1': expected is a time in µs, as 1234 or 1234.5"),
        ("time_us,level\nnan,0\n", "line 2: 'nan': expected is a time in µs"),
        ("time_us,level\n1_0,0\n", "line 2: '1_0': expected is a time in µs"),
        ("time_us,level\n1e6,0\n", "line 2: '1e6': expected is a time in µs"),
        ("time_us,level\n0,1\n9.5,0\n9,1\n", "line 4: '9': expected is a time not before 9.5"),
        ("time_us,level\n" + "9" * 99 + ",1\n", "line 2: '9999999999999999999999999999"),
    ],
)
def test_a_bad_row_is_named_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 150


def test_a_binary_file_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "capture.sr"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(CaptureError, match=r"capture\.sr, after line 0: not text in UTF-8"):
        load(str(path))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "none.csv"))
