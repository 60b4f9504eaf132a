"""Finding one's way in rendered manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rendering import Object

WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    found: Object = next(one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def workloads(objects: list[Object]) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in of_kind(objects, *WORKLOADS)}


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pod of each workload: its template's metadata and spec."""
    return {name: one["spec"]["template"] for name, one in workloads(objects).items()}


def containers(
    objects: list[Object], *, initial: bool = True
) -> Iterator[tuple[str, Object, Object]]:
    """`workload/container`, the pod's spec, the container."""
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        for one in [*(spec.get("initContainers", []) if initial else []), *spec["containers"]]:
            yield f"{name}/{one['name']}", spec, one


def container(objects: list[Object], name: str) -> Object:
    return next(one for where, _, one in containers(objects) if where == name)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A label selector as Kubernetes reads it, as far as k8s/ uses it."""
    selector = selector or {}
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In", one
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def port_of(pod: Object, wanted: str | int) -> int | None:
    """The number of a pod's port by its name or number; None where it has none such."""
    for one in (port for box in pod["spec"]["containers"] for port in box.get("ports", [])):
        if wanted in (one.get("name"), one["containerPort"]):
            number: int = one["containerPort"]
            return number
    return None


def mebibytes(text: str) -> float:
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return int(text[:-2]) * units[text[-2:]] / 2**20
