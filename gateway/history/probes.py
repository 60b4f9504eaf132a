"""What the recorder says on /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from broker.probes import Probed
from broker.session import Session
from gateway.history.recorder import Recorder


class RecorderHealth(Probed):
    """Asks the recorder; nothing is counted twice."""

    def __init__(self, recorder: Recorder, session: Session) -> None:
        self._recorder = recorder
        self._session = session

    def alive(self) -> list[str]:
        return self._recorder.alive()

    def ready(self) -> list[str]:
        return self._recorder.ready()

    def collect(self) -> Iterable[Metric]:
        recorder, session = self._recorder, self._session
        for name, text, total in (
            ("readings", "Readings that were committed, repeated ones too", recorder.readings),
            ("dropped", "Messages for which the queue had no room", recorder.inbox.dropped),
            ("pruned", "Raw readings removed for their age", recorder.pruned),
            ("refused", "Messages the broker refused", session.refused_total),
            ("connects", "Connections to the broker", session.connects_total),
        ):
            yield CounterMetricFamily(f"brisa_recorder_{name}", text, value=total)
        for name, text, value in (
            ("connected", "1 while connected to the broker", session.connected),
            ("database_up", "1 while the database takes what comes", recorder.database_up),
            ("queue_messages", "Messages that wait to be written", len(recorder.inbox)),
            ("queue_bytes", "And what they take", recorder.inbox.bytes),
        ):
            yield GaugeMetricFamily(f"brisa_recorder_{name}", text, value=float(value))
        yield SummaryMetricFamily(
            "brisa_recorder_commit_seconds",
            "Transactions, and what they took",
            count_value=recorder.commits,
            sum_value=recorder.commit_s_total,
        )
        rejected = CounterMetricFamily(
            "brisa_recorder_rejected", "Messages not stored, by cause", labels=["cause"]
        )
        for cause, total in recorder.rejections.totals().items():
            rejected.add_metric([cause], total)
        yield rejected
