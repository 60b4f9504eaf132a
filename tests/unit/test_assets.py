"""Static files: at an address of their content for ever, at any other never."""

from __future__ import annotations

import re

import pytest

from tests.unit.pages import page
from tests.unit.told import Told, make_client


@pytest.mark.parametrize("path", ["/", "/sensors/aula/dht11", "/kiosk"])
def test_static_files_are_kept_for_ever_only_under_the_address_of_their_content(path: str) -> None:
    told = Told()
    told.reading()
    client = make_client(told)
    addresses = {
        address
        for element in page(told, path).root.elements()
        for name in ("href", "src")
        if (address := element.attributes.get(name, "")).startswith("/static/")
    }
    assert {address.rpartition("/")[2] for address in addresses} >= {
        *("icon.svg", "icon-192.png", "brisa.css", "live.js"),
    }
    for address in addresses:
        with client.get(address) as response:
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        with client.get(re.sub(r"(/static/\w+)\w/", r"\1x/", address)) as response:
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "no-cache"
