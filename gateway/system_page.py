"""`/system`: what all parts of brisa do, and of what is wrong one sentence each: what, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from flask import Blueprint, Response
from flask_babel import gettext, ngettext

from broker.contract import NodeState
from gateway import formats, locale, rendering
from gateway.accounts import Accounts
from gateway.board import Board
from gateway.history.views import DiskView
from gateway.reasons import reason_in
from gateway.system_api import System
from gateway.system_views import (
    Code,
    DatabaseState,
    RecorderState,
    SystemProblem,
    SystemView,
)
from gateway.views import NodeView


class Wrong(NamedTuple):
    """A problem as the page says it."""

    severity: str
    wrong: str
    todo: str


class Part(NamedTuple):
    """`state`: ok, bad, unsure or none."""

    name: str
    state: str
    word: str
    detail: str


class Node(NamedTuple):
    """A node as the page shows it."""

    name: str
    state: str
    word: str
    detail: str
    sensors: list[tuple[str, str]]


def blueprint(
    board: Board, utcnow: Callable[[], datetime], whole: System, accounts: Accounts
) -> Blueprint:
    pages = Blueprint("system_page", __name__)

    @pages.get("/system")
    def system_page() -> Response:
        locale.choose()
        begins_at = board.event_id()
        view, now = whole.view(), utcnow()
        problems = [_said(problem, now) for problem in view.problems]
        if more := sum(view.left_off.values()):
            problems.append(
                Wrong(
                    "info",
                    ngettext(
                        "There is one more problem of these kinds.",
                        "There are %(num)s more problems of these kinds.",
                        more,
                    ),
                    gettext("Begin with those above."),
                )
            )
        return rendering.page(
            "system.html",
            board,
            "system",
            begins_at=begins_at,
            now=now,
            problems=problems,
            services=list(_parts(view, now)),
            nodes=[_node(node) for node in view.nodes],
            seen=accounts.seen(),
            accounts=list(accounts.of_all().values()),
        )

    return pages


# ---- what is wrong


def _said(problem: SystemProblem, now: datetime) -> Wrong:
    said = _SENTENCES[problem.code](_Words(problem, now))
    return Wrong(problem.severity, *said)


MOST_S = 100 * 365 * 86_400  # of what somebody made up, and timedelta cannot hold


class _Words:
    """A problem's parameters as texts."""

    def __init__(self, problem: SystemProblem, now: datetime) -> None:
        self._problem = problem
        self._now = now
        self.subject = problem.subject

    def text(self, name: str) -> str:
        value = self._problem.params.get(name)
        if isinstance(value, list):
            return ", ".join(value)
        return "" if value is None else str(value)

    def number(self, name: str) -> int:
        value = self._problem.params.get(name)
        return int(value) if isinstance(value, int | float) else 0

    def whole(self, name: str) -> str:
        return locale.whole(self.number(name))

    def duration(self, name: str) -> str:
        """Of a number of seconds, whatever its sign."""
        begin = self._now - timedelta(seconds=min(abs(self.number(name)), MOST_S))
        return formats.duration(begin, self._now)

    @property
    def reason(self) -> str:
        """As it begins in the middle of a sentence, or after a colon."""
        return reason_in(locale.current().language, self.text("reason") or self.text("journal"))[0]

    @property
    def since(self) -> str:
        """` for 3 min`, or nothing where that is not known."""
        since = self.text("since")
        if not since:
            return ""
        at = datetime.fromisoformat(since)
        text: str = gettext(" for %(duration)s", duration=formats.duration(at, self._now))
        return text


_Said = tuple[str, str]


def _broker_never_found(_: _Words) -> _Said:
    return (
        gettext("The gateway has not found the MQTT broker yet."),
        gettext("See whether the broker runs, and whether BRISA_BROKER_URL names it."),
    )


def _broker_lost(words: _Words) -> _Said:
    return (
        gettext("The gateway has lost the MQTT broker%(since)s.", since=words.since),
        gettext("Start the broker again; the nodes keep their readings until it is back."),
    )


def _database_away(words: _Words) -> _Said:
    return (
        gettext("The history's database does not answer%(since)s.", since=words.since),
        gettext("Start the database again; the gateway's log says what it answered."),
    )


def _recorder_behind(words: _Words) -> _Said:
    readings = words.number("readings")
    return (
        ngettext(
            "The recorder has not stored one reading that is due%(since)s.",
            "The recorder has not stored %(n)s readings that are due%(since)s.",
            readings,
            n=words.whole("readings"),
            since=words.since,
        ),
        gettext("See whether the recorder runs, and what its log says; nothing is lost meanwhile."),
    )


def _node_offline(words: _Words) -> _Said:
    return (
        gettext(
            "The node %(node)s is not connected%(since)s.", node=words.subject, since=words.since
        ),
        gettext("See whether it has power and network, and whether its reader (edge) runs."),
    )


def _sensor_broken(words: _Words) -> _Said:
    return (
        gettext("%(sensor)s is broken%(since)s.", sensor=words.subject, since=words.since),
        words.reason or gettext("Look at the sensor's wiring, and at its node's log."),
    )


