"""`make deploy` and `make undeploy`: an overlay of k8s/ into the cluster, and out of it.

Only the standard library; `kubectl apply -k k8s/overlays/NAME` does the same, without the waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import cluster
from tools.cluster import NAMESPACE, ClusterError

OVERLAYS = cluster.REPOSITORY / "k8s" / "overlays"
PAGE_PORT = 30001
LABEL = "dhtsensor=yes"
WORKLOADS = re.compile(r"^(?:statefulset|deployment|daemonset)\.apps/\S+", re.MULTILINE)
VERSION = re.compile(r"^apiVersion: (\S+)$", re.MULTILINE)
KIND = re.compile(r"^kind: (\S+)$", re.MULTILINE)
EDGES = re.compile(r"^kind: DaemonSet$", re.MULTILINE)
NAME = re.compile(r"^  name: (\S+)$", re.MULTILINE)
# with its Services and settings, and the policy that lets edges talk to it
BROKER = re.compile(r"^  name: (?:mosquitto|to-the-broker)", re.MULTILINE)
TLS_PORT = re.compile(r"\b8883\b")
REPLICAS = re.compile(r"^  replicas: ", re.MULTILINE)
HASH = re.compile(r"-[a-z0-9]{10}$")  # kustomize's, of what a ConfigMap or a Secret holds
# Of which a server before 1.27 says that it does not know them.
NEW_FIELDS_MINOR = 27
NEW_FIELDS = re.compile(
    r"^ +matchLabelKeys:\n +- pod-template-hash\n|^ +unhealthyPodEvictionPolicy: .*\n", re.MULTILINE
)
# What an overlay may have that another has not; never volumes, nor the namespace.
PRUNED = (
    *("configmaps", "secrets", "services", "serviceaccounts"),
    *("daemonsets.apps", "deployments.apps", "statefulsets.apps"),
    "horizontalpodautoscalers.autoscaling",
    "networkpolicies.networking.k8s.io",
    "poddisruptionbudgets.policy",
    *("servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"),
    *("certificates.cert-manager.io", "issuers.cert-manager.io"),
)
NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
LOOK_S = 5.0
# `make undeploy` leaves what holds readings, and the namespace, with which it would go.
KEPT = re.compile(r"^kind: (?:Namespace|PersistentVolumeClaim)$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        overlay = _overlay(options.overlays, options.overlay, options.action)
        cluster.check_kustomize()
        rendered = render(overlay, os.environ.get("REGISTRY", ""))
        if options.action == "deploy":
            return 0 if deploy(rendered, options.timeout_s) else 1
        undeploy(rendered, purge=options.purge)
    except ClusterError as error:
        print(f"{options.action}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def render(overlay: Path, registry: str = "") -> str:
    """The overlay's manifests as YAML; our images from `registry`. Raises ClusterError."""
    try:
        text = cluster.run("kustomize", str(overlay))
    except ClusterError as error:
        said = str(error)
        if "credentials/tls" in said:
            raise ClusterError(f"{overlay.name} wants certificates: make certificates") from None
        if "credentials" in said:
            raise ClusterError("no credentials yet: make credentials") from None
        raise
    return (
        text.replace("image: localhost/brisa-", f"image: {registry.rstrip('/')}/brisa-")
        if registry
        else text
    )


def deploy(rendered: str, timeout_s: int) -> bool:
    """Apply, wait for every workload, and say where the page is. Are the edges there, too?

    Raises ClusterError for all else.

    The edges come last, when there is again who takes what they hand over as they go; one that does
    not come, on a node that is off or with a broken sensor, stops nobody else. A broker that will no
    longer listen where the edges of before reach it comes after them.
    """
    documents, unknown = _known(_for_server(rendered, cluster.server_minor()))
    if unknown:
        print(f"deploy: left out, since this cluster does not know it: {', '.join(unknown)}")
    there = True
    edges = [one for one in documents if EDGES.search(one)]
    last = [one for one in documents if BROKER.search(one)] if _loses_tls(documents) else []
    rest = [one for one in documents if one not in edges and one not in last]
    _keep_replicas(rest)
    for part in filter(None, (rest, edges, last)):
        applied = cluster.run("apply", "-f", "-", given="\n---\n".join(part))
        print(applied, end="", flush=True)
        for workload in WORKLOADS.findall(applied):
            try:
                _wait(workload, timeout_s)
            except ClusterError as error:
                if part is not edges:
                    raise
                print(f"deploy: {error}", file=sys.stderr)
                there = False
    if there:  # else a pod may still use what it was made with
        _prune(documents)
    nodes = cluster.nodes()
    labelled = [node["metadata"]["name"] for node in cluster.get("nodes", "-l", LABEL)["items"]]
    if not labelled:
        first = next(iter(nodes), "NAME")
        print(f"deploy: no node has a sensor yet: kubectl label node {first} {LABEL}")
    addresses = [addresses[0] for addresses in nodes.values() if addresses]
    print(f"\n  the page: {'  '.join(f'http://{one}:{PAGE_PORT}' for one in addresses)}\n")
    return there


