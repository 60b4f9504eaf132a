"""Podman as the tests need it, the base images, and brisa's images built on them."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from broker import __version__
from tests.support import REPOSITORY, SHARED

PYTHON = "docker.io/library/python:3.11-slim-bookworm"
MOSQUITTO = "docker.io/library/eclipse-mosquitto:2.0.22"
PYTHON_ARM = "localhost/brisa-test/python-armhf:3.11"
CACHE = Path(os.environ.get("BRISA_CONTAINERS_CACHE", "/var/cache/brisa-containers"))
# As the pods are: see k8s/base.
STRICT = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
# What podman needs where there is no systemd: on this kind of machine, and in a CI's container.
CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# One after the other, in one process: they share the images, and the machine has two cores. The
# first of all builds them, and makes what they are based on: minutes.
GROUP = (pytest.mark.long, pytest.mark.xdist_group("containers"), pytest.mark.timeout(1500))


class Podman:
    """podman, and what the tests started with it."""

    def __init__(self, configuration: Path) -> None:
        self.env = {**os.environ, "CONTAINERS_CONF": str(configuration)}
        self._tag = secrets.token_hex(3)
        self._containers: list[str] = []

    def name(self, what: str) -> str:
        """A name that no other run of the tests has."""
        return f"brisa-test-{self._tag}-{what}"

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Standard output of a command that has to succeed."""
        done = self.attempt("podman", *words, env=env)
        assert done.returncode == 0, f"podman {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def attempt(
        self, *command: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Any command, with podman's configuration."""
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, what: str, image: str, *options: str, command: Sequence[str] = ()) -> str:
        """Run a container in the background; returns its name."""
        name = self.name(what)
        self._containers.append(name)
        self("run", "--detach", f"--name={name}", *STRICT, *options, image, *command)
        return name

    def once(self, image: str, *options: str, command: Sequence[str] = ()) -> str:
        """What a command in a container of its own says, which has to succeed."""
        return self("run", "--rm", *STRICT, *options, image, *command)

    def inspect(self, what: str, template: str) -> str:
        return self("inspect", f"--format={template}", what)

    def close(self) -> None:
        if self._containers:
            self.attempt("podman", "rm", "--force", "--time=0", "--volumes", *self._containers)


def built(podman: Podman, *words: str, **env: str) -> None:
    done = podman.attempt(str(REPOSITORY / "tools" / "images"), *words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def image(name: str, registry: str = "localhost") -> str:
    return f"{registry}/brisa-{name}:{__version__}"


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: apt-get install podman runc netavark aardvark-dns")
    if os.geteuid() != 0:
        pytest.skip("memory limits and a network of their own need podman as root")
    configuration = tmp_path_factory.mktemp("podman") / "containers.conf"
    configuration.write_text(CONFIGURATION)
    engine = Podman(configuration)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def base_images(podman: Podman) -> None:
    """The public images that ours are based on, or their stand-ins."""
    wanted = (PYTHON, MOSQUITTO)
    if all(podman.attempt("podman", "image", "exists", one).returncode == 0 for one in wanted):
        return
    stand_ins = SHARED / "cluster" / "base-image"
    if stand_ins.exists():
        done = podman.attempt(str(stand_ins))
        assert done.returncode == 0, done.stderr
        return
    for one in wanted:
        if (done := podman.attempt("podman", "pull", "-q", one)).returncode != 0:
            pytest.skip(f"no {stand_ins} to make a stand-in, and no registry: {done.stderr[-300:]}")


@pytest.fixture(scope="session")
def images(podman: Podman, base_images: None) -> Mapping[str, str]:
    """Ours, for this machine's processor, by `make images`."""
    built(podman)
    return {name: image(name) for name in ("edge", "gateway")}


@pytest.fixture(scope="session")
def arm_base(podman: Podman) -> str:
    """Python for linux/arm/v7, run by qemu."""
    if not Path("/usr/lib/binfmt.d/qemu-arm.conf").exists() or shutil.which("debootstrap") is None:
        pytest.skip("needs qemu-user-static and debootstrap: apt-get install both")
    script = Path(__file__).parent / "arm-base"
    done = podman.attempt(str(script), str(CACHE / "python-armhf.tar"), PYTHON_ARM)
    assert done.returncode == 0, done.stderr
    return PYTHON_ARM


@pytest.fixture(scope="session")
def arm_edge(podman: Podman, arm_base: str) -> str:
    return _for_arm(podman, arm_base, "edge")


@pytest.fixture(scope="session")
def arm_gateway(podman: Podman, arm_base: str) -> str:
    return _for_arm(podman, arm_base, "gateway")


def _for_arm(podman: Podman, base: str, name: str) -> str:
    registry = "localhost/brisa-test"
    built(podman, "--platform", "linux/arm/v7", name, BASE=base, REGISTRY=registry)
    return image(name, registry)
