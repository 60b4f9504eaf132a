"""Fixtures of the chaos tests."""

from __future__ import annotations

import random

import pytest

from tests.chaos import harness
from tests.databases import Database


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of a seed that BRISA_CHAOS_SEED gives, and that is always said."""
    return harness.seed(request)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """SQLite, and PostgreSQL on a server of the test's own: it may be killed."""
    name = "own_postgresql" if request.param == "postgresql" else "sqlite"
    found: Database = request.getfixturevalue(name)
    return found