def _for_server(rendered: str, minor: int) -> str:
    """Without the fields that servers before Kubernetes 1.27 refuse."""
    return rendered if minor >= NEW_FIELDS_MINOR else NEW_FIELDS.sub("", rendered)


def _loses_tls(documents: Sequence[str]) -> bool:
    """Do the edges in the cluster use TLS, and will the broker know none? Raises ClusterError."""
    if any(TLS_PORT.search(one) for one in documents if BROKER.search(one)):
        return False
    there = cluster.run(
        "-n", NAMESPACE, "get", "service", "mosquitto", "--ignore-not-found", "-o", "yaml"
    )
    return bool(TLS_PORT.search(there))


def _keep_replicas(documents: Sequence[str]) -> None:
    """Where an autoscaler sets a number, that stays.

    kubectl sets a field back that it gave before and is now left out: for a while there would be
    one gateway. So it is told that it had left it out before.
    """
    for one in documents:
        if KIND.findall(one)[:1] == ["Deployment"] and not REPLICAS.search(one):
            # not there yet, or made by something else: nothing is to be kept
            with contextlib.suppress(ClusterError):
                cluster.run("apply", "set-last-applied", "-f", "-", given=one)


def _prune(documents: Sequence[str]) -> None:
    """Remove what an earlier deploy made and this one does not have. Raises ClusterError.

    Earlier versions of the settings and secrets that are still made stay, for `rollout undo`.
    """
    wanted = {(KIND.findall(one)[0].lower(), NAME.findall(one)[0]) for one in documents}
    stems = {(kind, HASH.sub("", name)) for kind, name in wanted}
    served = cluster.run(
        "api-resources", "--namespaced", "--verbs=delete,list", "-o", "name"
    ).split()
    kinds = [kind for kind in PRUNED if kind in served]
    label = ("-l", "app.kubernetes.io/part-of=brisa")
    left = [
        item
        for item in cluster.get(",".join(kinds), "-n", NAMESPACE, *label)["items"]
        if not item["metadata"].get("ownerReferences")
    ]
    for item in left:
        kind, name = item["kind"].lower(), item["metadata"]["name"]
        if (kind, name) not in wanted and (kind, HASH.sub("", name)) not in stems:
            print(f"deploy: {cluster.run('-n', NAMESPACE, 'delete', kind, name)}", end="")


def undeploy(rendered: str, *, purge: bool) -> None:
    """Raises ClusterError."""
    ours = ("-n", NAMESPACE, "delete", "--ignore-not-found")
    if purge:
        print(f"undeploy: removing the namespace {NAMESPACE}, which takes a minute", flush=True)
        # Edges would wait for somebody to hand over to: they are given no time for it.
        cluster.run(*ours, "daemonset", "edge", "--cascade=orphan")
        cluster.run(*ours, "pods", "-l", "app.kubernetes.io/name=edge", "--grace-period=5")
        cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found")
        print(
            f"undeploy: the namespace {NAMESPACE} is gone, and all that was stored in it; journals that"
            " `journal-on-node` left on the nodes are in their /var/lib/brisa"
        )
        return
    # The edges first, and waited for: they hand over what they have while there is still who takes it.
    print(cluster.run(*ours, "daemonset", "edge", "--cascade=foreground", "--wait"), end="")
    documents = [one for one in _known(rendered)[0] if not KEPT.search(one)]
    given = "\n---\n".join(documents)
    print(cluster.run("delete", "--ignore-not-found", "-f", "-", given=given), end="")
    # and what earlier deploys left under names with another hash
    cluster.run(*ours, "secrets,configmaps", "-l", "app.kubernetes.io/part-of=brisa")
    print(
        f"undeploy: kept are the namespace {NAMESPACE} and its volumes, with the history in them;"
        " make undeploy PURGE=yes removes those too"
    )


