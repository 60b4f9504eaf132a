"""The text format, held to Prometheus's own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from broker.metrics import Metric, render_metrics


def test_prometheus_reads_what_is_written() -> None:
    hostile = 'a "b" \\ c\nd, é="1"'
    read = Metric("counter", "brisa_read_total", "Read \\ so\nfar", labels=["sensor", "why"])
    read.add(["s", hostile], 3)
    read.add(["t", ""], 2**53)
    commits = Metric("summary", "brisa_commit_seconds", "Commits")
    commits.add([], 4, "_count")
    commits.add([], 0.25, "_sum")
    up = Metric("gauge", "brisa_up", "1 while up", True)
    text = render_metrics([read, commits, up]).decode()
    families = list(text_string_to_metric_families(text))
    assert [(one.type, one.documentation) for one in families] == [
        ("counter", "Read \\ so\nfar"),
        ("summary", "Commits"),
        ("gauge", "1 while up"),
    ]
    assert [(one.name, one.labels, one.value) for f in families for one in f.samples] == [
        ("brisa_read_total", {"sensor": "s", "why": hostile}, 3),
        ("brisa_read_total", {"sensor": "t", "why": ""}, 2**53),
        ("brisa_commit_seconds_count", {}, 4),
        ("brisa_commit_seconds_sum", {}, 0.25),
        ("brisa_up", {}, 1),
    ]
