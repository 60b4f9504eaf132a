"""What the documents promise exists: commands, options, snippets, in both languages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from broker.contract import (
    Backfill,
    NodeStatus,
    Payload,
    Reading,
    SensorHealth,
    Stored,
    parse_payload,
)
from tests.support import REPOSITORY, python

READMES = (REPOSITORY / "README.md", REPOSITORY / "README.es.md")
CONTRACT = REPOSITORY / "broker" / "CONTRACT.md"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    lines = [line for block in blocks(path, "sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def test_both_readmes_give_the_same_commands() -> None:
    assert commands(READMES[0]) == commands(READMES[1])


def test_every_make_target_and_variable_in_the_readme_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    mentioned = re.findall(r"(?:`|\n)make ([a-z]+)((?: [A-Z]+=\S+)*)", READMES[0].read_text())
    assert {target for target, _ in mentioned} >= {"run", "test"}
    for target, variables in mentioned:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for name in re.findall(r"([A-Z]+)=", variables):
            assert f"$({name})" in makefile, name


@pytest.mark.parametrize(
    "command",
    ["edge", "gateway", "broker", "broker.healthcheck", "gateway.history", "edge journal export"]
    + [
        f"edge {name}"
        for name in ("run", "read", "doctor", "decode", "encode", "journal", "credential")
    ]
    + [f"gateway.history {name}" for name in ("run", "export", "import", "audit", "prune")],
)
def test_every_command_has_help(command: str) -> None:
    with python("-m", *command.split(), "--help") as process:
        assert process.wait() == 0
        assert "usage: " in process.output


MODELS: list[type[Payload]] = [Reading, SensorHealth, NodeStatus, Stored, Backfill]


def test_the_contract_s_snippets_are_payloads() -> None:
    snippets = blocks(CONTRACT, "json")
    assert len(snippets) == len(MODELS)
    for snippet, model in zip(snippets, MODELS, strict=True):
        parse_payload(model, snippet.encode())


def test_the_contract_names_every_field() -> None:
    text = CONTRACT.read_text()
    for model in MODELS:
        for name in model.model_fields:
            assert f"`{name}`" in text or f'"{name}"' in text, f"{model.__name__}.{name}"


def test_the_subscriber_s_line_is_the_one_that_make_run_prints() -> None:
    (line,) = [words for words in commands(READMES[0]) if words[0] == "mosquitto_sub"]
    launcher = (REPOSITORY / "tools" / "run.py").read_text()
    for word in ("mosquitto_sub", "-u viewer", "-t 'brisa/#' -v"):
        assert word in launcher
    assert line[line.index("-t") + 1] == "brisa/#"
