"""The audit that each gateway reads every ten seconds, of a new history and of one of ten years.

Twenty sensors whose power is cut each night: a stream of one range a day and sensor, of each of
which a reading was lost. The rows are made by SQL; raw readings are not among them, for the audit reads
the same few of them in either case.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from uuid import UUID

import sqlalchemy as sa

from bench.processes import BenchError, say, spread
from bench.stores import New, opened
from bench.table import Row, held
from gateway.history import account
from gateway.history.schema import sensor, span, stream
from gateway.history.store import Store

# A new one; one with as many streams as an audit looks at, or more; and ten years.
SENSORS = 20
NEW, FEW, MANY = NIGHTS = 1, 10, 3650
DAY_MS, BEGIN_MS = 86_400_000, 1_450_000_000_000
READINGS = 17_280  # a day's, one each 5 s
SAME = 1.3  # × as long: what differs is the height of the indexes
Found = dict[tuple[str, int], list[float]]


def measure(databases: dict[str, New], *, repeats: int) -> Found:
    """Milliseconds of each audit, by database and nights."""
    found: Found = {}
    for kind, new in databases.items():
        with contextlib.ExitStack() as stack:
            stores = {nights: stack.enter_context(_filled(new, nights)) for nights in NIGHTS}
            for store in stores.values():  # the first one opens a connection, and fills the caches
                _audit_ms(store)
            for _ in range(repeats):
                for nights, store in stores.items():
                    found.setdefault((kind, nights), []).append(_audit_ms(store))
        said = (f"{statistics.median(found[kind, nights]):.1f}" for nights in NIGHTS)
        say(f"{kind}: {', '.join(said)} ms")
    return found


def rows(found: Found) -> list[Row]:
    shown = [Row(f"the audit of {SENSORS} sensors, each 10 s", "ms", f"× {FEW} nights")]
    for (kind, nights), took_ms in found.items():
        ratio = statistics.median(took_ms) / statistics.median(found[kind, FEW])
        aim = held({f"≤ {SAME} × {FEW} nights": ratio <= SAME}) if nights == MANY else ""
        name = f"{kind}: nights {nights:,}, streams {SENSORS * nights:,}"
        shown.append(Row(name, spread(took_ms, lambda ms: f"{ms:.1f}"), f"{ratio:.2f}", aim))
    return shown


def _audit_ms(store: Store) -> float:
    began_s = time.perf_counter()
    with store.read() as connection:
        audit = account.audit(connection)
    took_ms = (time.perf_counter() - began_s) * 1000
    if len(audit.newest_stored) < SENSORS:
        raise BenchError(f"an audit of {len(audit.newest_stored)} streams")
    return took_ms


@contextlib.contextmanager
def _filled(new: New, nights: int) -> Iterator[Store]:
    """A history of so many days."""
    with new() as database, contextlib.closing(opened(database)) as store:
        _fill(store, nights)
        yield store


def _fill(store: Store, nights: int) -> None:
    sums = {"stored": (READINGS - 1) * nights, "lost": nights, "gaps": nights}
    ids = [(of, of * MANY + night, night) for of in range(SENSORS) for night in range(nights)]
    with store.begin() as connection:
        connection.execute(
            sensor.insert(),
            [
                {"id": 1 + of, "node": "pi-1", "name": f"s{of}", "interval_s": 5, **sums}
                | {"current": str(UUID(int=of * MANY + nights - 1))}
                for of in range(SENSORS)
            ],
        )
        connection.execute(
            stream.insert(),
            [
                {"id": 1 + n, "sensor_id": 1 + of, "uuid": str(UUID(int=n))}
                | {"first_heard_ms": BEGIN_MS + night * DAY_MS, "missing": 0}
                | {"last_heard_ms": BEGIN_MS + (night + 1) * DAY_MS, "newest_seq": READINGS}
                | {"watermark": READINGS, "lost_ms": BEGIN_MS + night * DAY_MS}
                for of, n, night in ids
            ],
        )
        connection.execute(
            span.insert(),
            [
                {"stream_id": 1 + n, "kind": kind, "first_seq": first, "last_seq": last}
                | {"noted_ms": BEGIN_MS + night * DAY_MS if kind == "lost" else None}
                for _, n, night in ids
                for kind, first, last in (("lost", 1, 1), ("stored", 2, READINGS))
            ],
        )
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))  # as autovacuum does
