"""Time: monotonic, wall clock, and whether the kernel believes in the latter."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime

from broker.monotonic import monotonic_clock_id, read_boot_id

# adjtimex(2): the clock is not synchronised to a reliable server.
TIME_ERROR = 5
# struct timex is 208 bytes on 64-bit Linux and smaller on 32-bit; all zero asks and sets nothing.
TIMEX_BYTES = 512


class Clock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def utc_now(self) -> datetime:
        return datetime.now(UTC)

    def synchronised(self) -> bool:
        """Does the kernel count its clock as synchronised? Needs no privilege."""
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
        return 0 <= state < TIME_ERROR

    def boot_id(self) -> str:
        """Which run of the machine this is: the monotonic clock counts from its start.

        Empty where the kernel does not say.
        """
        return read_boot_id()

    def monotonic_id(self) -> str:
        """Which monotonic clock this is; empty if unknown. See `broker.monotonic`."""
        return monotonic_clock_id()
