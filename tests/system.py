"""Broker, edge and gateway together, as processes, each of which a test may kill and start again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.databases import Database
from tests.support import Process, RunningBroker, eventually, free_port, python

REPLAYED = "aula=replay;patio=replay,model=dht22"


@dataclass
class System:
    """The whole, from the sensor to HTTP. `edge_env`, `recorder_env`, `gateway_env` add variables.

    With a database the gateway shows its history, and a recorder can be started. edge_module: what
    runs as the edge.
    """

    broker: RunningBroker
    edge_env: dict[str, str] = field(default_factory=dict)
    gateway_env: dict[str, str] = field(default_factory=dict)
    recorder_env: dict[str, str] = field(default_factory=dict)
    database: Database | None = None
    edge_module: str = "edge"
    port: int = field(default_factory=free_port)
    edge: Process | None = None
    gateway: Process | None = None
    recorder: Process | None = None

    @property
    def journal(self) -> Path:
        return self.broker.state.parent / "journal.db"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_edge(self) -> Process:
        self.edge = python(
            "-m",
            self.edge_module,
            env={
                "BRISA_NODE": "pi-1",
                "BRISA_SENSORS": REPLAYED,
                "BRISA_INTERVAL_S": "0.5",
                "BRISA_KEEPALIVE_S": "5",
                "BRISA_RECONNECT_S": "1",
                "BRISA_HEALTH_PORT": "0",
                "BRISA_JOURNAL": str(self.journal),
                **self.broker.env("pi-1"),
                **self.edge_env,
            },
        )
        return self.edge

    def start_recorder(self) -> Process:
        assert self.database is not None
        self.recorder = python(
            "-m",
            "gateway.history",
            env={
                "BRISA_KEEPALIVE_S": "5",
                "BRISA_RECONNECT_S": "1",
                "BRISA_HEALTH_PORT": "0",
                **self.broker.env("recorder"),
                **self.database.env,
                **self.recorder_env,
            },
        )
        return self.recorder

    def start_gateway(self, *, wait: bool = True) -> Process:
        self.gateway = python(
            "-m",
            "gateway",
            env={
                "BRISA_HOST": "127.0.0.1",
                "BRISA_PORT": str(self.port),
                "BRISA_KEEPALIVE_S": "5",
                "BRISA_RECONNECT_S": "1",
                **self.broker.env("gateway"),
                **(self.database.env if self.database is not None else {}),
                **self.gateway_env,
            },
        )
        if wait:
            eventually("the gateway answers", lambda: self.get("/healthz"))
        return self.gateway

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **options)

    def sensors(self) -> dict[str, dict[str, Any]]:
        return {
            f"{view['node']}/{view['sensor']}": view
            for view in self.get("/api/v1/sensors").json()["sensors"]
        }

    def wait_for_state(self, key: str, state: str) -> dict[str, Any]:
        def probe() -> dict[str, Any] | None:
            view = self.sensors().get(key)
            return view if view is not None and view["state"] == state else None

        return eventually(f"{key} is {state}", probe)

    def ready(self) -> bool:
        return self.get("/readyz").status_code == 200

    def close(self) -> None:
        for process in (self.gateway, self.edge, self.recorder):
            if process is not None:
                process.close()


@contextlib.contextmanager
def running_system(broker: RunningBroker, **options: Any) -> Iterator[System]:
    system = System(broker, **options)
    try:
        system.start_gateway()
        system.start_edge()
        yield system
    finally:
        system.close()


def captures() -> Path:
    """Where the recordings of real sensors lie."""
    import os

    from tests.support import SHARED

    return Path(os.environ.get("BRISA_CAPTURES", SHARED / "data" / "captures"))
