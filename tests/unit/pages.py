"""A page as a browser without JavaScript has it: a tree in which elements are found by selectors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.told import Told, make_client

BLOCKS = {"p", "div", "dl", "ul", "section", "article", "table", "h1", "h2", "h3"}
VOID = {"meta", "link", "input", "br", "hr", "img"}
_PART = re.compile(
    r"(?P<tag>^[\w-]+)|#(?P<id>[\w-]+)|\.(?P<class>[\w-]+)"
    r"|\[(?P<name>[\w-]+)(?:=(?P<value>[^]]*))?\]"
)


class Element:
    """A tag, its attributes, and what is in it."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    def __getitem__(self, attribute: str) -> str:
        return self.attributes[attribute]

    def __contains__(self, attribute: str) -> bool:
        return attribute in self.attributes

    @property
    def text(self) -> str:
        """As it is read: without what is hidden, all white space alike."""
        return " ".join("".join(self._texts()).split())

    def elements(self) -> Iterator[Element]:
        """All that are below, but not what a template holds."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                if child.tag != "template":
                    yield from child.elements()

    def all(self, selector: str) -> list[Element]:
        """By tag, #id, .class, [name], [name=value], and those below others."""
        found = [self]
        for step in selector.split():
            below = [one for above in found for one in above.elements() if one.matches(step)]
            found = list({id(one): one for one in below}.values())
        return found

    def one(self, selector: str) -> Element:
        """Fails unless there is exactly one."""
        found = self.all(selector)
        assert len(found) == 1, f"{len(found)} of {selector}"
        return found[0]

    def texts(self, selector: str) -> list[str]:
        return [one.text for one in self.all(selector)]

    def matches(self, step: str) -> bool:
        assert "".join(part[0] for part in _PART.finditer(step)) == step, step
        return all(self._has(part.groupdict()) for part in _PART.finditer(step))

    def _has(self, part: dict[str, str | None]) -> bool:
        if part["name"] is not None:
            has = self.attributes.get(part["name"])
            return has is not None if part["value"] is None else has == part["value"]
        if part["class"] is not None:
            return part["class"] in self.attributes.get("class", "").split()
        return part["id"] == self.attributes.get("id") if part["id"] else part["tag"] == self.tag

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif "hidden" not in child and child.tag != "template":
                yield from child._texts()


class Page(HTMLParser):
    """The whole of it. Fails if its tags are not nested as they may be, or an id is given twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root], f"not closed: {self._open[-1].tag}"
        ids = [one["id"] for one in self.root.elements() if "id" in one]
        assert sorted(set(ids)) == sorted(ids)
        for list_ in self.root.all("dl"):
            assert {one.tag for one in list_.children if isinstance(one, Element)} <= {
                "dt",
                "dd",
                "div",
            }
        for paragraph in self.root.all("p"):
            assert BLOCKS.isdisjoint(one.tag for one in paragraph.elements())
        self.one, self.all, self.texts = self.root.one, self.root.all, self.root.texts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            last = self._open[-1].children[-1]
            assert isinstance(last, Element)
            self._open.append(last)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def page_of(response: TestResponse, status: int = 200) -> Page:
    assert (response.status_code, response.content_type) == (status, "text/html; charset=utf-8")
    return Page(response.get_data(as_text=True))


def page(told: Told, path: str = "/", language: str = "") -> Page:
    return get(make_client(told), path, language)


def get(client: FlaskClient, path: str = "/?lang=en", language: str = "") -> Page:
    return page_of(client.get(path, headers={"Accept-Language": language}))
