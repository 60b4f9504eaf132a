"""kill -9 of each process, alone and at random times."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import Counter

import pytest

from tests.chaos.evidence import database_rows
from tests.chaos.harness import Chaos, Part, Truth, running
from tests.databases import Database
from tests.support import RunningBroker

KILLS, ROUND = 50, 10
LONGEST_PAUSE_S, LONGEST_DOWN_S = 1.5, 1.5


def test_each_alone(mosquitto: RunningBroker, database: Database) -> None:
    with running(mosquitto, database) as chaos, Truth(chaos) as truth:
        for part in chaos.parts:
            chaos.caught_up()
            part.kill()
            if part.name == "broker":
                assert chaos.system.edge is not None
                chaos.system.edge.wait_for("lost the broker")
            elif part.name != "edge":
                chaos.heard(50)
            part.start()
        chaos.caught_up()
        chaos.prove()
        assert truth.checked
        assert not truth.lies


@pytest.mark.long
@pytest.mark.timeout(600)
def test_fifty_at_random_times(
    mosquitto: RunningBroker, database: Database, chance: random.Random
) -> None:
    """In rounds, each of which ends with everything stored, so that each meets a system at work."""
    killed: Counter[str] = Counter()
    with running(mosquitto, database) as chaos, Truth(chaos) as truth:
        for _ in range(KILLS // ROUND):
            killed += kill_some(chaos, chance, ROUND)
            chaos.caught_up()
        chaos.prove()
        ear = chaos.ear
        print(
            f"killed: {dict(killed)}; {len(database_rows(database))} readings,"
            f" {len(ear.sent_again)} of them sent again; {len(ear.said)} marks heard,"
            f" {truth.checked} checked against the database"
        )
        assert killed.total() == KILLS
        assert truth.checked
        assert not truth.lies


def kill_some(chaos: Chaos, chance: random.Random, kills: int) -> Counter[str]:
    """Kill parts at random times, each for a random time, so that several may be down at once."""
    killed: Counter[str] = Counter()
    down: list[tuple[float, int, Part]] = []
    order = itertools.count()
    while killed.total() < kills or down:
        standing = [p for p in chaos.parts if p.name not in {part.name for _, _, part in down}]
        if killed.total() < kills and standing:
            victim = chance.choice(standing)
            victim.kill()
            killed[victim.name] += 1
            until_s = time.monotonic() + chance.uniform(0, LONGEST_DOWN_S)
            heapq.heappush(down, (until_s, next(order), victim))
            threading.Event().wait(chance.uniform(0, LONGEST_PAUSE_S))
        else:
            threading.Event().wait(max(0.0, down[0][0] - time.monotonic()))
        while down and down[0][0] <= time.monotonic():
            heapq.heappop(down)[2].start()
    return killed
