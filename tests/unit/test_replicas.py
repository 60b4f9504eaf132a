"""How many gateways there are, by a name that gives an address for each."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest

from gateway.replicas import FORGOTTEN_AFTER_S, SAID_EVERY_S, UNKNOWN, Replicas, addresses
from gateway.system_views import ReplicasView
from tests.support import eventually
from tests.unit.told import Clock

NAME = "gateway-replicas"


class Dns:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.answer: int | Exception = 2

    def __call__(self, name: str) -> int:
        assert name == NAME
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replicas(dns: Dns, clock: Clock) -> Replicas:
    return Replicas(NAME, resolve=dns, monotonic=clock.monotonic)


def counted(count: int) -> ReplicasView:
    return ReplicasView(configured=True, count=count)


def test_it_is_unknown_until_it_was_looked_up_and_then_as_the_name_says(
    replicas: Replicas, dns: Dns
) -> None:
    assert replicas.view() == UNKNOWN
    replicas.refresh()
    assert replicas.view() == counted(2)
    dns.answer = 3
    replicas.refresh()
    assert replicas.view() == counted(3)


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_failure_shows_as_unknown_and_is_said_once_a_minute(
    replicas: Replicas,
    dns: Dns,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    caplog.set_level(logging.INFO)
    replicas.refresh()
    dns.answer = error
    for _ in range(4):
        replicas.refresh()
        clock.pass_(SAID_EVERY_S / 4)
    assert replicas.view() == UNKNOWN
    (line,) = caplog.messages
    assert NAME in line
    assert str(error) in line
    replicas.refresh()
    assert len(caplog.messages) == 2
    dns.answer = 1
    replicas.refresh()
    replicas.refresh()
    assert replicas.view() == counted(1)
    assert caplog.messages[2:] == [f"{NAME} can be looked up again"]


def test_an_answer_is_forgotten_when_the_resolver_hangs(replicas: Replicas, clock: Clock) -> None:
    replicas.refresh()
    clock.pass_(FORGOTTEN_AFTER_S)
    assert replicas.view() == counted(2)
    clock.pass_(0.1)
    assert replicas.view() == UNKNOWN


def test_the_thread_looks_up_by_itself_and_a_resolver_that_hangs_does_not_keep_it() -> None:
    asked, release = threading.Event(), threading.Event()

    def hangs(_name: str) -> int:
        asked.set()
        release.wait()
        return 2

    replicas = Replicas(NAME, resolve=hangs)
    replicas.start()
    try:
        assert asked.wait(10)
        assert replicas.view() == UNKNOWN
        replicas.stop()
    finally:
        release.set()
    eventually("its answer is taken all the same", lambda: replicas.view() == counted(2))


def test_a_resolver_that_fails_as_none_should_does_not_end_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.worker.PAUSE_S", 0.0)
    failures = iter([ValueError("no address at all")])

    def resolve(_name: str) -> int:
        if error := next(failures, None):
            raise error
        return 2

    replicas = Replicas(NAME, resolve=resolve)
    replicas.start()
    try:
        eventually("it has asked again", lambda: replicas.view() == counted(2))
        assert replicas.liveness_errors() == []
    finally:
        replicas.stop()
    assert replicas.liveness_errors() == ["the thread replicas is dead"]


def test_addresses_are_counted_once_each_and_by_one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pods with both families, as a cluster that has both answers; the resolver repeats one."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    found: list[tuple[Any, ...]] = [
        (v4, socket.SOCK_STREAM, 6, "", ("10.42.0.7", 0)),
        (v4, socket.SOCK_STREAM, 6, "", ("10.42.1.9", 0)),
        (v4, socket.SOCK_STREAM, 6, "", ("10.42.1.9", 0)),
        (v6, socket.SOCK_STREAM, 6, "", ("fd00::7", 0, 0, 0)),
        (v6, socket.SOCK_STREAM, 6, "", ("fd00::9", 0, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert addresses(NAME) == 2


def test_this_machine_has_one_address_by_the_real_resolver() -> None:
    assert addresses("127.0.0.1") == 1
    with pytest.raises(OSError, match="ervice"):
        addresses("gateway.invalid")
