"""What the journal, the database and the ear say, and where they differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from broker.contract import Reading
from tests.chaos.ear import Ear, Key, Row, Stream, row
from tests.databases import Database
from tests.support import REPOSITORY

Ranges = list[tuple[int, int]]
VALUES = (
    "b.temperature_min, b.temperature_sum, b.temperature_max,"
    " b.humidity_min, b.humidity_sum, b.humidity_max"
)


def differences(
    database: Database,
    journal: Mapping[Key, Row],
    ear: Ear,
    node: str,
    expected_lost: Mapping[Stream, Ranges],
) -> Iterator[str]:
    """A line for each way in which they do not agree about `node`."""
    everything = database_rows(database)
    yield from rollup_differences(database, everything)
    count = Counter(key for key, _ in everything if key.node == node)
    stored = {key: reading for key, reading in everything if key.node == node}
    lost = {of: spans for of, spans in lost_ranges(database).items() if of.node == node}
    gone = {Key(*of, n) for of, spans in lost.items() for n in numbers(spans)}
    yield from named("stored twice", (key for key, n in count.items() if n > 1))
    yield from named("in the journal, not stored", journal.keys() - stored.keys())
    # what is past its time in the journal is still stored
    extra = {key for key in stored.keys() - journal.keys() if not older(key, journal)}
    yield from named("stored, not in the journal", extra)
    wrong = [key for key in journal.keys() & stored.keys() if journal[key] != stored[key]]
    yield from named("stored otherwise than in the journal", wrong)
    yield from (f"  {key}: {journal[key]}, stored {stored[key]}" for key in sorted(wrong)[:5])
    heard = {key: reading for key, reading in dict(ear.readings).items() if key.node == node}
    yield from named("heard, not stored", heard.keys() - stored.keys() - gone)
    both = heard.keys() & stored.keys()
    changed = (key for key in both if not same(heard[key], stored[key]))
    yield from named("stored otherwise than heard", changed)
    yield from named("lost and stored", gone & stored.keys())
    yield from named("lost, and in the journal", gone & journal.keys())
    if lost != expected_lost:
        yield f"lost are {lost}, expected {expected_lost}"
    yield from one_with_two_numbers(stored)
    yield from wrong_marks({*stored, *gone}, ear)
    yield from (f"against the contract: {line}" for line in ear.strange if f"/{node}/" in line)


def one_with_two_numbers(stored: Mapping[Key, Row]) -> Iterator[str]:
    """Readings of one moment; but for neighbours, as a machine out of breath may measure them."""
    moments: dict[tuple[str, int], list[Key]] = defaultdict(list)
    for key, reading in sorted(stored.items()):
        moments[key.sensor, reading.measured_ms].append(key)
    for keys in moments.values():
        for one, other in pairwise(keys):
            if one.of != other.of or one.seq + 1 < other.seq:
                yield from named("of one moment", (one, other))


def wrong_marks(known: set[Key], ear: Ear) -> Iterator[str]:
    """Is each stream whole, and does `stored` say so?"""
    for of, seq in newest(known).items():
        holes = set(range(1, seq + 1)) - {key.seq for key in known if key.of == of}
        yield from named("neither stored nor lost", (Key(*of, n) for n in holes))
        if of in ear.marks and ear.mark(of) != seq:
            yield f"{of}: stored says {ear.mark(of)}, and it is {seq}"


def wrong_audit(database: Database, node: str) -> Iterator[str]:
    """What `python -m gateway.history audit` finds missing of `node`, or does not find right."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRISA_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.history", "audit", "--json", "--streams", "--verify"],
        cwd=REPOSITORY,
        env={**kept, **database.env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 1} or "WRONG" in done.stderr or not done.stdout:
        yield f"audit ends with {done.returncode}: {done.stdout}{done.stderr}"
        return
    lost = lost_ranges(database)
    rows = Counter(key.of for key, _ in database_rows(database))
    _, *pages = map(json.loads, done.stdout.splitlines())
    for page in pages:
        for stream in page["streams"]:
            of = Stream(page["node"], page["sensor"], stream["stream"])
            lost_now = sum(last - first + 1 for first, last in lost.get(of, []))
            expected = (rows[of], 0, lost_now)
            said = (stream["stored"], stream["missing"], stream["lost"])
            if of.node == node and said != expected:
                yield f"audit of {of}: stored, missing, lost are {said} and not {expected}"


