"""A history, the gateway's look at it, and a client of the pages with both; see told.py and past.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from gateway.history.watch import Watch
from tests.databases import Database
from tests.unit.past import BEGIN, Past
from tests.unit.told import Told, make_client


@pytest.fixture
def told() -> Told:
    told = Told()
    told.clock.now = BEGIN + timedelta(hours=1)
    return told


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with contextlib.closing(Past(sqlite)) as past:
        yield past


@pytest.fixture
def watch(past: Past, told: Told) -> Watch:
    return Watch(past.store, monotonic=told.clock.monotonic, utcnow=told.clock.utcnow)


@pytest.fixture
def client(told: Told, watch: Watch) -> FlaskClient:
    return make_client(told, watch=watch)
