"""`/text`: for each sensor the line that the console has always shown."""

from __future__ import annotations

from flask import Blueprint, Response

from gateway.board import Board
from gateway.locale import checked_language
from gateway.problems import checked_query
from gateway.texts import DEFAULT_LANGUAGE, TEXTS, moment
from gateway.views import SensorView, ViewState


def blueprint(board: Board) -> Blueprint:
    text = Blueprint("text", __name__)

    @text.get("/text")
    def lines() -> Response:
        language = checked_language(checked_query(("lang",)).get("lang", DEFAULT_LANGUAGE))
        views = board.views()
        remark = "" if board.feed.connected else f" ({TEXTS[language]['text_no_broker']})"
        body = "".join(
            f"{f'{view.node}/{view.sensor}: ' if len(views) > 1 else ''}{line(view, language)}{remark}\n"
            for view in views
        )
        response = Response(body or TEXTS[language]["text_empty"] + "\n", mimetype="text/plain")
        response.cache_control.no_cache = True
        return response

    return text


def line(view: SensorView, language: str) -> str:
    """A sensor in one line; an old value never without saying so."""
    texts = TEXTS[language]
    since = f" {texts['since']} {moment(view.since)}" if view.since is not None else ""
    if view.state is ViewState.RETRYING:
        return texts["text_retrying"]
    if view.state is ViewState.BROKEN:
        reason = "".join(c if c.isprintable() else " " for c in view.reason)
        return f"{texts['text_broken']}{since}{': ' if reason else ''}{reason}"
    if view.temperature_c is None or view.humidity_pct is None:
        value = texts["text_none"]
        return (
            value if view.state is ViewState.LATE else f"{value} ({texts['text_offline']}{since})"
        )
    value = texts["text_line"].format(t=f"{view.temperature_c:.1f}", h=f"{view.humidity_pct:.1f}")
    if view.state is ViewState.OFFLINE:
        return f"{value} ({texts['text_offline']}{since})"
    if view.state is ViewState.LATE:
        age = f"{texts['text_late']}{since}" if since else texts["text_age_unknown"]
        return f"{value} ({age})"
    return value
