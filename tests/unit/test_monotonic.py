"""Which monotonic clock is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker import monotonic
from broker.monotonic import monotonic_clock_id, read_boot_id
from tests.support import python

SAY = "from broker.monotonic import monotonic_clock_id; print(monotonic_clock_id())"


def test_all_programs_on_a_machine_name_it_alike() -> None:
    ours = monotonic_clock_id()
    assert re.fullmatch(r"[0-9a-f]{16}", ours)
    with python("-c", SAY) as other:
        assert (other.wait(), other.lines) == (0, [ours])


def test_the_boot_id_is_not_told() -> None:
    assert monotonic_clock_id() not in read_boot_id().replace("-", "")


def test_another_boot_has_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = monotonic_clock_id()
    (tmp_path / "boot_id").write_text("0d1c0c9e-7f0c-4d7e-9f51-0c3c1b8f8a01\n")
    monkeypatch.setattr(monotonic, "BOOT_ID", tmp_path / "boot_id")
    assert monotonic_clock_id() not in {ours, ""}


def test_a_time_namespace_of_its_own_has_another_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = monotonic_clock_id()
    (tmp_path / "time").symlink_to("time:[4026532999]")
    monkeypatch.setattr(monotonic, "TIME_NAMESPACE", tmp_path / "time")
    assert monotonic_clock_id() not in {ours, ""}


def test_a_kernel_that_says_nothing_has_no_name_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monotonic, "BOOT_ID", tmp_path / "none")
    assert monotonic_clock_id() == ""


def test_before_there_were_time_namespaces_the_boot_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monotonic, "TIME_NAMESPACE", tmp_path / "none")
    assert re.fullmatch(r"[0-9a-f]{16}", monotonic_clock_id())
