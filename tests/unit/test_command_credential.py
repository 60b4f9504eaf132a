"""`python -m edge credential`: the first container of an edge's pod."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support import Process, python


def started(folder: Path) -> Process:
    (folder / "all").mkdir()
    (folder / "all" / "node.pi-2").write_text("of another\n")
    return python(
        "-m", "edge", "credential", "--all", str(folder / "all"), "--to", str(folder / "own"),
        env={"BRISA_NODE": "pi-3"},
    )  # fmt: skip


def test_it_waits_for_its_own_and_takes_no_other(tmp_path: Path) -> None:
    with started(tmp_path) as command:
        command.wait_for(
            r"no credential for node pi-3: .* make credentials NODE=pi-3 && make deploy"
        )
        assert not (tmp_path / "own").exists()
        (tmp_path / "all" / "node.pi-3").write_text("secret\n")
        assert command.wait() == 0
    assert (tmp_path / "own").read_text() == "secret\n"
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with started(tmp_path) as command:
        command.wait_for("no credential")
        assert command.stop() == 143
