"""Which Python `make setup` takes, and what it says where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

# As pyenv leaves one on PATH for a version that is installed and not active.
SHIM = '#!/bin/sh\necho "pyenv: $(basename $0): command not found" >&2\nexit 127\n'
OLD = "#!/bin/sh\n[ $1 = -V ] && echo Python 3.9.2 || exit 1\n"


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def setup(path: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "setup", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "python3.11", SHIM)
    (tmp_path / "python3").symlink_to(Path(sys.executable).resolve())
    done = setup(f"{tmp_path}:{os.environ['PATH']}", "-n", f"VENV={tmp_path / 'venv'}")
    assert f'tools/venv "{tmp_path}/python3"' in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHIM, "does not run (pyenv: python3.11: command not found)"),
        (OLD, "is Python 3.9.2"),
    ],
)
def test_a_python_of_no_use_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    script(tmp_path / "python3.11", text)
    named = tmp_path / "python3.11"
    done = setup(os.environ["PATH"], f"PYTHON={named}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode
    line = f"setup: PYTHON={named} {says}: Python 3.11 or later is needed; name one with PYTHON=…"
    assert done.stderr.splitlines()[0] == line


def test_no_python_at_all_is_one_clear_line(tmp_path: Path) -> None:
    done = setup(os.environ["PATH"], "PYTHON=", f"VENV={tmp_path / 'venv'}")
    assert done.returncode
    assert "no python3 on PATH that runs and is new enough" in done.stderr
