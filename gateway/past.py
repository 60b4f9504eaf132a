"""A sensor's past as its page asks for it: a range, the points in it, and the chart of them."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from babel.dates import format_date, format_skeleton
from flask import request
from flask_babel import gettext

from broker.contract import shown
from gateway import formats, locale
from gateway.catalogue import marked
from gateway.charts import DAY_S, MINUTE_S, MONTH_S, YEAR_S, Labels
from gateway.history.moments import LATEST_MS, milliseconds, moment, parsed
from gateway.history.views import HistoryView
from gateway.problems import Problem, not_allowed

if TYPE_CHECKING:
    from gateway.history.watch import Watch

HOUR_MS = 3_600_000
RANGES_MS: Mapping[str, int] = {
    "1h": HOUR_MS,
    "24h": 24 * HOUR_MS,
    "7d": 7 * 24 * HOUR_MS,
    "30d": 30 * 24 * HOUR_MS,
    "1y": 365 * 24 * HOUR_MS,
}
DEFAULT_RANGE = "24h"
SHORTEST_MS = 10_000
LONGEST_MS = 20 * 365 * 24 * HOUR_MS
POINTS = 400
KEPT = 12  # of the newest answers; each is some hundred kilobytes
KEPT_S = 10.0
# A database that hangs may hold so many of the pages' threads, and no more; others wait for so long.
AT_ONCE = 2
WAIT_S = 2.0
RETRY_AFTER_S = 5
SLOW_S = 10.0  # after somebody waited in vain, nobody waits for so long
Asked = tuple[str, str, int, int]  # node, sensor, from and to
# What a browser's own input for a date and time gives: no zone, and perhaps no seconds.
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)


class Range(NamedTuple):
    """In ms since 1970; `name`: of one that moves on with time, else empty."""

    name: str
    from_ms: int
    to_ms: int


def asked_range(now: datetime) -> Range:
    """From this request's query: `range`, or `from` and `to`. Raises Problem."""
    name, from_, to = (request.args.get(one) for one in ("range", "from", "to"))
    now_ms = milliseconds(now)
    if from_ is None and to is None:
        name = DEFAULT_RANGE if name is None else name
        if name not in RANGES_MS:
            raise not_allowed("range", name, RANGES_MS)
        long_ms = RANGES_MS[name]
        # In steps of a point, so that for a while it is the same for every visitor.
        step_ms = max(1000, long_ms // POINTS)
        to_ms = -(-now_ms // step_ms) * step_ms
        return Range(name, to_ms - long_ms, to_ms)
    if name is not None:
        detail = marked("%(name)s %(value)s: it does not go together with from and to")
        raise _bad("range", name, detail)
    to_ms = now_ms if to is None else _moment("to", to)
    from_ms = to_ms - RANGES_MS[DEFAULT_RANGE] if from_ is None else _moment("from", from_)
    if not SHORTEST_MS <= to_ms - from_ms <= LONGEST_MS:
        if to is None:
            detail = marked("%(name)s %(value)s: it must be 10 s to 20 years before to (now)")
        else:
            detail = marked("%(name)s %(value)s: it must be 10 s to 20 years before to (%(to)s)")
        raise _bad("from", from_ or "", detail, to=shown(to))
    return Range("", from_ms, to_ms)


def wider(range_: Range, now: datetime) -> Range:
    """Three times as long, around the same middle; not further than now."""
    half_ms = (range_.to_ms - range_.from_ms) * 3 // 2
    middle_ms = (range_.to_ms + range_.from_ms) // 2
    to_ms = min(middle_ms + half_ms, max(milliseconds(now), range_.to_ms))
    from_ms = max(0, to_ms - min(2 * half_ms, LONGEST_MS))
    return Range("", from_ms, to_ms)


class Past:
    """The history's answers, each kept for a moment: many look at the same sensor."""

    def __init__(self, watch: Watch, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reading = threading.BoundedSemaphore(AT_ONCE)
        self._slow_until_s = float("-inf")
        self._kept: OrderedDict[Asked, tuple[float, HistoryView | None]] = OrderedDict()

    def of(self, node: str, sensor: str, range_: Range) -> HistoryView | None:
        """None: the history has no such sensor. Raises Problem if it cannot be read."""
        from gateway.history import query  # noqa: PLC0415 - not without a history

        key = node, sensor, range_.from_ms, range_.to_ms
        if (kept := self._fresh(key)) is not None:
            return kept[1]
        # Who waits has a thread that probes need too: after one has waited in vain, the next do not.
        patience_s = 0.0 if self._monotonic() < self._slow_until_s else WAIT_S
        if not self._reading.acquire(timeout=patience_s):
            if patience_s:
                self._slow_until_s = self._monotonic() + SLOW_S
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                marked("the history's database is slow: %(num)s still wait for it"),
                retry_after_s=RETRY_AFTER_S,
                num=AT_ONCE,
            )
        try:
            if (kept := self._fresh(key)) is not None:  # who went first has asked the same
                return kept[1]
            with self._watch.read() as connection:
                view = query.history(connection, node, sensor, range_.from_ms, range_.to_ms, POINTS)
            self._slow_until_s = float("-inf")
            with self._lock:
                self._kept[key] = (self._monotonic(), view)
                self._kept.move_to_end(key)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        finally:
            self._reading.release()
        return view

    def _fresh(self, key: Asked) -> tuple[float, HistoryView | None] | None:
        with self._lock:
            kept = self._kept.get(key)
        return kept if kept is not None and self._monotonic() - kept[0] < KEPT_S else None


def labels() -> Labels:
    """How a chart speaks to this request's reader."""
    choice = locale.current()
    language = choice.language

    def tick(at: datetime, step_s: int) -> str:
        if step_s < DAY_S and (at.hour, at.minute, at.second) != (0, 0, 0):
            return f"{at:%H:%M:%S}" if step_s < MINUTE_S else f"{at:%H:%M}"
        if step_s < MONTH_S:
            return format_skeleton("MMMd", at, locale=formats.locale(language))
        if step_s < YEAR_S and at.month > 1:
            return format_skeleton("MMM", at, locale=formats.locale(language))
        return str(at.year)

    # a chart fills in its own places, {name}, later
    return Labels(
        number=lambda value, digits: formats.number(value, language, digits),
        time=tick,
        moment=lambda at: f"{format_date(at, 'long', formats.locale(language))} {at:%H:%M}",
        temperature=formats.fahrenheit if choice.units == "f" else lambda value_c: value_c,
        temperature_unit=locale.temperature_unit(),
        temperature_title=gettext("Temperature"),
        humidity_title=gettext("Humidity"),
        title=gettext(
            "Temperature and humidity from %(begin)s to %(end)s, UTC", begin="{begin}", end="{end}"
        ),
        extremes=gettext(
            "%(quantity)s: lowest %(min)s, mean %(mean)s, highest %(max)s.",
            quantity="{quantity}",
            min="{min}",
            mean="{mean}",
            max="{max}",
        ),
        trend=gettext(
            "%(quantity)s: %(min)s to %(max)s, last %(last)s.",
            quantity="{quantity}",
            min="{min}",
            max="{max}",
            last="{last}",
        ),
        no_data=gettext("No readings in this time"),
        readings=gettext("%(n)s readings", n="{n}"),
        reading=gettext("1 reading"),
        hint=gettext("Arrow keys: point by point. + and −: closer and wider. Escape: end."),
    )


def iso(ms: int) -> str:
    """For an address: to the second, or finer where it is."""
    precision = "milliseconds" if ms % 1000 else "seconds"
    return moment(ms).isoformat(timespec=precision).replace("+00:00", "Z")


def _moment(name: str, text: str) -> int:
    try:
        return min(parsed(f"{text}Z" if _LOCAL.fullmatch(text) else text), LATEST_MS)
    except ValueError:
        detail = marked(
            "%(name)s %(value)s: allowed are ISO 8601 with a zone (2026-05-03T12:00:00Z)"
            " and a date (2026-05-03, UTC)"
        )
        raise _bad(name, text, detail) from None


def _bad(name: str, value: str, detail: str, *, to: str = "") -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail, name, name=name, value=shown(value), to=to)
