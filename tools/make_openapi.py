"""Write gateway/openapi.json from the gateway's models. `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from broker.ids import ID_PATTERN  # noqa: E402 - found by the line above
from gateway.catalogue import DEFAULT_LANGUAGE, LANGUAGES  # noqa: E402
from gateway.history.views import AuditView, HistoryView, StreamsView  # noqa: E402
from gateway.history_api import MAX_EXPORTS, MAX_POINTS, MAX_STREAMS, POINTS, STREAMS  # noqa: E402
from gateway.problems import MEDIA_TYPE, ProblemView  # noqa: E402
from gateway.system_views import SystemView  # noqa: E402
from gateway.views import SensorList, SensorView  # noqa: E402

TARGET = ROOT / "gateway" / "openapi.json"
STREAM = (
    "`state` (a SensorList) first, or with the id of an event of this epoch what has changed since;"
    " then `change` (what changed, whole, and `removed`), `feed` (`{feed: FeedView}`, when the"
    " gateway loses or finds the broker) and, every 15 s, `heartbeat`. Each has `server_time`."
)
HISTORY = (
    "A sensor's past: up to `points` buckets of time from the fittest roll-up, or with `format=csv`"
    " every reading, stream by stream, as the database has it"
)


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": PydanticSchema(schema_class=model)}}


def _text(media_type: str = "text/plain") -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string"}}}


def _problem(description: str) -> dict[str, Any]:
    schema: Any = PydanticSchema(schema_class=ProblemView)
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _get(
    operation: str,
    summary: str,
    content: dict[str, Any],
    *parameters: dict[str, Any],
    **answers: dict[str, Any],
) -> dict[str, Any]:
    """A path with its GET; `answers` are those other than 200, each by its status: `_404`."""
    bad = _problem("a query parameter that is unknown, or not allowed")
    responses = {"200": {"description": summary, "content": content}, "400": bad}
    responses |= {status.removeprefix("_"): answer for status, answer in answers.items()}
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "parameters": list(parameters),
            "responses": responses,
        }
    }


def _id(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _lang() -> dict[str, Any]:
    schema = {"type": "string", "enum": list(LANGUAGES), "default": DEFAULT_LANGUAGE}
    return {"name": "lang", "in": "query", "schema": schema}


def _query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _history() -> dict[str, dict[str, Any]]:
    unchanged = {"description": "as the ETag in If-None-Match says"}
    none = "no history is configured"
    away = "the database is away, or its tables are another version's"
    moment: Any = {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]
    }
    means = "A date is its midnight, UTC"
    return {
        "/api/v1/sensors/{node}/{sensor}/history": _get(
            "history",
            HISTORY,
            _json(HistoryView) | _text("text/csv"),
            _id("node"),
            _id("sensor"),
            _query("from", f"{means}. Default: a day before `to`", **moment),
            _query("to", f"{means}. Exclusive. Default: now", **moment),
            _query(
                "points",
                "JSON only",
                type="integer",
                minimum=1,
                maximum=MAX_POINTS,
                default=POINTS,
            ),
            _query("format", "of the answer", type="string", enum=["json", "csv"], default="json"),
            _304=unchanged,
            _404=_problem(f"no such sensor, or {none}"),
            _503=_problem(f"{away}; or {MAX_EXPORTS} exports are under way. See Retry-After"),
        ),
        "/api/v1/audit": _get(
            "audit",
            "Of each sensor: what is stored, missing and lost",
            _json(AuditView),
            _304=unchanged,
            _404=_problem(none),
            _503=_problem(f"{away}. See Retry-After"),
        ),
        "/api/v1/audit/{node}/{sensor}": _get(
            "streams",
            "Of each stream of a sensor: what is stored, missing and lost; in pages",
            _json(StreamsView),
            _id("node"),
            _id("sensor"),
            _query("after", "`next` of the page before", type="string", format="uuid"),
            _query(
                "limit",
                "how many streams are on a page",
                type="integer",
                minimum=1,
                maximum=MAX_STREAMS,
                default=STREAMS,
            ),
            _304=unchanged,
            _404=_problem(f"no such sensor or stream, or {none}"),
            _503=_problem(f"{away}. See Retry-After"),
        ),
    }


def render() -> str:
    """The document, as it is in the file."""
    unchanged = {"description": "as the ETag in If-None-Match says"}
    not_well = {"description": "what is wrong, one line each", "content": _text()}
    last_event = {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": {"type": "string"},
        "description": "EPOCH-VERSION",
    }
    document = OpenAPI.model_validate(
        {
            "openapi": "3.1.1",
            "info": {
                "title": "brisa gateway",
                "version": "1",
                "description": "Temperature and humidity, as they are now and as they were.",
            },
            "paths": {
                "/api/v1/sensors": _get(
                    "sensors", "Every sensor", _json(SensorList), _304=unchanged
                ),
                "/api/v1/sensors/{node}/{sensor}": _get(
                    "sensor",
                    "One sensor",
                    _json(SensorView),
                    _id("node"),
                    _id("sensor"),
                    _304=unchanged,
                    _404=_problem("no such sensor"),
                ),
                **_history(),
                "/api/v1/system": _get(
                    "system",
                    "All that brisa is made of, and what is wrong",
                    _json(SystemView),
                    _304=unchanged,
                ),
                "/api/v1/stream": _get(
                    "stream",
                    STREAM,
                    _text("text/event-stream"),
                    last_event,
                    _query(
                        "last_event_id",
                        "the same, for a first connect; the header, which a browser sends when it"
                        " connects again, goes before",
                        type="string",
                    ),
                    _query(
                        "sensor",
                        "NODE/SENSOR: of this sensor only",
                        type="string",
                        pattern=f"^{ID_PATTERN}/{ID_PATTERN}$",
                    ),
                    _503=_problem("all streams are taken, or the gateway is stopping"),
                ),
                "/text": _get(
                    "text",
                    "The report's one line for each sensor",
                    _text(),
                    _lang(),
                ),
                "/healthz": _get("healthz", "Alive", _text(), _503=not_well),
                "/readyz": _get("readyz", "Ready", _text(), _503=not_well),
                "/metrics": _get("metrics", "For Prometheus", _text()),
            },
        }
    )
    document = construct_open_api_with_schema_class(document)
    as_dict = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return json.dumps(as_dict, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != render():
            print(f"{TARGET.name} is not what the models say: make schema", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
