"""`/`: a card for each sensor; `/trends`: their small charts alone, with which the page renews its own."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from flask import Blueprint, Response, request
from flask_babel import gettext, ngettext

from broker.contract import shown
from gateway import locale, rendering
from gateway.accounts import Accounts, Summary
from gateway.board import Board
from gateway.catalogue import marked
from gateway.problems import Problem, not_allowed
from gateway.sensor import Key
from gateway.trend import Trend
from gateway.views import SensorView, ViewState

if TYPE_CHECKING:
    from gateway.history.watch import Watch

TOOLS_FROM = 5  # fewer sensors need no search; static/overview.js has the same
# What a person has to look at comes first; static/overview.js has the same.
RANK = (
    ViewState.BROKEN,
    ViewState.OFFLINE,
    ViewState.LATE,
    ViewState.RETRYING,
    ViewState.LIVE,
)


class Asked(NamedTuple):
    """What the reader wants to see, and in which order."""

    q: str
    sort: str
    group: bool


class AllTrends(NamedTuple):
    """The answer of /trends, which every open page asks for once a minute; `of`: what it shows."""

    of: tuple[object, list[Key], Summary | None]
    html: bytes
    packed: bytes


def blueprint(
    board: Board, utcnow: Callable[[], datetime], watch: Watch | None, accounts: Accounts
) -> Blueprint:
    pages = Blueprint("overview", __name__)
    trend = Trend(watch)
    all_trends: dict[locale.Choice, AllTrends] = {}

    @pages.get("/")
    def overview() -> Response:
        locale.choose("q", "sort", "group")
        asked, orders = _asked(), _orders()
        begins_at = board.event_id()
        views = board.views()
        chosen = [view for view in views if _matches(view, asked.q)]
        chosen.sort(key=_key(asked.sort))
        groups: Iterable[tuple[str, Iterable[SensorView]]] = [("", chosen)]
        if asked.group:
            chosen.sort(key=lambda view: view.node)
            groups = groupby(chosen, key=lambda view: view.node)
        n = len(chosen)
        return rendering.page(
            "overview.html",
            board,
            "overview",
            # a page without some of the sensors has to be sent them
            begins_at=begins_at if n == len(views) else "",
            now=utcnow(),
            views=views,
            groups=groups,
            asked=asked,
            orders=orders,
            tools=len(views) >= TOOLS_FROM or asked.q,
            found=ngettext("%(num)s sensor found", "%(num)s sensors found", n) if asked.q else "",
            summary=summary(views, believed=board.feed.connected),
            trend=trend.of,
            kept=accounts.all_in_all(),
        )

    @pages.get("/trends")
    def trends() -> Response:
        choice = locale.choose()
        keys, kept = board.keys(), accounts.all_in_all()
        of = trend.read(), keys, kept
        made = all_trends.get(choice)
        if made is None or made.of[0] is not of[0] or made.of[1:] != of[1:]:
            html = rendering.rendered(
                "trends.html", board, "overview", keys=keys, trend=trend.of, kept=kept
            ).encode()
            made = all_trends[choice] = AllTrends(of, html, rendering.packed(html))
        # it is a script that asks, and it chooses nothing
        return rendering.answer(made.html, made.packed, remember=False)

    return pages


def summary(views: list[SensorView], *, believed: bool) -> str:
    """The page's one line; all is well only where the broker can be `believed`."""
    n, troubled = len(views), sum(view.state is not ViewState.LIVE for view in views)
    text: str = ngettext("%(num)s sensor", "%(num)s sensors", n) if n else gettext("No sensor")
    if troubled:
        text = f"{text} · {gettext('%(num)s in trouble', num=troubled)}"
    elif n and believed:
        text = f"{text} · {gettext('all live')}"
    return text


def _orders() -> Mapping[str, str]:
    return {
        "state": gettext("Problems first"),
        "name": gettext("Name"),
        "temperature": gettext("Warmest first"),
        "humidity": gettext("Most humid first"),
    }


def _asked() -> Asked:
    sort, group = request.args.get("sort", "state"), request.args.get("group")
    if sort not in (orders := _orders()):
        raise not_allowed("sort", sort, orders)
    if group not in (None, "node"):
        detail = marked("group %(value)s: allowed is node")
        raise Problem(HTTPStatus.BAD_REQUEST, detail, "group", value=shown(group))
    return Asked(request.args.get("q", "").strip(), sort, group == "node")


def _matches(view: SensorView, wanted: str) -> bool:
    return _plain(wanted) in _plain(f"{view.node} {view.sensor}")


def _plain(text: str) -> str:
    """Without accents and capitals: who looks for salón finds salon."""
    apart = unicodedata.normalize("NFD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).lower()


def _key(sort: str) -> Callable[[SensorView], tuple[object, ...]]:
    def value(view: SensorView) -> float | None:
        return view.temperature_c if sort == "temperature" else view.humidity_pct

    if sort == "name":
        return lambda view: (view.sensor, view.node)
    if sort == "state":
        return lambda view: (RANK.index(view.state), view.node, view.sensor)
    return lambda view: (-v if (v := value(view)) is not None else float("inf"), view.sensor)
