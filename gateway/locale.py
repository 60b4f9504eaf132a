"""In which language and unit a page answers: what is asked for, remembered, or the browser's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from flask import Flask, Response, g, request
from flask_babel import Babel

from gateway import client_texts, formats
from gateway.catalogue import DEFAULT_LANGUAGE, FOLDER, LANGUAGES, SOURCE_LANGUAGE
from gateway.problems import checked_query, not_allowed
from gateway.views import SensorView

UNITS = {"c": "°C", "f": "°F"}
DEFAULT_UNITS = "c"
# By the parameter that chooses: what keeps the choice, in the browser.
COOKIES = {"lang": "brisa_lang", "units": "brisa_units"}
YEAR_S = 365 * 24 * 3600


class Choice(NamedTuple):
    """How a reader wants it."""

    language: str
    units: str

    @property
    def tag(self) -> str:
        """For the browser's Intl: es or en-GB."""
        return formats.LOCALES[self.language].replace("_", "-")


def choose(*others: str, many: Collection[str] = ()) -> Choice:
    """A page's choice, from its query. Raises Problem for any parameter but these and `others`.

    many: parameters that may be given more than once.
    """
    asked = checked_query((*COOKIES, *others), many)
    language, units = asked.get("lang"), asked.get("units")
    kept = _kept()
    g.choice = Choice(
        kept.language if language is None else checked_language(language),
        kept.units if units is None else _checked("units", units, UNITS),
    )
    return current()


def understood() -> Choice:
    """As `choose`, for an answer that says what is wrong: passes over what there is not."""
    kept = _kept()
    language, units = (request.args.get(name, "") for name in COOKIES)
    g.choice = Choice(
        language if language in LANGUAGES else kept.language,
        units if units in UNITS else kept.units,
    )
    return current()


def current() -> Choice:
    """The request's; of an answer without a choice of its own, what was chosen before."""
    if "choice" not in g:
        g.choice = _kept()
    choice: Choice = g.choice
    return choice


def checked_language(language: str) -> str:
    """Raises Problem naming the parameter."""
    return _checked("lang", language, LANGUAGES)


def speak(response: Response, *, remember: bool = False) -> Response:
    """Say in which language it is; `remember`: what the reader has chosen in its address."""
    response.headers["Content-Language"] = current().language
    response.vary.update(["Accept-Language", "Cookie"])
    for parameter, cookie in COOKIES.items() if remember else ():
        if parameter in request.args:
            chosen = request.args[parameter]
            response.set_cookie(cookie, chosen, max_age=YEAR_S, path="/", samesite="Lax")
    return response


def register(app: Flask) -> None:
    """Flask-Babel, and what the templates write numbers and days with, in the reader's way."""
    Babel(
        app,
        default_translation_directories=str(FOLDER),
        locale_selector=lambda: formats.locale(current().language),
    )
    said = (number, whole, temperature, temperature_unit, age, moment, reason_of)
    helpers: dict[str, Callable[..., object]] = {write.__name__: write for write in said}
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.jinja_env.globals.update(helpers, client_text=client_texts.client_text)
    app.jinja_env.filters.update(helpers)


def number(value: float | None, digits: int = 1) -> str:
    return formats.number(value, current().language, digits)


def whole(value: int) -> str:
    return formats.whole(value, current().language)


def temperature(value_c: float | None, digits: int = 1) -> str:
    """In the unit that was chosen."""
    if value_c is not None and current().units == "f":
        value_c = formats.fahrenheit(value_c)
    return number(value_c, digits)


def temperature_unit() -> str:
    return UNITS[current().units]


def age(since: datetime | None, now: datetime) -> str:
    return formats.age(since, now, current().language)


def moment(value: datetime) -> str:
    return formats.moment(value, current().language)


def reason_of(view: SensorView) -> tuple[str, str]:
    """Why it is troubled, and the language that this is said in."""
    language = current().language
    if language in view.reasons:
        return view.reasons[language], language
    return view.reason, SOURCE_LANGUAGE


def _kept() -> Choice:
    """By cookie; else the browser's language, or Spanish, and degrees Celsius."""
    language = request.cookies.get(COOKIES["lang"], "")
    units = request.cookies.get(COOKIES["units"], "")
    return Choice(
        language if language in LANGUAGES else _accepted(),
        units if units in UNITS else DEFAULT_UNITS,
    )


def _accepted() -> str:
    # Werkzeug's best_match would give English to a browser that asks for es-AR, then en.
    for accepted in request.accept_languages.values():
        language = accepted.partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE


def _checked(parameter: str, value: str, allowed: Iterable[str]) -> str:
    if value not in allowed:
        raise not_allowed(parameter, value, allowed)
    return value
