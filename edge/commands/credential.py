"""`python -m edge credential`: take this node's password out of a folder that holds every node's.

The first container of an edge's pod: the second sees what it copied, and nobody else's password.
Exit code: 0 when it is there, 143 when told to end before.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from broker.settings import SettingsError, load
from edge.settings import EdgeSettings

PREFIX = "node."
LOOK_AGAIN_S = 2.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "credential",
        help="copy this node's password from a folder of all; wait while there is none",
    )
    parser.add_argument(
        "--all",
        type=Path,
        required=True,
        metavar="FOLDER",
        help=f"with a file {PREFIX}ID for each node",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="where it is put")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        node = load(EdgeSettings, os.environ).node
    except SettingsError as error:
        print(f"edge credential: {error}", file=sys.stderr)
        return 2
    source: Path = args.all / f"{PREFIX}{node}"
    try:
        if not source.exists():
            print(
                f"no credential for node {node}: on the machine that deploys, run:"
                f" make credentials NODE={node} && make deploy OVERLAY=…",
                file=sys.stderr,
                flush=True,
            )
        while not source.exists():
            time.sleep(LOOK_AGAIN_S)
        password = source.read_text(encoding="utf-8")
        args.to.touch(mode=0o400)
        args.to.chmod(0o600)
        args.to.write_text(password, encoding="utf-8")
    except OSError as error:
        print(f"edge credential: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
