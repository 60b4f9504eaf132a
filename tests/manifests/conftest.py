from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifests.rendering import ALL, Object, copied, need_kustomize, rendered

Render = Callable[[str], list[Object]]


@pytest.fixture(scope="session")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_kustomize()
    return copied(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def render(overlays: Path) -> Render:
    """The objects of an overlay by its name, the caller's own to change."""
    known: dict[str, list[Object]] = {}

    def of(name: str) -> list[Object]:
        if name not in known:
            known[name] = rendered(overlays / name)
        return copy.deepcopy(known[name])

    return of


@pytest.fixture(params=ALL)
def objects(request: pytest.FixtureRequest, render: Render) -> list[Object]:
    """Every overlay, and every component that none of them uses, in turn."""
    return render(request.param)
