"""The small charts of the cards: each drawn once for each reading of the trends, not each visitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from gateway import locale
from gateway.charts import sparkline
from gateway.past import labels

if TYPE_CHECKING:
    from gateway.history.watch import Watch

NOTHING = Markup("")
Drawn = dict[tuple[str, str, locale.Choice], Markup]


class Trend:
    """Safe to call from any thread."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self._drawn: tuple[object, Drawn] = (None, {})

    def of(self, node: str, sensor: str) -> Markup:
        """Empty where there is no history, or none of this sensor."""
        if self._watch is None:
            return NOTHING
        trends = self._watch.trends().by_sensor
        of, drawn = self._drawn
        if of is not trends:
            drawn = {}
            self._drawn = trends, drawn
        key = node, sensor, locale.current()
        if key not in drawn:
            values = trends.get((node, sensor))
            drawn[key] = sparkline(values, labels=labels()) if values else NOTHING
        return drawn[key]
