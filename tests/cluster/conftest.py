"""The cluster that KUBECONFIG names, or ../shared/cluster; and brisa in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.harness import CACHE, SIMULATED, THROW_AWAY, Brisa, until
from tests.manifests.rendering import copied, need_kustomize, rendered, write_overlay
from tests.support import REPOSITORY
from tools import cluster, credentials, deploy
from tools.cluster import NAMESPACE

HERE = Path(__file__).parent
IMAGES = ("brisa-edge", "brisa-gateway")
DATABASE_IMAGE = "docker.io/library/postgres"
DNS_NAMESPACE = "kube-system"


@pytest.fixture(scope="session")
def simulated() -> Iterator[bool]:
    """Whether it is ../shared/cluster, which is started, and stopped again; KUBECONFIG is set."""
    need_kustomize()
    if os.environ.get("KUBECONFIG"):
        yield "brisa-cluster" in os.environ["KUBECONFIG"]
        return
    if not (CACHE / "bin" / "kube-apiserver").exists() or not SIMULATED.exists():
        pytest.skip(f"no cluster: set KUBECONFIG, or run {SIMULATED}/build once (3 minutes)")
    said = _run(str(SIMULATED / "up"))
    os.environ["KUBECONFIG"] = said.splitlines()[-1].partition("=")[2]
    yield True
    if not os.environ.get("BRISA_CLUSTER_KEEP"):
        _run(str(SIMULATED / "down"))


@pytest.fixture(scope="session")
def images(simulated: bool) -> None:
    """Ours and the database's on every node; on another cluster whoever runs the tests brings them."""
    if not simulated or os.environ.get("BRISA_CLUSTER_IMAGES") == "loaded":
        return
    os.environ["CONTAINERS_CONF"] = str(CACHE / "containers.conf")
    _run(str(REPOSITORY / "tools" / "images"))
    postgres = f"{DATABASE_IMAGE}:{_tag('postgres')}"
    _run(str(HERE / "postgres" / "build"), postgres)
    for name in (*(f"localhost/{one}:{_tag(one)}" for one in IMAGES), postgres):
        _run(str(SIMULATED / "load-image"), name)


@pytest.fixture(scope="session")
def empty(simulated: bool, images: None, tmp_path_factory: pytest.TempPathFactory) -> Brisa:
    """The cluster without brisa, and what `make deploy` needs, in a copy of k8s/ of the test's own."""
    found = cluster.get("namespaces")["items"]
    for one in found:
        if one["metadata"]["name"] == NAMESPACE and not simulated:
            assert THROW_AWAY in one["metadata"].get("labels", {}), (
                f"the cluster has a namespace {NAMESPACE} that is not this test's: it would be removed"
            )
    deploy.undeploy("", purge=True)
    # since 1.22 every namespace has this label of its own accord
    cluster.run(
        "label",
        "namespace",
        DNS_NAMESPACE,
        f"kubernetes.io/metadata.name={DNS_NAMESPACE}",
        "--overwrite",
    )
    overlays = copied(tmp_path_factory.mktemp("cluster"))
    nodes = {name: addresses[0] for name, addresses in cluster.nodes().items()}
    credentials.make(overlays.parent / "credentials", list(nodes))
    brisa = Brisa(simulated, overlays, nodes)
    brisa.unlabel()
    return brisa


@pytest.fixture(scope="session")
def left_out(empty: Brisa) -> list[str]:
    """The overlay `tested`: the demo, without the kinds that this server does not know."""
    known = set(cluster.run("api-versions").split())
    unknown = [one for one in rendered(empty.overlays / "demo") if one["apiVersion"] not in known]
    patches = [
        {"patch": yaml.safe_dump({**{key: one[key] for key in ("apiVersion", "kind")},
                                  "metadata": {"name": one["metadata"]["name"]}, "$patch": "delete"})}
        for one in unknown
    ]  # fmt: skip
    label = {"pairs": {THROW_AWAY: "yes"}}
    # a load that a Pi does not have: five readings a second on each node
    more = ";".join(f"mesa-{number}=replay,model=dht22" for number in range(8))
    settings = {
        "name": "edge-settings",
        "namespace": NAMESPACE,
        "behavior": "merge",
        "literals": [
            f"BRISA_SENSORS=aula=replay;patio=replay,model=dht22;{more}",
            "BRISA_INTERVAL_S=2",
        ],
    }
    write_overlay(
        empty.overlays / "tested",
        "../demo",
        [],
        patches=patches,
        labels=[label],
        configMapGenerator=[settings],
    )
    return [f"{one['kind']} {one['metadata']['name']} ({one['apiVersion']})" for one in unknown]


@pytest.fixture(scope="session")
def brisa(empty: Brisa, left_out: list[str]) -> Iterator[Brisa]:
    """The demo, brought up by one command; no node is labelled."""
    words = ["deploy", "--overlays", str(empty.overlays), "--overlay", "tested"]
    assert deploy.main(words) == 0
    yield empty
    if not os.environ.get("BRISA_CLUSTER_KEEP"):
        empty.unlabel()
        deploy.undeploy("", purge=True)


@pytest.fixture
def sensors(brisa: Brisa) -> str:
    """The node whose edge is live, everything else being there as well."""
    node = max(brisa.nodes)
    brisa.label(node)
    for workload in brisa.workloads():
        brisa.wait_for_rollout(workload)
    for sensor in ("aula", "patio"):
        brisa.wait_for(f"{node}/{sensor}", "live")
    return node


@pytest.fixture
def two_gateways(brisa: Brisa) -> Iterator[None]:
    """As deployed, before and after."""
    yield
    brisa.kubectl("scale", "deployment/gateway", "--replicas=2")
    brisa.wait_for_rollout("deployment/gateway")


@pytest.fixture
def beside_it(simulated: bool) -> None:
    if not simulated:
        pytest.skip("nodes are switched off only on ../shared/cluster")


def node_of(brisa: Brisa, name: str) -> str:
    found: str = until(f"{name} is somewhere", lambda: brisa.pods(name))[0]["spec"]["nodeName"]
    return found


def _tag(image: str) -> str:
    common = yaml.safe_load((REPOSITORY / "k8s" / "common" / "kustomization.yaml").read_text())
    return next(str(one["newTag"]) for one in common["images"] if one["name"] == image)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout
