"""3. Scaling and updating the gateway: every replica knows every sensor, no viewer notices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.cluster.harness import Brisa, Viewer, states, until


def all_count(brisa: Brisa, pods: list[str], replicas: int) -> bool:
    """By the headless Service's name; the cluster's DNS may answer what it knew half a minute ago."""
    return all(brisa.counted_by(pod) == replicas for pod in pods)


def test_no_request_fails_while_gateways_come_and_go(
    brisa: Brisa, sensors: str, two_gateways: None, record_property: Callable[[str, object], None]
) -> None:
    with Viewer(brisa) as viewer:
        for replicas in (3, 1):
            brisa.kubectl("scale", "deployment/gateway", f"--replicas={replicas}")
            brisa.wait_for_rollout("deployment/gateway")
            pods = [pod["metadata"]["name"] for pod in brisa.pods("gateway")]
            assert len(pods) == replicas
            until(f"each counts {replicas}", partial(all_count, brisa, pods, replicas))
            for pod in pods:
                assert states(brisa.of_replica(pod))[f"{sensors}/aula"] == "live"
                assert states(brisa.of_replica(pod))[f"{sensors}/patio"] == "live"
        brisa.kubectl("rollout", "restart", "deployment/gateway")
        brisa.wait_for_rollout("deployment/gateway")
        gone = {
            pod["metadata"]["name"]
            for pod in brisa.get("pods", "-l", "app.kubernetes.io/name=gateway")["items"]
        }
        for pod in gone - {pod["metadata"]["name"] for pod in brisa.pods("gateway")}:
            brisa.kubectl("wait", "--for=delete", f"pod/{pod}", "--timeout=120s")
    record_property("note", f"{viewer.good} requests, none failed")
    assert viewer.failed == []
    assert viewer.good > 100
