"""How many gateways there are: a DNS name that has an address for each, looked up by a thread.

In the cluster that is a headless Service; a lookup asks nobody for rights, and no request waits for it.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable

from broker.worker import Worker
from gateway.system_views import ReplicasView

log = logging.getLogger(__name__)

EVERY_S = 15.0  # the cluster's DNS keeps an answer for 30 s (CoreDNS in K3s) or 5 s
SAID_EVERY_S = 60.0
# An answer that is older is none: a resolver that hangs does so for 30 s at most by its own defaults.
FORGOTTEN_AFTER_S = 60.0
ALONE = ReplicasView(configured=False, count=1)
UNKNOWN = ReplicasView(configured=True, count=None)

Resolve = Callable[[str], int]


def addresses(name: str) -> int:
    """How many addresses the name has, of the family that it has more of. Raises OSError.

    Where pods have both families, each pod has an address of each.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    families = Counter(family for family, address in {(one[0], one[4][0]) for one in found})
    return max(families.values())


class Replicas:
    """`view` may be called from any thread. Until the first answer it is unknown how many there are."""

    def __init__(
        self,
        name: str,
        *,
        resolve: Resolve = addresses,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._resolve = resolve
        self._monotonic = monotonic
        self._count: int | None = None
        self._counted_at_s = float("-inf")
        self._said_at_s = float("-inf")
        self._worker = Worker("replicas", self._step)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """A resolver that hangs is not waited for."""
        self._worker.stop(timeout_s=1.0)

    def liveness_errors(self) -> list[str]:
        return self._worker.liveness_errors()

    def view(self) -> ReplicasView:
        count = self._count
        if count is None or self._monotonic() - self._counted_at_s > FORGOTTEN_AFTER_S:
            return UNKNOWN
        return ReplicasView(configured=True, count=count)

    def refresh(self) -> None:
        """Look the name up, or know that it cannot be."""
        try:
            count = self._resolve(self._name)
        except (OSError, UnicodeError) as error:  # a label that is too long is no OSError
            self._count = None
            self._failed(str(error))
            return
        self._counted_at_s = self._monotonic()
        self._count = count
        if self._said_at_s > float("-inf"):
            log.info("%s can be looked up again", self._name)
            self._said_at_s = float("-inf")

    def _failed(self, why: str) -> None:
        """Say so, once a minute."""
        now_s = self._monotonic()
        if now_s - self._said_at_s >= SAID_EVERY_S:
            self._said_at_s = now_s
            log.warning("how many gateways there are is unknown: %s: %s", self._name, why)

    def _step(self) -> None:
        self.refresh()
        self._worker.stopping.wait(EVERY_S)
