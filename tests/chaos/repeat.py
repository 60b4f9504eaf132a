"""`python -m tests.chaos.repeat N [SEED]`: the random kills N times over, each with a seed of its own.

A line for each run, a summary, and the output of those that failed in a folder that it names.
Seeds follow from SEED, if one is given.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import REPOSITORY

TEST = "tests/chaos/test_kills.py"
PASSED = 0


def main(arguments: list[str]) -> int:
    try:
        runs = int(arguments[0]) if arguments else 20
    except ValueError:
        print(f"repeat: N={arguments[0]}: allowed are whole numbers", file=sys.stderr)
        return 2
    chance = random.Random(arguments[1]) if arguments[1:] else random.SystemRandom()
    folder = Path(tempfile.mkdtemp(prefix="brisa-chaos-"))
    failed: list[str] = []
    for run in range(1, runs + 1):
        seed = str(chance.randrange(10**9))
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rA", "-k", "random", "-n", "2", TEST],
            cwd=REPOSITORY,
            env={**os.environ, "BRISA_CHAOS_SEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in done.stdout.splitlines() if line.startswith("killed: ")]
        verdict = "passed" if done.returncode == PASSED else "FAILED"
        if done.returncode != PASSED:
            failed.append(seed)
            (folder / seed).write_text(done.stdout + done.stderr)
            verdict += f", see {folder / seed}"
        took_s = time.monotonic() - began_s
        print(f"{run}/{runs} seed {seed}: {verdict}; {took_s:.0f} s", *said, sep="; ", flush=True)
    print(f"{runs - len(failed)} of {runs} passed; failed: {' '.join(failed) or 'none'}")
    if not failed:
        folder.rmdir()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
