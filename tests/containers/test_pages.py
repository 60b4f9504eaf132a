"""The gateway's pages out of its image: their templates, their texts, each language's numbers."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpx
import pytest

from tests.containers.conftest import GROUP, Podman
from tests.containers.in_image import WELL, pages_in
from tests.containers.together import LIMITS, NODE, Together, memory, running
from tests.support import REPOSITORY, eventually

pytestmark = [*GROUP]

SENSOR = f"/sensors/{NODE}/aula"
STATIC = REPOSITORY / "gateway" / "static"
# What is read on each page, as regular expressions: a catalogue that is missing leaves English,
# a locale that is missing an error.
SAYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "es": {
        "/": ("Saltar al contenido", "Sensores", r"Temperatura \d+,\d\b", r"Humedad \d+,\d\b"),
        "/system": ("Sistema", "Pasarela", "Historial", r"lecturas? .*desde el \d+ de [a-z]+"),
        "/kiosk": ("Pantalla de pared", r"Temperatura \d+,\d\b", "En vivo"),
        SENSOR: (
            "Salud del sensor",
            "Aceptadas desde que arrancó el lector",
            r"Temperatura y humedad del \d+ de [a-z]+ de \d{4} \d\d:\d\d al ",
            r"Temperatura: mínimo \d+,\d",
        ),
        f"{SENSOR}?range=1y": ("1 año", r"Temperatura: mínimo \d+,\d"),
        f"{SENSOR}?range=1h&view=table": ("media", r"\d+ [a-z]{3,4} \d{4}, \d+:\d\d:\d\d UTC"),
        "/none": ("Aquí no hay nada",),
    },
    "en": {
        "/": ("Skip to the content", "Sensors", r"Temperature \d+\.\d\b", r"Humidity \d+\.\d\b"),
        "/system": ("System", "Gateway", "History", r"readings? since \d+ [A-Z][a-z]+"),
        "/kiosk": ("Wall screen", r"Temperature \d+\.\d\b", "Live"),
        SENSOR: (
            "Health of the sensor",
            "Accepted since the reader started",
            r"Temperature and humidity from \d+ [A-Z][a-z]+ \d{4} \d\d:\d\d to ",
            r"Temperature: lowest \d+\.\d",
        ),
        f"{SENSOR}?range=1y": ("1 year", r"Temperature: lowest \d+\.\d"),
        f"{SENSOR}?range=1h&view=table": (
            "mean",
            r"\d+ [A-Z][a-z]{2,3} \d{4}, \d+:\d\d:\d\d UTC",
        ),
        "/none": ("There is nothing here",),
    },
}
MANIFESTS = {
    "es": ("es", "brisa · Temperatura y humedad", {"Pantalla de pared", "Sistema"}),
    "en": ("en-GB", "brisa · Temperature and humidity", {"Wall screen", "System"}),
}
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<svg"}
EACH = [(language, path) for language, pages in SAYS.items() for path in pages]
LOADS = 200


@pytest.fixture(scope="module")
def together(
    podman: Podman, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Together]:
    settings = {"BRISA_SENSORS": "aula=replay;patio=replay", "BRISA_INTERVAL_S": "1"}
    with running(podman, images, tmp_path_factory.mktemp("pages"), **settings) as four:

        def stored() -> bool:
            account = four.get("/api/v1/audit").json()["sensors"]
            return {one["sensor"] for one in account if one["stored"] > 3} == {"aula", "patio"}

        eventually("the gateway reads what the recorder stored", stored)
        yield four


def asked(together: Together, path: str, language: str) -> httpx.Response:
    """As by a browser."""
    headers = {"Accept-Language": language, "Accept": "text/html,*/*;q=0.8"}
    return httpx.get(together.url + path, headers=headers, timeout=60)


def read(page: str) -> str:
    """As it is read: no tags, nor what is in them."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize(("language", "path"), EACH)
def test_a_page_speaks_its_readers_language(together: Together, language: str, path: str) -> None:
    answer = asked(together, path, language)
    there = HTTPStatus.NOT_FOUND if path == "/none" else HTTPStatus.OK
    assert (answer.status_code, answer.headers["Content-Language"]) == (there, language)
    text = read(answer.text)
    missing = [wanted for wanted in SAYS[language][path] if not re.search(wanted, text)]
    assert not missing, text


@pytest.mark.parametrize("language", SAYS)
def test_the_chart_is_drawn(together: Together, language: str) -> None:
    page = asked(together, SENSOR, language).text
    assert '<figure class="chart" data-chart="' in page
    assert '<svg class="plot temperature"' in page
    assert '<svg class="plot humidity"' in page


@pytest.mark.parametrize("language", SAYS)
def test_what_the_pages_refer_to_is_there(together: Together, language: str) -> None:
    pages = "".join(asked(together, path, language).text for path in SAYS[language])
    sent = set()
    for path in set(re.findall(r'"(/static/[^"]+)"', pages)):
        answer = asked(together, path, language)
        name = path.rpartition("/")[2]
        assert (answer.status_code, answer.content) == (200, (STATIC / name).read_bytes()), path
        sent.add(name)
    assert sent > {"brisa.css", "chart.css", "icon.svg", "icon-192.png", "sensor.js", "kiosk.js"}
    version = path.split("/")[2]
    for file in STATIC.iterdir():  # what scripts import, and only the manifest names
        content = asked(together, f"/static/{version}/{file.name}", language).content
        assert content == file.read_bytes(), file.name


@pytest.mark.parametrize("language", SAYS)
def test_a_phone_can_keep_it_with_its_icons(together: Together, language: str) -> None:
    manifest = asked(together, "/manifest.webmanifest", language).json()
    shortcuts = {one["name"] for one in manifest["shortcuts"]}
    assert (manifest["lang"], manifest["name"], shortcuts) == MANIFESTS[language]
    for icon in manifest["icons"]:
        answer = asked(together, icon["src"], language)
        assert answer.headers["Content-Type"].startswith(icon["type"])
        signature = SIGNATURES["." + icon["src"].rpartition(".")[2]]
        assert signature in answer.content[:200]


def test_its_pages_compile_nothing(
    podman: Podman, images: Mapping[str, str], together: Together
) -> None:
    history = f"--volumes-from={together.containers['recorder']}"
    said = pages_in(podman, images["gateway"], history, history="/var/lib/brisa/history.db")
    assert said == WELL


def test_its_memory_holds_many_at_once(
    podman: Podman, together: Together, record_property: Callable[[str, object], None]
) -> None:
    gateway = together.containers["gateway"]
    record_property("note", f"before: {memory(podman, gateway)}")
    with ThreadPoolExecutor(LOADS) as readers:
        answers = [readers.submit(asked, together, EACH[n % len(EACH)][1], EACH[n % len(EACH)][0])
                   for n in range(LOADS)]  # fmt: skip
        statuses = {answer.result().status_code for answer in answers}
    record_property("note", f"after {LOADS} at once: {memory(podman, gateway)}")
    assert statuses == {200, 404}
    state = json.loads(podman.inspect(gateway, "{{json .State}}"))
    assert (state["Running"], state["OOMKilled"]) == (True, False)
    limit = int(LIMITS["gateway"].removesuffix("m")) * 2**20
    assert memory(podman, gateway).kept < 0.75 * limit


# Last of this file: after all that is above.
def test_its_log_has_no_fault(podman: Podman, together: Together) -> None:
    done = podman.attempt("podman", "logs", together.containers["gateway"])
    assert "Traceback" not in done.stdout + done.stderr
    assert " failed" not in done.stdout + done.stderr
