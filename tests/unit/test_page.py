"""The texts of /text, in both languages: the pages' own are in test_texts.py and test_locale.py."""

from __future__ import annotations

import re
from datetime import timedelta

from gateway.texts import TEXTS, age, count, number
from tests.unit.told import Told


def test_both_languages_have_every_text_with_the_same_places() -> None:
    places = {
        language: {key: sorted(re.findall(r"{\w+}", text)) for key, text in texts.items()}
        for language, texts in TEXTS.items()
    }
    assert places["es"] == places["en"]
    assert all(text for texts in TEXTS.values() for text in texts.values())


def test_numbers_ages_and_counts_are_written_as_each_language_does() -> None:
    told = Told()
    now = told.clock.now
    assert (number(24.0, "es"), number(-3.25, "en"), number(None, "es")) == ("24,0", "-3.2", "–")
    seconds = {0: "0 s ago", 59: "59 s ago", 60: "1 min ago", 7200: "2 h ago", 200_000: "2 d ago"}
    for past, text in seconds.items():
        assert age(now - timedelta(seconds=past), now, "en") == text
    assert age(now + timedelta(seconds=9), now, "es") == "hace 0 s"
    assert count(1, 0, "es", believed=True) == "1 sensor · todo en vivo"
    assert count(1, 0, "es", believed=False) == "1 sensor"
    assert count(3, 2, "en", believed=False) == "3 sensors · 2 in trouble"