def _known(rendered: str) -> tuple[list[str], list[str]]:
    """The documents that this server can take, and what the others are; else it would take a half.

    Kubernetes before 1.21 has no PodDisruptionBudget of policy/v1, and brisa does without; a
    ServiceMonitor or a Certificate needs its operator.
    """
    served = set(cluster.run("api-versions").split())
    documents = rendered.split("\n---\n")
    known = [one for one in documents if served.issuperset(VERSION.findall(one))]
    others = [KIND.findall(one) + VERSION.findall(one) for one in documents if one not in known]
    return known, [f"{kind} ({version})" for kind, version in others]


def _wait(workload: str, timeout_s: int) -> None:
    """For a roll-out, as kubectl tells it. Raises ClusterError with what its pods wait for."""
    print(f"deploy: waiting for {workload.replace('.apps/', ' ')}", flush=True)
    words = ["-n", NAMESPACE, "rollout", "status", workload, f"--timeout={timeout_s}s"]
    said: set[str] = set()
    with subprocess.Popen([*cluster.kubectl_command(), *words], env=cluster.environment()) as done:
        while done.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done.wait(LOOK_S)
            said |= _say_missing_images(workload, said)
    if done.returncode:
        raise ClusterError(
            f"{workload} is not there after {timeout_s} s. Its pods:\n{_why(workload)}"
        )


def _say_missing_images(workload: str, said: set[str]) -> set[str]:
    """Say of each image, once, that a node does not have it, and how it gets it."""
    chosen = ("-n", NAMESPACE, "-l", f"app.kubernetes.io/name={workload.partition('/')[2]}")
    lines = set()
    with contextlib.suppress(
        ClusterError
    ):  # the roll-out itself says what is wrong with the cluster
        for pod in cluster.get("pods", *chosen)["items"]:
            status = pod["status"]
            for one in (
                *status.get("initContainerStatuses", ()),
                *status.get("containerStatuses", ()),
            ):
                if one.get("state", {}).get("waiting", {}).get("reason", "") in NO_IMAGE:
                    node = pod["spec"].get("nodeName", "a node")
                    lines.add(f"{node} does not get the image {one['image']}")
    for line in sorted(lines - said):
        ours = "on that node: make images LOAD=k3s" if "/brisa-" in line else "has it a network?"
        print(f"deploy: {line}: {ours}", file=sys.stderr, flush=True)
    return lines


def _why(workload: str) -> str:
    """What one would look at next."""
    name = workload.partition("/")[2]
    chosen = ("-n", NAMESPACE, "-l", f"app.kubernetes.io/name={name}")
    text = cluster.run("get", "pods", *chosen, "-o", "wide")
    # a container that has not started has no log, which is no error here
    logs = ("logs", *chosen, "--all-containers", "--prefix", "--tail=5", "--ignore-errors")
    text += cluster.run(*logs)
    return text + f"more: kubectl -n {NAMESPACE} describe pods -l app.kubernetes.io/name={name}"


def _overlay(folder: Path, name: str, action: str) -> Path:
    known = sorted(path.parent.name for path in folder.glob("*/kustomization.yaml"))
    if name not in known:
        what = f"OVERLAY={name}" if name else "which overlay?"
        raise ClusterError(
            f"{what}: there are {', '.join(known)}: make {action} OVERLAY={known[0]}"
        )
    return folder / name


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make", description="brisa in the cluster that KUBECONFIG names, or in this K3s."
    )
    parser.add_argument("action", choices=("deploy", "undeploy"))
    parser.add_argument("--overlay", default="", help="a folder of k8s/overlays")
    parser.add_argument("--overlays", type=Path, default=OVERLAYS, help="[k8s/overlays]")
    parser.add_argument(
        "--timeout-s", type=int, default=600, help="for each workload [600: a Pi starts slowly]"
    )
    parser.add_argument(
        "--purge", action="store_true", help="undeploy: the namespace and its volumes as well"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
