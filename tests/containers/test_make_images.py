"""`make images` where it cannot do what it is asked: one line that says why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY

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
