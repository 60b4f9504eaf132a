"""Every rendered object against the schemas of Kubernetes, and of the operators where there are none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from unittest.mock import MagicMock

import kubernetes_validate
import pytest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import Metric as Family

from broker import metrics
from edge.health import Health
from gateway.history.probes import RecorderHealth
from gateway.probes import _Collector
from tests.manifests.conftest import Render
from tests.manifests.looking import of_kind
from tests.manifests.rendering import Object

# What K3s' channels offer now; the oldest that is still looked after, and a recent one.
RELEASES = ("1.32", "1.36")
# kind: its group and version, and what its spec must have, by the CRDs' own documentation
OPERATORS: dict[str, tuple[str, set[str]]] = {
    "ServiceMonitor": ("monitoring.coreos.com/v1", {"selector", "endpoints"}),
    "PrometheusRule": ("monitoring.coreos.com/v1", {"groups"}),
    "Issuer": ("cert-manager.io/v1", set()),
    "Certificate": ("cert-manager.io/v1", {"secretName", "issuerRef"}),
}
_METRIC = re.compile(r"\bbrisa_[a-z_]+\b")


@pytest.mark.parametrize("release", RELEASES)
def test_every_object_is_what_kubernetes_knows(release: str, objects: list[Object]) -> None:
    ours = [one for one in objects if one["kind"] not in OPERATORS]
    assert ours
    for one in ours:
        kubernetes_validate.validate(one, release, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found(render: Render) -> None:
    objects = render("demo")
    of_kind(objects, "DaemonSet")[0]["spec"]["template"]["spec"]["nodeselector"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="nodeselector"):
        kubernetes_validate.validate(of_kind(objects, "DaemonSet")[0], RELEASES[0], strict=True)


def test_the_operators_objects_have_what_they_must(objects: list[Object]) -> None:
    for one in objects:
        if one["kind"] in OPERATORS:
            version, wanted = OPERATORS[one["kind"]]
            assert one["apiVersion"] == version
            assert wanted <= set(one["spec"]), one["metadata"]["name"]
    for rule in (rule for one in of_kind(objects, "PrometheusRule") for rule in _rules(one)):
        assert {"alert", "expr", "labels", "annotations"} <= set(rule), rule
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert "summary" in rule["annotations"]


def test_alerts_and_dashboard_ask_for_metrics_that_are_there(render: Render) -> None:
    objects = render("ha")
    dashboard = next(
        one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"] == "brisa-dashboard"
    )
    asked = [rule["expr"] for one in of_kind(objects, "PrometheusRule") for rule in _rules(one)]
    for panel in json.loads(dashboard["data"]["brisa.json"])["panels"]:
        asked += [target["expr"] for target in panel["targets"]]
    wanted = {name for expression in asked for name in _METRIC.findall(expression)}
    assert len(wanted) > 10
    assert wanted <= _metrics()


def _rules(one: Object) -> list[Object]:
    return [rule for group in one["spec"]["groups"] for rule in group["rules"]]


def _metrics() -> set[str]:
    """The names under which what the three programs collect is known to Prometheus."""
    anything: Callable[[], MagicMock] = MagicMock
    collectors = (
        Health([], anything(), anything(), anything()),
        RecorderHealth(anything(), anything()),
        _Collector(anything(), anything(), anything(), lambda: 0, anything(), list),
    )
    return {name for one in collectors for metric in one.collect() for name in _names(metric)}


def _names(metric: metrics.Metric | Family) -> set[str]:
    if isinstance(metric, metrics.Metric):
        lines = str(metric).splitlines()[1:]  # its type, and its samples
        return {re.split(r"[ {]", line.removeprefix("# TYPE "))[0] for line in lines}
    if isinstance(metric, CounterMetricFamily):
        return {f"{metric.name}_total"}
    return {metric.name}
