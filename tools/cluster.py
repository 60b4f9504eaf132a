"""kubectl, as `make credentials`, `make deploy` and `make undeploy` use it.

Only the standard library: these commands run on any machine with Python, without `make setup`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
# a line of kubectl's own log (klog); the error that ends kubectl may be in one, as a Go string
LOG_LINE = re.compile(r"[EFIW]\d{4} ")
LOGGED_ERROR = re.compile(r'"command failed" err=("(?:[^"\\]|\\.)*")')
UNREACHED = re.compile(r"dial tcp |was refused - |no route to host|timeout|deadline exceeded")
NAMESPACE = "brisa"
K3S_CONFIG = Path("/etc/rancher/k3s/k3s.yaml")
KUSTOMIZE_AT_LEAST = 5
ANSWER_WITHIN_S = 20


class ClusterError(RuntimeError):
    """kubectl or the cluster cannot do what is asked; the text says what to do."""


def kubectl_command() -> list[str]:
    """kubectl, or K3s' own. Raises ClusterError."""
    if shutil.which("kubectl"):
        return ["kubectl"]
    if shutil.which("k3s"):
        return ["k3s", "kubectl"]
    raise ClusterError(
        "kubectl is not on PATH: K3s brings it along (run this on the K3s server), or install it"
        " from your distribution"
    )


def check_kustomize() -> None:
    """Raises ClusterError where kubectl's kustomize is older than what k8s/ is written for."""
    answer = json.loads(run("version", "--client", "-o", "json"))
    version = str(answer.get("kustomizeVersion", "v0"))
    major = version.lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < KUSTOMIZE_AT_LEAST:
        raise ClusterError(
            f"kubectl brings kustomize {version}: k8s/ needs 5 or newer, which is in kubectl 1.27"
            " and newer"
        )


def run(*words: str, given: str | None = None, within_s: float | None = None) -> str:
    """What kubectl prints. given: its standard input. Raises ClusterError with what it said."""
    command = kubectl_command()
    try:
        done = subprocess.run(
            [*command, *words],
            input=given,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"kubectl {words[0]}: no answer within {within_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        silent = f"kubectl {words[0]}: exit code {done.returncode}, and no reason given"
        raise ClusterError(_explained(said or silent))
    for line in done.stderr.splitlines():
        if line.startswith("Warning:"):  # of what the server will not take for ever
            print(f"kubectl: {line}", file=sys.stderr)
    return done.stdout


def get(*words: str) -> dict[str, Any]:
    """`kubectl get … -o json`. Raises ClusterError."""
    found: dict[str, Any] = json.loads(run("get", *words, "-o", "json", within_s=ANSWER_WITHIN_S))
    return found


def server_minor() -> int:
    """The cluster's version, of 1.MINOR. Raises ClusterError."""
    answer = json.loads(run("version", "-o", "json", within_s=ANSWER_WITHIN_S))
    return int(re.sub(r"\D.*", "", answer["serverVersion"]["minor"]))  # "27+" of some providers


def nodes() -> dict[str, list[str]]:
    """The cluster's nodes, and each one's addresses. Raises ClusterError."""
    return {
        node["metadata"]["name"]: [
            address["address"]
            for address in node["status"].get("addresses", [])
            if address["type"] == "InternalIP"
        ]
        for node in get("nodes")["items"]
    }


def environment() -> dict[str, str]:
    """Ours; where it names no cluster, the user's own, or K3s', which K3s' kubectl would take first."""
    known = dict(os.environ)
    for config in (Path.home() / ".kube" / "config", K3S_CONFIG):
        if "KUBECONFIG" not in known and os.access(config, os.R_OK):
            known["KUBECONFIG"] = str(config)
    return known


def _explained(said: str) -> str:
    """What kubectl said, and what to do where it is known."""
    config = environment().get("KUBECONFIG", "")
    if (
        K3S_CONFIG.exists()
        and not os.access(K3S_CONFIG, os.R_OK)
        and config in {"", str(K3S_CONFIG)}
    ):
        return (
            f"only root may read {K3S_CONFIG}: sudo install -D -m 600 -o $USER {K3S_CONFIG}"
            " ~/.kube/config && export KUBECONFIG=~/.kube/config"
        )
    for name in filter(None, config.split(os.pathsep)):
        if not Path(name).exists():
            return f"KUBECONFIG={config}: there is no such file"
    said = "\n".join(_errors(said.splitlines())) or said
    if "localhost:8080" in said or "current-context is not set" in said:
        return "no cluster is named: export KUBECONFIG=FILE, or run this on the K3s server"
    if UNREACHED.search(said):
        return f"the cluster does not answer: {said.splitlines()[-1][-200:]}"
    return said


def _errors(lines: Iterable[str]) -> Iterator[str]:
    """What kubectl says to its user, without what its client library logs."""
    for line in lines:
        if not LOG_LINE.match(line):
            yield line
        elif match := LOGGED_ERROR.search(line):
            # Go and JSON quote alike but for control characters, which no path or name has
            with contextlib.suppress(ValueError):
                yield json.loads(match[1])
