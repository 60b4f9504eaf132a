"""`make images` into K3s; and where it cannot do what it is asked: one line that says why."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.containers.conftest import GROUP, Podman
from tests.support import REPOSITORY, Process, eventually

pytestmark = [*GROUP]

SCRIPT = REPOSITORY / "tools" / "images"


def refused(*words: str, **env: str) -> str:
    done = subprocess.run(
        [SCRIPT, *words], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_without_podman_and_docker(tmp_path: Path) -> None:
    for tool in ("sh", "cat"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    said = refused(PATH=str(tmp_path))
    assert said == "images: neither podman nor docker works here: as root, apt-get install podman"


def test_with_an_engine_that_does_not_work() -> None:
    assert "ENGINE=no-such-engine does not work here" in refused(ENGINE="no-such-engine")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--platform", "linux/riscv64"], "--platform linux/riscv64: allowed are linux/amd64, "),
        (["--platform"], "--platform : allowed are linux/amd64, "),
        (["--load", "docker"], "--load docker: allowed is k3s"),
        (["recorder"], "recorder: allowed are edge, gateway"),
    ],
)
def test_with_what_it_does_not_know(words: list[str], says: str) -> None:
    assert says in refused(*words)


def test_it_has_help() -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: tools/images ")


@pytest.fixture
def k3s(tmp_path: Path) -> Iterator[Path]:
    """K3s as far as `k3s ctr` goes, which is containerd's own; Debian has no K3s."""
    if shutil.which("containerd") is None:
        pytest.skip("containerd is not installed: apt-get install containerd")
    configuration, address = tmp_path / "config.toml", tmp_path / "socket"
    configuration.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    command = tmp_path / "bin" / "k3s"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nshift && exec ctr --address {address} -n k8s.io "$@"\n')
    command.chmod(0o755)
    with Process(
        *("containerd", "--config", str(configuration), "--address", str(address)),
        *("--root", str(tmp_path / "root"), "--state", str(tmp_path / "state")),
    ) as containerd:
        eventually("containerd listens", address.exists)
        yield command
        containerd.stop()


def test_it_imports_into_k3s(podman: Podman, images: Mapping[str, str], k3s: Path) -> None:
    path = f"{k3s.parent}:{os.environ['PATH']}"
    done = podman.attempt(str(SCRIPT), "--load", "k3s", env={"PATH": path})
    assert done.returncode == 0, done.stderr
    names = " ".join(images.values())
    assert f"  podman save -m -o brisa.tar {names}\n" in done.stdout
    assert "ssh -t NODE sudo k3s ctr images import brisa.tar\n" in done.stdout
    listed = podman.attempt(str(k3s), "ctr", "images", "ls", "-q").stdout.split()
    assert set(images.values()) <= set(listed)
