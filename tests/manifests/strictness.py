"""Rules on what a pod may do. A rule takes the objects of a rendering, and returns what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from broker import __version__
from tests.manifests.looking import (
    WORKLOADS,
    containers,
    mebibytes,
    named,
    of_kind,
    pods,
    workloads,
)
from tests.manifests.rendering import Object
from tests.support import REPOSITORY

# The component `adafruit` makes the edge privileged; `journal-on-node` has a container that owns a folder.
PRIVILEGED = "edge/edge"
FOLDER_OWNER = "edge/journal-folder"
NODE_FOLDER = {"path": "/var/lib/brisa", "type": "DirectoryOrCreate"}
# A Pi with 1 GB has this much for one container, and no more.
LARGEST_LIMIT_MIB = 192.0


def images_are_pinned(objects: list[Object]) -> Iterator[str]:
    for where, _, one in containers(objects):
        name, _, tag = one["image"].partition(":")
        if tag in {"", "latest"}:
            yield f"{where}: {one['image']} floats"
        if "brisa-" in name and tag != __version__:
            yield f"{where}: {one['image']} is not version {__version__}"
        if one.get("imagePullPolicy") != "IfNotPresent":
            yield f"{where}: images are made on the node, and not always pulled"


def pods_are_strict(objects: list[Object]) -> Iterator[str]:
    """Pod Security's `restricted`, and a read-only root besides."""
    for where, spec, one in containers(objects):
        context = {**spec["securityContext"], **one.get("securityContext", {})}
        if where == PRIVILEGED and _uses_adafruit(one, objects):
            continue
        owner = where == FOLDER_OWNER
        if (
            context.get("runAsNonRoot") is not (not owner)
            or (context["runAsUser"] == 0) is not owner
        ):
            yield f"{where}: runs as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{where}: seccomp"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: its root can be written"
        if (context.get("allowPrivilegeEscalation"), context.get("privileged")) != (False, None):
            yield f"{where}: privileges"
        if context.get("capabilities") != {
            "drop": ["ALL"],
            **({"add": ["CHOWN"]} if owner else {}),
        }:
            yield f"{where}: capabilities"


def nothing_of_the_host_is_shared(objects: list[Object]) -> Iterator[str]:
    for name, pod in pods(objects).items():
        for word in {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"]):
            yield f"{name}: {word}"


def host_folders_are_the_journals(objects: list[Object]) -> Iterator[str]:
    for name, pod in pods(objects).items():
        for volume in pod["spec"].get("volumes", []):
            if "hostPath" in volume and (name != "edge" or volume["hostPath"] != NODE_FOLDER):
                yield f"{name}: {volume['hostPath']}"


def the_namespace_enforces_it(objects: list[Object]) -> Iterator[str]:
    labels = named(objects, "Namespace", "brisa")["metadata"]["labels"]
    key = "pod-security.kubernetes.io/"
    lenient = any(
        one.get("securityContext", {}).get("privileged") or where == FOLDER_OWNER
        for where, _, one in containers(objects)
    )
    if labels.get(f"{key}enforce") != ("privileged" if lenient else "restricted"):
        yield f"enforce is {labels.get(f'{key}enforce')}"
    if labels.get(f"{key}warn") != "restricted":
        yield "nobody is warned"


def resources_fit_a_pi(objects: list[Object]) -> Iterator[str]:
    for where, _, one in containers(objects):
        wanted = one.get("resources", {})
        try:
            asked = mebibytes(wanted["requests"]["memory"])
            limit = mebibytes(wanted["limits"]["memory"])
            _ = wanted["requests"]["cpu"]
        except KeyError as error:
            yield f"{where}: no {error}"
            continue
        if not asked <= limit <= LARGEST_LIMIT_MIB:
            yield f"{where}: asks for {asked:g} MiB of {limit:g}"
        if where == "mosquitto/mosquitto" and limit <= 4 * _queue_limit_mib():
            yield f"{where}: is killed for four readers with mosquitto.conf's max_queued_bytes"


def nobody_has_a_token(objects: list[Object]) -> Iterator[str]:
    accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
    for name, pod in pods(objects).items():
        account = accounts.get(pod["spec"].get("serviceAccountName", "default"))
        if account is None:
            yield f"{name}: an account that is not there"
        elif account["automountServiceAccountToken"] or pod["spec"]["automountServiceAccountToken"]:
            yield f"{name}: a token"


def everything_is_labelled(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        if one["metadata"]["labels"].get("app.kubernetes.io/part-of") != "brisa":
            yield f"{one['kind']} {one['metadata']['name']}: part-of"
        if one["kind"] != "Namespace" and one["metadata"].get("namespace") != "brisa":
            yield f"{one['kind']} {one['metadata']['name']}: not in the namespace"
    for name, one in workloads(objects).items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        if labels.get("app.kubernetes.io/name") != name or one["kind"] not in WORKLOADS:
            yield f"{name}: name"


def _uses_adafruit(edge: Object, objects: list[Object]) -> bool:
    chosen = {source["configMapRef"]["name"] for source in edge["envFrom"]}
    settings = [one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"] in chosen]
    return any(one["data"].get("BRISA_DRIVER") == "adafruit" for one in settings)


def _queue_limit_mib() -> float:
    for line in (REPOSITORY / "broker" / "mosquitto.conf").read_text().splitlines():
        if line.startswith("max_queued_bytes "):
            return int(line.split()[1]) / 2**20
    raise AssertionError("mosquitto.conf has no max_queued_bytes")
