"""What is in the images, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest

from broker import __version__
from tests.containers.conftest import GROUP, PYTHON, Podman

pytestmark = [*GROUP, pytest.mark.parametrize("name", ["edge", "gateway"])]

OURS = {"edge": {"broker", "edge", "lib"}, "gateway": {"broker", "gateway", "lib"}}
LAYERS_BYTES = 40_000_000
# Prints, of what an image runs, the modules whose bytecode would have to be made at the start.
UNCOMPILED = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
python = os.path.dirname(os.__file__)
for module in list(sys.modules.values()):
    source, cached = getattr(module, "__file__", ""), getattr(module, "__cached__", "")
    if cached and source.startswith((python, "/opt")) and not os.path.exists(cached):
        print(source)
"""
RUNS = {
    "edge": ("edge.__main__", "edge.commands.run"),
    "gateway": ("gateway.__main__", "gateway.server", "gateway.history.run"),
}


def shell(podman: Podman, image: str, script: str) -> str:
    return podman.once(image, "--entrypoint=sh", command=["-c", script])


def test_it_runs_as_a_number_that_may_write_its_own_folder_alone(
    podman: Podman, images: Mapping[str, str], name: str
) -> None:
    assert podman.inspect(images[name], "{{.Config.User}}") == "10001:10001"
    writable = "find / -xdev -writable -not -type l 2>/dev/null | grep -v ^/tmp || true"
    found = podman("run", "--rm", "--entrypoint=sh", images[name], "-c", f"id -u; {writable}")
    assert set(found.split()) - {"/var/tmp", "/run/lock"} == {
        "10001",
        "/var/lib/brisa",
        "/run/credentials",
    }


def test_it_holds_what_runs_and_nothing_to_build_with(
    podman: Podman, images: Mapping[str, str], name: str
) -> None:
    assert set(shell(podman, images[name], "ls /opt/brisa").split()) == OURS[name]
    tools = "gcc cc c++ ld as make uv git"
    found = shell(podman, images[name], f"for i in {tools}; do command -v $i; done; true")
    assert found == ""
    left = r"find / -xdev \( -path '*/.cache/*' -o -path '/build*' \)"
    assert shell(podman, images[name], f"{left} 2>/dev/null; true") == ""
    ours = r"find /opt/brisa \( -name tests -o -name 'test_*.py' -o -name '*.pyi' -o -name pip \)"
    assert shell(podman, images[name], ours) == ""


def test_it_starts_without_compiling(podman: Podman, images: Mapping[str, str], name: str) -> None:
    command = ["-c", UNCOMPILED, *RUNS[name]]
    assert podman.once(images[name], "--entrypoint=python", command=command) == ""


def test_every_command_has_help_without_docstrings(
    podman: Podman, images: Mapping[str, str], name: str
) -> None:
    commands = {
        "edge": [["--help"], ["doctor", "--help"]],
        "gateway": [[one, "--help"] for one in ("gateway", "gateway.history", "broker")],
    }
    for command in commands[name]:
        assert podman.once(images[name], command=command).startswith("usage: python -m ")


def test_its_labels_and_its_health_check_are_there(
    podman: Podman, images: Mapping[str, str], name: str
) -> None:
    labels = json.loads(podman.inspect(images[name], "{{json .Labels}}"))
    assert labels["org.opencontainers.image.title"] == f"brisa {name}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert "broker.healthcheck" in podman.inspect(images[name], "{{json .HealthCheck}}")


def test_its_layers_are_small(
    podman: Podman,
    base_images: None,
    images: Mapping[str, str],
    name: str,
    record_property: Callable[[str, object], None],
) -> None:
    layers = [
        (int(layer["size"]), layer["CreatedBy"])
        for layer in json.loads(podman("history", "--format=json", images[name]))
    ]
    above = sum(size for size, by in layers) - int(podman.inspect(PYTHON, "{{.Size}}"))
    record_property("note", f"{above / 1e6:.1f} MB above the base")
    assert 0 < above < LAYERS_BYTES
