"""Every link in our Markdown to a file or a heading of ours leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        check=True,
        capture_output=True,
        text=True,
    )
    files = [Path(name) for name in listed.stdout.splitlines() if Path(name).exists()]
    wrong = [line for file in files for line in broken(file)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def broken(file: Path) -> Iterator[str]:
    """A line for each link of `file` that leads nowhere; addresses of other hosts are not asked."""
    for target in links(file):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = file.parent / name if name else file
        if not path.exists():
            yield f"{file}: {target}: no such file"
        elif heading and heading not in headings(path):
            yield f"{file}: {target}: no such heading in {path}"


def links(file: Path) -> Iterator[str]:
    for token in _inline(file):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield unquote(target)  # Markdown quotes letters that are not ASCII


def headings(file: Path) -> set[str]:
    """The anchors that GitHub gives to a file's headings."""
    tokens = MarkdownIt().parse(file.read_text(encoding="utf-8"))
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _inline(file: Path) -> Iterator[Token]:
    tokens = MarkdownIt().parse(file.read_text(encoding="utf-8"))
    yield from (token for token in tokens if token.type == "inline")


if __name__ == "__main__":
    sys.exit(main())
