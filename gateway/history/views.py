"""What the history's API answers: readings by buckets of time, and the account of each sensor."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.contract import Moment, Seq


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class Extremes(_View):
    """One quantity in one bucket."""

    min: float
    mean: float
    max: float


class Point(_View):
    """The readings of one bucket of time."""

    start: Moment
    readings: int = Field(ge=1)
    temperature_c: Extremes
    humidity_pct: Extremes


class HistoryView(_View):
    """A sensor's readings, by time."""

    node: str
    sensor: str
    from_: Moment = Field(alias="from", description="as asked, cut to the first reading")
    to: Moment = Field(
        description="as asked, cut to the end of the newest reading's hour; not in it itself"
    )
    bucket_s: float = Field(description="how much time a point stands for")
    source: Literal["hour", "minute", "reading"] = Field(description="what was summed up")
    points: list[Point | None] = Field(
        description="oldest first, buckets without a reading left out; null: a gap, longer than"
        " a bucket and three intervals. No line goes across it"
    )


class LostSpan(_View):
    """Readings that will not come any more: the node no longer has them."""

    first_seq: Seq
    last_seq: Seq
    count: int
    noted_at: Moment = Field(description="when this was found")
    after_at: Moment | None = Field(description="the date of the reading before them")
    before_at: Moment | None = Field(description="the date of the reading after them")


class StreamAudit(_View):
    """The readings that one journal numbered, from 1 to `last_seq`: each is one of the three."""

    stream: UUID
    first_seq: Seq | None = Field(description="the lowest that is stored")
    last_seq: int = Field(description="the highest that is known to exist")
    stored: int = Field(description="ever stored: retention takes nothing off")
    missing: int = Field(description="not here yet: the node is to send them again")
    lost: int
    gaps: int = Field(description="of how many ranges `lost` is the sum")
    open_end: bool = Field(
        default=False,
        description="its journal is gone, and nobody knows whether readings above `last_seq` were"
        " in it",
    )
    lost_spans: list[LostSpan] = Field(description="the newest of them, newest first")


class StreamsView(_View):
    """A page of a sensor's streams."""

    node: str
    sensor: str
    streams: list[StreamAudit] = Field(description="the first that was heard of first")
    next: UUID | None = Field(description="`after` of the next page; null: this is the last one")


class SensorAudit(_View):
    """What became of all that a sensor measured: the sums of its streams."""

    node: str
    sensor: str
    stored: int
    missing: int
    lost: int
    gaps: int
    open_ends: int = Field(
        default=0,
        description="streams whose journal is gone, and of which nobody knows whether readings"
        " above the last one known were in it",
    )
    first_at: Moment | None = Field(
        description="the minute of the first reading; its hour, once there are no more minutes of it"
    )
    newest_at: Moment | None = Field(
        description="the date of the newest reading; its minute, once retention took it"
    )
    lost_spans: list[LostSpan] = Field(description="the newest of the gaps, newest first")


class AuditView(_View):
    """Every sensor of the history, by node and name."""

    sensors: list[SensorAudit]


class DiskView(_View):
    """The space that the history takes, as the recorder measured it last; it does so every hour."""

    as_of: Moment
    used_bytes: int = Field(ge=0, description="in use by rows; files may be larger")
    budget_bytes: int = Field(
        ge=0,
        description="BRISA_DISK_BUDGET_MB: above it the oldest raw readings are removed, then"
        " minutes; hours stay",
    )
    growth_bytes_per_day: int = Field(
        ge=0, description="of the sensors heard from within a day, by their intervals"
    )
    full_at: Moment | None = Field(
        description="when the budget is used up at this rate; null: not within a hundred years"
    )
