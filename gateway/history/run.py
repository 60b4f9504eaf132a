"""`python -m gateway.history run`: record until told to stop."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable

from broker import logs
from broker.contract import Topics
from broker.ending import Ending
from broker.monotonic import clock_is_synchronised
from broker.probes import HealthServer
from broker.session import Session, Subscription, unique_client_id
from broker.settings import unknown_variables
from gateway.history.budget import keep_within
from gateway.history.probes import RecorderHealth
from gateway.history.prune import cut_off_ms, prune
from gateway.history.recorder import CAUSES, HEARD, Recorder
from gateway.history.settings import HistorySettings, utc_now_ms
from gateway.history.store import Store, StoreError
from gateway.history.writer import Writer
from gateway.rejections import Rejections

log = logging.getLogger(__name__)


def remove_old(store: Store, settings: HistorySettings, between: Callable[[], None]) -> int:
    """What is past its time, or more than the disk budget; `between` is called between two steps."""
    removed, before_ms = 0, None
    if clock_is_synchronised():
        before_ms = cut_off_ms(store, days=settings.retention_days, now_ms=utc_now_ms())
    else:
        log.info("no reading is removed by its age: this machine's clock is not synchronised")
    if before_ms is not None:
        removed = prune(store, before_ms=before_ms, progress=lambda _: between())
    return removed + keep_within(
        store,
        settings.disk_budget_mb * 1_000_000,
        now_ms=utc_now_ms(),
        retention_days=settings.retention_days,
        progress=lambda _: between(),
    )


def run(settings: HistorySettings) -> int:
    """Returns the exit code: 0 after SIGTERM or Ctrl-C, 1 where trying again does not help."""
    logs.configure(settings.log_level, settings.log_format, "recorder")
    for line in unknown_variables(os.environ, HistorySettings):
        log.warning("%s", line)
    ending = Ending()
    ending.watch()
    try:
        store = Store(settings.history_url, settings.secret)
    except StoreError as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 1
    writer = Writer(store, utc_now_ms=utc_now_ms)
    topics = Topics(settings.root)

    recorder = Recorder(
        store,
        writer,
        topics,
        Rejections(causes=CAUSES, fate="not stored"),
        commit_s=settings.commit_s,
        prune=functools.partial(remove_old, store, settings),
        on_end=ending.end,
    )
    session = Session(
        settings,
        client_id=unique_client_id("recorder"),
        protocol=5,  # which says so if it may not publish `stored`
        subscriptions=[Subscription(f"{topics.root}/+/+/{kind}", qos=1) for kind in HEARD],
        on_message=recorder.on_message,
        on_up=recorder.on_up,
        restful=True,
    )
    recorder.watch(session)
    health = HealthServer(
        RecorderHealth(recorder, session), settings.health_host, settings.health_port
    )
    try:
        if settings.health_port:
            health.start()
        session.start()
    except OSError as error:
        where = f"{settings.health_host}:{settings.health_port}"
        what = error.filename or f"BRISA_HEALTH_PORT: {where} (0: none)"
        print(f"recorder: {what}: {error.strerror}", file=sys.stderr)
        return 1
    log.info("from %s into %s", session.where, store.shown)
    recorder.start()
    ending.wait()
    log.info("stopping")
    written = recorder.stop()
    session.stop()
    health.stop()
    if written:
        store.close()
    if recorder.fault:
        log.error("%s", recorder.fault)
        return 1
    return 0
