"""`python -m edge run`: sample, number, publish, until told to stop."""

from __future__ import annotations

import functools
import logging
import os
import sys
from typing import TYPE_CHECKING

from broker.ending import Ending
from broker.logs import configure
from broker.probes import HealthServer
from broker.settings import SettingsError, load, unknown_variables
from edge.clock import Clock
from edge.health import Health
from edge.journal import Journal
from edge.publisher import Publisher
from edge.sampler import Sampler
from edge.settings import EdgeSettings, build, plans

if TYPE_CHECKING:
    import argparse  # half a megabyte that a running edge does without

log = logging.getLogger(__name__)


def run(_options: argparse.Namespace | None = None, clock: Clock | None = None) -> int:
    """Returns the exit code: 0 after SIGTERM or Ctrl-C, 2 for a setting that is not allowed."""
    try:
        settings = load(EdgeSettings, os.environ)
        sensors = [(plan.name, build(plan, settings)) for plan in plans(settings)]
    except SettingsError as error:
        print(f"edge: {error}", file=sys.stderr)
        return 2
    configure(settings.log_level, settings.log_format, "edge")
    for line in unknown_variables(os.environ, EdgeSettings):
        log.warning("%s", line)
    clock = clock or Clock()
    journal = Journal(
        settings.journal_path,
        node=settings.node,
        clock=clock,
        days=settings.journal_days,
        max_bytes=settings.journal_bytes,
        sync_every=settings.journal_sync_every,
    )
    publisher = Publisher(settings, clock=clock, journal=journal)
    samplers = [
        Sampler(
            name,
            sensor,
            interval_s=settings.interval_s,
            clock=clock,
            on_sample=functools.partial(publisher.sample, name),
            on_change=functools.partial(publisher.changed, name),
        )
        for name, sensor in sensors
    ]
    for sampler in samplers:
        publisher.add(sampler)
    health = HealthServer(
        Health(samplers, publisher, journal, clock), settings.health_host, settings.health_port
    )
    ending = Ending()
    ending.watch()
    try:
        journal.open()
        if settings.health_port:
            health.start()
        publisher.start()
    except OSError as error:
        where = f"{settings.health_host}:{settings.health_port}"
        what = error.filename or f"BRISA_HEALTH_PORT: {where} (0: none)"
        print(f"edge: {what}: {error.strerror}", file=sys.stderr)
        return 1
    log.info(
        "node %s: %s every %g s",
        settings.node,
        ", ".join(f"{name} by {sensor.driver}" for name, sensor in sensors),
        settings.interval_s,
    )
    for sampler in samplers:
        sampler.start()
    ending.wait()
    log.info("stopping")
    publisher.ending = True
    for sampler in samplers:
        sampler.stop()
    hurry = Ending()
    hurry.watch()  # a second signal
    publisher.hand_over(settings.drain_s, hurry)
    publisher.stop()
    health.stop()
    journal.close()
    return 0
