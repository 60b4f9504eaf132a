"""Readings for the recorder: as packets, as the writer takes them, and as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from bench import publisher
from bench.processes import NODES
from bench.stores import PlainRow
from broker.contract import Backfill, Measured, Reading
from gateway.history.writer import Heard

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=5)
BATCH = 200
PUBLISH_LIVE, PUBLISH_BACKFILL = 0x33, 0x32  # QoS 1, the first retained


class Load(NamedTuple):
    """What the recorder is fed. ahead: by so many rows of what it has said to be stored."""

    name: str
    sensors: int
    batch: int  # rows a message
    ahead: int


LIVE = Load("live readings", 100, 1, 8000)
BACKFILL = Load(f"back-fill by {BATCH}", 20, BATCH, 20 * BATCH)


class Item(NamedTuple):
    """A message: as the writer takes it, as it goes over the wire, and its rows."""

    heard: Heard
    packet: bytes
    rows: list[PlainRow]


def sensors(load: Load) -> list[tuple[str, str, str]]:
    """Node, name and stream."""
    return [
        (NODES[n % len(NODES)], f"sensor-{n}", f"00000000-0000-4000-8000-{n:012d}")
        for n in range(load.sensors)
    ]


def measured(sensor: int, seq: int) -> Measured:
    return Measured(
        seq=seq,
        measured_at=BEGAN + seq * INTERVAL,
        clock_synchronised=True,
        temperature_c=15 + (seq * 7 + sensor) % 200 / 10,
        humidity_pct=30 + (seq * 3 + sensor) % 400 / 10,
        source="dht22",
    )


def plain_row(stream_id: int, one: Measured) -> PlainRow:
    ms = round(one.measured_at.timestamp() * 1000)
    return (stream_id, one.seq, ms, True, one.temperature_c, one.humidity_pct, one.source)


def made(load: Load, rows: int) -> list[Item]:
    """So many rows: message by message, and in each round every sensor has one."""
    items: list[Item] = []
    named = sensors(load)
    for number in range(rows // load.sensors // load.batch + 1):
        for n, (node, name, uuid) in enumerate(named):
            after = number * load.batch
            readings = [measured(n, after + k + 1) for k in range(load.batch)]
            said: Reading | Backfill
            if load.batch == 1:
                said = Reading(stream=UUID(uuid), **dict(readings[0]))
                head, kind = PUBLISH_LIVE, "reading"
            else:
                said = Backfill(stream=UUID(uuid), after=after, readings=readings)
                head, kind = PUBLISH_BACKFILL, "backfill"
            topic = publisher.field(f"brisa/{node}/{name}/{kind}".encode())
            mid = (len(items) % 65535 + 1).to_bytes(2, "big")
            packet = publisher.packet(head, topic + mid + said.to_json())
            own_rows = [plain_row(n + 1, one) for one in readings]
            items.append(Item(Heard(node, name, said), packet, own_rows))
    return items
