"""The edge's settings, and which sensors they mean."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from broker.contract import checked_id
from broker.settings import PREFIX, BrokerSettings, SettingsError
from edge.sensors.base import Sensor
from edge.sensors.registry import DEFAULT, create

ModelName = Literal["dht11", "dht22"]


def _node_name() -> str:
    return socket.gethostname().split(".")[0].lower()


class EdgeSettings(BrokerSettings):
    """What an edge needs to know."""

    node: Annotated[str, Field(description="the node's id [the host's name]")] = Field(
        default_factory=_node_name, validate_default=True
    )
    driver: Annotated[str, Field(description="how the sensor is read; see `doctor`")] = DEFAULT
    model: Annotated[ModelName, Field(description="DHT11, or the DHT22 family")] = "dht11"
    sensor: Annotated[str | None, Field(description="the sensor's id [its model]")] = None
    options: Annotated[
        str, Field(description="of the driver: NAME=VALUE,NAME=VALUE such as pin=3")
    ] = ""
    sensors: Annotated[
        str | None,
        Field(
            description="several sensors: ID=DRIVER,model=dht22,NAME=VALUE; ID=DRIVER…"
            " instead of the four above"
        ),
    ] = None
    interval_s: Annotated[
        float, Field(gt=0, le=3600, description="from reading to reading, seconds")
    ] = 5.0
    health_host: Annotated[str, Field(description="where /healthz /readyz /metrics listen")] = (
        "0.0.0.0"
    )
    health_port: Annotated[int, Field(ge=0, le=65535, description="and on which port; 0: none")] = (
        9101
    )
    journal: Annotated[
        Path | None,
        Field(description="the journal's file [~/.local/state/brisa/NODE.db]"),
    ] = None
    journal_days: Annotated[
        float, Field(gt=0, le=3650, description="how long readings are kept in it, days")
    ] = 7.0
    former_journals: Annotated[
        Literal["kept", "gone"],
        Field(
            description="journals that this node had before its file: kept, or gone for ever, so"
            " that what the recorder lacks of them is lost. gone: where the file ends with its pod,"
            " or for one start after a card was replaced"
        ),
    ] = "kept"
    journal_bytes: Annotated[
        int, Field(ge=65536, le=2**40, description="its size in bytes; the oldest go beyond that")
    ] = 64 * 1024 * 1024
    journal_sync_every: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="readings that a power cut may take; fewer wear the card more",
        ),
    ] = 12
    backfill_after_s: Annotated[
        float,
        Field(ge=0.1, le=3600, description="a reading not stored by then is sent again, seconds"),
    ] = 5.0
    backfill_per_s: Annotated[
        float, Field(ge=1, le=100_000, description="readings sent again in a second, at most")
    ] = 1000.0
    drain_s: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="after SIGTERM, wait at most so long until the recorder has all readings, if"
            " there is one; a second SIGTERM ends it",
        ),
    ] = 0.0
    sysfs_root: Annotated[Path, Field(description="where sysfs is mounted")] = Path("/sys")
    dev_root: Annotated[Path, Field(description="where the devices are")] = Path("/dev")

    @field_validator("node")
    @classmethod
    def _node(cls, value: str) -> str:
        return checked_id("node", value)

    @field_validator("sensor")
    @classmethod
    def _sensor(cls, value: str | None) -> str | None:
        return value if value is None else checked_id("sensor", value)

    @property
    def journal_path(self) -> Path:
        """`journal`, or where a user's programs keep their state (XDG Base Directory)."""
        if self.journal is not None:
            return self.journal.expanduser()
        # without a home (a user that nobody made) where it was started
        state = (
            os.environ.get("XDG_STATE_HOME") or Path(os.environ.get("HOME", ".")) / ".local/state"
        )
        return Path(state) / "brisa" / f"{self.node}.db"


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """One sensor that was asked for."""

    name: str
    driver: str
    model: str
    options: dict[str, str] = field(default_factory=dict)


def plans(settings: EdgeSettings) -> list[SensorPlan]:
    """The sensors that the settings name. Raises SettingsError."""
    if settings.sensors is None:
        options = _options("OPTIONS", settings.options)
        return [
            SensorPlan(settings.sensor or settings.model, settings.driver, settings.model, options)
        ]
    found = [_plan(text.strip()) for text in settings.sensors.split(";") if text.strip()]
    names = [plan.name for plan in found]
    if not found or len(set(names)) < len(names):
        raise SettingsError(
            f"{PREFIX}SENSORS={settings.sensors}: at least one sensor, each with an id of its own"
        )
    return found


def build(plan: SensorPlan, settings: EdgeSettings) -> Sensor:
    """The sensor of a plan, not yet opened. Raises SettingsError."""
    try:
        sensor = create(
            plan.driver,
            model=plan.model,
            options=plan.options,
            sysfs_root=settings.sysfs_root,
            dev_root=settings.dev_root,
        )
    except ValueError as error:
        raise SettingsError(f"sensor {plan.name}: {error}") from None
    if settings.interval_s < sensor.min_interval_s and not sensor.paces_itself:
        raise SettingsError(
            f"{PREFIX}INTERVAL_S={settings.interval_s:g}: sensor {plan.name} is a"
            f" {plan.model.upper()} on the driver {plan.driver}, which gives a new value only every"
            f" {sensor.min_interval_s:g} s; allowed are {sensor.min_interval_s:g} to 3600"
        )
    return sensor


def _plan(text: str) -> SensorPlan:
    name, equals, rest = text.partition("=")
    driver, _, options = rest.partition(",")
    if not equals or not driver:
        raise SettingsError(f"{PREFIX}SENSORS={text}: allowed is ID=DRIVER,NAME=VALUE,…")
    given = _options("SENSORS", options)
    model = given.pop("model", "dht11")
    if model not in ("dht11", "dht22"):
        raise SettingsError(f"{PREFIX}SENSORS: model {model}: allowed are dht11, dht22")
    try:
        return SensorPlan(checked_id("sensor", name.strip()), driver.strip(), model, given)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}SENSORS: {error}") from None


def _options(variable: str, text: str) -> dict[str, str]:
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"{PREFIX}{variable}: {part}: allowed is NAME=VALUE,NAME=VALUE")
        options[name.strip()] = value.strip()
    return options
