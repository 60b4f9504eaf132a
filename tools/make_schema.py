"""Write broker/schema/*.json, the JSON Schemas of the contract's payloads. `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from broker.contract import MODELS

FOLDER = Path(__file__).resolve().parent.parent / "broker" / "schema"


def schemas() -> dict[Path, str]:
    """Each file and what belongs into it."""
    made = {}
    for kind, model in MODELS.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            # what a subscriber finds on the wire, and what a publisher may leave out
            **model.model_json_schema(mode="validation"),
        }
        made[FOLDER / f"{kind}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return made


def main() -> int:
    stale = [
        path
        for path, text in schemas().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not what the models say: make schema", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path, text in schemas().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
