"""What `/api/v1/system` answers: all that brisa is made of, as one gateway sees it, and what is wrong.

No age and no present time is in it, so that what has not changed stays the same bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broker.contract import Moment
from gateway.history.views import DiskView
from gateway.views import Epoch, NodeView


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()


class Code(StrEnum):
    """What is wrong. They stay; more may come. Within a severity, problems come in this order."""

    BROKER_NEVER_FOUND = "broker_never_found"
    BROKER_LOST = "broker_lost"
    DATABASE_AWAY = "database_away"
    RECORDER_BEHIND = "recorder_behind"
    NODE_OFFLINE = "node_offline"
    SENSOR_BROKEN = "sensor_broken"
    JOURNAL_TROUBLE = "journal_trouble"
    READINGS_LOST = "readings_lost"
    JOURNAL_GONE = "journal_gone"
    SENSOR_RETRYING = "sensor_retrying"
    SENSOR_LATE = "sensor_late"
    CLOCK_NOT_SYNCHRONISED = "clock_not_synchronised"
    CLOCK_OFF = "clock_off"
    SENSORS_OVER_LIMIT = "sensors_over_limit"
    READINGS_MISSING = "readings_missing"
    MESSAGES_REJECTED = "messages_rejected"
    VERSION_DIFFERS = "version_differs"
    REPLICAS_UNKNOWN = "replicas_unknown"
    REPLICA_MISSING = "replica_missing"
    HISTORY_NOT_CONFIGURED = "history_not_configured"


class Severity(StrEnum):
    """error: readings are not shown, or not stored. warning: they may not be, or are in part."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


Params = dict[str, str | int | float | list[str] | None]


class SystemProblem(_View):
    """Something that is wrong. The sentences for people are the page's."""

    code: Code
    severity: Severity
    subject: str = Field(
        description="what it is of: a node, node/sensor, or gateway, broker, database, recorder"
    )
    params: Params = Field(
        description="more of it, by the code; moments are ISO 8601, null: unknown"
    )


class ReplicasView(_View):
    """How many gateways there are, by the name that BRISA_REPLICAS_NAME has an address for each of."""

    configured: bool = Field(description="is there such a name?")
    count: int | None = Field(
        description="this one included; 1 without a name; null: the name could not be looked up"
    )


class GatewayView(_View):
    """The gateway that answers."""

    version: str
    epoch: Epoch
    started_at: Moment
    viewers: int = Field(ge=0, description="open streams of this gateway")
    replicas: ReplicasView


class BrokerView(_View):
    """The gateway's connection to the broker."""

    connected: bool
    found: bool = Field(description="was it ever connected since it started?")
    since: Moment = Field(description="when the connection came or went")


class DatabaseState(StrEnum):
    """What the gateway knows of the history's database, by reading it."""

    NOT_CONFIGURED = "not_configured"
    UNKNOWN = "unknown"
    READABLE = "readable"
    AWAY = "away"


class DatabaseView(_View):
    """The history's database."""

    state: DatabaseState = Field(description="unknown: the gateway has only begun to look")
    as_of: Moment | None = Field(
        description="when it was last read; it is, every 10 s. null: not yet"
    )
    disk: DiskView | None = Field(
        default=None, description="the space it takes; null: not known, or not measured yet"
    )


class RecorderState(StrEnum):
    """What the recorder does, judged by what the database has of the sensors that are live."""

    NOT_CONFIGURED = "not_configured"
    UNKNOWN = "unknown"
    STORING = "storing"
    BEHIND = "behind"


class BehindSensor(_View):
    """A sensor of whose readings the newest are not in the database, though they should be."""

    node: str
    sensor: str
    readings: int = Field(ge=1, description="how many, of the stream in use")
    since: Moment = Field(description="when the first of them was taken, reckoned by its interval")


class RecorderView(_View):
    """The recorder, which the gateway does not speak with."""

    state: RecorderState = Field(
        description="behind: a reading of a live sensor was not in the database 90 s after it"
        " came; unknown: there is no live sensor to judge by, or no database or broker"
    )
    since: Moment | None = Field(description="when it fell behind, reckoned; null: it has not")
    readings: int = Field(ge=0, description="by how many it is behind")
    judged: int = Field(ge=0, description="by so many live sensors, not those that have only begun")
    behind: int = Field(ge=0, description="of so many it is behind")
    sensors: list[BehindSensor] = Field(description="the first of these")
    missing: int = Field(
        ge=0, description="readings of all sensors that the nodes are to send again"
    )
    lost: int = Field(ge=0, description="readings of all sensors that will not come any more")


class SystemView(_View):
    """All that brisa is made of, as the gateway sees it, and what is wrong with it."""

    gateway: GatewayView
    broker: BrokerView
    recorder: RecorderView
    database: DatabaseView
    nodes: list[NodeView]
    problems: list[SystemProblem] = Field(
        description="the severest first; at most 20 of each code: see left_off"
    )
    left_off: dict[Code, Annotated[int, Field(ge=1)]] = Field(
        description="by code, how many problems there are beside those listed"
    )
