"""`python -m broker`: a broker on this machine, for trying out and for tests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from broker import credentials, local
from broker.contract import ContractError, checked_id


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m broker",
        description="Start a broker on this machine's loopback: Mosquitto if it is installed, else"
        " an embedded one. The passwords of its users are in STATE/credentials/USER.",
    )
    parser.add_argument("--kind", choices=("auto", "mosquitto", "embedded"), default="auto")
    parser.add_argument("--port", type=int, default=1883, help="1 to 65535 [1883]")
    parser.add_argument(
        "--state", type=Path, default=Path(".run/broker"), help="its folder [.run/broker]"
    )
    parser.add_argument(
        "--node", action="append", default=[], help="a user for this node's edge; repeat for more"
    )
    parser.add_argument(
        "--only-files",
        type=Path,
        metavar="PASSWORDS",
        help="write what Mosquitto needs into STATE and its users' passwords into this folder, for"
        " one that somebody else starts in STATE (compose.yaml), and end; what is there is kept",
    )
    options = parser.parse_args(arguments)
    try:
        nodes = [checked_id("node", node) for node in options.node]
        users = [*credentials.SERVICES, *nodes]
        if options.only_files:
            local.write_for_another(options.state, options.only_files, options.port, users)
            print(f"broker: passwords in {options.only_files}, the rest in {options.state}")
            return 0
        plan = local.prepare(options.kind, options.state, options.port, users)
        print(f"broker: {plan.describe()}; state in {plan.state}", flush=True)
        return local.run(plan)
    except (local.BrokerError, ContractError) as error:
        print(f"broker: {error}", file=sys.stderr)
    except OSError as error:
        print(f"broker: {error.filename or options.state}: {error.strerror}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
