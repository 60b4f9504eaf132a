"""`make bench`: what brisa costs, as ratios within one run, in one table.

Takes about twenty-five minutes; with --quick nine, for a rough idea. How and against whom:
bench/README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime

from bench import (
    auditing,
    catching_up,
    crowd,
    fanout,
    first_load,
    history_rows,
    intake,
    journal,
    memory,
    memory_with_history,
    reading_back,
    recording,
    snapshot,
)
from bench.processes import BenchError, mosquitto, spread
from bench.stores import databases
from bench.table import Row, held, table

EMPTY, GATEWAY = "empty paho callback", "gateway"
PARSING, EXPORTER = "paho, pydantic in the callback", "mqtt-exporter 1.12.1"
EDGE_MB, GATEWAY_MB = 35.0, 60.0
LIVE = ("cost", "flood", "memory", "fanout", "viewers", "weight", "snapshot")
HISTORY = ("recorder", "history", "audit", "backfill", "journal", "journal-memory")


def cost_rows(costs: dict[str, intake.Cost]) -> list[Row]:
    us = {name: cost.median_us for name, cost in costs.items()}
    aims = {
        EMPTY: "",
        GATEWAY: held(
            {
                "≤ 1.25 × empty": us[GATEWAY] <= 1.25 * us[EMPTY],
                "< parsing": us[GATEWAY] < us[PARSING],
                "≤ 1/5 exporter": us[GATEWAY] <= us[EXPORTER] / 5,
            }
        ),
    }
    title = f"processor time a reading at {intake.RATE:,}/s, QoS 0, MQTT 3.1.1"
    rows = [Row(title, "µs", "× empty")]
    for name, cost in costs.items():
        lost = f"; {cost.dropped} dropped" if cost.dropped else ""
        lost += f"; {cost.missing} missing" if cost.missing else ""
        figure = spread(cost.us, lambda us: f"{us:.1f}") + lost
        rows.append(Row(name, figure, f"{us[name] / us[EMPTY]:.2f}", aims.get(name, "")))
    rows.append(Row("gateway, as a part of mqtt-exporter", "", f"{us[GATEWAY] / us[EXPORTER]:.2f}"))
    return rows


def flood_rows(floods: list[intake.Flood]) -> list[Row]:
    rows = [Row(f"a flood of {intake.FLOOD_RATE:,}/s, one page open", "", "of 1 core")]
    for flood in floods:
        figure = f"{flood.dropped} dropped, {flood.behind} sensors behind"
        if not flood.behind:
            figure += f", all shown after {flood.caught_up_s:.2f} s"
        good = flood.behind == flood.dropped == 0 and flood.rate > 0.98 * intake.FLOOD_RATE
        name = f"gateway, {flood.sent:,} at {flood.rate:,.0f}/s"
        aim = held({"none behind, none dropped": good})
        rows.append(Row(name, figure, f"{flood.cpu_share:.2f}", aim))
    return rows


def memory_rows(found: dict[str, memory.Memory]) -> list[Row]:
    bare = found["bare Python"]["VmRSS"]
    rows = [Row("resident memory after 1,000 readings", "MB (of it anonymous)", "× bare")]
    for name, parts in found.items():
        limit = EDGE_MB if name.startswith("edge") else GATEWAY_MB
        product = name.startswith(("edge", "gateway"))
        aim = held({f"< {limit:.0f} MB": parts["VmRSS"] < limit}) if product else ""
        figure = f"{parts['VmRSS']:.1f} ({parts['RssAnon']:.1f})"
        rows.append(Row(name, figure, f"{parts['VmRSS'] / bare:.2f}", aim))
    return rows


def fanout_rows(found: dict[str, fanout.Fanout], viewers: int) -> list[Row]:
    ours = next(iter(found.values()))
    rows = [Row(f"from MQTT to {viewers} open streams, 1 event/s", "ms: p50, p99, longest", "p99")]
    for name, one in found.items():
        figure = f"{one.p50_ms:.0f}, {one.p99_ms:.0f}, {one.max_ms:.0f}"
        figure += f"; {one.missing} missing" if one.missing else ""
        what = f"{one.cpu_us:.0f} µs a viewer, {one.rss_mb:.0f} MB, {one.threads} threads"
        rows.append(Row(name, figure, f"{one.p99_ms / ours.p99_ms:.2f}", what))
    return rows


def live(parts: Collection[str], *, quick: bool) -> list[Row]:
    """What readings cost on their way to people who look."""
    rows: list[Row] = []
    if not set(parts) & set(LIVE):
        return rows
    viewers = 100 if quick else 500
    with mosquitto() as broker:
        if "cost" in parts:
            print("what a reading costs", flush=True)
            repeats, seconds = (1, 2.0) if quick else (3, 4.0)
            rows += cost_rows(intake.costs(broker, repeats=repeats, seconds=seconds))
        if "flood" in parts:
            print("a flood", flush=True)
            runs = 1 if quick else 3
            rows += flood_rows([intake.flood(broker, seconds=5.0) for _ in range(runs)])
        if "memory" in parts:
            print("memory", flush=True)
            rows += memory_rows(memory.measure(broker))
        if "fanout" in parts:
            print("open streams", flush=True)
            events = 5 if quick else 15
            found = fanout.measure(broker, viewers=viewers, events=events)
            rows += fanout_rows(found, viewers)
    return rows + page(parts, quick=quick)


def page(parts: Collection[str], *, quick: bool) -> list[Row]:
    """What a page costs those who look, and many of them the gateway.

    Each on a broker of its own: what another part's sensors left retained would be shown, too.
    """
    rows: list[Row] = []
    if "viewers" in parts:
        print("many viewers", flush=True)
        with mosquitto() as broker:
            found = crowd.measure(broker, crowd.loads(quick=quick), repeats=1 if quick else 3)
        rows += crowd.rows(found)
    if "weight" in parts:
        print("a first load", flush=True)
        with mosquitto() as broker:
            rows += first_load.rows(first_load.measure(broker, times=2 if quick else 5))
    if "snapshot" in parts:
        print("all sensors at once", flush=True)
        with mosquitto() as broker:
            asked = snapshot.measure(broker, runs=3 if quick else 9, requests=60)
        rows += snapshot.rows(asked)
    return rows


def history(parts: Collection[str], *, quick: bool) -> list[Row]:
    """What it costs that nothing is lost."""
    rows: list[Row] = []
    if "recorder" in parts:
        print("what the recorder stores", flush=True)
        size, repeats = (15_000, 1) if quick else (24_000, 3)
        with databases() as made:
            rows += history_rows.recording_rows(recording.measure(made, rows=size, repeats=repeats))
    if "history" in parts:
        print("a year's curve", flush=True)
        with mosquitto() as broker:
            found = reading_back.measure(
                broker, plain_times=1 if quick else 3, times=5 if quick else 20
            )
        rows += history_rows.reading_rows(found)
    if "audit" in parts:
        print("an audit after ten years", flush=True)
        with databases() as made:
            rows += auditing.rows(auditing.measure(made, repeats=20 if quick else 100))
    if "backfill" in parts:
        print("a day's back-fill", flush=True)
        with databases() as made:
            days = catching_up.measure(made, repeats=1 if quick else 3)
        rows += history_rows.catching_up_rows(days, catching_up.live_bytes())
    if "journal" in parts:
        print("what the journal writes", flush=True)
        names = (journal.NAIVE, journal.AS_IT_COMES, journal.OURS)
        written = journal.measure(readings=720 if quick else 1440, names=names)
        rows += history_rows.journal_rows(written)
    if "journal-memory" in parts:
        print("memory with a history", flush=True)
        with mosquitto() as broker:
            rows += history_rows.memory_rows(memory_with_history.measure(broker))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument(
        "--only",
        action="append",
        choices=(*LIVE, *HISTORY),
        help="a part of it; repeat for more",
    )
    options = parser.parse_args()
    parts = options.only or (*LIVE, *HISTORY)
    began_s = time.monotonic()
    try:
        rows = live(parts, quick=options.quick) + history(parts, quick=options.quick)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    took_s = time.monotonic() - began_s
    day = datetime.now(UTC).date().isoformat()
    print(f"\n{day}, {os.cpu_count()} cores, {took_s:.0f} s\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
