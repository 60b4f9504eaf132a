"""What `doctor` says of everything but the sensor: the clock, the settings, the broker."""

from __future__ import annotations

import os
import time

from broker.session import Session, Subscription, unique_client_id
from broker.settings import SettingsError, load
from edge.clock import Clock
from edge.doctor import Finding
from edge.settings import EdgeSettings

# A wrong password is answered at once; a host that does not answer is given up after 5 s.
PATIENCE_S = 8.0


def check_clock() -> Finding:
    """Bears on no verdict: readings are taken and marked all the same."""
    if Clock().synchronised():
        return Finding("clock", True, "synchronised", counts=False)
    says = "the kernel does not count it as synchronised (no NTP yet?): readings will say so"
    return Finding("clock", False, says, counts=False)


def check_broker() -> Finding:
    """Connect as the edge would, publish nothing, and leave; no verdict where no broker is set."""
    if "BRISA_BROKER_URL" not in os.environ:
        return Finding("broker", False, "not asked: BRISA_BROKER_URL is not set", counts=False)

    def found(works: bool, says: str) -> Finding:
        return Finding("broker", works, says)

    try:
        settings = load(EdgeSettings, os.environ)
    except SettingsError as error:
        return found(False, str(error))
    topic = f"{settings.root}/{settings.node}/status"
    session = Session(
        settings,
        client_id=unique_client_id("doctor"),
        protocol=5,
        subscriptions=[Subscription(topic, qos=1)],
    )
    try:
        session.start()
    except OSError as error:
        return found(False, f"{error.filename}: {error.strerror}")
    try:
        ends_s = time.monotonic() + PATIENCE_S
        while not session.wait_until_up(0.1) and not session.last_error:
            if time.monotonic() > ends_s:
                break
        if not session.subscribed:
            says = session.last_error or f"no answer from {session.where} within {PATIENCE_S:g} s"
            return found(False, says)
    finally:
        session.stop()
    user = settings.address.user
    if user not in (None, settings.node):
        says = (
            f"connected to {session.where}, but a user writes only below {settings.root}/{user}/:"
            f" set BRISA_NODE={user}, or use the password of {settings.node}"
        )
        return found(False, says)
    return found(True, f"connected to {session.where} as node {settings.node}")
