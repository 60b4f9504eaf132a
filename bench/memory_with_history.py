"""Resident memory with a history: the edge's with a full journal, the recorder's, the gateway's."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from bench import journal, memory
from bench.memory import Memory
from bench.processes import NODES, Broker, fetch, gateway, memory_mb, say
from bench.recording import committed, recorder
from tests.databases import Database, sqlite_database
from tests.support import eventually

EMPTY, FULL = "edge, journal empty", "edge, journal of 64 MiB"
SENT_AGAIN = 20_000
SENDING = f"{FULL}, {SENT_AGAIN:,} readings sent again"
RECORDER, GATEWAY = f"recorder, after {SENT_AGAIN:,}", "gateway with history"
GATEWAY_READ = "gateway with history, all of it read"
BARE = "bare Python"


def measure(broker: Broker) -> dict[str, Memory]:
    """By name, as in `memory`; SQLite."""
    found: dict[str, Memory] = {}
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name:
        folder = Path(name)
        env = {"PYTHONPYCACHEPREFIX": str(folder / "cache")}
        found[BARE] = memory.part("", env)
        full = folder / "full.db"
        journal.fill(full, NODES[0])
        for _ in range(2):  # the first time compiles
            _, found[EMPTY] = memory.edge(broker, [], {**env, **_settings(folder / "empty.db")})
        with sqlite_database(folder) as database:
            _full(broker, database, full, env, found)
            for _ in range(2):
                _gateway(broker, database, env, found)
    for name, one in found.items():
        say(f"{name}: {one['VmRSS']:.1f} MB")
    return found


def _settings(path: Path) -> dict[str, str]:
    return {
        "BRISA_MODEL": "dht22",
        "BRISA_JOURNAL": str(path),
        "BRISA_JOURNAL_DAYS": "3650",
        "BRISA_BACKFILL_PER_S": "100000",
    }


def _full(
    broker: Broker, database: Database, full: Path, env: dict[str, str], found: dict[str, Memory]
) -> None:
    """A thousand readings; then the recorder is newly added, and has some sent again."""
    with recorder(broker, database, env):  # compiles
        pass
    path = full.with_name("in-use.db")
    shutil.copyfile(full, path)

    def seen() -> None:
        with recorder(broker, database, env) as (process, port):
            eventually("readings come", lambda: committed(port).readings >= SENT_AGAIN)
            found[RECORDER] = memory_mb(process.popen.pid)

    settings = {**env, **_settings(path)}
    found[FULL], found[SENDING] = memory.edge(broker, [], settings, seen=seen)


def _gateway(
    broker: Broker, database: Database, env: dict[str, str], found: dict[str, Memory]
) -> None:
    history = f"/api/v1/sensors/{NODES[0]}/dht22/history?from=1970-01-01"
    with gateway(broker, {**env, **database.env}) as (process, port):
        found[GATEWAY] = memory_mb(process.popen.pid)
        for path in ("/", history, f"{history}&format=csv", "/api/v1/audit", "/metrics"):
            with contextlib.suppress(ConnectionError):
                fetch(port, path)
        found[GATEWAY_READ] = memory_mb(process.popen.pid)
