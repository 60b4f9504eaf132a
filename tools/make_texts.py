"""Write gateway/translations/: the texts that the source has, with their Spanish. `--check` only looks.

A text that is new has no Spanish yet: that is written into messages.po by hand, then `make texts`
once more. What the source no longer says goes; nothing is guessed from what is similar.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = ROOT / "gateway"
PO = GATEWAY / "translations" / "es" / "LC_MESSAGES" / "messages.po"
MO = PO.with_suffix(".mo")

METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
# as create_app and gateway.locale set them up: else a text is not found at run time
JINJA = {"trim_blocks": "true", "lstrip_blocks": "true", "trimmed": "true", "silent": "false"}
KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "marked": None,
    "marked_plural": (1, 2),
}
COMMENT = "translators:"


class Texts(Catalog):
    """A catalogue whose header says nothing that changes by itself: no date, no version."""

    def __init__(self) -> None:
        super().__init__(locale="es", header_comment="# English → Spanish. `make texts` renews it.")

    def __iter__(self) -> Iterator[Message]:
        header = [
            "Language: es",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "Plural-Forms: nplurals=2; plural=(n != 1);",
        ]
        yield Message("", "\n".join(header) + "\n")
        yield from self._messages.values()


def extracted() -> Texts:
    """What the source says, with the Spanish of the file."""
    known = read(PO)
    texts = Texts()
    found = extract_from_dir(
        GATEWAY,
        METHODS,
        {"templates/**.html": JINJA},
        keywords=KEYWORDS,
        comment_tags=[COMMENT],
        strip_comment_tags=False,
    )
    for _file, _line, message, comments, context in found:
        single = message if isinstance(message, str) else message[0]
        old = known.get(single, context)
        string = old.string if old and isinstance(old.id, str) == isinstance(message, str) else None
        texts.add(message, string, auto_comments=comments, context=context)
    return texts


def read(path: Path) -> Catalog:
    if not path.exists():
        return Texts()
    with path.open("rb") as file:
        return read_po(file, locale="es", abort_invalid=True)


def untranslated(catalog: Catalog) -> list[str]:
    """Messages that have no Spanish, or not in each of their forms."""
    missing = []
    for message in catalog:
        forms = message.string if isinstance(message.string, list | tuple) else [message.string]
        if not all(forms):
            missing.append(message.id if isinstance(message.id, str) else message.id[0])
    return missing


def render() -> dict[Path, bytes]:
    """Each file and what belongs into it."""
    texts = extracted()
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, texts, width=100, no_location=True, sort_output=True)
    write_mo(mo, texts)
    return {PO: po.getvalue(), MO: mo.getvalue()}


def main() -> int:
    made = render()
    stale = [
        path for path, content in made.items() if not path.exists() or path.read_bytes() != content
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not what the source says: make texts", file=sys.stderr)
        return 1 if stale else 0
    PO.parent.mkdir(parents=True, exist_ok=True)
    for path, content in made.items():
        path.write_bytes(content)
    missing = untranslated(read(PO))
    for message in missing:
        print(f"{PO.relative_to(ROOT)}: no Spanish for “{message}”", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
