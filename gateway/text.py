"""`/text`: for each sensor the line that the console has always shown."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response

from gateway.board import Board
from gateway.catalogue import DEFAULT_LANGUAGE, catalogue
from gateway.locale import checked_language
from gateway.problems import checked_query
from gateway.reasons import reason_in
from gateway.views import SensorView, ViewState


def blueprint(board: Board) -> Blueprint:
    text = Blueprint("text", __name__)

    @text.get("/text")
    def lines() -> Response:
        language = checked_language(checked_query(("lang",)).get("lang", DEFAULT_LANGUAGE))
        views = board.views()
        _ = catalogue(language).gettext
        no_broker = _("the gateway has no connection to the broker")
        remark = "" if board.feed.connected else f" ({no_broker})"
        body = "".join(
            f"{f'{view.node}/{view.sensor}: ' if len(views) > 1 else ''}{line(view, language)}{remark}\n"
            for view in views
        )
        response = Response(body or _("No sensors yet.") + "\n", mimetype="text/plain")
        response.cache_control.no_cache = True
        return response

    return text


def line(view: SensorView, language: str) -> str:
    """A sensor in one line; an old value never without saying so."""
    _ = catalogue(language).gettext
    # gettext in an f-string would not be found by `make texts`
    since = " " + _("since") + " " + _stamp(view.since) if view.since is not None else ""
    if view.state is ViewState.RETRYING:
        return _("Reading failed. Retrying...")
    if view.state is ViewState.BROKEN:
        said, _language = reason_in(language, view.reason)
        reason = "".join(c if c.isprintable() else " " for c in said)
        return _("Sensor broken") + since + (f": {reason}" if reason else "")
    offline = "(" + _("offline") + since + ")"
    if view.temperature_c is None or view.humidity_pct is None:
        value = _("No reading yet")
        return value if view.state is ViewState.LATE else f"{value} {offline}"
    # a program may read it: the decimal sign is a point in either language
    places = {"t": f"{view.temperature_c:.1f}", "h": f"{view.humidity_pct:.1f}"}
    value = _("Temperature=%(t)s°C | Humidity=%(h)s%%RH") % places
    if view.state is ViewState.OFFLINE:
        return f"{value} {offline}"
    if view.state is ViewState.LATE:
        age = _("no new data") + since if since else _("of unknown age")
        return f"{value} ({age})"
    return value


def _stamp(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
