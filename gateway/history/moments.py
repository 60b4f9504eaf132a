"""Moments as the database has them, in milliseconds since 1970 (UTC), and as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LATEST_MS = 253_402_300_799_000  # the end of 9999
ALLOWED = "allowed are ISO 8601 with a zone (2026-05-03T12:00:00Z) and a date (2026-05-03, UTC)"
_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
# A + in an address that was not written as %2B arrives as a space.
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def exactly(value: datetime) -> int:
    """In milliseconds; before 1970 they are negative."""
    return (value - _EPOCH) // _MS


def milliseconds(value: datetime) -> int:
    """No further back than 1970, and no further on than dates go."""
    return min(max(exactly(value), 0), LATEST_MS)


def parsed(text: str) -> int:
    """Raises ValueError that says what is allowed."""
    try:
        value = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text.upper()))
    except ValueError:
        raise ValueError(ALLOWED) from None
    if _DATE.fullmatch(text):
        value = value.replace(tzinfo=UTC)
    if value.tzinfo is None:
        raise ValueError(ALLOWED)
    return milliseconds(value)
