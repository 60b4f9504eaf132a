"""An edge whose wall clock, and what the kernel says of it, are as a file says."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from edge.clock import Clock
from edge.commands.run import run

CONTROL = "CHAOS_CLOCK"  # the variable that names the file


class ControlledClock(Clock):
    def __init__(self, control: Path) -> None:
        self._control = control

    def utc_now(self) -> datetime:
        offset_s: float = json.loads(self._control.read_text())["offset_s"]
        return super().utc_now() + timedelta(seconds=offset_s)

    def synchronised(self) -> bool:
        said: bool = json.loads(self._control.read_text())["synchronised"]
        return said


def set_clock(control: Path, *, offset_s: float, synchronised: bool) -> None:
    """Both at once, as when the time service steps the clock."""
    new = control.with_suffix(".new")
    new.write_text(json.dumps({"offset_s": offset_s, "synchronised": synchronised}))
    new.replace(control)


if __name__ == "__main__":
    sys.exit(run(clock=ControlledClock(Path(os.environ[CONTROL]))))
