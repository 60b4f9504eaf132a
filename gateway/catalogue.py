"""The texts by gettext: in English in the source, in Spanish in translations/ (`make texts`).

Places in a text are %(name)s. Where there is a request, flask_babel's gettext, and `_` in templates,
speak the reader's language; `catalogue` is for those who are told which language it shall be.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).parent / "translations"
SOURCE_LANGUAGE = "en"
DEFAULT_LANGUAGE = "es"
# Each by its own name: who does not read this page's language looks for his.
LANGUAGES: Mapping[str, str] = MappingProxyType({"es": "Español", "en": "English"})


@cache
def catalogue(language: str) -> NullTranslations:
    """The language's texts."""
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    return translation("messages", FOLDER, [language])


def marked(message: str) -> str:
    """For `make texts` to find a text that is translated elsewhere, when the language is known."""
    return message


def marked_plural(one: str, many: str) -> tuple[str, str]:
    """The same, of a text that says how many: one is chosen by ngettext's rule."""
    return one, many
