"""Static files: at an address of their content for ever, at any other never."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from gateway.app import HERE
from gateway.assets import Assets
from gateway.problems import ProblemView
from tests.unit.pages import page
from tests.unit.told import Told, make_client

FILES = sorted(path.name for path in (HERE / "static").iterdir())
ASSETS = Assets(HERE / "static")


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


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_what_it_is_on_disk_compressed_only_for_who_takes_it(name: str) -> None:
    client = make_client(Told())
    on_disk = (HERE / "static" / name).read_bytes()
    url = ASSETS.url(name)
    plain = client.get(url)
    assert plain.data == on_disk
    assert "Content-Encoding" not in plain.headers
    refused = client.get(url, headers={"Accept-Encoding": "gzip;q=0, br"})
    assert refused.data == on_disk
    packed = client.get(url, headers={"Accept-Encoding": "br, gzip"})
    assert plain.content_type == packed.content_type
    text = plain.content_type.endswith("; charset=utf-8")
    assert text == (not name.endswith(".png"))
    # an icon is compressed already, and anything tiny is not worth it
    assert ("Content-Encoding" in packed.headers) == (
        len(gzip.compress(on_disk)) < 0.9 * len(on_disk)
    )
    if "Content-Encoding" in packed.headers:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == on_disk
        assert packed.content_length == len(packed.data) < len(on_disk)
    for response in (plain, refused, packed):
        assert response.headers["Vary"] == "Accept-Encoding"
    assert client.head(url).headers["Content-Length"] == str(len(on_disk))


def test_browsers_get_the_types_that_they_want() -> None:
    client = make_client(Told())
    types = {name: client.get(ASSETS.url(name)).mimetype for name in FILES}
    assert types["live.js"] == "text/javascript"  # else a module does not run
    assert types["brisa.css"] == "text/css"
    assert types["icon.svg"] == "image/svg+xml"
    assert types["icon-192.png"] == "image/png"


def test_a_file_that_a_browser_has_is_304() -> None:
    client = make_client(Told())
    for url in (ASSETS.url("live.js"), "/static/older/live.js"):
        for encoding in ("identity", "gzip"):
            first = client.get(url, headers={"Accept-Encoding": encoding})
            again = client.get(
                url, headers={"Accept-Encoding": encoding, "If-None-Match": first.headers["ETag"]}
            )
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
            assert again.headers["Vary"] == "Accept-Encoding"
        assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_version_is_of_the_content_and_the_names(tmp_path: Path) -> None:
    def version(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        return Assets(folder).version

    first = version(a="1", b="2")
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert version(b="2", a="1") == first
    assert len({first, version(a="1", b="3"), version(a="1", c="2"), version(a="2", b="1")}) == 4


def test_a_module_s_imports_are_files_of_the_same_version() -> None:
    for name in FILES:
        if name.endswith(".js"):
            text = (HERE / "static" / name).read_text()
            for imported in re.findall(r'(?:from|import) "([^"]+)"', text):
                assert imported.startswith("./")
                assert imported.removeprefix("./") in FILES


def test_a_template_cannot_name_a_file_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        ASSETS.url("none.js")


@pytest.mark.parametrize(
    "rest",
    [
        *("live.js", f"{ASSETS.version}/none.js", f"{ASSETS.version}/", "", ASSETS.version),
        *("v/../app.py", "v/..%2Fapp.py", "v/%2e%2e%2fapp.py", "../app.py", "v/..%5Capp.py"),
        *("v//etc/passwd", "v/%2Fetc%2Fpasswd", "v/./live.js/x", "v/live.js%00", "v/templates"),
    ],
)
def test_what_is_not_one_of_them_is_404(rest: str) -> None:
    response = make_client(Told()).get(f"/static/{rest}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_a_file_takes_no_parameters() -> None:
    response = make_client(Told()).get(f"{ASSETS.url('live.js')}?v=1")
    assert response.status_code == 400
    assert ProblemView.model_validate_json(response.data).parameter == "v"
