"""What the gateway shows of a sensor: the JSON of its API and of its stream.

No age is in it, so that what has not changed stays the same bytes: a client takes `age_from` from
its own idea of the gateway's time (the Date header; `server_time` in the stream).
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.contract import Moment, NodeState, Seq

DEFAULT_INTERVAL_S = 5.0
LATE_AFTER_INTERVALS = 3


class ViewState(StrEnum):
    """How far a sensor's value can be believed; the first that applies, from the bottom up."""

    LIVE = "live"
    LATE = "late"
    RETRYING = "retrying"
    BROKEN = "broken"
    OFFLINE = "offline"


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()


Version = Annotated[int, Field(ge=0, description="rises with each change; of this epoch only")]
Epoch = Annotated[str, Field(description="one run of one gateway; another counts from 0 again")]


class FeedView(_View):
    """The gateway's own connection to the broker."""

    connected: bool
    since: Moment = Field(description="when it came or went")


class SensorView(_View):
    """A sensor as the gateway knows it. What is not known is null."""

    node: str
    sensor: str
    state: ViewState = Field(
        description="live; late: older than three intervals, or of unknown age;"
        " retrying, broken: what its edge says; offline: its node is not connected"
    )
    since: Moment | None = Field(description="when the state began")
    reason: str = Field(description="why it is retrying or broken; English")
    reasons: dict[str, str] = Field(
        description="the same in other languages, by their codes; none where its edge says what"
        " this gateway does not know"
    )
    temperature_c: float | None = Field(description="the last good value, °C")
    humidity_pct: float | None = Field(description="the last good value, relative humidity, %")
    dew_point_c: float | None = Field(
        description="of these two by the Magnus formula, °C, to a tenth; null: out of its range"
    )
    feels_like_c: float | None = Field(
        description="of these two, the US National Weather Service's heat index, °C, to a tenth;"
        " null: at 4.4 °C and below, or beyond its data"
    )
    measured_at: Moment | None = Field(description="by the node's clock")
    clock_synchronised: bool | None = Field(description="was the node's clock right?")
    received_at: Moment | None = Field(
        description="when the gateway saw it arrive; null: it was not new when it came"
    )
    age_from: Moment | None = Field(
        description="the moment its age counts from: received_at, else measured_at by a right"
        " clock or by one that the gateway shares; null: of unknown age"
    )
    source: str | None = Field(description="dht11, dht22, replay, simulated, …")
    stream: UUID | None = Field(description="the journal that numbered the reading")
    seq: Seq | None
    interval_s: float | None = Field(
        description=f"from reading to reading; null: taken as {DEFAULT_INTERVAL_S:g}"
    )
    driver: str | None
    model: str | None
    version: Version


class NodeView(_View):
    """A node as the gateway knows it, by its status and by what its sensors say."""

    node: str
    state: NodeState | None = Field(description="is its edge connected? null: nobody says")
    since: Moment | None = Field(
        description="when that began; null: before this gateway heard of it"
    )
    version: str = Field(description="of its edge; empty if unknown")
    instance: str = Field(description="the edge process that said so; empty if unknown")
    sensors: dict[str, ViewState] = Field(description="by name; none: its status is all there is")


class SensorList(_View):
    """Every sensor, by node and name."""

    epoch: Epoch
    version: Version
    feed: FeedView
    sensors: list[SensorView]


class Changes(_View):
    """What has changed since an earlier version."""

    epoch: Epoch
    version: Version
    feed: FeedView
    sensors: list[SensorView] = Field(description="those that changed, whole")
    removed: list[str] = Field(description="node/sensor of those that are gone")


def utcnow() -> datetime:
    return datetime.now(UTC)
