"""5. With history: no reading is lost in an update of everything, or with the database's pod."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable

from tests.cluster.harness import PATIENCE_S, Brisa, Object, until
from tools import cluster
from tools.cluster import NAMESPACE


def test_a_rolling_update_of_all_workloads(
    brisa: Brisa, sensors: str, record_property: Callable[[str, object], None]
) -> None:
    before = _stored(until("the database answers", lambda: _answered(brisa)), sensors)
    logs = ["-n", NAMESPACE, "logs", "--follow", brisa.pod("edge"), "-c", "edge"]
    with subprocess.Popen(
        [*cluster.kubectl_command(), *logs],
        env=cluster.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as leaving:
        for workload in brisa.workloads():
            brisa.kubectl("rollout", "restart", workload)
        for workload in brisa.workloads():
            brisa.wait_for_rollout(workload)
        said, _ = leaving.communicate(timeout=PATIENCE_S)
    # what nobody ever heard of the audit cannot miss: its journal went with the pod
    assert "stopping" in said
    assert "in the journal only" not in said, said
    record_property("note", _complete(brisa, sensors, before))


def test_the_databases_pod_is_deleted(
    brisa: Brisa, sensors: str, record_property: Callable[[str, object], None]
) -> None:
    before = _stored(until("the database answers", lambda: _answered(brisa)), sensors)
    brisa.kubectl("delete", "pod", brisa.pod("postgres"))
    brisa.wait_for_rollout("statefulset/postgres")
    record_property("note", _complete(brisa, sensors, before))


def _answered(brisa: Brisa) -> Object | None:
    """The audit, if it can be read: the test before may have taken the database away."""
    with contextlib.suppress(AssertionError):
        return brisa.audit()
    return None


def _complete(brisa: Brisa, node: str, before: int) -> str:
    """Wait until more is stored than before and nothing is missing; nothing may be lost."""
    brisa.wait_for(f"{node}/aula", "live")

    def probe() -> Object | None:
        audit = brisa.audit()
        missing = sum(one["missing"] for one in audit["sensors"] if one["node"] == node)
        return audit if _stored(audit, node) > before and not missing else None

    audit = until("everything is stored", probe)
    lost = {
        one["sensor"]: one["lost"] + one["gaps"] + one["open_ends"]
        for one in audit["sensors"]
        if one["node"] == node
    }
    assert not any(lost.values()), audit
    return f"{_stored(audit, node)} readings stored, {before} before; none missing, none lost"


def _stored(audit: Object, node: str) -> int:
    return sum(one["stored"] for one in audit["sensors"] if one["node"] == node)
