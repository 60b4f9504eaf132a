"""What became of the readings, in the reader's words: made once for each account, not each visitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import gettext, ngettext

from gateway import formats, locale
from gateway.history.sentences import sentence, state

if TYPE_CHECKING:
    from gateway.history.views import AuditView
    from gateway.history.watch import Seen, Watch


class Account(NamedTuple):
    """Of one sensor; `state`: whole, missing, lost or none."""

    node: str
    sensor: str
    state: str
    sentences: list[str]


class Summary(NamedTuple):
    """Of all sensors together, in one sentence."""

    state: str
    text: str


class Accounts:
    """Safe to call from any thread. Without a history there are none."""

    def __init__(self, watch: Watch | None, utcnow: Callable[[], datetime]) -> None:
        self._watch = watch
        self._utcnow = utcnow
        self._made: dict[str, tuple[AuditView, Mapping[tuple[str, str], Account]]] = {}

    def seen(self) -> Seen | None:
        return None if self._watch is None else self._watch.seen()

    def of_all(self) -> Mapping[tuple[str, str], Account]:
        """By node and sensor, in order."""
        seen, language = self.seen(), locale.current().language
        if seen is None or seen.audit is None:
            return {}
        made = self._made.get(language)
        if made is None or made[0] is not seen.audit:
            now = self._utcnow()
            accounts = {
                (one.node, one.sensor): Account(
                    one.node, one.sensor, state(one), sentence(one, language, now)
                )
                for one in seen.audit.sensors
            }
            made = self._made[language] = (seen.audit, accounts)
        return made[1]

    def all_in_all(self) -> Summary | None:
        """None while nothing can be said: there is no history, or it cannot be read now."""
        seen = self.seen()
        if seen is None or seen.problem or seen.audit is None or not seen.audit.sensors:
            return None
        sensors = seen.audit.sensors
        stored, missing, lost, open_ends = (
            sum(getattr(one, what) for one in sensors)
            for what in ("stored", "missing", "lost", "open_ends")
        )
        language = locale.current().language
        since = min((one.first_at for one in sensors if one.first_at is not None), default=None)
        if not stored or since is None:
            return None
        day = formats.day(since, self._utcnow(), language)
        said = [
            ngettext(
                "%(n)s reading is stored since %(day)s.",
                "%(n)s readings are stored since %(day)s.",
                stored,
                n=formats.whole(stored, language),
                day=day,
            )
        ]
        if not missing and not lost and not open_ends:
            text = gettext("Nothing lost: %(account)s", account=_lower(said[0]))
            return Summary("whole", text)
        if missing:
            said.append(
                ngettext(
                    "%(n)s is missing, which its node can still send.",
                    "%(n)s are missing, which their nodes can still send.",
                    missing,
                    n=formats.whole(missing, language),
                )
            )
        if lost:
            said.append(
                ngettext(
                    "%(n)s was lost.", "%(n)s were lost.", lost, n=formats.whole(lost, language)
                )
            )
        if open_ends:
            said.append(gettext("The last readings of a journal that was removed may be lost."))
        return Summary("lost" if lost or open_ends else "missing", " ".join(said))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
