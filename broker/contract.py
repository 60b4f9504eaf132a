"""The contract: topics and payloads, built and parsed here and nowhere else.

No I/O. CONTRACT.md says the same for people who write subscribers; schema/ holds the JSON
Schemas made from these models, and examples/v1/ payloads that every later version must read.

Readers ignore unknown fields, so that a newer edge and an older gateway get along; a missing or
impossible field is refused with a `ContractError` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, NamedTuple, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from broker.ids import ID_RULE, RESERVED_NODES, is_id

DEFAULT_ROOT = "brisa"
MAX_PAYLOAD_BYTES = 16 * 1024
MAX_LIST_BYTES = 128 * 1024  # a back-fill, or the account of many streams
MAX_BACKFILL_READINGS = 500
MAX_EARLIER_STREAMS = 32
MAX_NAMED_RANGES = 16
# Wide enough for every sensor of the family (DHT22: -40 to 80 °C, 0 to 100 %), narrow enough that
# an all-ones frame (6553.5) and a two's complement read as a magnitude (-3276) can never pass.
TEMPERATURE_MIN_C, TEMPERATURE_MAX_C = -60.0, 125.0
HUMIDITY_MIN_PCT, HUMIDITY_MAX_PCT = 0.0, 100.0
SEQ_MAX = 2**63 - 1


class ContractError(ValueError):
    """A topic, an id or a payload breaks the contract; the text is one line that says where."""


class Kind(StrEnum):
    """The last level of a topic."""

    STATUS = "status"
    READING = "reading"
    HEALTH = "health"
    BACKFILL = "backfill"
    STORED = "stored"


class Topic(NamedTuple):
    """What a topic names; `sensor` is empty for a node's status."""

    kind: Kind
    node: str
    sensor: str = ""


def checked_id(what: str, value: str) -> str:
    """Return `value` if it may be a node's or sensor's id. Raises ContractError naming `what`."""
    if not is_id(value):
        raise ContractError(f"{what} {shown(value)}: allowed are {ID_RULE}")
    if what == "node" and value in RESERVED_NODES:
        raise ContractError(f"node {shown(value)}: the name of a service; choose another")
    return value


