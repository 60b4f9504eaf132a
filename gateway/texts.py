"""What the page and /text say, in Spanish and in English, and how each writes a number."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

DEFAULT_LANGUAGE = "es"

_SPANISH = {
    "language": "Español",
    "title": "Temperatura y humedad",
    "temperature": "Temperatura",
    "humidity": "Humedad",
    "live": "En vivo",
    "late": "Con retraso",
    "retrying": "Reintentando",
    "broken": "Averiado",
    "offline": "Fuera de línea",
    "since": "desde",
    "age_s": "hace {n} s",
    "age_min": "hace {n} min",
    "age_h": "hace {n} h",
    "age_d": "hace {n} d",
    "age_unknown": "antigüedad desconocida",
    "age_none": "aún sin lecturas",
    "source_simulated": "simulado",
    "source_replay": "grabación",
    "sensors_0": "Ningún sensor",
    "sensors_1": "1 sensor",
    "sensors_n": "{n} sensores",
    "troubled": "{n} con problemas",
    "all_well": "todo en vivo",
    "feed_lost": "La pasarela ha perdido el broker MQTT: lo que se ve es lo último que supo.",
    "feed_never": "La pasarela aún no ha encontrado el broker MQTT.",
    "page_lost": "Sin conexión con la pasarela: lo que se ve ya no se actualiza. Reintentando…",
    "empty_title": "Todavía no hay sensores",
    "empty_intro": "La página está lista. Aparecerán aquí solos, sin recargar, en cuanto un nodo"
    " publique.",
    "empty_cluster": "En el clúster, etiquete el nodo que tiene el sensor:",
    "empty_pi": "En una Raspberry Pi sin clúster, arranque el lector:",
    "empty_see": "¿No aparece? El lector explica qué falta:",
    "no_script": "Sin JavaScript, esta página se recarga cada 10 segundos.",
    "as_text": "Como texto",
    "as_json": "Como JSON",
    "text_line": "Temperatura={t}°C | Humedad={h}%HR",
    "text_retrying": "Falla de lectura. Reintentando...",
    "text_broken": "Sensor averiado",
    "text_offline": "fuera de línea",
    "text_late": "sin datos nuevos",
    "text_none": "Aún sin lecturas",
    "text_age_unknown": "antigüedad desconocida",
    "text_no_broker": "la pasarela no tiene conexión con el broker",
    "text_empty": "Todavía no hay sensores.",
}
_ENGLISH = {
    "language": "English",
    "title": "Temperature and humidity",
    "temperature": "Temperature",
    "humidity": "Humidity",
    "live": "Live",
    "late": "Late",
    "retrying": "Retrying",
    "broken": "Broken",
    "offline": "Offline",
    "since": "since",
    "age_s": "{n} s ago",
    "age_min": "{n} min ago",
    "age_h": "{n} h ago",
    "age_d": "{n} d ago",
    "age_unknown": "of unknown age",
    "age_none": "no reading yet",
    "source_simulated": "simulated",
    "source_replay": "recording",
    "sensors_0": "No sensor",
    "sensors_1": "1 sensor",
    "sensors_n": "{n} sensors",
    "troubled": "{n} in trouble",
    "all_well": "all live",
    "feed_lost": "The gateway has lost the MQTT broker: what you see is the last it knew.",
    "feed_never": "The gateway has not found the MQTT broker yet.",
    "page_lost": "No connection to the gateway: what you see is no longer updated. Retrying…",
    "empty_title": "No sensors yet",
    "empty_intro": "The page is ready. They appear here by themselves, without a reload, as soon"
    " as a node publishes.",
    "empty_cluster": "In the cluster, label the node that has the sensor:",
    "empty_pi": "On a Raspberry Pi without a cluster, start the reader:",
    "empty_see": "Nothing appears? The reader says what is missing:",
    "no_script": "Without JavaScript, this page reloads every 10 seconds.",
    "as_text": "As text",
    "as_json": "As JSON",
    "text_line": "Temperature={t}°C | Humidity={h}%RH",
    "text_retrying": "Reading failed. Retrying...",
    "text_broken": "Sensor broken",
    "text_offline": "offline",
    "text_late": "no new data",
    "text_none": "No reading yet",
    "text_age_unknown": "of unknown age",
    "text_no_broker": "the gateway has no connection to the broker",
    "text_empty": "No sensors yet.",
}
TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType({"es": _SPANISH, "en": _ENGLISH})
LANGUAGES = tuple(TEXTS)


def number(value: float | None, language: str) -> str:
    """One decimal, with the language's decimal sign; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:.1f}".replace(".", "," if language == "es" else ".")


def age(since: datetime | None, now: datetime, language: str) -> str:
    """How long ago, in the largest unit of which there is one."""
    texts = TEXTS[language]
    if since is None:
        return texts["age_unknown"]
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length in (("age_d", 86400), ("age_h", 3600), ("age_min", 60)):
        if seconds >= length:
            return texts[unit].format(n=seconds // length)
    return texts["age_s"].format(n=seconds)


def count(sensors: int, troubled: int, language: str, *, believed: bool) -> str:
    """The page's one-line summary; all is well only where the broker can be `believed`."""
    texts = TEXTS[language]
    text = texts.get(f"sensors_{sensors}", texts["sensors_n"]).format(n=sensors)
    if sensors == 0 or not (troubled or believed):
        return text
    state = texts["troubled"].format(n=troubled) if troubled else texts["all_well"]
    return f"{text} · {state}"


def moment(value: datetime) -> str:
    """In UTC and saying so: a server does not know its reader's time zone."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
