"""k8s/ as kubectl renders it, with credentials and certificates made for the test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY
from tools import certificates, cluster, credentials, deploy

Object = dict[str, Any]

NODES = ("pi-1", "4b.example")  # kustomize refuses a Secret's key that begins with a digit
# What the overlays do not use, in overlays of the test's own.
MORE = {
    "base": [],
    "adafruit": ["adafruit"],
    "journal-on-node": ["journal-on-node"],
    "adafruit-journal-on-node": ["adafruit", "journal-on-node"],
    "cert-manager": ["history", "tls-cert-manager"],
    "tls-without-history": ["tls"],
}
OVERLAYS = sorted(path.name for path in (REPOSITORY / "k8s" / "overlays").iterdir())
ALL = [*OVERLAYS, *MORE]


def need_kustomize() -> None:
    try:
        cluster.check_kustomize()
    except cluster.ClusterError as error:
        pytest.skip(str(error))


def copied(folder: Path) -> Path:
    """A copy of what kustomize reads, with credentials; the folder of its overlays."""
    for name in ("k8s", "broker"):
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            ignore=shutil.ignore_patterns(
                "users", "passwords", "database", "edge.env", "*.key", "*.crt", "__pycache__"
            ),
        )
    credentials.make(folder / "k8s" / "credentials", NODES)
    certificates.make(folder / "k8s" / "credentials" / "tls", certificates.INSIDE)
    overlays = folder / "k8s" / "overlays"
    for name, components in MORE.items():
        write_overlay(overlays / name, "../../base", components)
    return overlays


def write_overlay(folder: Path, base: str, components: list[str], **more: Any) -> None:
    folder.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [base],
        "components": [f"../../components/{name}" for name in components],
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


def rendered(overlay: Path) -> list[Object]:
    objects = list(yaml.safe_load_all(deploy.render(overlay, os.environ.get("REGISTRY", ""))))
    assert objects
    return objects
