"""What may be wrong with a journal's file, and how it is set aside."""

from __future__ import annotations

import errno
import os
import sqlite3
from datetime import datetime
from pathlib import Path

from edge.journal_format import Damaged
from edge.journal_log import log_of

MAX_SET_ASIDE = 3
# UnicodeDecodeError: Python cannot read what SQLite says, since it names what is broken.
FAULTS = (sqlite3.Error, OSError, Damaged, UnicodeDecodeError)
# Whatever else SQLite says means that the file is damaged.
UNWRITABLE = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}


def is_damage(error: Exception) -> bool:
    """Is the file itself of no use, other than that it cannot be written just now?"""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return not isinstance(error, OSError) and (code & 0xFF not in UNWRITABLE or code in UNREADABLE)


def said(error: Exception) -> str:
    """One line for a person."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return "another process uses it"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text.splitlines()[-1]


def set_aside(path: Path) -> list[Path]:
    """The damaged files that were set aside, oldest first."""
    return sorted(
        one
        for one in path.parent.glob("*.damaged-*")
        if one.name.startswith(f"{path.name}.damaged-") and not one.name.endswith("-wal")
    )


def move_away(path: Path, now: datetime) -> Path:
    """Set a file aside, with its log, for people and for the salvage. Raises OSError.

    Only then is it closed: SQLite then deletes the log by the name that it had, which must not be
    that of a new one.
    """
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}.1")
    path.rename(aside)
    if log_of(path).exists():
        log_of(path).rename(log_of(aside))
    for old in set_aside(path)[:-MAX_SET_ASIDE]:
        old.unlink()
        log_of(old).unlink(missing_ok=True)
    return aside


def make_folder(path: Path) -> None:
    """With those above it. Raises OSError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
