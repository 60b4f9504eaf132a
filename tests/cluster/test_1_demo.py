"""1. `demo` comes up from nothing in one command, and answers on every node."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cluster.harness import Brisa


def test_the_page_answers_on_every_node(
    brisa: Brisa, sensors: str, left_out: list[str], record_property: Callable[[str, object], None]
) -> None:
    record_property(
        "note", f"this server does not know, and was not given: {', '.join(left_out) or 'nothing'}"
    )
    for node in brisa.nodes:
        assert "aula" in brisa.ask(node, "/").text
        assert brisa.states(node)[f"{sensors}/aula"] == "live"


def test_subscribers_outside_see_readings_with_the_viewers_password(
    brisa: Brisa, sensors: str
) -> None:
    for node in brisa.nodes:
        words = (
            "-u",
            "viewer",
            "-P",
            brisa.password("viewer"),
            "-C",
            "1",
            "-t",
            "brisa/+/+/reading",
        )
        seen = brisa.subscribe(node, *words)
        assert seen.returncode == 0, seen
        assert "temperature_c" in json.loads(seen.stdout)


def test_without_it_they_are_refused(brisa: Brisa) -> None:
    node = next(iter(brisa.nodes))
    for words in ((), ("-u", "viewer", "-P", "guessed")):
        refused = brisa.subscribe(node, *words, "-t", "brisa/#", "-C", "1")
        assert refused.returncode == 5, refused
        assert "not authorised" in refused.stderr
