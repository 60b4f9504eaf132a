"""A cluster under test: brisa in it, what it is asked, and what is done to its nodes."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from tests.support import SHARED, eventually
from tools import cluster
from tools.cluster import NAMESPACE

# No test asserts on time; a node that was cut off needs a minute to be given up, and a pod to come back.
PATIENCE_S = 240.0
SIMULATED = SHARED / "cluster"
CACHE = Path(os.environ.get("CLUSTER_CACHE", "/var/cache/brisa-cluster"))
PAGE_PORT, MQTT_PORT = 30001, 31883
THROW_AWAY = "brisa.test/throw-away"

Object = dict[str, Any]
T = TypeVar("T")
until = functools.partial(eventually, patience_s=PATIENCE_S)


def answered(question: Callable[[], T]) -> Callable[[], T | None]:
    """None where nobody answers: a node that is gone is sent requests until the cluster notices."""

    def probe() -> T | None:
        try:
            return question()
        except httpx.TransportError:
            return None

    return probe


@dataclass
class Brisa:
    """brisa in the cluster that KUBECONFIG names. simulated: it is ../shared/cluster."""

    simulated: bool
    overlays: Path
    nodes: dict[str, str] = field(default_factory=dict)  # their addresses

    @property
    def credentials(self) -> Path:
        return self.overlays.parent / "credentials"

    def password(self, user: str) -> str:
        return (self.credentials / "users" / user).read_text().strip()

    # ---- the cluster

    def kubectl(self, *words: str) -> str:
        """In our namespace. Raises ClusterError."""
        return cluster.run("-n", NAMESPACE, *words, within_s=PATIENCE_S)

    def get(self, *words: str) -> Object:
        found: Object = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def pods(self, name: str) -> list[Object]:
        """Those of a workload that are not on their way out."""
        found = self.get("pods", "-l", f"app.kubernetes.io/name={name}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, name: str) -> str:
        """The name of the one that is ready."""
        return until(f"a pod of {name} is ready", lambda: self._ready(name))

    def _ready(self, name: str) -> str:
        for pod in self.pods(name):
            for one in pod["status"].get("conditions", []):
                if one["type"] == "Ready" and one["status"] == "True":
                    found: str = pod["metadata"]["name"]
                    return found
        return ""

    def wait_for_rollout(self, workload: str) -> None:
        self.kubectl("rollout", "status", workload, f"--timeout={PATIENCE_S:g}s")

    def workloads(self) -> list[str]:
        return self.kubectl("get", "statefulsets,deployments,daemonsets", "-o", "name").split()

    def label(self, node: str) -> None:
        cluster.run("label", "node", node, "dhtsensor=yes", "--overwrite")

    def unlabel(self, *nodes: str) -> None:
        for node in nodes or self.nodes:
            cluster.run("label", "node", node, "dhtsensor-")

    # ---- the page

    def ask(self, node: str, path: str) -> httpx.Response:
        """Through the NodePort of a node, by a connection of its own."""
        url = f"http://{self.nodes[node]}:{PAGE_PORT}{path}"
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(url)

    def board(self, node: str = "") -> Object:
        """/api/v1/sensors, through `node` or the first."""
        answer = self.ask(node or next(iter(self.nodes)), "/api/v1/sensors")
        assert answer.status_code == 200, answer
        found: Object = answer.json()
        return found

    def states(self, node: str = "") -> dict[str, str]:
        return states(self.board(node))

    def wait_for(self, key: str, *wanted: str, through: str = "") -> str:
        """Until the page says that the sensor is in one of these states."""

        def probe() -> str | None:
            said = self.states(through).get(key)
            return said if said in wanted else None

        return until(f"{key} is {' or '.join(wanted)}", answered(probe))

    def of_replica(self, pod: str) -> Object:
        """/api/v1/sensors of one gateway, by the API server's proxy."""
        return self._of_replica(pod, "sensors")

    def counted_by(self, pod: str) -> int | None:
        """How many gateways that one knows of; None: it does not know."""
        found: int | None = self._of_replica(pod, "system")["gateway"]["replicas"]["count"]
        return found

    def _of_replica(self, pod: str, what: str) -> Object:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:5000/proxy/api/v1/{what}"
        found: Object = json.loads(cluster.run("get", "--raw", path))
        return found

    def audit(self) -> Object:
        """The recorder's account. Its exit code of 1 is for missing readings, which we look at ourselves."""
        words = ["python", "-m", "gateway.history", "audit", "--json"]
        command = [
            *cluster.kubectl_command(),
            "-n",
            NAMESPACE,
            "exec",
            "deployment/recorder",
            "--",
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("{"), done
        found: Object = json.loads(done.stdout)
        return found

    # ---- outside

    def subscribe(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        """mosquitto_sub, from this machine."""
        command = [
            "mosquitto_sub",
            "-h",
            self.nodes[node],
            "-p",
            str(MQTT_PORT),
            "-W",
            "60",
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def power(self, verb: str, node: str) -> None:
        """What one does standing beside it: see ../shared/cluster/node."""
        assert self.simulated
        subprocess.run([str(SIMULATED / "node"), verb, node], check=True, capture_output=True)

    @contextlib.contextmanager
    def without(self, node: str, off: str, on: str) -> Iterator[None]:
        """While the node is off, or its kubelet; it is back, and ready, afterwards."""
        self.power(off, node)
        try:
            yield
        finally:
            self.power(on, node)
            if on == "start":
                # images and networks are there again, as after any boot
                subprocess.run([str(SIMULATED / "up")], check=True, capture_output=True)
            cluster.run(
                "wait", "--for=condition=Ready", f"node/{node}", f"--timeout={PATIENCE_S:g}s"
            )

    def node_is_ready(self, node: str) -> bool:
        conditions = cluster.get("node", node)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def states(board: Object) -> dict[str, str]:
    return {f"{one['node']}/{one['sensor']}": one["state"] for one in board["sensors"]}


class Viewer:
    """Somebody who asks for the page again and again, on every node in turn, until told to stop."""

    def __init__(self, brisa: Brisa, *nodes: str) -> None:
        self._brisa = brisa
        self._nodes = nodes or tuple(brisa.nodes)
        self._done = threading.Event()
        self.good = 0
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(node,)) for node in self._nodes]

    def _run(self, node: str) -> None:
        while not self._done.is_set():
            try:
                answer = self._brisa.ask(node, "/api/v1/sensors")
                said = "" if answer.status_code == 200 and answer.json()["sensors"] else str(answer)
            except (httpx.HTTPError, ValueError) as error:
                said = repr(error)
            if said:
                self.failed.append(f"{node}: {said}")
            else:
                self.good += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
