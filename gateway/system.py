"""The system: what all parts of brisa do, as far as this gateway can honestly tell, and what is wrong.

Pure: `system` makes a `SystemView` of `Facts`. What is not known is said to be so, and what follows
from another fault is not a fault of its own: without a broker no sensor is called late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from broker.contract import NodeState, SensorHealth, in_utc_ms
from gateway.sensor import Key
from gateway.system_views import (
    BehindSensor,
    BrokerView,
    Code,
    DatabaseState,
    DatabaseView,
    GatewayView,
    Params,
    RecorderState,
    RecorderView,
    ReplicasView,
    Severity,
    SystemProblem,
    SystemView,
)
from gateway.views import DEFAULT_INTERVAL_S, FeedView, NodeView, SensorView, ViewState

if TYPE_CHECKING:
    from gateway.history.watch import Seen

LISTED = 20  # of each kind of problem: a broken network would be 2000
# A recorder may wait 60 s for company (the most that BRISA_COMMIT_S allows), and calls itself behind
# 30 s after that (recorder.BEHIND_S).
STORED_WITHIN_S = 90.0
# A gateway that starts beside its database, or its recorder, does not find it at once.
STARTING_S = 30.0
LOST_LATELY = timedelta(days=1)
# Harmless: a broker that was restored from a backup, or an edge that announces its newest again.
EXPECTED_REJECTIONS = {"older"}
OVER_LIMIT = "too_many_sensors"

ERROR, WARNING, INFO = Severity


@dataclass(frozen=True)
class Facts:
    """What the gateway knows. `healths`: by sensor, where its edge said one; `fresh` and
    `wrong_clocks`, `clocks_off`: see Board.

    rejected: by cause, since the start. seen: None without a history.
    """

    now: datetime
    version: str
    epoch: str
    started_at: datetime
    viewers: int
    replicas: ReplicasView
    feed: FeedView
    feed_found: bool
    sensors: Sequence[SensorView]
    fresh: frozenset[Key]
    wrong_clocks: Mapping[str, list[str]]
    clocks_off: Mapping[str, float]
    healths: Mapping[Key, SensorHealth]
    nodes: Sequence[NodeView]
    rejected: Mapping[str, int]
    max_sensors: int
    max_sensors_per_node: int
    seen: Seen | None


def system(facts: Facts) -> SystemView:
    database = _database(facts)
    recorder = _recorder(facts, database)
    problems, left_off = _bounded(_problems(facts, database, recorder))
    return SystemView(
        gateway=GatewayView(
            version=facts.version,
            epoch=facts.epoch,
            started_at=facts.started_at,
            viewers=facts.viewers,
            replicas=facts.replicas,
        ),
        broker=BrokerView(
            connected=facts.feed.connected, found=facts.feed_found, since=facts.feed.since
        ),
        recorder=recorder,
        database=database,
        nodes=list(facts.nodes),
        problems=problems,
        left_off=left_off,
    )


# ---- the database, and the recorder by what is in it


def _database(facts: Facts) -> DatabaseView:
    seen = facts.seen
    if seen is None:
        return DatabaseView(state=DatabaseState.NOT_CONFIGURED, as_of=None)
    if seen.audit is not None and not seen.problem:
        return DatabaseView(state=DatabaseState.READABLE, as_of=seen.at, disk=seen.disk)
    starting = facts.now - facts.started_at < timedelta(seconds=STARTING_S)
    known = seen.at is not None or (seen.problem and not starting)
    return DatabaseView(state=DatabaseState.AWAY if known else DatabaseState.UNKNOWN, as_of=seen.at)


def _recorder(facts: Facts, database: DatabaseView) -> RecorderView:
    """By the sensors that are live: what came of them 90 s before the account was read is in it.

    The account is up to 10 s old, and what came since then is not asked of it. Numbers that are
    missing further back are the nodes' to send again, and say nothing of the recorder.
    """
    seen = facts.seen
    audit = seen.audit if seen is not None else None
    behind: list[BehindSensor] = []
    judged = 0
    readable = database.state is DatabaseState.READABLE and facts.feed.connected
    if seen is not None and database.as_of is not None and readable:
        until = database.as_of - timedelta(seconds=STORED_WITHIN_S)
        for view in facts.sensors:
            if view.state is ViewState.LIVE and view.seq is not None and view.age_from is not None:
                newest = seen.newest_stored.get((view.node, view.sensor, view.stream), 0)
                since_then_s = (view.age_from - until).total_seconds()
                due = view.seq - max(0, ceil(since_then_s / _interval_s(view)))
                judged += newest > 0 or due > 0  # else it has only begun, and nothing is due
                if newest < due:
                    behind.append(_behind(view, view.age_from, view.seq - newest))
    if seen is None:
        state = RecorderState.NOT_CONFIGURED
    elif not judged:
        state = RecorderState.UNKNOWN
    else:
        state = RecorderState.BEHIND if behind else RecorderState.STORING
    return RecorderView(
        state=state,
        since=min((one.since for one in behind), default=None),
        readings=sum(one.readings for one in behind),
        judged=judged,
        behind=len(behind),
        sensors=behind[:LISTED],
        missing=sum(one.missing for one in audit.sensors) if audit is not None else 0,
        lost=sum(one.lost for one in audit.sensors) if audit is not None else 0,
    )


def _behind(view: SensorView, newest_at: datetime, readings: int) -> BehindSensor:
    try:
        since = newest_at - timedelta(seconds=(readings - 1) * _interval_s(view))
    except OverflowError:  # a number that somebody made up
        since = newest_at
    return BehindSensor(node=view.node, sensor=view.sensor, readings=readings, since=since)


# ---- what is wrong


def _problems(
    facts: Facts, database: DatabaseView, recorder: RecorderView
) -> Iterator[SystemProblem]:
    yield from _of_the_broker(facts)
    yield from _of_the_history(facts, database, recorder)
    for node in facts.nodes:
        yield from _of_a_node(facts, node)
    for view in facts.sensors:
        yield from _of_a_sensor(facts, view)
    for name, sensors in facts.wrong_clocks.items():
        yield _problem(Code.CLOCK_NOT_SYNCHRONISED, WARNING, name, sensors=sensors)
    for name, behind_s in facts.clocks_off.items():
        yield _problem(Code.CLOCK_OFF, WARNING, name, behind_s=round(behind_s))
    yield from _of_journals(facts.healths)
    yield from _of_messages(facts)
    yield from _of_replicas(facts.replicas)


def _of_the_broker(facts: Facts) -> Iterator[SystemProblem]:
    if not facts.feed.connected:
        code = Code.BROKER_LOST if facts.feed_found else Code.BROKER_NEVER_FOUND
        yield _problem(code, ERROR, "broker", since=_iso(facts.feed.since))


def _of_the_history(
    facts: Facts, database: DatabaseView, recorder: RecorderView
) -> Iterator[SystemProblem]:
    if database.state is DatabaseState.NOT_CONFIGURED:
        yield _problem(Code.HISTORY_NOT_CONFIGURED, INFO, "database")
    if database.state is DatabaseState.AWAY:
        yield _problem(Code.DATABASE_AWAY, ERROR, "database", since=_iso(database.as_of))
    if recorder.state is RecorderState.BEHIND:
        yield _problem(
            Code.RECORDER_BEHIND,
            ERROR,
            "recorder",
            since=_iso(recorder.since),
            readings=recorder.readings,
            sensors=[f"{one.node}/{one.sensor}" for one in recorder.sensors],
            total=recorder.behind,
        )
    audit = facts.seen.audit if facts.seen is not None else None
    for one in audit.sensors if audit is not None else ():
        if one.lost:
            noted_at = one.lost_spans[0].noted_at if one.lost_spans else None
            lately = noted_at is not None and facts.now - noted_at < LOST_LATELY
            yield _problem(
                Code.READINGS_LOST,
                WARNING if lately else INFO,
                f"{one.node}/{one.sensor}",
                readings=one.lost,
                gaps=one.gaps,
                noted_at=_iso(noted_at),
            )
        if one.open_ends:
            subject = f"{one.node}/{one.sensor}"
            yield _problem(Code.JOURNAL_GONE, WARNING, subject, journals=one.open_ends)
        if one.missing:
            subject = f"{one.node}/{one.sensor}"
            yield _problem(Code.READINGS_MISSING, INFO, subject, readings=one.missing)


def _of_a_node(facts: Facts, node: NodeView) -> Iterator[SystemProblem]:
    if node.state is NodeState.OFFLINE:
        yield _problem(
            Code.NODE_OFFLINE, ERROR, node.node, since=_iso(node.since), sensors=list(node.sensors)
        )
    elif node.version and node.version != facts.version:
        yield _problem(
            Code.VERSION_DIFFERS, INFO, node.node, version=node.version, gateway=facts.version
        )


def _of_a_sensor(facts: Facts, view: SensorView) -> Iterator[SystemProblem]:
    subject, since = f"{view.node}/{view.sensor}", _iso(view.since)
    hardware = {"driver": view.driver, "model": view.model}
    if view.state is ViewState.BROKEN:
        yield _problem(
            Code.SENSOR_BROKEN, ERROR, subject, since=since, reason=view.reason, **hardware
        )
    elif not facts.feed.connected:
        pass  # what is late now is the broker's fault
    elif view.state is ViewState.LATE:
        yield _problem(
            Code.SENSOR_LATE, WARNING, subject, since=since, interval_s=_interval_s(view)
        )
    elif view.state is ViewState.RETRYING and (view.node, view.sensor) not in facts.fresh:
        # one reading of a DHT that fails is no fault: its value is still believed
        yield _problem(
            Code.SENSOR_RETRYING, WARNING, subject, since=since, reason=view.reason, **hardware
        )


def _of_journals(healths: Mapping[Key, SensorHealth]) -> Iterator[SystemProblem]:
    """A node's sensors share its journal, and each says what is wrong with it."""
    said: dict[str, str] = {}
    for (node, _), health in healths.items():
        if health.journal:
            said.setdefault(node, health.journal)
    for node, journal in said.items():
        yield _problem(Code.JOURNAL_TROUBLE, ERROR, node, journal=journal)


