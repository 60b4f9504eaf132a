"""6. What every pod may do, looked up in its own /proc, not in the YAML."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.harness import Brisa

WORKLOADS = ("edge", "gateway", "mosquitto", "postgres", "recorder")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_root_no_capability_no_writing(workload: str, brisa: Brisa, sensors: str) -> None:
    pod = brisa.pod(workload)
    status = dict(
        line.split(":\t", 1)
        for line in brisa.kubectl("exec", pod, "--", "cat", "/proc/1/status").splitlines()
    )
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, f"{kind} {status[kind]}"
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = [
        line.split()
        for line in brisa.kubectl("exec", pod, "--", "cat", "/proc/1/mounts").splitlines()
    ]
    root = next(mount for mount in mounts if mount[1] == "/")
    assert "ro" in root[3].split(",")
    assert not [mount[1] for mount in mounts if "kubernetes.io/serviceaccount" in mount[1]]


def test_the_edge_sees_the_kernels_sensor_where_there_is_one(
    brisa: Brisa, sensors: str, record_property: Callable[[str, object], None]
) -> None:
    """Through the pod's own /sys; on a machine without IIO, that its doctor says exactly this."""
    pod = brisa.pod("edge")
    listing = (
        "exec",
        pod,
        "-c",
        "edge",
        "--",
        "sh",
        "-c",
        "cat /sys/bus/iio/devices/*/in_temp_input || true",
    )
    values = brisa.kubectl(*listing).split()
    if values:
        assert all(value.lstrip("-").isdigit() for value in values)
    words = ("exec", pod, "-c", "edge", "--", "sh", "-c", "python -m edge doctor || true")
    said = brisa.kubectl(*words)
    assert "iio" in said
    record_property("note", f"IIO in the pod's /sys: {values or 'none, the node has none'}")
