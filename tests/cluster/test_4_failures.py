"""4. Whatever is deleted, or switched off: what the page says is true."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import node_of
from tests.cluster.harness import Brisa, answered, until


@pytest.mark.parametrize("workload", ["edge", "gateway", "recorder", "postgres"])
def test_a_deleted_pod_comes_back_and_the_page_with_it(
    workload: str, brisa: Brisa, sensors: str
) -> None:
    key = f"{sensors}/aula"
    before = brisa.pod(workload)
    seq = _seq(brisa, key)
    uid = brisa.get("pod", before)["metadata"]["uid"]
    brisa.kubectl("delete", "pod", before, "--wait=false")
    if workload == "edge":
        brisa.wait_for(key, "offline", "live")  # gone for a moment, or back before one looks
    until(
        "another is ready", lambda: brisa.get("pod", brisa.pod(workload))["metadata"]["uid"] != uid
    )
    brisa.wait_for(key, "live")
    until("new readings are shown", lambda: _seq(brisa, key) != seq)
    until(
        "the history answers",
        lambda: brisa.ask(next(iter(brisa.nodes)), "/api/v1/audit").status_code == 200,
    )


def test_a_deleted_broker_is_said_and_comes_back(brisa: Brisa, sensors: str) -> None:
    brisa.kubectl("delete", "pod", brisa.pod("mosquitto"), "--wait=false")
    until("the page says that the broker is away", lambda: not brisa.board()["feed"]["connected"])
    until("and that it is back", lambda: brisa.board()["feed"]["connected"])
    brisa.wait_for(f"{sensors}/aula", "live")


def test_the_brokers_node_is_switched_off(brisa: Brisa, sensors: str, beside_it: None) -> None:
    off = node_of(brisa, "mosquitto")
    other = next(node for node in brisa.nodes if node != off)
    until("a gateway is on the other node", lambda: _ready_on(brisa, "gateway", other))
    with brisa.without(off, "stop", "start"):
        # until then, every other request is sent to the gateway that is gone
        until("the cluster gives the node up", lambda: not brisa.node_is_ready(off))
        until(
            "the page says that the broker is away",
            answered(lambda: not brisa.board(other)["feed"]["connected"]),
        )
        until(
            "no sensor is called live",
            answered(lambda: "live" not in brisa.states(other).values()),
        )
        until("the page is shown", answered(lambda: "aula" in brisa.ask(other, "/").text))
    until("the broker is back", answered(lambda: brisa.board(other)["feed"]["connected"]))
    brisa.wait_for(f"{sensors}/aula", "live", through=other)


def test_the_edges_kubelet_is_stopped(brisa: Brisa, sensors: str, beside_it: None) -> None:
    """Its pods live on, and so the page goes on calling the sensor live."""
    key = f"{sensors}/aula"
    other = next(node for node in brisa.nodes if node != sensors)
    with brisa.without(sensors, "kubelet-stop", "kubelet-start"):
        until("the cluster gives the node up", lambda: not brisa.node_is_ready(sensors))
        seq = _seq(brisa, key, other)
        until("readings still come", lambda: _seq(brisa, key, other) > seq)
        brisa.wait_for(key, "live", through=other)
    brisa.wait_for(key, "live")


def _seq(brisa: Brisa, key: str, through: str = "") -> int:
    found: int = next(
        one["seq"]
        for one in brisa.board(through)["sensors"]
        if f"{one['node']}/{one['sensor']}" == key
    )
    return found


def _ready_on(brisa: Brisa, name: str, node: str) -> bool:
    return any(
        pod["spec"].get("nodeName") == node and pod["status"].get("phase") == "Running"
        for pod in brisa.pods(name)
    )
