"""What the edge says on /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.contract import SensorState
from broker.metrics import Metric
from edge.clock import Clock
from edge.journal import Journal
from edge.publisher import Publisher
from edge.sampler import Sampler


class Health:
    """What the probes and Prometheus are told."""

    def __init__(
        self, samplers: Sequence[Sampler], publisher: Publisher, journal: Journal, clock: Clock
    ) -> None:
        self._samplers = samplers
        self._publisher = publisher
        self._journal = journal
        self._clock = clock

    def alive(self) -> list[str]:
        """What only a restart would mend; nothing, while it ends: it is to be left in peace."""
        if self._publisher.ending:
            return []
        problems = [error for sampler in self._samplers for error in sampler.liveness_errors()]
        return problems + self._publisher.liveness_errors()

    def ready(self) -> list[str]:
        """What keeps readings from arriving."""
        problems = ["it is ending"] if self._publisher.ending else self.alive()
        session = self._publisher.session
        if not session.connected:
            problems.append(session.last_error or "not connected to the broker")
        problems += [
            f"sensor {sampler.name} is {sampler.state}: {sampler.reason}"
            for sampler in self._samplers
            if sampler.state is SensorState.BROKEN
        ]
        if self._publisher.twin:
            problems.append(f"another edge ({self._publisher.twin}) has this node's id")
        return problems

    def collect(self) -> Iterable[Metric]:
        readings = Metric(
            "counter", "brisa_edge_readings_total", "Readings accepted", labels=["sensor", "driver"]
        )
        attempts = Metric(
            "counter", "brisa_edge_attempts_total", "Times the sensor was asked", labels=["sensor"]
        )
        discarded = Metric(
            "counter",
            "brisa_edge_discarded_total",
            "Readings not accepted",
            labels=["sensor", "cause"],
        )
        state = Metric(
            "gauge",
            "brisa_edge_sensor_state",
            "1 for the state it is in",
            labels=["sensor", "state"],
        )
        for sampler in self._samplers:
            readings.add([sampler.name, sampler.sensor.driver], sampler.readings)
            attempts.add([sampler.name], sampler.attempts)
            for cause, count in sorted(sampler.discarded.items()):
                discarded.add([sampler.name, cause.value], count)
            for one in SensorState:
                state.add([sampler.name, one.value], float(sampler.state is one))
        session = self._publisher.session
        behind = Metric(
            "gauge",
            "brisa_edge_behind",
            "Readings in the journal that the recorder has not said to have; 0 without one",
            labels=["sensor"],
        )
        for name in self._journal.sensors():
            behind.add([name], self._publisher.backfiller.behind(name))
        yield from (readings, attempts, discarded, state, behind)
        yield Metric(
            "counter",
            "brisa_edge_backfilled_total",
            "Readings sent again, from the journal",
            value=self._publisher.backfiller.sent_total,
        )
        yield Metric(
            "gauge",
            "brisa_edge_journal_readings",
            "Readings in the journal",
            value=self._journal.rows(),
        )
        yield Metric(
            "gauge",
            "brisa_edge_journal_bytes",
            "Its size on the card",
            value=self._journal.size_bytes(),
        )
        yield Metric(
            "gauge",
            "brisa_edge_journal_sound",
            "0 while it was damaged, or is in memory only; the sensor's health says why",
            value=not self._journal.problem,
        )
        yield Metric(
            "counter",
            "brisa_edge_published_total",
            "Messages given to MQTT",
            value=self._publisher.published_total,
        )
        yield Metric(
            "counter",
            "brisa_edge_refused_total",
            "Messages the broker refused",
            value=session.refused_total,
        )
        yield Metric(
            "counter",
            "brisa_edge_connects_total",
            "Connections to the broker",
            value=session.connects_total,
        )
        yield Metric(
            "gauge",
            "brisa_edge_connected",
            "1 while connected to the broker",
            value=session.connected,
        )
        yield Metric(
            "gauge",
            "brisa_edge_clock_synchronised",
            "1 while the kernel counts its clock as right",
            value=self._clock.synchronised(),
        )
