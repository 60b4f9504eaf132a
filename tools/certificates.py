"""`make certificates`: a CA of brisa's own and Mosquitto's certificate, into k8s/credentials/tls/.

By the openssl command, which every Debian and Raspberry Pi OS has: the `cryptography` package would
have to be installed first, for eight calls. Run again, the CA and its key stay, and Mosquitto's
certificate is made anew: for more names, or because its time is running out.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools import cluster

FOLDER = cluster.REPOSITORY / "k8s" / "credentials" / "tls"
INSIDE = ("mosquitto", "mosquitto.brisa.svc", "mosquitto.brisa.svc.cluster.local")
CA_DAYS, DAYS = 7300, 825  # some clients refuse certificates that are good for longer


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    hosts = options.host if options.host is not None else _node_hosts()
    try:
        make(options.folder, [*INSIDE, *hosts])
    except (ValueError, OSError) as error:
        print(f"certificates: {error}", file=sys.stderr)
        return 1
    print(
        f"certificates: in {options.folder}, good for {DAYS} days, for {', '.join([*INSIDE, *hosts])}"
    )
    print(
        f"certificates: subscribers outside need {options.folder}/ca.crt (mosquitto_sub --cafile)"
    )
    return 0


def make(folder: Path, names: Sequence[str]) -> None:
    """Write ca.crt, ca.key, tls.crt, tls.key. Raises ValueError and OSError."""
    if shutil.which("openssl") is None:
        raise ValueError("openssl is not on PATH: apt-get install openssl")
    alternatives = ",".join(map(_alternative, names))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _write(folder, Path(scratch), alternatives)
    finally:
        os.umask(before)


def _write(folder: Path, scratch: Path, alternatives: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    if not (folder / "ca.key").exists():
        _openssl(
            "req", "-x509", *key, "-subj", "/CN=brisa", "-days", str(CA_DAYS),
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"),
        )  # fmt: skip
    request, extensions = scratch / "request", scratch / "extensions"
    extensions.write_text(
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage=serverAuth\nsubjectAltName={alternatives}\n",
        encoding="utf-8",
    )
    made = {name: scratch / name for name in ("tls.key", "tls.crt")}
    _openssl(
        "req", "-new", *key, "-subj", "/CN=mosquitto",
        "-keyout", str(made["tls.key"]), "-out", str(request),
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-days", str(DAYS), "-extfile", str(extensions),
        "-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial",
        "-CAserial", str(scratch / "serial"), "-out", str(made["tls.crt"]),
    )  # fmt: skip
    for name, path in made.items():
        path.replace(folder / name)


def _openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"openssl {words[0]}: {done.stderr.strip()}")


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        if not name or any(not (c.isalnum() or c in ".-") for c in name):
            raise ValueError(f"HOST {name!r}: allowed are names and addresses") from None
        return f"DNS:{name}"


def _node_hosts() -> list[str]:
    """By which subscribers outside reach the NodePort; none where no cluster answers."""
    try:
        nodes = cluster.nodes()
    except cluster.ClusterError as error:
        print(f"certificates: not for the nodes' addresses ({error}); or name them: HOST=…")
        return []
    return [word for name, addresses in nodes.items() for word in (name, *addresses)]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make certificates", description="TLS for MQTT.")
    parser.add_argument(
        "--host", nargs="*", metavar="NAME", help="more names or addresses [the cluster's nodes]"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="[k8s/credentials/tls]")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
