"""`/sensors/<node>/<sensor>`: a sensor's value, its past by any range of time, and its health."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from flask import Blueprint, Response, request
from flask_babel import gettext
from markupsafe import Markup

from broker.contract import ContractError, SensorHealth, checked_id
from gateway import locale, past, rendering
from gateway.accounts import Accounts
from gateway.board import Board
from gateway.charts import chart
from gateway.history.moments import moment
from gateway.history.views import HistoryView, Point
from gateway.problems import Problem, not_allowed, unknown_sensor
from gateway.reasons import reason_in
from gateway.views import SensorView

if TYPE_CHECKING:
    from gateway.history.watch import Seen, Watch

QUERY = ("range", "from", "to", "view")


class Shown(NamedTuple):
    """The past as the page shows it."""

    range: str
    as_table: bool
    points: list[Point | None]
    chart: Markup
    ends: tuple[datetime, datetime]
    wider: str
    csv: str
    from_local: str
    to_local: str


class Facts(NamedTuple):
    """What its edge says of a sensor: names and texts."""

    reading: list[tuple[str, str]]
    discarded: list[tuple[str, str]]
    journal: list[tuple[str, str]]


def blueprint(
    board: Board, utcnow: Callable[[], datetime], watch: Watch | None, accounts: Accounts
) -> Blueprint:
    pages = Blueprint("sensor", __name__)
    history = past.Past(watch) if watch is not None else None

    @pages.get("/sensors/<node>/<sensor>")
    def sensor_page(node: str, sensor: str) -> Response:
        locale.choose(*QUERY)
        unknown = unknown_sensor(node, sensor)
        try:
            checked_id("node", node), checked_id("sensor", sensor)
        except ContractError:
            raise unknown from None
        now = utcnow()
        range_, as_table = past.asked_range(now), _as_table()
        begins_at = board.event_id()
        view = board.view(node, sensor)
        shown_past, away = None, None
        if history is not None:
            try:
                found = history.of(node, sensor, range_)
            except Problem as problem:  # the watch has logged it: it names what is not for everyone
                away = problem
            else:
                if found is not None:
                    shown_past = _shown(found, range_, now, as_table=as_table)
        account = accounts.of_all().get((node, sensor))
        if view is None and shown_past is None and account is None:
            raise away or unknown  # the history may know it
        return rendering.page(
            "sensor.html",
            board,
            "sensor",
            begins_at=begins_at,
            now=now,
            node=node,
            sensor=sensor,
            view=view,
            past=shown_past,
            past_problem=_no_past(history, away=away is not None),
            ranges=_range_names(),
            account=account,
            account_problem=_no_account(accounts.seen()),
            facts=_facts(board.health(node, sensor), view),
        )

    return pages


def _no_past(history: past.Past | Seen | None, *, away: bool) -> str:
    """Why nothing is shown of it, where that is so."""
    text = gettext("No reading of this sensor is stored yet.")
    if history is None:
        text = gettext("No history is kept here: BRISA_HISTORY_URL is not set.")
    elif away:
        text = gettext("The history cannot be read now; the gateway's log says why.")
    return str(text)


def _no_account(seen: Seen | None) -> str:
    """The same, of the account: it is read at other times, and of all sensors together."""
    if seen is not None and seen.audit is None and not seen.problem:
        return str(gettext("Reading the history…"))
    return _no_past(seen, away=seen is not None and bool(seen.problem))


def _as_table() -> bool:
    text = request.args.get("view")
    if text not in (None, "chart", "table"):
        raise not_allowed("view", text, ("chart", "table"))
    return text == "table"


def _range_names() -> dict[str, str]:
    return {
        "1h": gettext("1 hour"),
        "24h": gettext("24 hours"),
        "7d": gettext("7 days"),
        "30d": gettext("30 days"),
        "1y": gettext("1 year"),
    }


def _shown(found: HistoryView, range_: past.Range, now: datetime, *, as_table: bool) -> Shown:
    wider = past.wider(range_, now)
    begin, end = past.iso(range_.from_ms), past.iso(range_.to_ms)
    # A picture ends now at the latest: what has not come yet would look like a sensor that stopped.
    if found.from_ < now < found.to:
        found = found.model_copy(update={"to": now})
    csv = f"/api/v1{request.path}/history?format=csv&from={begin}&to={end}"
    return Shown(
        range=range_.name,
        as_table=as_table,
        points=found.points if as_table else [],
        chart=Markup("") if as_table else chart(found, labels=past.labels()),
        ends=(found.from_, found.to),
        wider=rendering.with_query(
            **{"range": None, "from": past.iso(wider.from_ms), "to": past.iso(wider.to_ms)}
        ),
        csv=csv,
        from_local=moment(range_.from_ms).strftime("%Y-%m-%dT%H:%M"),
        to_local=moment(range_.to_ms).strftime("%Y-%m-%dT%H:%M"),
    )


def _facts(health: SensorHealth | None, view: SensorView | None) -> Facts:
    if health is None:
        return Facts([], [], [])
    language = locale.current().language
    reading = [
        (gettext("Driver"), health.driver),
        (gettext("Model"), health.model),
        (
            gettext("Interval"),
            f"{locale.number(health.interval_s, 1 if health.interval_s % 1 else 0)} s",
        ),
        (gettext("Accepted since the reader started"), locale.whole(health.readings)),
    ]
    if view is not None and view.seq is not None:
        reading.append((gettext("Number of the newest"), locale.whole(view.seq)))
    if view is not None and view.clock_synchronised is False:
        reading.append((gettext("Clock of the node"), gettext("not synchronised")))
    causes = _causes()
    discarded = [
        (causes.get(cause, cause), locale.whole(count))
        for cause, count in sorted(health.discarded.items(), key=lambda one: -one[1])
        if count
    ]
    journal = []
    if health.oldest_seq is not None and health.newest_seq is not None:
        kept = f"{locale.whole(health.oldest_seq)} – {locale.whole(health.newest_seq)}"
        journal.append((gettext("Kept on the node, by number"), kept))
    if health.journal:
        journal.append((gettext("Journal"), reason_in(language, health.journal)[0]))
    return Facts(reading, discarded, journal)


def _causes() -> dict[str, str]:
    """Those that edges count; another is shown as it came."""
    return {
        "timeout": gettext("No answer, or cut short"),
        "checksum": gettext("Wrong checksum"),
        "undecodable": gettext("Refused by the kernel's driver"),
        "stale": gettext("An old value, kept by the kernel's driver"),
        "range": gettext("Impossible value"),
        "slip": gettext("Jump that the next reading did not confirm"),
        "io": gettext("Error of the machine"),
    }
