"""What the kernel says of its clocks: the identity of the monotonic one, and if the other is right."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_NAMESPACE = Path("/proc/self/ns/time")
# adjtimex(2): the clock is not synchronised to a reliable server.
TIME_ERROR = 5
# struct timex is 208 bytes on 64-bit Linux and smaller on 32-bit; all zero asks and sets nothing.
TIMEX_BYTES = 512


def clock_is_synchronised() -> bool:
    """Does the kernel count its clock as synchronised? Needs no privilege."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return 0 <= state < TIME_ERROR


def read_boot_id() -> str:
    """The kernel's name for this run of the machine; empty where it does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def monotonic_clock_id() -> str:
    """16 hex digits, the same for all who read the same monotonic clock; empty if unknown.

    Containers on one host have its boot id; a time namespace, which few use, shifts the clock. It
    is a digest, so that whoever reads it learns no more than whether two clocks are one.
    """
    boot_id = read_boot_id()
    if not boot_id:
        return ""
    try:
        namespace = str(TIME_NAMESPACE.readlink())
    except OSError:  # before Linux 5.6 there are none
        namespace = ""
    # Random hashes its seed by SHA-512, for which hashlib would load 4 MB of OpenSSL.
    digest = random.Random(f"brisa {boot_id} {namespace}")  # noqa: S311
    return f"{digest.getrandbits(64):016x}"
