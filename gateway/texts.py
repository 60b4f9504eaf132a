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
# What is said of the history; the page's script needs none of it. _1 is for one, _n for others.
HISTORY: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "es": {
            "title": "Historial",
            "whole": "Completo",
            "missing": "Completándose",
            "lost": "Con pérdidas",
            "none": "Sin lecturas",
            "nothing": "Aún no hay ninguna lectura guardada. Si sigue así: ¿está en marcha el registrador?"
            " (python -m gateway.history)",
            "waiting": "Leyendo el historial…",
            "away": "Ahora no se puede leer el historial; el registro de la pasarela dice por qué.",
            "as_of": "Lo que sigue es del {moment}.",
            "past": "Últimas 24 horas",
            "json": "Recuento como JSON",
            "at": "del {moment}",
            "all_1": "La única lectura, del {day}, está guardada.",
            "all_n": "Las {n} lecturas desde el {day} están todas guardadas.",
            "stored_0": "Aún no hay ninguna lectura guardada.",
            "stored_1": "Está guardada 1 lectura desde el {day}.",
            "stored_n": "Están guardadas {n} lecturas desde el {day}.",
            "missing_1": "Falta 1 lectura, que el nodo aún puede enviar.",
            "missing_n": "Faltan {n} lecturas, que el nodo aún puede enviar.",
            "lost_1": "Se perdió 1 lectura{when}: {why}.",
            "lost_n": "Se perdieron {n} lecturas{when}: {why}.",
            "of_day": " del {day}",
            "of_days": " entre el {day} y el {until}",
            "silent": "no se guardó nada de este nodo durante {duration}",
            "aged": "el nodo no conservó copia",
            "more_1": "Con otro hueco más, se perdieron {n} lecturas en total.",
            "more_n": "Con otros {gaps} huecos más, se perdieron {n} lecturas en total.",
            "hours_1": "1 hora",
            "hours_n": "{n} horas",
            "days_1": "1 día",
            "days_n": "{n} días",
            "day": "{day} de {month}",
            "year": "{day} de {year}",
            "months": "enero febrero marzo abril mayo junio julio agosto septiembre octubre"
            " noviembre diciembre",
        },
        "en": {
            "title": "History",
            "whole": "Complete",
            "missing": "Being completed",
            "lost": "Readings lost",
            "none": "No readings",
            "nothing": "No reading is stored yet. If that stays so: is the recorder running?"
            " (python -m gateway.history)",
            "waiting": "Reading the history…",
            "away": "The history cannot be read now; the gateway's log says why.",
            "as_of": "What follows is of {moment}.",
            "past": "The last 24 hours",
            "json": "Account as JSON",
            "at": "of {moment}",
            "all_1": "The only reading, of {day}, is stored.",
            "all_n": "All {n} readings since {day} are stored.",
            "stored_0": "No reading is stored yet.",
            "stored_1": "1 reading since {day} is stored.",
            "stored_n": "{n} readings since {day} are stored.",
            "missing_1": "1 reading is missing, which the node can still send.",
            "missing_n": "{n} readings are missing, which the node can still send.",
            "lost_1": "1 reading{when} was lost: {why}.",
            "lost_n": "{n} readings{when} were lost: {why}.",
            "of_day": " of {day}",
            "of_days": " between {day} and {until}",
            "silent": "nothing was stored from this node for {duration}",
            "aged": "the node kept no copy",
            "more_1": "With one more gap, {n} readings were lost in all.",
            "more_n": "With {gaps} more gaps, {n} readings were lost in all.",
            "hours_1": "1 hour",
            "hours_n": "{n} hours",
            "days_1": "1 day",
            "days_n": "{n} days",
            "day": "{day} {month}",
            "year": "{day} {year}",
            "months": "January February March April May June July August September October"
            " November December",
        },
    }
)
LANGUAGES = tuple(TEXTS)


def number(value: float | None, language: str) -> str:
    """One decimal, with the language's decimal sign; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:.1f}".replace(".", "," if language == "es" else ".")


def whole(value: int, language: str) -> str:
    """With the language's sign between thousands; in Spanish none in a number of four digits."""
    if language == "es":
        return str(value) if abs(value) < 10_000 else f"{value:,}".replace(",", ".")
    return f"{value:,}"


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
