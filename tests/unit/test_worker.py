"""The thread that goes on, whatever its step raises."""

from __future__ import annotations

import queue

import pytest

from broker.worker import Worker
from tests.support import PATIENCE_S


def test_a_step_that_fails_is_repeated_and_each_new_failure_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.worker.PAUSE_S", 0.01)
    outcomes = [KeyError("a"), KeyError("a"), KeyError("a"), OSError("b"), None, OSError("b")]
    done: queue.Queue[Exception | None] = queue.Queue()

    def step() -> None:
        if not outcomes:
            worker.stopping.wait(PATIENCE_S)
            return
        outcome = outcomes.pop(0)
        done.put(outcome)
        if outcome is not None:
            raise outcome

    worker = Worker("test", step)
    worker.start()
    for _ in range(6):
        done.get(timeout=PATIENCE_S)
    assert worker.alive
    worker.stop(PATIENCE_S)
    assert not worker.alive
    logged = [record for record in caplog.records if record.exc_info]
    assert [repr(record.exc_info[1]) for record in logged if record.exc_info] == [
        "KeyError('a')",
        "OSError('b')",
        "OSError('b')",
    ]


def test_one_that_was_never_started_can_be_stopped() -> None:
    Worker("test", lambda: None).stop()
