"""The committed schemas are what the models say."""

from __future__ import annotations

from tests.support import python


def test_the_schemas_are_current() -> None:
    with python("-m", "tools.make_schema", "--check") as process:
        assert process.wait() == 0, process.output
