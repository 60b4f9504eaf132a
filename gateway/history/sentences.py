"""The account of a sensor's history as sentences, in Spanish and in English."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gateway.history.views import LostSpan, SensorAudit
from gateway.texts import HISTORY, whole

LISTED_GAPS = 3
# Sooner than this after the reading before it, a gap is no outage: the node had not kept it.
OUTAGE = timedelta(hours=1)


def state(audit: SensorAudit) -> str:
    """The key of its word and of its shape: `whole`, `missing`, `lost` or `none`."""
    if audit.lost:
        return "lost"
    return "missing" if audit.missing else "whole" if audit.stored else "none"


def sentence(audit: SensorAudit, language: str, now: datetime) -> list[str]:
    """What is stored, what is missing, what was lost, and why; of many gaps the newest, in order."""
    texts = HISTORY[language]
    since = audit.first_at or audit.newest_at or now
    clean = audit.stored and not audit.missing and not audit.lost
    said = [
        _counted(
            "all" if clean else "stored", audit.stored, language, day=_day(since, language, now)
        )
    ]
    if audit.missing:
        said.append(_counted("missing", audit.missing, language))
    spans = [span for stream in audit.streams for span in stream.lost_spans]
    gaps: dict[tuple[str, str], list[LostSpan]] = defaultdict(list)  # one sentence is enough
    for span in sorted(spans, key=lambda span: span.noted_at, reverse=True):
        gaps[_when_and_why(span, language, now)].append(span)
    told = list(gaps.items())[:LISTED_GAPS]
    told.sort(key=lambda gap: min((_began(span), span.noted_at) for span in gap[1]))
    for (when, why), of in told:
        count = sum(span.count for span in of)
        said.append(_counted("lost", count, language, when=when, why=why))
    if more := audit.gaps - sum(len(of) for _, of in told):
        key = "more_1" if more == 1 else "more_n"
        said.append(texts[key].format(gaps=whole(more, language), n=whole(audit.lost, language)))
    return said


def _began(span: LostSpan) -> datetime:
    return span.after_at or span.before_at or span.noted_at


def _when_and_why(span: LostSpan, language: str, now: datetime) -> tuple[str, str]:
    texts = HISTORY[language]
    days = [_day(at, language, now) for at in (span.after_at, span.before_at) if at is not None]
    when = texts["of_day" if len(set(days)) == 1 else "of_days"] if days else ""
    why = texts["aged"]
    # with both dates it is sure that nothing lies in between, not even what was sent again later
    silence = span.before_at - span.after_at if span.before_at and span.after_at else OUTAGE
    if silence > OUTAGE:
        hours = round(silence / timedelta(hours=1))
        unit, n = ("days", round(hours / 24)) if hours >= 48 else ("hours", hours)
        why = texts["silent"].format(duration=_counted(unit, n, language))
    return (when.format(day=days[0], until=days[-1]) if days else ""), why


def _counted(key: str, n: int, language: str, **places: str) -> str:
    texts: Mapping[str, str] = HISTORY[language]
    text = texts.get(f"{key}_{n}", texts[f"{key}_n"])
    return text.format(n=whole(n, language), **places)


def _day(value: datetime, language: str, now: datetime) -> str:
    """In UTC; with its year unless that is this one."""
    texts, at = HISTORY[language], value.astimezone(UTC)
    day = texts["day"].format(day=at.day, month=texts["months"].split()[at.month - 1])
    return day if at.year == now.year else texts["year"].format(day=day, year=at.year)