def _journal_trouble(words: _Words) -> _Said:
    return (
        gettext(
            "The journal of %(node)s is in trouble: %(why)s", node=words.subject, why=words.reason
        ),
        gettext("Look at the node's disk: until this is mended, its readings may be lost."),
    )


def _readings_lost(words: _Words) -> _Said:
    return (
        ngettext(
            "One reading of %(sensor)s was lost.",
            "%(n)s readings of %(sensor)s were lost.",
            words.number("readings"),
            n=words.whole("readings"),
            sensor=words.subject,
        ),
        gettext("The account below says when; a node keeps its readings for 7 days."),
    )


def _journal_gone(words: _Words) -> _Said:
    return (
        ngettext(
            "A journal of %(sensor)s was removed before its last readings were handed over.",
            "%(n)s journals of %(sensor)s were removed before their last readings were handed over.",
            words.number("journals"),
            n=words.whole("journals"),
            sensor=words.subject,
        ),
        gettext("Nobody knows how many were lost. Keep the journal outside of the edge's pod."),
    )


def _sensor_retrying(words: _Words) -> _Said:
    return (
        gettext("%(sensor)s does not answer%(since)s.", sensor=words.subject, since=words.since),
        gettext("If it stays so, look at its wires and its power: %(why)s", why=words.reason)
        if words.reason
        else gettext("If it stays so, look at its wires and its power."),
    )


def _sensor_late(words: _Words) -> _Said:
    return (
        gettext("Nothing new of %(sensor)s%(since)s.", sensor=words.subject, since=words.since),
        gettext("Its node is connected: look at the reader's log there."),
    )


def _clock_not_synchronised(words: _Words) -> _Said:
    return (
        gettext("The clock of %(node)s is not synchronised.", node=words.subject),
        gettext("See whether it reaches a time server; its readings get their right dates then."),
    )


def _clock_off(words: _Words) -> _Said:
    duration = words.duration("behind_s")
    text = (
        gettext(
            "The clock of %(node)s is %(duration)s behind this gateway's, and is said to be right.",
            node=words.subject,
            duration=duration,
        )
        if words.number("behind_s") > 0
        else gettext(
            "The clock of %(node)s is %(duration)s ahead of this gateway's, and is said to be right.",
            node=words.subject,
            duration=duration,
        )
    )
    return (
        text,
        gettext(
            "One of the two is wrong: compare them by timedatectl. Ages cannot be trusted yet."
        ),
    )


def _sensors_over_limit(words: _Words) -> _Said:
    return (
        gettext(
            "There are more sensors than the gateway shows (%(most)s).",
            most=words.whole("max_sensors"),
        ),
        gettext(
            "Raise BRISA_MAX_SENSORS or BRISA_MAX_SENSORS_PER_NODE, or see who publishes them."
        ),
    )


def _readings_missing(words: _Words) -> _Said:
    return (
        ngettext(
            "One reading of %(sensor)s is not stored yet.",
            "%(n)s readings of %(sensor)s are not stored yet.",
            words.number("readings"),
            n=words.whole("readings"),
            sensor=words.subject,
        ),
        gettext("Nothing has to be done: its node sends them by itself."),
    )


def _messages_rejected(words: _Words) -> _Said:
    return (
        ngettext(
            "One message over MQTT could not be read (%(cause)s).",
            "%(n)s messages over MQTT could not be read (%(cause)s).",
            words.number("messages"),
            n=words.whole("messages"),
            cause=words.text("cause"),
        ),
        gettext("The gateway's log names the topics: something else may be publishing there."),
    )


def _version_differs(words: _Words) -> _Said:
    return (
        gettext(
            "The node %(node)s runs version %(its)s, this gateway %(ours)s.",
            node=words.subject,
            its=words.text("version"),
            ours=words.text("gateway"),
        ),
        gettext("They understand each other; update the older one when it suits you."),
    )


def _replicas_unknown(_: _Words) -> _Said:
    return (
        gettext("How many gateways there are cannot be found out now."),
        gettext("See whether the cluster's DNS answers."),
    )


def _replica_missing(_: _Words) -> _Said:
    return (
        gettext("This is the only gateway: without it there is no page."),
        gettext("Run two: kubectl scale deployment/gateway --replicas=2"),
    )


def _history_not_configured(_: _Words) -> _Said:
    return (
        gettext("No history is kept here: BRISA_HISTORY_URL is not set."),
        gettext("Run the recorder, and set it for both, if you want charts and proof of no loss."),
    )


