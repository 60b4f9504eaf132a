"""The account of a sensor's history as sentences, in the reader's language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from gateway.catalogue import catalogue, marked
from gateway.formats import day, whole
from gateway.history.views import LostSpan, SensorAudit

LISTED_GAPS = 3
# Sooner than this after the reading before it, a gap is no outage: the node had not kept it.
OUTAGE = timedelta(hours=1)
# Each state's word.
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "whole": marked("Complete"),
        "missing": marked("Being completed"),
        "lost": marked("Readings lost"),
        "none": marked("No readings"),
    }
)


def state(audit: SensorAudit) -> str:
    """The key of its word and of its shape: `whole`, `missing`, `lost` or `none`."""
    if audit.lost or audit.open_ends:
        return "lost"
    return "missing" if audit.missing else "whole" if audit.stored else "none"


def sentence(audit: SensorAudit, language: str, now: datetime) -> list[str]:
    """What is stored, what is missing, what was lost, and why; of many gaps the newest, in order."""
    said = [_stored(audit, language, now)]
    ngettext = catalogue(language).ngettext
    if n := audit.missing:
        text = ngettext(
            "%(num)s reading is missing, which the node can still send.",
            "%(num)s readings are missing, which the node can still send.",
            n,
        )
        said.append(text % {"num": whole(n, language)})
    gaps: dict[tuple[tuple[str, ...], str], list[LostSpan]] = defaultdict(list)  # one is enough
    for span in sorted(audit.lost_spans, key=lambda span: span.noted_at, reverse=True):
        gaps[_days(span, language, now), _why(span, language)].append(span)
    told = list(gaps.items())[:LISTED_GAPS]
    told.sort(key=lambda gap: min((_began(span), span.noted_at) for span in gap[1]))
    for (days, why), of in told:
        said.append(_lost(sum(span.count for span in of), days, why, language))
    if more := audit.gaps - sum(len(of) for _, of in told):
        text = ngettext(
            "With one more gap, %(lost)s readings were lost in all.",
            "With %(num)s more gaps, %(lost)s readings were lost in all.",
            more,
        )
        said.append(text % {"num": whole(more, language), "lost": whole(audit.lost, language)})
    if n := audit.open_ends:
        text = ngettext(
            "A journal was removed before its last readings were handed over: nobody knows how many"
            " there were.",
            "%(num)s journals were removed before their last readings were handed over: nobody knows"
            " how many there were.",
            n,
        )
        said.append(text % {"num": whole(n, language)})
    return said


def _stored(audit: SensorAudit, language: str, now: datetime) -> str:
    n, texts = audit.stored, catalogue(language)
    if not n:
        return texts.gettext("No reading is stored yet.")
    if audit.missing or audit.lost or audit.open_ends:
        text = texts.ngettext(
            "%(num)s reading since %(day)s is stored.",
            "%(num)s readings since %(day)s are stored.",
            n,
        )
    else:
        text = texts.ngettext(
            "The only reading, of %(day)s, is stored.",
            "All %(num)s readings since %(day)s are stored.",
            n,
        )
    since = audit.first_at or audit.newest_at or now
    return text % {"num": whole(n, language), "day": day(since, now, language)}


def _lost(n: int, days: tuple[str, ...], why: str, language: str) -> str:
    """Of the `days` on which the gap began and ended, as far as they are known."""
    ngettext = catalogue(language).ngettext
    if not days:
        text = ngettext(
            "%(num)s reading was lost: %(why)s.", "%(num)s readings were lost: %(why)s.", n
        )
    elif len(days) == 1:
        text = ngettext(
            "%(num)s reading of %(day)s was lost: %(why)s.",
            "%(num)s readings of %(day)s were lost: %(why)s.",
            n,
        )
    else:
        text = ngettext(
            "%(num)s reading between %(day)s and %(until)s was lost: %(why)s.",
            "%(num)s readings between %(day)s and %(until)s were lost: %(why)s.",
            n,
        )
    places = {"day": days[0], "until": days[-1]} if days else {}
    return text % {"num": whole(n, language), "why": why, **places}


def _began(span: LostSpan) -> datetime:
    return span.after_at or span.before_at or span.noted_at


def _days(span: LostSpan, language: str, now: datetime) -> tuple[str, ...]:
    """When it began and ended; one, if that is the same day."""
    found = (day(at, now, language) for at in (span.after_at, span.before_at) if at is not None)
    return tuple(dict.fromkeys(found))


def _why(span: LostSpan, language: str) -> str:
    texts = catalogue(language)
    # with both dates it is sure that nothing lies in between, not even what was sent again later
    silence = span.before_at - span.after_at if span.before_at and span.after_at else OUTAGE
    if silence <= OUTAGE:
        return texts.gettext("the node kept no copy")
    n = round(silence / timedelta(hours=1))
    if n < 48:
        text = texts.ngettext(
            "nothing was stored from this node for %(num)s hour",
            "nothing was stored from this node for %(num)s hours",
            n,
        )
    else:
        n = round(n / 24)
        text = texts.ngettext(
            "nothing was stored from this node for %(num)s day",
            "nothing was stored from this node for %(num)s days",
            n,
        )
    return text % {"num": whole(n, language)}
