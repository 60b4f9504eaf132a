"""The table's part about journal, recorder and history."""

from __future__ import annotations

import statistics

from bench import catching_up, journal, memory_with_history, reading_back, recording
from bench.processes import spread
from bench.table import Row, held

FASTER, WAIT_MS = 50, 50.0
EDGE_MB = 40.0


def recording_rows(found: recording.Found) -> list[Row]:
    rows = []
    for (kind, load), contenders in found.items():
        rows.append(Row(f"{kind}: {load} stored", "rows/s", "× plain"))
        plain = contenders[recording.PLAIN].median
        for name, rates in contenders.items():
            cpu_us = statistics.median(rates.cpu_us)
            took = f"{cpu_us:.0f} µs of processor time a row"
            if rates.per_commit:
                took += f", {statistics.median(rates.per_commit):,.0f} rows a transaction"
            figure = spread(rates.rows_s, lambda rate: f"{rate:,.0f}")
            how = "COPY" if kind == "PostgreSQL" else "executemany"
            shown = f"{name} {how}" if name == recording.PLAIN else name
            rows.append(Row(shown, figure, f"{rates.median / plain:.2f}", took))
    return rows


def reading_rows(found: reading_back.Found) -> list[Row]:
    rows = []
    for (kind, window), waits in found.items():
        rows.append(Row(f"{kind}: {window} of 5 s readings, 500 points", "ms", "× faster"))
        plain, ours, http = (statistics.median(of) for of in (waits.plain, waits.ours, waits.http))
        aims = {f"< {WAIT_MS:.0f} ms": ours < WAIT_MS, "same answer": waits.same}
        if window == reading_back.YEAR.name:
            aims = {f"≥ {FASTER} ×": plain / ours >= FASTER, **aims}
        figures = [
            spread(of, lambda ms: f"{ms:.1f}") for of in (waits.plain, waits.ours, waits.http)
        ]
        size = f"{waits.answer_bytes / 1000:.0f} kB of JSON"
        rows += [
            Row("plain GROUP BY on table reading", figures[0], "1.0"),
            Row("history()", figures[1], f"{plain / ours:.1f}", held(aims)),
            Row("by the gateway, over HTTP", figures[2], f"{plain / http:.1f}", size),
        ]
    return rows


def catching_up_rows(found: catching_up.Found, live_bytes: int) -> list[Row]:
    readings = catching_up.READINGS
    rows = [Row(f"back-fill of a day, {readings:,} readings", "s", "× plain")]
    for (kind, way), day in found.items():
        plain = statistics.median(found[kind, catching_up.PLAIN].seconds)
        figure = spread(day.seconds, lambda seconds: f"{seconds:.2f}")
        ratio = f"{statistics.median(day.seconds) / plain:.1f}"
        rows.append(Row(f"{kind}: {way}", figure, ratio))
    rows.append(Row("bytes that it takes", "MB over TCP (payload)", "× live"))
    rows.append(Row("the same as live readings, reckoned", f"{live_bytes / 1e6:.2f}", "1.00"))
    for way in (catching_up.PLAIN, catching_up.DEFAULT):
        day = next(day for (_, name), day in found.items() if name == way)
        figure = f"{day.tcp_bytes / 1e6:.2f} ({day.payload_bytes / 1e6:.2f})"
        told = f"{day.messages} messages, {day.tcp_bytes / readings:.0f} bytes a reading"
        rows.append(Row(way, figure, f"{day.tcp_bytes / live_bytes:.2f}", told))
    return rows


def journal_rows(found: dict[str, journal.Written]) -> list[Row]:
    naive = found[journal.NAIVE]
    rows = [Row("written in a day, a reading each 5 s", "MB on the card", "× naive")]
    for name, written in found.items():
        if written.card_mb is None or naive.card_mb is None:  # not root: no card of its own
            figure, ratio = "-", written.process_mb / naive.process_mb
        else:
            figure, ratio = f"{written.card_mb:.0f}", written.card_mb / naive.card_mb
        told = f"{written.process_mb:.0f} by the process"
        rows.append(Row(name, figure, f"{ratio:.2f}", told))
    return rows


def memory_rows(found: dict[str, dict[str, float]]) -> list[Row]:
    bare = found[memory_with_history.BARE]["VmRSS"]
    rows = [Row("resident memory with a history", "MB (of it anonymous)", "× bare")]
    for name, parts in found.items():
        aim = held({f"< {EDGE_MB:.0f} MB": parts["VmRSS"] < EDGE_MB})
        figure = f"{parts['VmRSS']:.1f} ({parts['RssAnon']:.1f})"
        ratio = f"{parts['VmRSS'] / bare:.2f}"
        rows.append(Row(name, figure, ratio, aim if name.startswith("edge") else ""))
    return rows