def shown(value: object, limit: int = 60) -> str:
    """A value from outside, fit for one line of a log: quoted, escaped, cut."""
    text = ascii(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class Topics:
    """Builds and parses topics below one root."""

    def __init__(self, root: str = DEFAULT_ROOT) -> None:
        if not root or any(not is_id(level) for level in root.split("/")):
            raise ContractError(f"root {shown(root)}: allowed are levels of {ID_RULE}, joined by /")
        self.root = root
        self._prefix = root + "/"

    @property
    def all(self) -> str:
        """The filter for everything below the root."""
        return f"{self.root}/#"

    def status(self, node: str) -> str:
        return f"{self._prefix}{checked_id('node', node)}/{Kind.STATUS}"

    def of(self, kind: Kind, node: str, sensor: str) -> str:
        """The topic of a sensor's reading, health, backfill or stored."""
        return f"{self._prefix}{checked_id('node', node)}/{checked_id('sensor', sensor)}/{kind}"

    def of_all(self, kind: Kind, node: str = "+") -> str:
        """The filter for one kind of every sensor: of a node, or of all."""
        return f"{self._prefix}{node}/+/{kind}"

    def parse(self, topic: str) -> Topic:
        """Take a topic apart. Raises ContractError for one that is not of the contract."""
        if not topic.startswith(self._prefix):
            raise ContractError(f"topic {shown(topic)}: not below {self.root}/")
        levels = topic[len(self._prefix) :].split("/")
        match levels:
            case [node, "status"]:
                return Topic(Kind.STATUS, checked_id("node", node))
            case [node, sensor, kind] if kind in _SENSOR_KINDS:
                return Topic(Kind(kind), checked_id("node", node), checked_id("sensor", sensor))
        raise ContractError(f"topic {shown(topic)}: not one of the contract's")


def _rising(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError("the first must not be above the last")
    return value


def in_utc_ms(moment: datetime) -> str:
    """As payloads and the APIs write it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it must be of the years 1 to 9999") from None


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(in_utc_ms, when_used="json"),
    Field(description="UTC, ISO 8601, milliseconds"),
]
Seq = Annotated[int, Field(ge=1, le=SEQ_MAX, description="1, 2, 3 … in its stream")]
Text = Annotated[str, StringConstraints(max_length=500)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]


class _Payload(BaseModel):
    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null"
    )

    def to_json(self) -> bytes:
        """The payload as it goes on the wire."""
        return self.model_dump_json(exclude_none=True).encode()


class Measured(_Payload):
    """One measurement, numbered in its stream."""

    seq: Seq
    measured_at: Moment
    clock_synchronised: bool = Field(description="was the node's clock right when it measured?")
    temperature_c: float = Field(ge=TEMPERATURE_MIN_C, le=TEMPERATURE_MAX_C, description="°C")
    humidity_pct: float = Field(
        ge=HUMIDITY_MIN_PCT, le=HUMIDITY_MAX_PCT, description="relative humidity, %"
    )
    source: Word = Field(description="where it is from: dht11, dht22, replay, simulated, …")


class MonotonicTime(_Payload):
    """When something was, on the monotonic clock of a running kernel."""

    clock: Word = Field(description="which clock; programs on one running kernel share it")
    ms: int = Field(ge=0, le=SEQ_MAX, description="its time, milliseconds")


class Reading(Measured):
    """`<root>/<node>/<sensor>/reading`, retained: the newest reading."""

    stream: UUID = Field(description="the journal (or process) that numbered it")
    measured_monotonic: MonotonicTime | None = Field(
        default=None,
        description="where the node's clock was not right: when it was measured, for who reads"
        " the same monotonic clock",
    )


class SensorState(StrEnum):
    """What the edge says of a sensor."""

    OK = "ok"
    RETRYING = "retrying"
    BROKEN = "broken"


class SensorHealth(_Payload):
    """`<root>/<node>/<sensor>/health`, retained: how the sensor does."""

    state: SensorState
    since: Moment = Field(description="when this state began")
    reason: Text = Field(default="", description="why it is not ok, and what to do; English")
    driver: Word
    model: Word
    interval_s: float = Field(gt=0, le=86400, description="from reading to reading, seconds")
    readings: int = Field(default=0, ge=0, le=SEQ_MAX, description="accepted since start")
    discarded: dict[Word, Annotated[int, Field(ge=0, le=SEQ_MAX)]] = Field(
        default_factory=dict,
        max_length=32,
        description="not accepted since start, by cause: timeout, checksum, slip, range, …",
    )
    stream: UUID | None = None
    oldest_seq: Seq | None = Field(default=None, description="the oldest that can be sent again")
    newest_seq: Seq | None = None
    ended: bool | None = Field(
        default=None,
        description="the edge ends: no number above newest_seq was given to a reading;"
        " null: an edge that does not say so",
    )
    journal: Text = Field(default="", description="what is wrong with the journal; English")


class NodeState(StrEnum):
    """Is a node's edge connected?"""

    ONLINE = "online"
    OFFLINE = "offline"


class NodeStatus(_Payload):
    """`<root>/<node>/status`, retained; `offline` is the edge's last will."""

    state: NodeState
    instance: Text = Field(default="", description="the edge process that says so")
    version: Text = ""


class Backfill(_Payload):
    """`<root>/<node>/<sensor>/backfill`, not retained: readings that the recorder lacks.

    With `after` the sender vouches that it has no other reading of the stream between that number
    and the last one here (with no readings at all: none after it): what is missing there is lost.
    With `gone` it vouches that nobody else has any, either: the stream's journal does not exist.
    """

    stream: UUID
    after: int | None = Field(
        default=None, ge=0, le=SEQ_MAX, description="nothing of the stream after it is left out"
    )
    newest: Seq | None = Field(
        default=None, description="the highest number that is known to have been published"
    )
    gone: bool = Field(default=False, description="the journal that numbered the stream is gone")
    readings: list[Measured] = Field(max_length=MAX_BACKFILL_READINGS)

    @model_validator(mode="after")
    def _oldest_first(self) -> Backfill:
        numbers = [reading.seq for reading in self.readings]
        if not numbers and self.after is None:
            raise ValueError("no readings, and no number after which there are none")
        if any(later <= earlier for earlier, later in pairwise([self.after or 0, *numbers])):
            raise ValueError("seq must rise from reading to reading, beginning above after")
        return self


Range = Annotated[tuple[Seq, Seq], Field(description="first and last seq"), AfterValidator(_rising)]


class Mark(_Payload):
    """How far a stream is in the database."""

    stream: UUID
    seq: int = Field(ge=0, le=SEQ_MAX, description="all up to here is stored, or known to be lost")
    missing: int = Field(
        default=0, ge=0, description="how many it lacks of those that it knows to exist"
    )
    newest: int = Field(default=0, ge=0, le=SEQ_MAX, description="the highest that is stored")
    closed: bool = Field(
        default=False,
        description="its edge has ended it in order, or its journal is known to be gone",
    )
    undated: list[Range] = Field(
        default_factory=list,
        max_length=MAX_NAMED_RANGES,
        description="stored with the date of a clock that was not synchronised: if the date is"
        " known by now, send these again",
    )
    lost: list[Range] = Field(
        default_factory=list,
        max_length=MAX_NAMED_RANGES,
        description="known to be lost: if they are there after all, send them",
    )


class Stored(Mark):
    """`<root>/<node>/<sensor>/stored`, retained: how far the sensor's streams are."""

    earlier: list[Mark] = Field(
        default_factory=list,
        max_length=MAX_EARLIER_STREAMS,
        description="the sensor's other streams: those not whole, and those heard of lately",
    )


P = TypeVar("P", bound=BaseModel)
Payload = Reading | SensorHealth | NodeStatus | Backfill | Stored
MODELS: Mapping[Kind, type[Payload]] = {
    Kind.STATUS: NodeStatus,
    Kind.READING: Reading,
    Kind.HEALTH: SensorHealth,
    Kind.BACKFILL: Backfill,
    Kind.STORED: Stored,
}
_SENSOR_KINDS = frozenset(kind.value for kind in Kind if kind is not Kind.STATUS)


def most_bytes(model: type[BaseModel]) -> int:
    """How large a payload may be."""
    return MAX_LIST_BYTES if model in {Backfill, Stored} else MAX_PAYLOAD_BYTES


def parse_payload(model: type[P], payload: bytes | bytearray) -> P:
    """Read a payload. Raises ContractError with one line that names field, value and rule."""
    limit = most_bytes(model)
    if len(payload) > limit:
        raise ContractError(f"{len(payload)} bytes: at most {limit} are allowed")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise ContractError(one_line(error)) from None


def one_line(error: ValidationError) -> str:
    """The first thing that pydantic found, and how many more there are."""
    details = error.errors(include_url=False, include_context=False)
    first = details[0]
    # a key of somebody's JSON may be in it: escaped and cut, as values are
    where = shown(".".join(str(part) for part in first["loc"]) or "payload")[1:-1]
    value = "" if first["type"] == "missing" else f" {shown(first['input'])}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{where}{value}: {first['msg'][:200]}{more}"