_SENTENCES: dict[Code, Callable[[_Words], _Said]] = {
    Code.BROKER_NEVER_FOUND: _broker_never_found,
    Code.BROKER_LOST: _broker_lost,
    Code.DATABASE_AWAY: _database_away,
    Code.RECORDER_BEHIND: _recorder_behind,
    Code.NODE_OFFLINE: _node_offline,
    Code.SENSOR_BROKEN: _sensor_broken,
    Code.JOURNAL_TROUBLE: _journal_trouble,
    Code.READINGS_LOST: _readings_lost,
    Code.JOURNAL_GONE: _journal_gone,
    Code.SENSOR_RETRYING: _sensor_retrying,
    Code.SENSOR_LATE: _sensor_late,
    Code.CLOCK_NOT_SYNCHRONISED: _clock_not_synchronised,
    Code.CLOCK_OFF: _clock_off,
    Code.SENSORS_OVER_LIMIT: _sensors_over_limit,
    Code.READINGS_MISSING: _readings_missing,
    Code.MESSAGES_REJECTED: _messages_rejected,
    Code.VERSION_DIFFERS: _version_differs,
    Code.REPLICAS_UNKNOWN: _replicas_unknown,
    Code.REPLICA_MISSING: _replica_missing,
    Code.HISTORY_NOT_CONFIGURED: _history_not_configured,
}


# ---- the parts


def _parts(view: SystemView, now: datetime) -> Iterator[Part]:
    gateway = view.gateway
    age = locale.age(gateway.started_at, now)
    started = gettext("version %(version)s, started %(age)s", version=gateway.version, age=age)
    yield Part(gettext("Gateway"), "ok", gettext("answers"), started)
    yield Part(gettext("Replicas"), *_replicas(view))
    lasting = formats.duration(view.broker.since, now)
    since = gettext("for %(duration)s", duration=lasting)
    if view.broker.connected:
        yield Part(gettext("Broker"), "ok", gettext("connected"), since)
    else:
        word = gettext("lost") if view.broker.found else gettext("not found")
        yield Part(gettext("Broker"), "bad", word, since)
    yield _recorder(view)
    yield _database(view, now)
    if view.database.disk is not None:
        yield _disk(view.database.disk, now)


def _replicas(view: SystemView) -> tuple[str, str, str]:
    replicas, viewers = view.gateway.replicas, view.gateway.viewers
    pages = ngettext("%(num)s open page here", "%(num)s open pages here", viewers)
    if replicas.count is None:
        return "unsure", gettext("unknown"), pages
    if not replicas.configured:
        return "none", gettext("this one is all it knows of"), pages
    return "ok", ngettext("%(num)s gateway", "%(num)s gateways", replicas.count), pages


def _recorder(view: SystemView) -> Part:
    name, recorder = gettext("Recorder"), view.recorder
    match recorder.state:
        case RecorderState.STORING:
            detail = ngettext(
                "judged by %(num)s live sensor", "judged by %(num)s live sensors", recorder.judged
            )
            return Part(name, "ok", gettext("stores"), detail)
        case RecorderState.BEHIND:
            behind = ngettext(
                "by one reading", "by %(n)s readings", recorder.readings,
                n=locale.whole(recorder.readings),
            )  # fmt: skip
            return Part(name, "bad", gettext("behind"), behind)
        case RecorderState.NOT_CONFIGURED:
            return Part(name, "none", gettext("not set up"), "")
        case RecorderState.UNKNOWN:
            return Part(name, "unsure", gettext("unknown"), gettext("no live sensor to judge by"))


def _database(view: SystemView, now: datetime) -> Part:
    name, database = gettext("Database"), view.database
    read = locale.age(database.as_of, now) if database.as_of is not None else ""
    match database.state:
        case DatabaseState.READABLE:
            return Part(name, "ok", gettext("answers"), gettext("last read %(age)s", age=read))
        case DatabaseState.AWAY:
            detail = gettext("last read %(age)s", age=read) if read else ""
            return Part(name, "bad", gettext("does not answer"), detail)
        case DatabaseState.NOT_CONFIGURED:
            return Part(name, "none", gettext("not set up"), "")
        case DatabaseState.UNKNOWN:
            return Part(name, "unsure", gettext("not read yet"), "")


def _disk(disk: DiskView, now: datetime) -> Part:
    name = gettext("Disk space")
    word = gettext(
        "%(used)s of %(budget)s", used=_size(disk.used_bytes), budget=_size(disk.budget_bytes)
    )
    growth = gettext("%(size)s more a day", size=_size(disk.growth_bytes_per_day))
    if disk.used_bytes >= disk.budget_bytes:
        return Part(name, "unsure", word, gettext("used up: the oldest readings are removed"))
    if disk.full_at is None:
        return Part(name, "ok", word, growth)
    day = formats.day(disk.full_at, now, locale.current().language)
    lasts = gettext("lasts until %(day)s", day=day)
    return Part(name, "ok", word, f"{growth}; {lasts}")


def _size(value_bytes: int) -> str:
    """In megabytes, or gigabytes of which there is at least one."""
    if value_bytes >= 1e9:
        return f"{locale.number(value_bytes / 1e9)} GB"
    return f"{locale.number(value_bytes / 1e6)} MB"


# ---- the nodes


def _node(node: NodeView) -> Node:
    words = {
        NodeState.ONLINE: gettext("connected"),
        NodeState.OFFLINE: gettext("not connected"),
        None: gettext("unknown"),
    }
    version = gettext("version %(version)s", version=node.version) if node.version else ""
    sensors = [(name, state.value) for name, state in node.sensors.items()]
    return Node(node.node, node.state or "unknown", words[node.state], version, sensors)
