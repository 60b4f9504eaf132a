"""`python -m bench.containers`: memory of the containers' cgroups, at rest and under load, and the
sizes of the images; for the tables of docs/images.md. As root, after `make images`; five minutes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.containers.conftest import CONFIGURATION, PYTHON, Podman, image
from tests.containers.together import Together, memory, running
from tests.support import eventually

REST_S, LOAD_S, AWAY_S = 120.0, 60.0, 30.0
VIEWERS = 100
SENSOR = "/sensors/pi-1/s0"
# In the load, one after the other: every page in both languages, and what programs ask for.
PAGES = ("/", "/system", "/kiosk", SENSOR, f"{SENSOR}?range=1y", f"{SENSOR}?view=table")
PATHS = (
    *(f"{page}{'&' if '?' in page else '?'}lang={code}" for page in PAGES for code in ("es", "en")),
    *("/metrics", "/api/v1/sensors", f"/api/v1{SENSOR}/history"),
)
REST = {"BRISA_SENSORS": "aula=replay;patio=replay,model=dht22"}
# 40 readings a second
LOAD = {"BRISA_SENSORS": ";".join(f"s{n}=replay" for n in range(8)), "BRISA_INTERVAL_S": "0.2"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as folder:
        configuration = Path(folder) / "containers.conf"
        configuration.write_text(CONFIGURATION)
        podman = Podman(configuration)
        images = {name: image(name) for name in ("edge", "gateway")}
        for name, one in images.items():
            _sizes(podman, name, one)
        with running(podman, images, Path(folder) / "rest", **REST) as four:
            time.sleep(REST_S)
            _report(podman, four, f"at rest, after {REST_S:g} s")
        with running(podman, images, Path(folder) / "load", **LOAD) as four:
            eventually("the gateway is ready", lambda: four.get("/readyz").is_success)
            with _viewers(four):
                _load(four)
            _report(podman, four, f"40 readings a second, {VIEWERS} streams, pages all the time")
            podman("stop", "--time=5", four.containers["recorder"])
            time.sleep(AWAY_S)
            podman("start", four.containers["recorder"])
            time.sleep(AWAY_S)
            _report(podman, four, f"after a back-fill of {AWAY_S:g} s")
    return 0


def _sizes(podman: Podman, name: str, one: str) -> None:
    layers = [(int(each["size"]), each["CreatedBy"]) for each in json.loads(
        podman("history", "--format=json", one))]  # fmt: skip
    base = int(podman.inspect(PYTHON, "{{.Size}}"))
    print(f"{name}: {sum(size for size, _ in layers) / 1e6:.1f} MB, the base {base / 1e6:.1f}")
    for digest, path in _layers(podman, one):
        data = path.read_bytes()
        print(f"  {digest[:12]} {len(data) / 1e6:.2f} MB, {len(gzip.compress(data)) / 1e6:.2f} gz")


def _layers(podman: Podman, one: str) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="brisa-layers-") as folder:
        podman("save", "-q", "--format=docker-archive", "-o", f"{folder}/image.tar", one)
        subprocess.run(["tar", "-xf", f"{folder}/image.tar", "-C", folder], check=True)
        (manifest,) = json.loads((Path(folder) / "manifest.json").read_text())
        for layer in manifest["Layers"]:
            yield layer, Path(folder) / layer


def _report(podman: Podman, four: Together, when: str) -> None:
    print(when)
    for name, container in four.containers.items():
        print(f"  {name}: {memory(podman, container)}", flush=True)


@contextlib.contextmanager
def _viewers(four: Together) -> Iterator[None]:
    """Open streams, read by a thread each."""
    address = httpx.URL(four.url)
    streams = []
    for _ in range(VIEWERS):
        stream = socket.create_connection((address.host, address.port or 80))
        stream.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: bench\r\n\r\n")
        streams.append(stream)
        threading.Thread(target=_drain, args=(stream,), daemon=True).start()
    try:
        yield
    finally:
        for stream in streams:
            stream.shutdown(socket.SHUT_RDWR)


def _drain(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while stream.recv(65536):
            pass


def _load(four: Together) -> None:
    end_s = time.monotonic() + LOAD_S
    while time.monotonic() < end_s:
        for path in PATHS:
            four.get(path).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
