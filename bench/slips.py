"""How many one-bit slips pass the sum, and how many of those the filter stops: `python bench/slips.py`.

A slip is one bit lost, or one seen twice, somewhere in the 40; a random sample of readings, and
every slip of each. "lost" fills up at the end with a 0 or a 1, as the bits that follow on an idle
line would; "whole" is the slip before the first bit, which doubles or halves everything.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script: the root is not on it

from edge.encode import frame_bytes
from edge.frame import Frame, Model, measurement
from edge.plausibility import Plausibility
from edge.sensors.base import Measurement, NoReading, Sample

KINDS = ("lost, 0", "lost, 1", "extra 0", "extra 1")


def slips(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every frame that `data` becomes by one slip, and the kind of the slip."""
    bits = f"{int.from_bytes(data, 'big'):040b}"
    for at in range(40):
        whole = " (whole)" if at == 0 else ""
        for fill in "01":
            for kind, slipped in (
                (f"lost, {fill}", bits[:at] + bits[at + 1 :] + fill),
                (f"extra {fill}", (bits[:at] + fill + bits[at:])[:40]),
            ):
                frame = int(slipped, 2).to_bytes(5, "big")
                if frame != data:
                    yield kind + whole, frame


def passes_sum(data: bytes) -> bool:
    return Frame(0.0, data).checksum_ok


def readings(model: Model, count: int, seed: int = 1) -> Iterator[Measurement]:
    """Random readings of a room: 0 to 40 °C, 20 to 90 %."""
    rng = random.Random(seed)
    digits = 0 if model is Model.DHT11 else 1
    for _ in range(count):
        temperature_c = round(rng.uniform(0, 40), digits)
        humidity_pct = round(rng.uniform(20, 90), digits)
        frame = frame_bytes(temperature_c, humidity_pct, model)
        yield Measurement(temperature_c, humidity_pct, frame)


def passes_unseen(true: Measurement, slipped: Measurement, model: Model, times: int = 1) -> bool:
    """Is `slipped` accepted, `times` in a row, between readings of `true`?

    Reads come every 5 s, and after 2 s where the filter waits.
    """
    plausibility = Plausibility(model)
    now_s = 0.0
    passed = False
    for measured in (true, true, *[slipped] * times, true, true):
        sample = Sample(measured, now_s, datetime(2026, 1, 1, tzinfo=UTC), True)
        accepted = plausibility.offer(sample).accepted
        passed = passed or any(one.measurement is slipped for one in accepted)
        now_s += 2.0 if plausibility.waiting else 5.0
    return passed


def count(model: Model, sample: int = 3000) -> dict[str, Counter[str]]:
    """By kind: slips, those that pass the sum, then the range, then the filter once and twice."""
    table: dict[str, Counter[str]] = {}
    for true in readings(model, sample):
        for kind, data in slips(true.frame or b""):
            row = table.setdefault(kind, Counter())
            row["slips"] += 1
            if not passes_sum(data):
                continue
            row["sum"] += 1
            try:
                slipped = measurement(data, model)
            except NoReading:
                continue
            row["range"] += 1
            row["once"] += passes_unseen(true, slipped, model)
            row["twice"] += passes_unseen(true, slipped, model, times=2)
    return table


def show(model: Model, table: dict[str, Counter[str]]) -> None:
    print(f"\n{model}: slips, and what share of those that pass the sum gets further")
    print(f"{'kind':18}{'slips':>9}{'pass sum':>10}{'in range':>10}{'unseen':>9}{'2 in a row':>12}")
    total: Counter[str] = Counter()
    for row in table.values():
        total += row
    for kind, row in [*sorted(table.items()), ("all", total)]:
        passed = max(row["sum"], 1)
        print(
            f"{kind:18}{row['slips']:9}{row['sum'] / row['slips']:10.1%}"
            f"{row['range'] / passed:10.1%}{row['once'] / passed:9.1%}{row['twice'] / passed:12.1%}"
        )


if __name__ == "__main__":
    for each in Model:
        show(each, count(each))
