"""A school that does not exist: nine sensors on three nodes, each in a state of its own, with a year behind them.

Its broker, recorder and gateway are real; only its nodes are played.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx

from broker.contract import MAX_BACKFILL_READINGS, Backfill, Measured, SensorHealth
from gateway.history.store import Store
from gateway.history.writer import Heard, Writer
from tests.databases import sqlite_database
from tests.played import PlayedNode
from tests.support import eventually, free_port, running_broker
from tests.system import System

INTERVAL_S = 5.0
RENEWED_S = 4.0
# How far back readings go, and how far apart they are there: a year of all would take minutes.
DENSITY = (
    (timedelta(days=365), timedelta(minutes=30)),
    (timedelta(days=8), timedelta(minutes=4)),
    (timedelta(hours=25), timedelta(seconds=40)),
    (timedelta(minutes=65), timedelta(seconds=5)),
)
Say = Callable[[str], None]


class Sensor(NamedTuple):
    """A room, and what is the matter with its sensor."""

    node: str
    sensor: str
    model: str
    mean_c: float
    swing_c: float  # from day to night, half of it
    summer_c: float  # from winter to summer, half of it
    humidity_pct: float
    state: str = "live"
    years: bool = False  # else days
    gap: str = ""  # in its history: "lost", or "missing" still
    health: dict[str, object] = {}  # noqa: RUF012 - nobody writes to it


SCHOOL = (
    Sensor("planta-baja", "aula", "dht11", 21.4, 1.6, 2.5, 46, years=True),
    Sensor("planta-baja", "biblioteca", "dht22", 20.3, 0.7, 3.0, 52, years=True, gap="lost"),
    Sensor("planta-baja", "patio", "dht22", 9.5, 5.5, 9.0, 68),
    Sensor(
        *("planta-baja", "pasillo", "dht11", 18.6, 1.2, 2.0, 49, "retrying"),
        health={
            "reason": "timeout: the sensor did not answer, or broke off",
            "discarded": {"timeout": 41, "checksum": 7},
        },
    ),
    Sensor("primer-piso", "laboratorio", "dht22", 23.1, 1.9, 1.5, 38, gap="missing"),
    Sensor("primer-piso", "despacho", "dht22", 22.0, 1.1, 1.5, 43, "late"),
    Sensor(
        *("primer-piso", "sala-de-servidores", "dht11", 26.2, 0.4, 0.5, 33, "broken"),
        health={
            "reason": "no dht11 device below /sys/bus/iio/devices: add the line"
            " dtoverlay=dht11,gpiopin=3 to /boot/firmware/config.txt (gpiopin: the GPIO of the data"
            " wire) and reboot",
            "discarded": {"timeout": 212, "checksum": 12, "range": 3},
        },
    ),
    Sensor("primer-piso", "sala-de-profesores", "dht11", 21.9, 1.0, 1.2, 44),
    Sensor("invernadero", "semillero", "dht22", 27.4, 4.2, 3.0, 74, "offline"),
)


@contextlib.contextmanager
def nothing_yet(folder: Path) -> Iterator[System]:
    """A broker and a gateway, and no sensor."""
    with running_broker("mosquitto", folder / "broker", ["pi-1"]) as broker:
        system = System(broker)
        try:
            system.start_gateway()
            yield system
        finally:
            system.close()


@contextlib.contextmanager
def school(folder: Path, say: Say) -> Iterator[System]:
    """All of SCHOOL, as the gateway shows it; those that are live go on measuring."""
    nodes = sorted({one.node for one in SCHOOL})
    with (
        sqlite_database(folder) as database,
        running_broker("mosquitto", folder / "broker", nodes) as broker,
        contextlib.ExitStack() as stack,
    ):
        store = Store(database.url, None)
        stack.callback(store.close)
        store.upgrade()
        streams = []
        for at, one in enumerate(SCHOOL, 1):
            say(f"a past for {one.node}/{one.sensor} ({at} of {len(SCHOOL)})")
            streams.append((one, *remember(store, one, datetime.now(UTC))))
        probes = free_port()
        recorder_env = {"BRISA_HEALTH_PORT": str(probes)}
        system = System(broker, database=database, recorder_env=recorder_env)
        stack.callback(system.close)
        system.start_gateway()
        system.start_recorder()
        ready = f"http://127.0.0.1:{probes}/readyz"  # from then on it misses nothing
        eventually("the recorder listens", lambda: httpx.get(ready).is_success)
        played = {node: stack.enter_context(PlayedNode(broker, node)) for node in nodes}
        play(played, streams)
        stack.enter_context(going_on(played))
        for one in SCHOOL:
            system.wait_for_state(f"{one.node}/{one.sensor}", one.state)
        yield system


def weather(one: Sensor, at: datetime) -> tuple[float, float]:
    """Its temperature and humidity then: day and night, summer and winter, people and doors."""
    seconds = at.timestamp()
    day = math.cos(math.tau * (seconds / 86_400 - 15 / 24))
    year = math.cos(math.tau * (seconds / (365.25 * 86_400) - 0.55))
    seed = sum(one.sensor.encode())
    drift = sum(
        math.sin(math.tau * seconds / period + seed * period) / weight
        for period, weight in ((700, 9), (2_900, 5), (11_000, 3), (290_000, 0.9))
    )
    temperature_c = one.mean_c + one.swing_c * day + one.summer_c * year + 0.3 * drift
    humidity_pct = one.humidity_pct - 2.2 * one.swing_c * day - 1.4 * drift
    digits = 0 if one.model == "dht11" else 1
    return round(temperature_c, digits), round(min(99.0, max(5.0, humidity_pct)), digits)


def moments(one: Sensor, now: datetime) -> Iterator[datetime]:
    """When it measured, oldest first; a node that was away left a gap."""
    density = DENSITY if one.years else DENSITY[1:]
    ends = [length for length, _ in density[1:]] + [timedelta(seconds=-1)]
    away = now - timedelta(days=3, hours=2), now - timedelta(days=2, hours=9)
    for (length, step), end in zip(density, ends, strict=True):
        at = now - length
        while at < now - end:
            if not (one.sensor in {"aula", "patio"} and away[0] < at < away[1]):
                yield at
            at += step


def remember(store: Store, one: Sensor, now: datetime) -> tuple[UUID, int]:
    """Write its history as the recorder would have; returns stream and newest number."""
    begun = now - (timedelta(minutes=4) if one.state != "live" else timedelta())
    stream, seq, readings = uuid4(), 0, []
    for at in moments(one, begun):
        seq += 1
        temperature_c, humidity_pct = weather(one, at)
        readings.append(
            Measured(
                seq=seq,
                measured_at=at,
                clock_synchronised=True,
                temperature_c=temperature_c,
                humidity_pct=humidity_pct,
                source=one.model,
            )
        )
    if one.gap:
        middle = len(readings) * 2 // 3
        del readings[middle : middle + 37]
    writer = Writer(store, utc_now_ms=lambda: int(now.timestamp() * 1000))
    writer.write([Heard(one.node, one.sensor, said) for said in told(one, stream, readings)])
    return stream, seq


def told(
    one: Sensor, stream: UUID, readings: Sequence[Measured]
) -> Iterator[SensorHealth | Backfill]:
    yield SensorHealth.model_validate(health(one, readings[-1].measured_at), strict=False)
    newest = 0
    for start in range(0, len(readings), MAX_BACKFILL_READINGS):
        part = list(readings[start : start + MAX_BACKFILL_READINGS])
        after = None if one.gap == "missing" else newest
        yield Backfill(stream=stream, after=after, readings=part)
        newest = part[-1].seq


def health(one: Sensor, since: datetime) -> dict[str, object]:
    state = one.state if one.state in {"retrying", "broken"} else "ok"
    return {
        "state": state,
        "since": since,
        "driver": "iio",
        "model": one.model,
        "interval_s": INTERVAL_S,
        "readings": 17_280,
        "discarded": {"timeout": 23, "checksum": 4, "slip": 1},
        **one.health,
    }


def play(played: dict[str, PlayedNode], streams: Sequence[tuple[Sensor, UUID, int]]) -> None:
    """Say of each what it is to be."""
    now = datetime.now(UTC)
    for one, stream, newest in streams:
        node = played[one.node]
        node.status("offline" if one.state == "offline" else "online", version="0.9.0")
        node.continue_(one.sensor, stream, newest)
        said = health(one, now - timedelta(minutes=6))
        node.health(one.sensor, str(said.pop("state")), **said)
        at = now if one.state == "live" else now - timedelta(minutes=4)
        node.reading(one.sensor, *weather(one, at), source=one.model, measured_at=at)


@contextlib.contextmanager
def going_on(played: dict[str, PlayedNode]) -> Iterator[None]:
    """Meanwhile those that are live measure on; it ends with the broker too."""
    over = threading.Event()

    def measure() -> None:
        while not over.wait(RENEWED_S):
            now = datetime.now(UTC)
            for one in SCHOOL:
                if one.state == "live":
                    node = played[one.node]
                    try:
                        node.reading(one.sensor, *weather(one, now), source=one.model)
                    except AssertionError:  # the broker is away
                        return

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def whole(system: System) -> None:
    """Wait until the gateway has read what the history says of all of them."""

    def read() -> bool:
        return len(system.get("/api/v1/audit").json()["sensors"]) == len(SCHOOL)

    eventually("the account of every sensor", read)
