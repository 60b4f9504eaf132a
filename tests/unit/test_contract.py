"""Topics and payloads: what is allowed, and what is refused by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from broker import contract
from broker.contract import (
    MAX_EARLIER_STREAMS,
    MAX_NAMED_RANGES,
    SEQ_MAX,
    Backfill,
    ContractError,
    Kind,
    Mark,
    Measured,
    Reading,
    Stored,
    Topic,
    Topics,
)
from edge.catchup import BATCH_READINGS
from gateway.history.marks import EARLIER_RANGES
from tests.support import REPOSITORY

BROKER = Path(contract.__file__).parent
EXAMPLES = sorted((BROKER / "examples").glob("v*/*.json"))
GOOD: dict[str, Any] = {
    "stream": "0b7de6ce-7d8f-4f6e-9a51-0c3c1b8f8a01",
    "seq": 1,
    "measured_at": "2026-11-23T15:00:00.123Z",
    "clock_synchronised": True,
    "temperature_c": 24.0,
    "humidity_pct": 41.0,
    "source": "dht11",
}
HEALTH: dict[str, Any] = {
    "state": "ok",
    "since": "2026-11-23T15:00:00Z",
    "driver": "iio",
    "model": "dht11",
    "interval_s": 5,
}


def parsed(**changes: Any) -> Reading:
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return contract.parse_payload(Reading, json.dumps(fields).encode())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_wire_example_is_read_and_fits_its_schema(path: Path) -> None:
    kind = Kind(path.name.split(".")[0])
    contract.parse_payload(contract.MODELS[kind], path.read_bytes())
    schema = json.loads((BROKER / "schema" / f"{kind}.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate(json.loads(path.read_bytes()))


def test_there_is_an_example_and_a_schema_of_every_payload() -> None:
    assert {path.name.split(".")[0] for path in EXAMPLES} == set(Kind)
    assert {path.stem for path in (BROKER / "schema").glob("*.json")} == set(Kind)


def test_a_reading_goes_on_the_wire_in_utc_with_milliseconds() -> None:
    madrid = timezone(timedelta(hours=1))
    reading = parsed(measured_at=datetime(2026, 11, 23, 16, 0, 0, 123456, madrid).isoformat())
    assert reading.measured_at == datetime(2026, 11, 23, 15, 0, 0, 123456, UTC)
    assert json.loads(reading.to_json()) == GOOD


def test_unknown_fields_are_ignored() -> None:
    assert parsed(pressure_hpa=1013) == parsed()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperature_c": float("nan")}, "temperature_c nan: .*finite"),
        ({"temperature_c": float("inf")}, "temperature_c inf: .*finite"),
        ({"temperature_c": -3276.7}, "temperature_c -3276.7: .*greater than or equal to -60"),
        ({"temperature_c": "24"}, "temperature_c '24': .*number"),
        ({"humidity_pct": 140}, "humidity_pct 140: .*less than or equal to 100"),
        ({"humidity_pct": ...}, "humidity_pct: Field required"),
        ({"measured_at": "2026-11-23T15:00:00"}, "measured_at '2026-11-23T15:00:00': .*timezone"),
        ({"measured_at": 1700000000}, "measured_at 1700000000"),
        ({"measured_at": "0001-01-01T00:00:00+14:00"}, "measured_at .*years 1 to 9999"),
        ({"measured_at": "9999-12-31T23:59:59-12:00"}, "measured_at .*years 1 to 9999"),
        ({"seq": 0}, "seq 0: .*greater than or equal to 1"),
        ({"seq": 1.5}, "seq 1.5"),
        ({"seq": 2**63}, "seq 9223372036854775808"),
        ({"stream": "one"}, "stream 'one'"),
        ({"clock_synchronised": "yes"}, "clock_synchronised 'yes'"),
        ({"source": "<script>"}, "source '<script>'"),
    ],
)
def test_what_is_missing_or_impossible_is_refused_by_name(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ContractError, match=says) as caught:
        parsed(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"\xff\xfe", b"{" * 5000, b"24.0"])
def test_what_is_no_payload_is_refused_in_one_line(payload: bytes) -> None:
    for model in contract.MODELS.values():
        with pytest.raises(ContractError) as caught:
            contract.parse_payload(model, payload)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_payload_has_a_largest_size() -> None:
    big = json.dumps({**GOOD, "padding": "x" * contract.MAX_PAYLOAD_BYTES}).encode()
    with pytest.raises(ContractError, match="at most 16384"):
        contract.parse_payload(Reading, big)


def test_health_bounds_what_it_carries() -> None:
    def health(**changes: Any) -> contract.SensorHealth:
        payload = json.dumps({**HEALTH, **changes}).encode()
        return contract.parse_payload(contract.SensorHealth, payload)

    assert health(discarded={"timeout": 3, "a_cause.of-tomorrow": 1}).discarded["timeout"] == 3
    cases: list[tuple[dict[str, Any], str]] = [
        ({"state": "fine"}, "state 'fine'"),
        ({"interval_s": 0}, "interval_s 0"),
        ({"reason": "x" * 501}, "reason"),
        ({"discarded": {"timeout": -1}}, "discarded.timeout -1"),
        ({"discarded": {"a\nb": 1}}, r"discarded\.a\\nb"),
        ({"discarded": {f"c{n}": 1 for n in range(33)}}, "discarded"),
    ]
    for changes, says in cases:
        with pytest.raises(ContractError, match=says):
            health(**changes)


def test_a_backfill_is_oldest_first_and_bounded() -> None:
    def backfill(*numbers: int) -> contract.Backfill:
        rows = [{k: v for k, v in {**GOOD, "seq": n}.items() if k != "stream"} for n in numbers]
        payload = json.dumps({"stream": GOOD["stream"], "readings": rows}).encode()
        return contract.parse_payload(contract.Backfill, payload)

    assert [reading.seq for reading in backfill(1, 2, 9).readings] == [1, 2, 9]
    for numbers in [(2, 1), (1, 1), (), tuple(range(1, 502))]:
        with pytest.raises(ContractError):
            backfill(*numbers)


def test_the_largest_backfill_fits_into_a_message() -> None:
    row = {k: v for k, v in {**GOOD, "seq": 2**63 - 1}.items() if k != "stream"}
    rows = [{**row, "seq": 2**62 + n, "source": "x" * 32} for n in range(500)]
    payload = json.dumps({"stream": GOOD["stream"], "readings": rows}).encode()
    assert len(payload) < contract.MAX_LIST_BYTES
    contract.parse_payload(contract.Backfill, payload)


def test_topics_are_built_and_taken_apart() -> None:
    topics = Topics()
    assert topics.status("pi-1") == "brisa/pi-1/status"
    assert topics.parse("brisa/pi-1/status") == Topic(Kind.STATUS, "pi-1")
    for kind in (Kind.READING, Kind.HEALTH, Kind.BACKFILL, Kind.STORED):
        topic = topics.of(kind, "pi-1.lan", "dht11_a")
        assert topic == f"brisa/pi-1.lan/dht11_a/{kind}"
        assert topics.parse(topic) == Topic(kind, "pi-1.lan", "dht11_a")
    assert Topics("school/brisa").parse("school/brisa/pi-1/status").node == "pi-1"


@pytest.mark.parametrize(
    "node", ["", "a/b", "a+", "#", "Ñ", "PI", "-a", "a-", "a" * 64, "a b", "gateway", "viewer"]
)
def test_a_node_that_may_not_be_one_is_refused_with_what_is_allowed(node: str) -> None:
    with pytest.raises(ContractError, match=r"node '.*: (allowed are 1 to 63|the name of a)"):
        Topics().status(node)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "brisa",
        "brisa/",
        "brisa/pi-1",
        "other/pi-1/status",
        "brisa/pi-1/s/status",
        "brisa/-/status",
        "brisa/pi-1/s/reading/x",
        "brisa/pi-1/s/other",
        "brisa/pi-1//reading",
        "brisa//status",
    ],
)
def test_a_topic_that_is_not_of_the_contract_is_refused(topic: str) -> None:
    with pytest.raises(ContractError):
        Topics().parse(topic)


@pytest.mark.parametrize("root", ["", "/", "a//b", "a/#", "+", "A"])
def test_a_root_that_may_not_be_one_is_refused(root: str) -> None:
    with pytest.raises(ContractError, match="root"):
        Topics(root)


def test_the_largest_packets_that_ours_send_are_taken_by_mosquitto() -> None:
    """It hangs up on whoever sends a larger one: a node could have the recorder thrown off."""
    conf = (REPOSITORY / "broker" / "mosquitto.conf").read_text(encoding="utf-8")
    (limit,) = (int(line.split()[1]) for line in conf.splitlines() if "max_packet_size" in line)
    head = 2 * 64 + 64  # topic, identifier, properties
    first = SEQ_MAX - 500
    row = Measured(
        seq=first,
        measured_at=datetime(2026, 11, 27, 12, 0, 0, 123000, tzinfo=UTC),
        clock_synchronised=False,
        temperature_c=-59.99999999999999,
        humidity_pct=99.99999999999999,
        source="s" * 32,
    )
    rows = [row.model_copy(update={"seq": first + number}) for number in range(BATCH_READINGS)]
    batch = Backfill(stream=uuid4(), after=first - 1, newest=SEQ_MAX, readings=rows)
    assert len(batch.to_json()) + head < limit
    ranges = [(SEQ_MAX - 1, SEQ_MAX)] * MAX_NAMED_RANGES

    def mark(named: int) -> Mark:
        return Mark(
            stream=uuid4(),
            seq=SEQ_MAX,
            missing=SEQ_MAX,
            newest=SEQ_MAX,
            undated=ranges[:named],
            lost=ranges[:named],
        )

    earlier = [mark(EARLIER_RANGES)] * MAX_EARLIER_STREAMS
    stored = Stored(**dict(mark(MAX_NAMED_RANGES)), earlier=earlier)
    assert len(stored.to_json()) + head < limit
