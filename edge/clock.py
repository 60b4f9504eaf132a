"""Time: monotonic, wall clock, and whether the kernel believes in the latter."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from broker.monotonic import clock_is_synchronised, monotonic_clock_id, read_boot_id


class Clock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def utc_now(self) -> datetime:
        return datetime.now(UTC)

    def synchronised(self) -> bool:
        """Does the kernel count its clock as synchronised? Needs no privilege."""
        return clock_is_synchronised()

    def boot_id(self) -> str:
        """Which run of the machine this is: the monotonic clock counts from its start.

        Empty where the kernel does not say.
        """
        return read_boot_id()

    def monotonic_id(self) -> str:
        """Which monotonic clock this is; empty if unknown. See `broker.monotonic`."""
        return monotonic_clock_id()
