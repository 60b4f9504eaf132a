"""What the page's script says, in the reader's language; a template says the same by client_text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flask_babel import get_translations

from gateway.catalogue import marked, marked_plural

# By the script's keys; the states' and sources' are those of gateway/views.py.
TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "live": marked("Live"),
        "late": marked("Late"),
        "retrying": marked("Retrying"),
        "broken": marked("Broken"),
        "offline": marked("Offline"),
        "since": marked("since"),
        "age_s": marked("%(num)s s ago"),
        "age_min": marked("%(num)s min ago"),
        "age_h": marked("%(num)s h ago"),
        "age_d": marked("%(num)s d ago"),
        "age_unknown": marked("of unknown age"),
        "age_none": marked("no reading yet"),
        "source_simulated": marked("simulated"),
        "source_replay": marked("recording"),
        "sensors_0": marked("No sensor"),
        "troubled": marked("%(num)s in trouble"),
        "all_well": marked("all live"),
        "range_order": marked("The beginning must be before the end."),
        "feed_lost": marked(
            "The gateway has lost the MQTT broker: what you see is the last it knew."
        ),
    }
)
# Of these the script has two: its key and _1 for one, _n for any other number.
PLURALS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sensors": marked_plural("%(num)s sensor", "%(num)s sensors"),
        "found": marked_plural("%(num)s sensor found", "%(num)s sensors found"),
        "more": marked_plural("and %(num)s more", "and %(num)s more"),
    }
)


class _Places:
    """Fills each place with its own name: %(num)s becomes {num}, which the script fills."""

    def __getitem__(self, name: str) -> str:
        return f"{{{name}}}"


def client_texts() -> dict[str, str]:
    """Key → text, with its places as {name}."""
    said = get_translations()
    texts = {key: said.gettext(message) % _Places() for key, message in TEXTS.items()}
    for key, (one, many) in PLURALS.items():
        for form, n in (("1", 1), ("n", 2)):
            texts[f"{key}_{form}"] = said.ngettext(one, many, n) % _Places()
    return texts


def client_text(key: str, default: str = "", **places: object) -> str:
    """The text of that key; `default` where there is none."""
    message = TEXTS.get(key)
    return default if message is None else get_translations().gettext(message) % places
