"""The whole system at 50 readings a second, what may be done to it, and the proof at the end."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import psycopg
import pytest

from tests.chaos.ear import Ear, Key, Row, Stream
from tests.chaos.evidence import (
    Ranges,
    database_rows,
    differences,
    journal_rows,
    newest,
    wrong_audit,
)
from tests.databases import Database
from tests.support import PATIENCE_S, Process, RunningBroker, eventually
from tests.system import System

NODE, SENSOR = "pi-1", "aula"
SEED = "BRISA_CHAOS_SEED"
EDGE_ENV = {
    "BRISA_SENSORS": f"{SENSOR}=replay,model=dht22",
    "BRISA_INTERVAL_S": "0.02",
    "BRISA_BACKFILL_AFTER_S": "0.5",
}
RECORDER_ENV = {"BRISA_COMMIT_S": "0.2"}


def seed(request: pytest.FixtureRequest) -> random.Random:
    """Chance that can be had again; which, is in the test's output and in the summary."""
    number = os.environ.get(SEED) or str(random.SystemRandom().randrange(10**9))
    print(f"{SEED}={number}")
    request.node.user_properties.append(("note", f"{SEED}={number}"))
    return random.Random(number)


class Part(NamedTuple):
    """Something that a test kills and starts again."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], object]


@dataclass
class Chaos:
    """A running system with a database, and an ear on it."""

    system: System
    database: Database
    ear: Ear
    lost: dict[Stream, Ranges] = field(default_factory=dict)  # what is to be lost

    # ---- what may happen to it

    @property
    def parts(self) -> list[Part]:
        system = self.system
        parts = [
            Part("edge", lambda: _close(system.edge), system.start_edge),
            Part("broker", system.broker.kill, system.broker.start),
            Part("recorder", lambda: _close(system.recorder), system.start_recorder),
            Part(
                "gateway", lambda: _close(system.gateway), lambda: system.start_gateway(wait=False)
            ),
        ]
        if self.database.server is not None:
            parts.append(Part("database", self.database.kill, self.database.start))
        return parts

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    # ---- what is waited for

    def heard(self, more: int) -> Key:
        """Wait until so many more live readings were heard; returns the newest."""
        ear = self.ear
        with ear.changed:
            enough = len(ear.readings) + more
            assert ear.changed.wait_for(lambda: len(ear.readings) >= enough, PATIENCE_S), (
                f"{more} more readings: not within {PATIENCE_S:g} s\n{self.logs()}"
            )
            return ear.newest[NODE, SENSOR]

    def caught_up(self) -> int:
        """Wait until what is the newest reading now is stored, and all before it."""
        key = self.heard(1)
        return self.stored_up_to(key)

    def stored_up_to(self, key: Key) -> int:
        ear = self.ear
        with ear.changed:
            assert ear.changed.wait_for(lambda: ear.mark(key.of) >= key.seq, 2 * PATIENCE_S), (
                f"stored up to {key.seq}: not within {2 * PATIENCE_S:g} s; it says"
                f" {ear.mark(key.of)}\n{self.logs()}"
            )
            return ear.mark(key.of)

    # ---- the proof

    def prove(self) -> None:
        """Let it come to rest, and compare: nothing missing, nothing twice, all as it was."""
        self.rest()
        journal = journal_rows(self.system.journal)
        self.whole(newest(journal))
        self.compare(journal)
        self.shown()
        for process in (self.system.edge, self.system.recorder, self.system.gateway):
            assert process is not None
            assert "Traceback" not in process.output, process.output

    def shown(self) -> None:
        """The gateway has healed as well: it has the newest reading, and the whole account."""
        rows = [key for key, _ in database_rows(self.database) if key.node == NODE]
        system, newest_seq = self.system, self.ear.newest[NODE, SENSOR].seq

        def right() -> bool:
            sensors = system.get("/api/v1/audit").json().get("sensors", ())
            said = [(one["stored"], one["missing"]) for one in sensors if one["node"] == NODE]
            view = system.sensors().get(f"{NODE}/{SENSOR}", {})
            return system.ready() and said == [(len(rows), 0)] and view["seq"] == newest_seq

        eventually("the gateway shows it", right)

    def rest(self) -> None:
        """The sensor comes to an end, in order; an edge is there to send what is missing."""
        assert self.system.edge is not None
        code = self.system.edge.stop()
        assert code == 0, self.logs()
        self.system.edge.close()
        self.system.edge_env["BRISA_INTERVAL_S"] = "3600"
        self.system.start_edge()
        self.system.edge.wait_for(f"sensor {SENSOR} is ok")  # its only reading is in the journal

    def whole(self, reach: dict[Stream, int]) -> None:
        """Wait until every stream is stored up to there."""
        ear = self.ear
        with ear.changed:
            assert ear.changed.wait_for(
                lambda: all(ear.mark(stream) >= seq for stream, seq in reach.items()),
                2 * PATIENCE_S,
            ), (
                f"not whole within {2 * PATIENCE_S:g} s: the journal has {reach},"
                f" stored are { {stream: ear.mark(stream) for stream in reach} }\n{self.logs()}"
            )

    def compare(self, journal: dict[Key, Row]) -> None:
        """Raises AssertionError, with what differs, and what every process said."""
        problems = list(differences(self.database, journal, self.ear, NODE, self.lost))
        problems += wrong_audit(self.database, NODE)
        assert not problems, "\n".join([*problems, self.logs()])

    def logs(self) -> str:
        """The end of what each process said."""
        system = self.system
        said = {
            "edge": system.edge,
            "recorder": system.recorder,
            "gateway": system.gateway,
            "broker": system.broker.process,
        }
        return "\n".join(
            f"---- {name}\n" + "\n".join(process.lines[-25:])
            for name, process in said.items()
            if process is not None
        )


class Truth:
    """Checks each `stored` against the database as soon as it is heard, in a thread of its own."""

    def __init__(self, chaos: Chaos) -> None:
        self.checked = 0
        self.lies: list[str] = []
        self._chaos = chaos
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        ear = self._chaos.ear
        with ear.changed:
            self._stopping = True
            ear.changed.notify_all()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        ear, seen = self._chaos.ear, 0
        while True:
            with ear.changed:
                ear.changed.wait_for(lambda: self._stopping or len(ear.said) > seen)  # noqa: B023
                if self._stopping:
                    return
                seen = len(ear.said)
                _, _, stored = ear.said[-1]
            # a database that was killed a moment ago
            with contextlib.suppress(psycopg.OperationalError):
                known = self._known(str(stored.stream), stored.seq)
                self.checked += 1
                if known != stored.seq:
                    self.lies.append(f"stored {stored.seq}: {known} are stored or lost")

    def _known(self, stream: str, seq: int) -> int:
        """How many up to `seq` are there or known to be lost; in one statement, of one moment."""
        of_stream = f"s.uuid = '{stream}'"
        [(known,)] = self._chaos.database.query(
            "SELECT (SELECT count(*) FROM reading r JOIN stream s ON s.id = r.stream_id"  # noqa: S608
            f" WHERE {of_stream} AND r.seq <= {seq})"
            f" + (SELECT coalesce(sum(CASE WHEN p.last_seq > {seq} THEN {seq} ELSE p.last_seq END"
            "  - p.first_seq + 1), 0) FROM span p JOIN stream s ON s.id = p.stream_id"
            f" WHERE {of_stream} AND p.kind = 'lost' AND p.first_seq <= {seq})"
        )
        return int(known)


@contextlib.contextmanager
def running(
    broker: RunningBroker,
    database: Database,
    *,
    recorder: bool = True,
    edge_env: Mapping[str, str] | None = None,
    recorder_env: Mapping[str, str] | None = None,
    edge_module: str = "edge",
) -> Iterator[Chaos]:
    """Broker, edge, gateway and, if wanted, recorder."""
    system = System(
        broker,
        edge_env={**EDGE_ENV, **(edge_env or {})},
        recorder_env={**RECORDER_ENV, **(recorder_env or {})},
        database=database,
        edge_module=edge_module,
    )
    chaos = Chaos(system, database, Ear(broker))
    chaos.ear.start()
    try:
        if recorder:
            system.start_recorder()
        system.start_gateway()
        system.start_edge()
        yield chaos
    finally:
        chaos.ear.stop()
        system.close()


def _close(process: Process | None) -> None:
    assert process is not None
    process.close()
    assert "Traceback" not in process.output, process.output
