"""Pages asked for inside an image, of no broker: what they import, and what that had to compile."""

from __future__ import annotations

import json
from typing import Any

from tests.containers.conftest import Podman

# With a file of history as its argument, or without. Says all as JSON.
SCRIPT = """
import datetime, io, json, os, sys, time
from broker.contract import Topics
from gateway import formats
from gateway.app import create_app
from gateway.board import Board
from gateway.feed import Feed
from gateway.rejections import Rejections

paths = ["/", "/system", "/kiosk", "/text", "/manifest.webmanifest", "/openapi.json", "/metrics"]
watch = None
if sys.argv[1:]:
    from gateway.history.store import Store
    from gateway.history.watch import Watch
    watch = Watch(Store("sqlite:///" + sys.argv[1], read_only=True))
    watch.start()
    while watch.seen().audit is None:
        time.sleep(0.1)
    node, sensor = watch.seen().audit.sensors[0].node, watch.seen().audit.sensors[0].sensor
    page = f"/sensors/{node}/{sensor}"
    paths += [page, page + "?view=table", page + "?range=1y", "/api/v1" + page + "/history"]

rejections = Rejections()
board = Board(rejections)
feed = Feed(board, Topics("brisa"), rejections)
app = create_app(board, feed, rejections, watch=watch)

def get(path, language):
    # Not by Flask's test client, which imports what no gateway does.
    path, _, query = path.partition("?")
    statuses = []
    body = app({
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
        "SERVER_NAME": "brisa", "SERVER_PORT": "5000", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_ACCEPT_LANGUAGE": language, "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
    }, lambda status, headers, error=None: statuses.append(status))
    return statuses[0], b"".join(body).decode()

answers = {(path, language): get(path, language) for path in paths for language in ("es", "en")}

python = os.path.dirname(os.__file__)
uncompiled = []
for module in list(sys.modules.values()):
    source, cached = getattr(module, "__file__", None), getattr(module, "__cached__", None)
    if source and cached and source.startswith((python, "/opt")) and not os.path.exists(cached):
        uncompiled.append(source)

# As a sensor's page writes them; here there is none.
at = datetime.datetime(2026, 11, 24, 2, 41, tzinfo=datetime.UTC)
written = {language: [formats.number(21.5, language), formats.moment(at, language),
                      formats.day(at, at.replace(year=2027), language)]
           for language in ("es", "en")}

print(json.dumps({
    "written": written,
    "failed": [where for where, (status, _) in answers.items() if status != "200 OK"],
    "spanish": "Saltar al contenido" in answers["/", "es"][1],
    "english": "Skip to the content" in answers["/", "en"][1],
    "uncompiled": uncompiled,
}))
"""
WELL = {
    "written": {
        "es": ["21,5", "24 nov 2026, 2:41:00 UTC", "24 de noviembre de 2026"],
        "en": ["21.5", "24 Nov 2026, 02:41:00 UTC", "24 Nov 2026"],
    },
    "failed": [],
    "spanish": True,
    "english": True,
    "uncompiled": [],
}


def pages_in(podman: Podman, image: str, *options: str, history: str = "") -> dict[str, Any]:
    """What the script says; WELL, if nothing is missing."""
    command = ["-c", SCRIPT, *([history] if history else [])]
    said = podman.once(image, "--entrypoint=python", *options, command=command)
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer
