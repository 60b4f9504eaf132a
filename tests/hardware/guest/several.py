"""In the guest: several `python -m edge` commands in one process, since starting takes 10 s there.

Each argument is one command's words; after its output comes a line `exit CODE`.
"""

import shlex
import sys
import time

from edge.__main__ import main

for command in sys.argv[1:]:
    print("exit", main(shlex.split(command)), flush=True)
    time.sleep(3)  # the kernel's driver forgets what it kept
