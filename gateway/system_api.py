"""`/api/v1/system`: what all parts of brisa do, and what is wrong, as JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from broker import __version__
from gateway.board import Board
from gateway.problems import checked_query
from gateway.rejections import Rejections
from gateway.replicas import ALONE
from gateway.system import Facts, system
from gateway.system_views import ReplicasView, SystemView

if TYPE_CHECKING:
    from gateway.history.watch import Watch

# All sensors are looked at: however many ask, once a second is enough.
KEPT_S = 1.0


class System:
    """The system, looked at when someone asks. Safe to call from any thread.

    replicas: how many gateways there are, as far as known by now.
    """

    def __init__(
        self,
        board: Board,
        rejections: Rejections,
        *,
        viewers: Callable[[], int],
        utcnow: Callable[[], datetime],
        watch: Watch | None = None,
        replicas: Callable[[], ReplicasView] = lambda: ALONE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._rejections = rejections
        self._viewers = viewers
        self._utcnow = utcnow
        self._watch = watch
        self._replicas = replicas
        self._monotonic = monotonic
        self._started_at = utcnow()
        self._lock = threading.Lock()
        self._made: SystemView | None = None
        self._made_at_s = float("-inf")

    def view(self) -> SystemView:
        """As it is, or was within the last second."""
        with self._lock:
            now_s = self._monotonic()
            if self._made is None or now_s - self._made_at_s >= KEPT_S:
                self._made = system(self._facts())
                self._made_at_s = now_s
            return self._made

    def _facts(self) -> Facts:
        board = self._board
        sensors = board.views()
        healths = ((view.node, view.sensor) for view in sensors)
        return Facts(
            now=self._utcnow(),
            version=__version__,
            epoch=board.epoch,
            started_at=self._started_at,
            viewers=self._viewers(),
            replicas=self._replicas(),
            feed=board.feed,
            feed_found=board.feed_version > 0,
            sensors=sensors,
            fresh=frozenset(board.fresh()),
            wrong_clocks=board.wrong_clocks(),
            clocks_off=board.clocks_off(),
            healths={key: health for key in healths if (health := board.health(*key)) is not None},
            nodes=board.nodes(),
            rejected=self._rejections.totals(),
            max_sensors=board.max_sensors,
            max_sensors_per_node=board.max_sensors_per_node,
            seen=self._watch.seen() if self._watch is not None else None,
        )


def blueprint(whole: System) -> Blueprint:
    api = Blueprint("system", __name__, url_prefix="/api/v1")

    @api.get("/system")
    def as_json() -> Response:
        checked_query()
        response = Response(whole.view().to_json(), content_type="application/json")
        response.add_etag()
        response.cache_control.no_cache = True
        response.make_conditional(request)
        return response

    return api
