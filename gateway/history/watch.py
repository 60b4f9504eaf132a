"""The account of the history and its trends, read again and again by a thread nobody waits for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection

from broker.worker import Worker
from gateway.catalogue import marked
from gateway.history import account, budget, trends
from gateway.history.store import Store, StoreError
from gateway.history.views import AuditView, DiskView
from gateway.problems import Problem
from gateway.views import utcnow

log = logging.getLogger(__name__)

EVERY_S = 10.0
TRENDS_EVERY_S = 60.0
AGAIN_S = 2.0  # while it cannot be read, or is empty
HUNG_AFTER_S = 30.0
SAID_EVERY_S = 60.0
RETRY_AFTER_S = 5
AWAY = marked("the history's database is away; the gateway's log says why")


class Seen(NamedTuple):
    """The newest account that could be read, and when; `problem`: why there is no newer one.

    newest_stored: see account.Audit. disk: None: not measured yet.
    """

    audit: AuditView | None
    at: datetime | None
    problem: str
    newest_stored: Mapping[account.StreamKey, int] = MappingProxyType({})
    disk: DiskView | None = None


class Trends(NamedTuple):
    """The newest trends that could be read, and when; none were before the first time."""

    by_sensor: trends.Trends
    at: datetime | None


class Watch:
    """A database of history as the gateway sees it. Safe to call from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        every_s: float = EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = utcnow,
    ) -> None:
        self.store = store
        self._every_s = every_s
        self._monotonic = monotonic
        self._utcnow = utcnow
        self._seen = Seen(None, None, "")
        self._trends = Trends({}, None)
        self._trends_due_s = float("-inf")
        self._asked_at_s: float | None = None
        self._said_at_s = float("-inf")
        self._worker = Worker("history-watch", self._step)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """A database that hangs is not waited for."""
        self._worker.stop(timeout_s=1.0)
        self.store.close()

    def liveness_errors(self) -> list[str]:
        return self._worker.liveness_errors()

    def seen(self) -> Seen:
        """The newest answer. Written by the watch's own thread only, so that no other undoes one."""
        seen, asked_at_s = self._seen, self._asked_at_s
        if asked_at_s is not None and self._monotonic() - asked_at_s > HUNG_AFTER_S:
            seen = seen._replace(problem="its database does not answer")
            self.failed(seen.problem)
        return seen

    def trends(self) -> Trends:
        """Of the last hours; asks nothing of the database."""
        return self._trends

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection, for a request. Raises Problem if there is none to be had."""
        problem = self.seen().problem
        if not problem:
            try:
                with self.store.read() as connection:
                    yield connection
                    return
            except StoreError as error:
                problem = str(error)
        self.failed(problem)  # which names the server and the user: not for everyone
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, AWAY, retry_after_s=RETRY_AFTER_S)

    def failed(self, why: str) -> None:
        """Say so, once a minute."""
        now_s = self._monotonic()
        if now_s - self._said_at_s >= SAID_EVERY_S:
            self._said_at_s = now_s
            log.warning("the history cannot be read: %s", why)

    def refresh(self) -> None:
        """Read the account, or know why not."""
        self._asked_at_s = self._monotonic()
        try:
            self.store.check()
            with self.store.read() as connection:
                audit, newest_stored = account.audit(connection)
                disk = budget.usage(connection)
        except StoreError as error:
            # once may be a recorder that starts beside us, and has not made its tables yet
            if self._seen.problem:
                self.failed(str(error))
            self._seen = self._seen._replace(problem=str(error))
        else:
            if self._said_at_s > float("-inf"):
                log.info("the history can be read again")
                self._said_at_s = float("-inf")
            self._seen = Seen(audit, self._utcnow(), "", newest_stored, disk)
        self._asked_at_s = None

    def refresh_trends(self) -> None:
        """Read the trends, once a minute; until there are any, at every turn."""
        now_s = self._monotonic()
        if now_s < self._trends_due_s:
            return
        self._asked_at_s = now_s
        now = self._utcnow()
        try:
            with self.store.read() as connection:
                by_sensor = trends.trends(connection, int(now.timestamp()))
        except StoreError as error:
            # not `failed`: the account can be read, and the next turn would say so
            log.warning("the history's trends cannot be read: %s", error)
            self._trends_due_s = now_s + TRENDS_EVERY_S
        else:
            self._trends = Trends(by_sensor, now)
            self._trends_due_s = now_s + TRENDS_EVERY_S if by_sensor else now_s
        self._asked_at_s = None

    def _step(self) -> None:
        self._worker.stopping.wait(self._turn())

    def _turn(self) -> float:
        """Read what is due. Returns the seconds until the next turn."""
        try:
            self.refresh()
            if not self._seen.problem:
                self.refresh_trends()
        except Exception as error:
            log.debug("the history's account failed", exc_info=True)
            self._seen = self._seen._replace(problem=f"the gateway failed at it: {error!r}")
            self.failed(self._seen.problem)
            self._asked_at_s = None
        audit = self._seen.audit
        new = bool(self._seen.problem) or audit is None or not audit.sensors
        return AGAIN_S if new else self._every_s
