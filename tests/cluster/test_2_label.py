"""2. Labelling a node is all it takes, and unlabelling it."""

from __future__ import annotations

from tests.cluster.harness import Brisa, until


def test_an_edge_comes_with_the_label_and_goes_with_it(brisa: Brisa) -> None:
    brisa.unlabel()
    until(
        "no edge is there",
        lambda: not brisa.get("pods", "-l", "app.kubernetes.io/name=edge")["items"],
    )
    node = min(brisa.nodes)
    brisa.label(node)
    until("one edge is there", lambda: len(brisa.pods("edge")) == 1)
    assert brisa.pods("edge")[0]["spec"]["nodeName"] == node
    brisa.wait_for(f"{node}/aula", "live")
    brisa.unlabel(node)
    brisa.wait_for(f"{node}/aula", "offline")
    until(
        "the edge is gone",
        lambda: not brisa.get("pods", "-l", "app.kubernetes.io/name=edge")["items"],
    )
