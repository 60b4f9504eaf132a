"""Metrics, as Prometheus's own parser reads them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from broker.metrics import Metric, render_metrics


def metric_value(metrics: Iterable[Metric], prefix: str, name: str, **labels: str) -> float | None:
    """The sample of that name (after the prefix) with exactly these labels."""
    for family in text_string_to_metric_families(render_metrics(metrics).decode()):
        for sample in family.samples:
            if sample.name == prefix + name and sample.labels == labels:
                return sample.value
    return None
