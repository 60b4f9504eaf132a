"""Waiting for a signal, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from broker.ending import Ending
from tests.support import PATIENCE_S

# Raises the signal at the n-th line of Python that waiting runs, however deep: also where a lock of
# what it waits with is held.
AT_LINE = """
import signal, sys
from broker.ending import Ending

left = int(sys.argv[1])

def at_line(frame, event, argument):
    global left
    if event == "line":
        left -= 1
        if left == 0:
            signal.raise_signal(int(sys.argv[2]))
    return at_line

ending = Ending()
ending.watch()
sys.settrace(at_line)
while left > 0:
    ending.wait(0.001)
sys.settrace(None)
sys.exit(0 if ending.wait() and ending.wait(0) else 1)
"""


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize("line", range(1, 25))
def test_a_signal_at_any_moment_ends_the_wait(line: int, number: int) -> None:
    arguments = [sys.executable, "-c", AT_LINE, str(line), str(number)]
    assert subprocess.run(arguments, timeout=PATIENCE_S, check=False).returncode == 0


def test_another_thread_may_end_it() -> None:
    ending = Ending()
    assert not ending.wait(0.001)
    threading.Thread(target=ending.end).start()
    assert ending.wait(PATIENCE_S)
