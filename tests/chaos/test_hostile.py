"""A node that tells lies: it can write its own history only."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from uuid import uuid4

from broker.session import NotConnectedError, Session, unique_client_id
from tests.chaos.ear import Key, Row
from tests.chaos.evidence import database_rows
from tests.chaos.harness import NODE, SENSOR, Chaos, running
from tests.databases import Database
from tests.support import PATIENCE_S, RunningBroker, eventually

LIAR = "pi-2"
PACKET_BYTES = 49_000  # the broker takes no longer packet than 48 KiB


@contextlib.contextmanager
def liar(broker: RunningBroker, refused: list[str]) -> Iterator[Session]:
    session = Session(
        broker.settings(LIAR),
        client_id=unique_client_id("liar"),
        protocol=5,
        on_refused=lambda topic, _: refused.append(topic),
    )
    session.start()
    assert session.wait_until_up(PATIENCE_S)
    try:
        yield session
    finally:
        session.stop()


def measured(seq: int, **changes: object) -> dict[str, object]:
    return {
        "seq": seq,
        "measured_at": "2020-01-01T00:00:00.000Z",
        "clock_synchronised": True,
        "temperature_c": 99.0,
        "humidity_pct": 1.0,
        "source": "dht11",
        **changes,
    }


def lies(stream: str, newest: int, chance: random.Random) -> list[tuple[str, bytes]]:
    """Kind and payload, in any order; `stream` is another node's."""
    some = sorted(chance.sample(range(1, 2 * newest), k=min(newest, 300)))
    health = {
        "state": "ok",
        "since": "2026-01-01T00:00:00.000Z",
        "driver": "replay",
        "model": "dht22",
        "interval_s": 5.0,
        "stream": stream,
        "oldest_seq": 10 * newest,
        "newest_seq": 2**63 - 1,
    }
    good = {"stream": stream, "readings": [measured(seq) for seq in some]}
    backwards = {"stream": stream, "readings": [measured(seq) for seq in reversed(some)]}
    twice = {"stream": stream, "readings": [measured(1), measured(1)]}
    said: list[tuple[str, object]] = [
        ("backfill", good),
        ("backfill", good),
        ("backfill", backwards),
        ("backfill", twice),
        ("backfill", {"stream": stream, "after": 0, "readings": []}),
        ("backfill", {"stream": stream, "after": 0, "readings": [measured(2**63 - 1)]}),
        ("backfill", {"stream": stream, "after": newest, "readings": [measured(newest + 1000)]}),
        ("backfill", {"stream": stream, "readings": [measured(seq) for seq in range(1, 501)]}),
        ("backfill", {"stream": stream, "readings": [measured(seq) for seq in range(1, 502)]}),
        ("backfill", {"stream": str(uuid4()), "readings": [measured(1, temperature_c=1e300)]}),
        ("backfill", {"stream": str(uuid4()), "readings": [measured(-1)]}),
        ("backfill", {"stream": str(uuid4()), "readings": [measured(2**63)]}),
        ("backfill", {"stream": "no stream", "readings": [measured(1)]}),
        ("reading", {"stream": stream, **measured(1)}),
        ("reading", {"stream": stream, **measured(2**63 - 1)}),
        ("reading", {"stream": stream, **measured(5, measured_at="0001-01-01T00:00:00.000Z")}),
        ("reading", {"stream": stream, **measured(6, measured_at="9999-12-31T23:59:59.999Z")}),
        ("reading", {"stream": stream, **measured(7, source="x'; DROP TABLE reading; --")}),
        ("health", health),
        ("health", {**health, "oldest_seq": None}),
        *(("reading", {"stream": str(uuid4()), **measured(1)}) for _ in range(200)),
        *(("backfill", {"stream": stream, "readings": [measured(2 * n)]}) for n in some),
    ]
    raw = [(kind, json.dumps(payload).encode()) for kind, payload in said]
    whole = json.dumps(good).encode()
    raw += [("backfill", whole[: chance.randrange(len(whole))]) for _ in range(20)]
    for _ in range(20):
        noisy = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        raw.append(("backfill", bytes(noisy)))
    raw += [(kind, chance.randbytes(200)) for kind in ("reading", "health", "backfill")]
    raw += [(kind, b"") for kind in ("reading", "health", "backfill")]
    raw += [("backfill", b"[" * 40_000), ("backfill", b" " * 49_000)]
    chance.shuffle(raw)
    return [(kind, payload[:PACKET_BYTES]) for kind, payload in raw]


def tell(session: Session, topic: str, payload: bytes) -> None:
    """Again, if there was no room or no connection."""

    def told() -> bool:
        try:
            session.publish(topic, payload)
        except NotConnectedError:
            return False
        return True

    eventually("it is told", told)


def ours(chaos: Chaos) -> dict[Key, Row]:
    return {key: row for key, row in database_rows(chaos.database) if key.node == NODE}


def test_a_hostile_node_writes_its_own_history_only(
    mosquitto: RunningBroker, database: Database, chance: random.Random
) -> None:
    refused: list[str] = []
    with running(mosquitto, database) as chaos, liar(mosquitto, refused) as session:
        chaos.caught_up()
        true = chaos.heard(1)
        recorder = chaos.system.recorder
        before = ours(chaos)
        told = lies(true.stream, true.seq, chance)
        for kind, payload in told:
            tell(session, f"brisa/{LIAR}/{SENSOR}/{kind}", payload)
            tell(session, f"brisa/{NODE}/{SENSOR}/{kind}", payload)
            if kind == "backfill":
                tell(session, f"brisa/{NODE}/{SENSOR}/stored", payload)
                tell(session, f"brisa/{LIAR}/{SENSOR}/stored", payload)
        # what is true of another, said as one's own
        for key, reading in list(chaos.ear.readings.items())[:200]:
            if key.node == NODE:
                copy = measured(key.seq, temperature_c=reading.temperature_c)
                text = json.dumps({"stream": key.stream, **copy}).encode()
                tell(session, f"brisa/{LIAR}/{SENSOR}/reading", text)
        last = measured(77, temperature_c=42.0)
        tell(
            session,
            f"brisa/{LIAR}/last/reading",
            json.dumps({"stream": str(uuid4()), **last}).encode(),
        )
        eventually(
            "all of it was taken in",
            lambda: any(key.sensor == "last" for key, _ in database_rows(chaos.database)),
        )
        eventually(
            "each lie about another was refused",
            lambda: sum(topic.startswith(f"brisa/{NODE}/") for topic in refused) >= len(told),
        )
        assert f"brisa/{LIAR}/{SENSOR}/stored" in refused
        chaos.caught_up()
        after = ours(chaos)
        assert {key: after[key] for key in before} == before
        chaos.prove()
        assert chaos.system.recorder is recorder
        assert recorder is not None
        assert recorder.popen.poll() is None
        assert "Traceback" not in recorder.output
