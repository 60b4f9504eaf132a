"""Fixtures that need a real broker."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from broker.local import mosquitto_path
from tests.support import RunningBroker, running_broker

NODES = ("pi-1", "pi-2")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skip is a failure: what was not run was not shown."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {item.nodeid}: {report.longrepr}"
    return report


def need_mosquitto() -> None:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed: apt-get install mosquitto mosquitto-clients")


@pytest.fixture(params=["mosquitto", "embedded"])
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    """Each of the two brokers in turn."""
    if request.param == "mosquitto":
        need_mosquitto()
    with running_broker(request.param, tmp_path / "broker", NODES) as broker:
        yield broker


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[RunningBroker]:
    """The real Mosquitto, with the configuration and the ACL of the cluster."""
    need_mosquitto()
    with running_broker("mosquitto", tmp_path / "broker", NODES) as broker:
        yield broker
