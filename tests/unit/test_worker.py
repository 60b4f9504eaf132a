"""The thread that goes on, whatever its step raises."""

from __future__ import annotations

import queue
import threading

import pytest

from broker.worker import Worker
from tests.support import PATIENCE_S
from tests.unit.told import Clock


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
    ]


def test_one_that_was_never_started_can_be_stopped() -> None:
    Worker("test", lambda: None).stop()


def test_steps_that_only_fail_or_a_thread_that_is_dead_fail_liveness() -> None:
    clock, came = Clock(), threading.Event()

    def fails() -> None:
        came.set()
        raise ValueError("always")

    worker = Worker("test", fails, stalled_after_s=10, monotonic=clock.monotonic)
    worker.start()
    assert came.wait(PATIENCE_S)
    clock.pass_(10)
    assert worker.liveness_errors() == []
    clock.pass_(1)
    assert worker.liveness_errors() == ["the thread test has made no progress for 11 s"]
    worker.stop(PATIENCE_S)
    assert worker.liveness_errors() == ["the thread test is dead"]


def test_a_step_may_take_as_long_as_it_likes_unless_it_is_bounded() -> None:
    clock, came = Clock(), threading.Event()

    def waits() -> None:
        came.set()
        worker.stopping.wait(PATIENCE_S)

    worker = Worker("test", waits, monotonic=clock.monotonic)
    worker.start()
    assert came.wait(PATIENCE_S)
    clock.pass_(1e6)
    assert worker.liveness_errors() == []
    worker.stop(PATIENCE_S)