def journal_rows(path: Path) -> dict[Key, Row]:
    """All that the journal holds, as `python -m edge journal export` gives it."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "journal", "export", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: dict[Key, Row] = {}
    for line in done.stdout.splitlines():
        named = json.loads(line)
        reading = Reading.model_validate_json(line)
        key = Key(named["node"], named["sensor"], str(reading.stream), reading.seq)
        assert key not in rows, f"twice in the journal: {key}"
        rows[key] = row(reading)
    return rows


def database_rows(database: Database) -> list[tuple[Key, Row]]:
    """All readings that the database holds, by its own client."""
    return [
        (Key(node, sensor, uuid, seq), Row(ms, bool(synchronised), temperature, humidity, source))
        for node, sensor, uuid, seq, ms, synchronised, temperature, humidity, source in (
            database.query(
                "SELECT n.node, n.name, s.uuid, r.seq, r.measured_ms, r.synchronised,"
                " r.temperature_c, r.humidity_pct, r.source FROM reading r"
                " JOIN stream s ON s.id = r.stream_id JOIN sensor n ON n.id = s.sensor_id"
            )
        )
    ]


def lost_ranges(database: Database) -> dict[Stream, Ranges]:
    """What is counted lost; neighbours that were noted down at two times are one range."""
    found: dict[Stream, Ranges] = {}
    for node, sensor, uuid, first, last in database.query(
        "SELECT n.node, n.name, s.uuid, p.first_seq, p.last_seq FROM span p"
        " JOIN stream s ON s.id = p.stream_id JOIN sensor n ON n.id = s.sensor_id"
        " WHERE p.kind = 'lost' ORDER BY p.first_seq"
    ):
        ranges = found.setdefault(Stream(node, sensor, uuid), [])
        joined = ranges and ranges[-1][1] + 1 == first
        ranges.append((ranges.pop()[0] if joined else first, last))
    return found


def rollup_differences(database: Database, rows: list[tuple[Key, Row]]) -> Iterator[str]:
    """Roll-ups that are not what the raw rows give."""
    for table, width_s in (("minute", 60), ("hour", 3600)):
        raw: dict[tuple[str, str, int], list[Row]] = {}
        for key, reading in rows:
            start_s = reading.measured_ms // 1000 // width_s * width_s
            raw.setdefault((key.node, key.sensor, start_s), []).append(reading)
        expected = {bucket: rolled_up(readings) for bucket, readings in raw.items()}
        kept = {
            (node, sensor, start_s): tuple(values)
            for node, sensor, start_s, *values in database.query(
                f"SELECT n.node, n.name, b.start_s, b.readings, {VALUES}"  # noqa: S608
                f" FROM {table} b JOIN sensor n ON n.id = b.sensor_id"
            )
        }
        for bucket in sorted(expected.keys() | kept.keys()):
            if expected.get(bucket) != kept.get(bucket):
                yield f"{table} {bucket}: raw {expected.get(bucket)}, kept {kept.get(bucket)}"


def rolled_up(rows: list[Row]) -> tuple[float, ...]:
    temperatures, humidities = [r.temperature_c for r in rows], [r.humidity_pct for r in rows]
    return (
        len(rows),
        *(min(temperatures), sum(round(1000 * t) for t in temperatures), max(temperatures)),
        *(min(humidities), sum(round(1000 * h) for h in humidities), max(humidities)),
    )


def newest(keys: Iterable[Key]) -> dict[Stream, int]:
    found: dict[Stream, int] = {}
    for key in keys:
        found[key.of] = max(key.seq, found.get(key.of, 0))
    return found


def older(key: Key, journal: Iterable[Key]) -> bool:
    """Is it from before the oldest of its stream that the journal still has?"""
    kept = [other.seq for other in journal if other.of == key.of]
    return bool(kept) and key.seq < min(kept)


def same(heard: Row, stored: Row) -> bool:
    """A date that was not synchronised may be another by now."""
    return heard == stored or (not heard.synchronised and heard[2:] == stored[2:])


def numbers(ranges: Ranges) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def named(what: str, keys: Iterable[Key]) -> Iterator[str]:
    """A line for them, if there are any."""
    found = sorted(keys)
    if found:
        shown = ", ".join(
            f"{key.node}/{key.sensor} {key.stream[:8]} {key.seq}" for key in found[:10]
        )
        yield f"{len(found)} {what}: {shown}{' …' if len(found) > 10 else ''}"