def _of_messages(facts: Facts) -> Iterator[SystemProblem]:
    since = _iso(facts.started_at)
    for cause, count in facts.rejected.items():
        if not count or cause in EXPECTED_REJECTIONS:
            continue
        if cause == OVER_LIMIT:
            yield _problem(
                Code.SENSORS_OVER_LIMIT,
                WARNING,
                "gateway",
                messages=count,
                since=since,
                max_sensors=facts.max_sensors,
                max_sensors_per_node=facts.max_sensors_per_node,
            )
        else:
            yield _problem(
                Code.MESSAGES_REJECTED, INFO, "gateway", cause=cause, messages=count, since=since
            )


def _of_replicas(replicas: ReplicasView) -> Iterator[SystemProblem]:
    if replicas.count is None:
        yield _problem(Code.REPLICAS_UNKNOWN, INFO, "gateway")
    elif replicas.configured and replicas.count < 2:
        # how many there should be only the cluster knows; that one is no spare is sure
        yield _problem(Code.REPLICA_MISSING, INFO, "gateway", count=replicas.count)


def _problem(
    code: Code, severity: Severity, subject: str, **params: str | float | list[str] | None
) -> SystemProblem:
    bounded: Params = {
        name: value[:LISTED] if isinstance(value, list) else value for name, value in params.items()
    }
    return SystemProblem(code=code, severity=severity, subject=subject, params=bounded)


def _bounded(
    problems: Iterable[SystemProblem],
) -> tuple[list[SystemProblem], dict[Code, int]]:
    """The severest first, and no more than 20 of each code."""
    severities, codes = list(Severity), list(Code)
    ordered = sorted(
        problems,
        key=lambda one: (severities.index(one.severity), codes.index(one.code), one.subject),
    )
    counts: Counter[Code] = Counter()
    listed = []
    for one in ordered:
        counts[one.code] += 1
        if counts[one.code] <= LISTED:
            listed.append(one)
    return listed, {code: n - LISTED for code, n in counts.items() if n > LISTED}


def _interval_s(view: SensorView) -> float:
    return view.interval_s if view.interval_s is not None else DEFAULT_INTERVAL_S


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else in_utc_ms(moment)
