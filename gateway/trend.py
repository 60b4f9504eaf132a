"""The small charts of the cards: each drawn once for each reading of the trends, not each visitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from gateway import locale
from gateway.charts import sparkline
from gateway.past import labels

if TYPE_CHECKING:
    from gateway.history.trends import Trends
    from gateway.history.watch import Watch

NOTHING = Markup("")
NONE: Trends = {}
Drawn = dict[tuple[str, str, locale.Choice], Markup]


class Trend:
    """Safe to call from any thread."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self._drawn: tuple[object, Drawn] = (None, {})

    def read(self) -> Trends:
        """What is drawn; another object for each reading. Empty while the history is away."""
        if self._watch is None or self._watch.seen().problem:
            return NONE  # what is hours old is not the last hours
        return self._watch.trends().by_sensor

    def of(self, node: str, sensor: str) -> Markup:
        """Empty where there is no history, or none of this sensor."""
        trends = self.read()
        values = trends.get((node, sensor))
        if not values:
            return NOTHING
        of, drawn = self._drawn
        if of is not trends:
            drawn = {}
            self._drawn = trends, drawn
        key = node, sensor, locale.current()
        if key not in drawn:
            drawn[key] = sparkline(values, labels=labels())
        return drawn[key]
