"""What the documents promise exists: commands, options, snippets, in both languages."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
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
from tools.make_texts import PO, read

READMES = (REPOSITORY / "README.md", REPOSITORY / "README.es.md")
CONTRACT = REPOSITORY / "broker" / "CONTRACT.md"
GUIDES = {  # English: Spanish
    "README": "README",
    "wiring": "cableado",
    "install": "instalar",
    "from-the-report": "desde-el-informe",
    "page": "pagina",
    "operate": "operar",
    "troubleshoot": "problemas",
}
PAIRS = [
    READMES,
    *(
        (REPOSITORY / f"docs/guide/{english}.md", REPOSITORY / f"docs/guia/{spanish}.md")
        for english, spanish in GUIDES.items()
    ),
]
BOTH = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].stem)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    lines = [line for block in blocks(path, "sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def outline(path: Path) -> list[str]:
    """What a page is made of, without its words: headings by depth, rows of tables, pictures."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    marks = re.findall(r"^(#+ |\||!\[)", text, re.MULTILINE)
    return [mark.strip() for mark in marks]


def says(path: Path) -> list[str]:
    """The words of ours that a page quotes: the first column of tables headed so."""
    quoted = []
    tables = re.findall(
        r"^\| (?:brisa|make) (?:says|dice) .*?\n((?:\|.*\n)+)", path.read_text(), re.MULTILINE
    )
    for row in "".join(tables).splitlines():
        for code in re.findall(r"`(.+?)`", row.split(" | ")[0]):
            quoted += [part.strip() for part in code.split("…") if part.strip()]
    return quoted


def our_words() -> str:
    """All that our programs can print, a string a line."""
    scripts = [
        path.read_text()
        for path in (REPOSITORY / "tools").iterdir()
        if path.is_file() and not path.suffix
    ]
    trees = [
        ast.parse(path.read_text())
        for folder in ("broker", "edge", "gateway", "tools")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    constants = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    texts = read(PO)
    pages = [
        text for message in texts for text in (*_forms(message.id), *_forms(message.string or ""))
    ]
    return "\n".join(scripts + constants + pages)


def _forms(text: str | Sequence[str]) -> Sequence[str]:
    return (text,) if isinstance(text, str) else text


def test_every_guide_is_in_both_languages() -> None:
    pages = {page for pair in PAIRS for page in pair}
    assert pages == {*READMES, *(REPOSITORY / "docs").glob("gui[ad]*/*.md")}


@BOTH
def test_both_languages_give_the_same_commands(pair: tuple[Path, Path]) -> None:
    english, spanish = pair
    assert commands(english) == commands(spanish)
    for language in ("yaml", "text"):
        assert blocks(english, language) == blocks(spanish, language)


@BOTH
def test_both_languages_have_the_same_outline(pair: tuple[Path, Path]) -> None:
    assert outline(pair[0]) == outline(pair[1])


@pytest.mark.parametrize(
    ("page", "at_least"),
    [
        ("guide/troubleshoot.md", 50),
        ("guia/problemas.md", 50),
        ("guide/page.md", 20),
        ("guia/pagina.md", 20),
    ],
)
def test_the_words_that_a_guide_quotes_are_ours(page: str, at_least: int) -> None:
    quoted, ours = says(REPOSITORY / "docs" / page), our_words()
    assert len(quoted) >= at_least
    assert [words for words in quoted if words not in ours] == []


@BOTH
def test_every_make_target_and_variable_exists(pair: tuple[Path, Path]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    text = pair[0].read_text()
    mentioned = re.findall(
        r"(?:`|\n)(?:sudo )?make ([a-z]+(?:-[a-z]+)*)((?: [A-Z]+=[^\s`]+)*)", text
    )
    if pair is READMES:
        assert {target for target, _ in mentioned} >= {"run", "test", "images", "deploy"}
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
