"""Passwords: random, one file a user for its owner, and Mosquitto's file of hashes."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from broker.ids import SERVICES as SERVICES  # noqa: PLC0414 - ours to pass on

# mosquitto_passwd's own format and number of rounds: https://mosquitto.org/man/mosquitto_passwd-1.html
ROUNDS, SALT_BYTES, HASH_BYTES = 101, 12, 64


def hashed(password: str, salt: bytes | None = None) -> str:
    """`password` as Mosquitto 2 keeps it: $7$ROUNDS$SALT$HASH, PBKDF2 with SHA-512."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, HASH_BYTES)
    return f"$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def make(folder: Path, users: Iterable[str]) -> dict[str, str]:
    """Give each user a password in `folder`/USER, those that have one keep it. Returns them all.

    The files are readable by their owner only. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {}
    for user in users:
        path = folder / user
        if not path.exists() or not path.read_text(encoding="utf-8").strip():
            write_private(path, secrets.token_urlsafe(18) + "\n")
        passwords[user] = path.read_text(encoding="utf-8").strip()
    return passwords


def write_hashes(path: Path, passwords: Mapping[str, str]) -> None:
    """Write Mosquitto's password file; a hash in it that fits stays as it is. Raises OSError."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    lines = [
        f"{user}:{before[user] if fits(password, before.get(user, '')) else hashed(password)}\n"
        for user, password in sorted(passwords.items())
    ]
    if "".join(lines) != text:
        write_private(path, "".join(lines))


def fits(password: str, known: str) -> bool:
    """Whether `known` is a hash of `password`, as `hashed` makes them."""
    try:
        salt = base64.b64decode(known.split("$")[3], validate=True)
    except (IndexError, ValueError):
        return False
    return secrets.compare_digest(hashed(password, salt).encode(), known.encode())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises OSError."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
