"""Numbers, days and ages as each language writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from types import MappingProxyType

from babel import Locale
from babel.dates import format_datetime, format_skeleton
from babel.numbers import format_decimal

from gateway.catalogue import catalogue

# British English: the day before the month, as in Spanish.
LOCALES: Mapping[str, str] = MappingProxyType({"es": "es", "en": "en_GB"})
UNKNOWN = "–"
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
    seconds = max(0, int((now - since).total_seconds()))
    if seconds >= 86400:
        return texts.gettext("%(num)s d ago") % {"num": seconds // 86400}
    if seconds >= 3600:
        return texts.gettext("%(num)s h ago") % {"num": seconds // 3600}
    if seconds >= 60:
        return texts.gettext("%(num)s min ago") % {"num": seconds // 60}
    return texts.gettext("%(num)s s ago") % {"num": seconds}


def duration(since: datetime, now: datetime) -> str:
    """In the largest unit of which there is one; their signs are the same in every language."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} s"


@lru_cache(maxsize=KEPT)
def moment(value: datetime, language: str) -> str:
    """In UTC and saying so: a server does not know its reader's time zone."""
    return f"{format_datetime(value.astimezone(UTC), locale=locale(language))} UTC"


def day(value: datetime, now: datetime, language: str) -> str:
    """In UTC; with its year unless that is this one."""
    at = value.astimezone(UTC)
    skeleton = "MMMMd" if at.year == now.year else "yMMMMd"
    return format_skeleton(skeleton, at, locale=locale(language))
