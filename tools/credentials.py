"""`make credentials`: passwords for the broker and the database, into k8s/credentials/, which git ignores.

One user a node, and the gateway, the recorder and the viewer. Run again it adds what is missing and
changes nothing else. Only the standard library.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from broker import credentials
from broker.ids import ID_RULE, is_id
from tools import cluster

FOLDER = cluster.REPOSITORY / "k8s" / "credentials"
DATABASE = "database"
# How the broker for subscribers outside hears the one inside: Mosquitto takes a bridge's password from
# its configuration only.
BRIDGE = """connection inside
address mosquitto:{port}
remote_username outside
remote_password {password}
cleansession true
notifications false
restart_timeout 1 10
topic brisa/# in 1
{tls}"""
BRIDGES = {
    "plain": {"port": 1883, "tls": ""},
    "tls": {"port": 8883, "tls": "bridge_cafile /mosquitto/tls/ca.crt\n"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        nodes = options.node or _known_nodes()
        _check(nodes)
        made = make(options.folder, nodes)
    except (ValueError, cluster.ClusterError) as error:
        print(f"credentials: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"credentials: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    _say(made, options.folder)
    return 0


def make(folder: Path, nodes: Sequence[str]) -> list[str]:
    """Write what is missing. Returns the users that are new. Raises OSError."""
    users = folder / "users"
    known = {path.name for path in users.glob("*") if not path.name.endswith(".new")}
    wanted = {*known, *credentials.SERVICES, *nodes}
    passwords = credentials.make(users, sorted(wanted))
    credentials.write_hashes(folder / "passwords", passwords)
    outside = folder / "outside"
    outside.mkdir(mode=0o700, exist_ok=True)
    credentials.write_hashes(outside / "passwords", {"viewer": passwords["viewer"]})
    for name, listener in BRIDGES.items():
        text = BRIDGE.format(password=passwords["outside"], **listener)
        credentials.write_private(outside / f"{name}.conf", text)
    credentials.make(folder, [DATABASE])
    # kustomize takes the keys of a Secret from such lines, but none that starts with a digit
    lines = [
        f"node.{user}={passwords[user]}\n" for user in sorted(wanted - {*credentials.SERVICES})
    ]
    credentials.write_private(folder / "edge.env", "".join(lines))
    return sorted(wanted - known)


def _known_nodes() -> list[str]:
    try:
        return sorted(cluster.nodes())
    except cluster.ClusterError as error:
        raise ValueError(
            f"which nodes? {error}; or name them: make credentials NODE='pi-1 pi-2'"
        ) from None


def _check(nodes: Sequence[str]) -> None:
    for node in nodes:
        if not is_id(node):
            raise ValueError(f"node {node!r}: allowed are {ID_RULE}")
        if node in credentials.SERVICES:
            raise ValueError(f"node {node!r}: the name of a service; rename that node")


def _say(made: list[str], folder: Path) -> None:
    print(f"credentials: {', '.join(made) if made else 'nothing new'}, in {folder}")
    if made:
        print("credentials: the cluster learns of it by: make deploy OVERLAY=…")
    if "viewer" in made:
        password = (folder / "users" / "viewer").read_text(encoding="utf-8").strip()
        print(
            "\n  for subscribers, shown this once:  user viewer  password"
            f" {password}\n"
            f"  mosquitto_sub -h NODE-ADDRESS -p 31883 -u viewer -P {password} -t 'brisa/#' -v\n"
        )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make credentials", description="Random passwords for what runs in the cluster."
    )
    parser.add_argument(
        "--node", nargs="*", metavar="ID", help="nodes with a sensor [those of the cluster]"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="[k8s/credentials]")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
