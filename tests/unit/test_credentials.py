"""Passwords: whose files they are, and when a new one is made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import credentials


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """What is private is so by our own doing."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    folder, hashes = tmp_path / "state" / "credentials", tmp_path / "passwords"
    credentials.write_hashes(hashes, credentials.make(folder, ["pi-1"]))
    assert mode(folder) == 0o700
    assert mode(folder / "pi-1") == mode(hashes) == 0o600


def test_each_user_has_a_password_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first = credentials.make(tmp_path, ["pi-1", "viewer"])
    assert first["pi-1"] != first["viewer"]
    assert min(map(len, first.values())) >= 24
    assert {user: (tmp_path / user).read_text().strip() for user in first} == first
    later = credentials.make(tmp_path, ["pi-1", "pi-2", "viewer"])
    assert {user: later[user] for user in first} == first


def test_an_empty_file_is_no_password_and_is_replaced(tmp_path: Path) -> None:
    """A machine that lost its power while it wrote leaves such a file."""
    (tmp_path / "pi-1").touch()
    password = credentials.make(tmp_path, ["pi-1"])["pi-1"]
    assert len(password) >= 24
    assert (tmp_path / "pi-1").read_text().strip() == password
    assert mode(tmp_path / "pi-1") == 0o600


def test_hashes_are_salted_and_none_is_the_password(tmp_path: Path) -> None:
    credentials.write_hashes(tmp_path / "passwords", {"b": "secret", "a": "secret"})
    text = (tmp_path / "passwords").read_text()
    lines = text.splitlines()
    assert [line.split(":")[0] for line in lines] == ["a", "b"]
    assert lines[0][2:] != lines[1][2:]
    assert "secret" not in text
