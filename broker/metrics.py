"""Metrics in Prometheus's text format 0.0.4, of processes that must stay small.

prometheus_client would take 8 MB more in an edge: it imports HTTP servers, WSGI and urllib.request,
which bring email and OpenSSL. See docs/adr/0013.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Metric:
    """A metric and its samples. A counter's name ends in `_total`.

    value: for a metric without labels; with `labels`, `add` gives the value for each combination.
    """

    def __init__(
        self,
        kind: Literal["counter", "gauge", "summary"],
        name: str,
        text: str,
        value: float | None = None,
        *,
        labels: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._labels = labels
        self._lines = [f"# HELP {name} {text.translate(_IN_HELP)}", f"# TYPE {name} {kind}"]
        if value is not None:
            self.add([], value)

    def add(self, labels: Sequence[str], value: float, suffix: str = "") -> None:
        """A sample; its labels' values in the order of their names. suffix: `_sum` of a summary."""
        pairs = ",".join(
            f'{name}="{label.translate(_IN_LABEL)}"'
            for name, label in sorted(zip(self._labels, labels, strict=True))
        )
        braces = f"{{{pairs}}}" if pairs else ""
        self._lines.append(f"{self.name}{suffix}{braces} {float(value)!r}")

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def render_metrics(metrics: Iterable[Metric]) -> bytes:
    """What `/metrics` answers."""
    return "".join(map(str, metrics)).encode()
