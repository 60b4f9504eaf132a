"""What the recorder says on /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Iterable

from broker.metrics import Metric
from broker.session import Session
from gateway.history.recorder import Recorder


class RecorderHealth:
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
            (
                "pruned",
                "Raw readings removed for their age or for the disk budget.",
                recorder.pruned,
            ),
            ("refused", "Messages the broker refused", session.refused_total),
            ("connects", "Connections to the broker", session.connects_total),
        ):
            yield Metric("counter", f"brisa_recorder_{name}_total", text, value=total)
        for name, text, value in (
            ("connected", "1 while connected to the broker", session.connected),
            ("database_up", "1 while the database takes what comes", recorder.database_up),
            ("queue_messages", "Messages that wait to be written", len(recorder.inbox)),
            ("queue_bytes", "And what they take", recorder.inbox.bytes),
        ):
            yield Metric("gauge", f"brisa_recorder_{name}", text, value=float(value))
        commits = Metric(
            "summary", "brisa_recorder_commit_seconds", "Transactions, and what they took"
        )
        commits.add([], recorder.commits, "_count")
        commits.add([], recorder.commit_s_total, "_sum")
        yield commits
        rejected = Metric(
            "counter",
            "brisa_recorder_rejected_total",
            "Messages not stored, by cause",
            labels=["cause"],
        )
        for cause, total in recorder.rejections.totals().items():
            rejected.add([cause], total)
        yield rejected
