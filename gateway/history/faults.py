"""What can be wrong with a database, told apart by what its driver says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StoreError(Exception):
    """The history's database cannot be used; the text is one line for a person."""


class Unavailable(StoreError):
    """It is away, full, locked or damaged: trying again may help."""


class Conflict(Unavailable):
    """Another transaction was in the way: trying again at once may help."""


class Refused(StoreError):
    """It does not take what was to be written."""


class WrongSchema(StoreError):
    """Its tables are older, newer or not there; the text says what to do."""


# By SQLSTATE or its class (PostgreSQL) and by number (MariaDB) ...
_CODES: Mapping[type[StoreError], set[str | int]] = {
    Conflict: {"40001", "40P01", 1213, 1020},
    WrongSchema: {"42P01", "42703", 1146, 1054},
    # we may not use what we name: the database, a schema, a table
    StoreError: {"28", "3D", "42501", 1044, 1045, 1049, 1142, 1143, 1698},
    Refused: {"22", "23"},
}
# ... and where there is neither (SQLite, and PostgreSQL when a connection fails) by words.
_WORDS = {
    "no such table": WrongSchema,
    "no such column": WrongSchema,
    "password authentication failed": StoreError,
    "no password supplied": StoreError,
    "does not exist": StoreError,
}


def fault(error: BaseException, driver: Any) -> tuple[type[StoreError], str]:
    """What it is, and what the driver says of it, in one line."""
    words = [arg for arg in error.args if isinstance(arg, str) and arg.strip()]
    text = words[-1].strip().splitlines()[0] if words else type(error).__name__
    state = str(getattr(error, "sqlstate", None) or "")
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    codes = {code for code in (state, state[:2], number) if code}
    kinds = [kind for kind, known in _CODES.items() if codes & known]
    if not codes:
        kinds = [kind for known, kind in _WORDS.items() if known in text]
    if kinds:
        return kinds[0], text
    if isinstance(error, driver.IntegrityError | driver.DataError):
        return Refused, text
    lasting = isinstance(error, driver.ProgrammingError | driver.NotSupportedError)
    return StoreError if lasting else Unavailable, text
