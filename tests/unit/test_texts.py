"""Every text of the gateway is there in Spanish, and the files are what the source says."""

from __future__ import annotations

import ast
import re

import pytest
from babel.messages import Message
from babel.messages.checkers import checkers

from gateway import locale
from gateway.catalogue import LANGUAGES, SOURCE_LANGUAGE, catalogue
from gateway.client_texts import PLURALS, TEXTS, client_text, client_texts
from gateway.views import ViewState
from tests.unit.told import Told, make_client
from tools.make_texts import GATEWAY, KEYWORDS, PO, extracted, read, render, untranslated

CATALOG = read(PO)
MESSAGES = list(CATALOG)[1:]


def forms(strings: object) -> list[str]:
    return list(strings) if isinstance(strings, list | tuple) else [str(strings)]


def places(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)s", text))


def test_the_files_are_what_the_source_says() -> None:
    for path, content in render().items():
        assert path.read_bytes() == content, f"{path.name}: make texts"


def test_every_text_has_its_spanish() -> None:
    assert len(MESSAGES) > 15
    assert untranslated(CATALOG) == []
    assert not CATALOG.obsolete
    assert {(m.context, forms(m.id)[0]) for m in MESSAGES} == {
        (m.context, forms(m.id)[0]) for m in list(extracted())[1:]
    }


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: forms(message.id)[0][:30])
def test_a_translation_has_the_places_and_the_ends_of_its_text(message: Message) -> None:
    assert not message.fuzzy
    for check in checkers:
        check(CATALOG, message)
    english, spanish = forms(message.id), forms(message.string)
    for one, other in zip(english, spanish, strict=True):  # both have a form for one and for many
        # where it is one, the number may be a word
        assert places(one) - {"%(num)s"} == places(other) - {"%(num)s"}
        assert (one[:1].isspace(), one[-1:].isspace()) == (
            other[:1].isspace(),
            other[-1:].isspace(),
        )
    assert places(english[-1]) == places(spanish[-1])
    # the one way to write a place; a lone % would be a fault when it is filled
    said = " ".join(english + spanish).replace("%%", "")
    assert not re.search(r"%(?!\(\w+\)s)|[{}]", said)


def test_every_call_of_gettext_is_found() -> None:
    """Also one in an f-string, which Babel overlooks: it must be written otherwise."""
    known = {forms(message.id)[0] for message in MESSAGES}
    found = {
        (path.name, argument.value)
        for path in GATEWAY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in KEYWORDS
        and isinstance(argument := node.args[0], ast.Constant)
    }
    assert len(found) > 40
    assert {(name, text) for name, text in found if text not in known} == set()


def test_what_is_missing_is_found() -> None:
    texts = extracted()
    texts.add("A text that is new")
    texts.add(("%(num)s new one", "%(num)s new ones"), ("%(num)s nuevo", ""))
    assert untranslated(texts) == ["A text that is new", "%(num)s new one"]


def test_a_language_is_what_has_a_catalogue() -> None:
    there = {folder.name for folder in PO.parents[2].iterdir()}
    assert there | {SOURCE_LANGUAGE} == set(LANGUAGES)
    assert catalogue("es").gettext("Live") == "En vivo"
    assert catalogue("en").gettext("Live") == "Live"


def test_the_script_has_the_states_and_both_forms_of_what_is_counted() -> None:
    with make_client(Told()).application.test_request_context("/?lang=en"):
        locale.choose()
        english = client_texts()
    with make_client(Told()).application.test_request_context(
        "/", headers={"Cookie": "brisa_lang=es"}
    ):
        spanish = client_texts()
        assert client_text("live") == spanish["live"] == "En vivo"
        assert client_text("age_min", num=3) == "hace 3 min"
        assert client_text("source_dht11", "dht11") == "dht11"
    assert set(english) == set(spanish) == {*TEXTS, *(f"{k}_{f}" for k in PLURALS for f in "1n")}
    assert set(ViewState) <= set(english)
    assert (spanish["sensors_1"], spanish["sensors_n"]) == ("{num} sensor", "{num} sensores")
    assert english["age_min"] == "{num} min ago"
