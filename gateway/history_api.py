"""`/api/v1/sensors/…/history` and `/api/v1/audit…`: what the database has of the past.

Without a history both say so, and SQLAlchemy is not even loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import TYPE_CHECKING
from uuid import UUID

from flask import Blueprint, Response, request

from broker.contract import ContractError, checked_id, shown
from gateway.history.moments import milliseconds, parsed
from gateway.problems import Problem, checked_query

if TYPE_CHECKING:
    from gateway.history.watch import Watch

# What the server gives threads of their own.
PATHS = re.compile(r"/api/v1/(audit(/[^/]+/[^/]+)?|sensors/[^/]+/[^/]+/history)")
DAY_MS = 86_400_000
POINTS = 500
MAX_POINTS = 5000
STREAMS, MAX_STREAMS = 100, 500  # on a page
MAX_EXPORTS = 2
EXPORT_RETRY_AFTER_S = 30


def blueprint(watch: Watch | None, utcnow: Callable[[], datetime]) -> Blueprint:
    api = Blueprint("history", __name__, url_prefix="/api/v1")
    exports = BoundedSemaphore(MAX_EXPORTS)

    def configured() -> Watch:
        if watch is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no history: BRISA_HISTORY_URL is not set")
        return watch

    @api.get("/sensors/<node>/<sensor>/history")
    def history(node: str, sensor: str) -> Response:
        asked = checked_query(("from", "to", "points", "format"))
        as_csv = _choice(asked.get("format", "json")) == "csv"
        points = _points(asked.get("points"), as_csv=as_csv)
        from_ms, to_ms = _range(asked.get("from"), asked.get("to"), utcnow())
        past = configured()
        unknown = _unknown(node, sensor)
        from gateway.history import query  # noqa: PLC0415 - see above

        with past.read() as connection:
            view = None
            if not as_csv:
                view = query.history(connection, node, sensor, from_ms, to_ms, points)
            if view is None and not (as_csv and query.known(connection, node, sensor)):
                raise unknown
        if view is None:
            return _export(past, exports, (node, sensor), from_ms, to_ms)
        return _answer(view.to_json())

    @api.get("/audit")
    def audit() -> Response:
        checked_query()
        past = configured()
        from gateway.history import account  # noqa: PLC0415

        with past.read() as connection:
            return _answer(account.audit(connection).view.to_json())

    @api.get("/audit/<node>/<sensor>")
    def streams(node: str, sensor: str) -> Response:
        asked = checked_query(("after", "limit"))
        limit = _number("limit", asked.get("limit"), STREAMS, MAX_STREAMS)
        after = _stream(asked.get("after"))
        past = configured()
        unknown = _unknown(node, sensor)
        from gateway.history import account  # noqa: PLC0415

        with past.read() as connection:
            view = account.streams(connection, node, sensor, after=after, limit=limit)
        if view is None:
            raise unknown
        return _answer(view.to_json())

    return api


def _unknown(node: str, sensor: str) -> Problem:
    """What is said where there is no such sensor. Raises it where there can be none."""
    detail = f"the history knows no sensor {shown(f'{node}/{sensor}')}"
    unknown = Problem(HTTPStatus.NOT_FOUND, detail)
    try:
        checked_id("node", node), checked_id("sensor", sensor)
    except ContractError:  # databases differ in what they do with other letters
        raise unknown from None
    return unknown


def _answer(body: bytes) -> Response:
    response = Response(body, content_type="application/json")
    response.add_etag()
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response


def _export(
    watch: Watch, exports: BoundedSemaphore, key: tuple[str, str], from_ms: int, to_ms: int
) -> Response:
    response = Response(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{key[0]}_{key[1]}.csv"'
    response.cache_control.no_cache = True
    if request.method == "GET":  # a HEAD would never be closed
        if not exports.acquire(blocking=False):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_EXPORTS} exports are under way, which is all that is allowed at a time",
                retry_after_s=EXPORT_RETRY_AFTER_S,
            )
        response.call_on_close(exports.release)
        response.response = _lines(watch, key, from_ms, to_ms)
    return response


def _lines(watch: Watch, key: tuple[str, str], from_ms: int, to_ms: int) -> Iterator[str]:
    """What the database refuses is raised: the server then breaks the connection off."""
    from gateway.history import query  # noqa: PLC0415

    yield query.CSV_HEADER
    for chunk in query.rows(watch.store, key, from_ms, to_ms):
        yield query.csv(chunk)


# ---- the query


def _choice(text: str) -> str:
    if text not in ("json", "csv"):
        raise _bad("format", text, "allowed are json and csv")
    return text


def _points(text: str | None, *, as_csv: bool) -> int:
    if text is not None and as_csv:
        raise _bad("points", text, "format=csv has every reading, not points")
    return _number("points", text, POINTS, MAX_POINTS)


def _number(name: str, text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise _bad(name, text, f"allowed are 1 to {most}")
    return int(text)


def _stream(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise _bad("after", text or "", "must be `next` of the page before") from None


def _range(from_: str | None, to: str | None, now: datetime) -> tuple[int, int]:
    """In ms since 1970; the last 24 hours unless asked otherwise."""
    to_ms = milliseconds(now) if to is None else _moment("to", to)
    from_ms = to_ms - DAY_MS if from_ is None else _moment("from", from_)
    if from_ms >= to_ms:
        end = f"to {shown(to)}" if to is not None else "now"
        raise _bad("from", from_ or "24 hours before", f"it must be before {end}")
    return from_ms, to_ms


def _moment(name: str, text: str) -> int:
    try:
        return parsed(text)
    except ValueError as error:
        raise _bad(name, text, str(error)) from None


def _bad(name: str, value: str, allowed: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"{name} {shown(value)}: {allowed}", name)
