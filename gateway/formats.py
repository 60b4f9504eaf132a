"""Numbers, days and ages as each language writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from types import MappingProxyType

from babel import Locale
from babel.dates import format_datetime, format_skeleton
from babel.numbers import format_decimal

from gateway.catalogue import catalogue, marked

# British English: the day before the month, as in Spanish.
LOCALES: Mapping[str, str] = MappingProxyType({"es": "es", "en": "en_GB"})
UNKNOWN = "–"
_UNITS_S = {"d": 86400, "h": 3600, "min": 60, "s": 1}
_AGES = {
    "d": marked("%(num)s d ago"),
    "h": marked("%(num)s h ago"),
    "min": marked("%(num)s min ago"),
    "s": marked("%(num)s s ago"),
}
# Babel takes 20 µs over a number; every visitor is shown the same ones.
KEPT = 1024


@cache
def locale(language: str) -> Locale:
    """What Babel knows of it; read from its files when it is first asked for."""
    return Locale.parse(LOCALES[language])


@lru_cache(maxsize=KEPT)
def number(value: float | None, language: str, digits: int = 1) -> str:
    """With the language's decimal sign and so many decimals; a dash for what is not known."""
    if value is None:
        return UNKNOWN
    pattern = f"0.{'0' * digits}" if digits else "0"
    text: str = format_decimal(value, pattern, locale=locale(language))
    return text if text.strip("-0.,") else text.lstrip("-")  # never "-0,0"


def whole(value: int, language: str) -> str:
    """With the language's sign between thousands; in Spanish none in a number of four digits."""
    grouped = language != "es" or abs(value) >= 10_000  # Babel does not know of that
    return format_decimal(value, "#,##0" if grouped else "0", locale=locale(language))


def age(since: datetime | None, now: datetime, language: str) -> str:
    """How long ago, in the largest unit of which there is one."""
    texts = catalogue(language)
    if since is None:
        return texts.gettext("of unknown age")
    number_of, unit = _largest(since, now)
    return texts.gettext(_AGES[unit]) % {"num": number_of}


def duration(since: datetime, now: datetime) -> str:
    """In the largest unit of which there is one; their signs are the same in every language."""
    number_of, unit = _largest(since, now)
    return f"{number_of} {unit}"


def _largest(since: datetime, now: datetime) -> tuple[int, str]:
    """How many of the largest unit of which there is one; of the smallest perhaps none."""
    seconds = max(0, int((now - since).total_seconds()))
    unit = next((unit for unit, length_s in _UNITS_S.items() if seconds >= length_s), "s")
    return seconds // _UNITS_S[unit], unit


def fahrenheit(value_c: float) -> float:
    """°C as °F."""
    return value_c * 9 / 5 + 32


@lru_cache(maxsize=KEPT)
def moment(value: datetime, language: str) -> str:
    """In UTC and saying so: a server does not know its reader's time zone."""
    return f"{format_datetime(value.astimezone(UTC), locale=locale(language))} UTC"


def day(value: datetime, now: datetime, language: str) -> str:
    """In UTC; with its year unless that is this one."""
    at = value.astimezone(UTC)
    skeleton = "MMMMd" if at.year == now.year else "yMMMMd"
    return format_skeleton(skeleton, at, locale=locale(language))
