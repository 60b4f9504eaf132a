"""Every error says what happened, to which thing, and what is allowed.

As a problem of RFC 9457; to who asks for a page and would rather read HTML, as a page.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus

from flask import Flask, Response, current_app, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from broker.contract import ContractError, checked_id, shown
from gateway.catalogue import marked

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# What programs ask for, whatever they say that they accept.
NO_PAGES = re.compile(r"/(api|metrics|text|healthz|readyz|openapi\.json|static)(/|$)")


class ProblemView(BaseModel):
    """RFC 9457. `type` is about:blank: `title` is the status's own phrase."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    parameter: str | None = Field(default=None, description="the query parameter that is wrong")


class Problem(Exception):
    """Raised by a view to answer with this problem.

    detail: an English sentence, or with `params` a template (%(name)s) for it. Where a page may
    show it, it is `marked`, so that it is there in the reader's language.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        parameter: str | None = None,
        *,
        retry_after_s: int | None = None,
        **params: object,
    ) -> None:
        self.detail = detail % params if params else detail
        super().__init__(self.detail)
        self.retry_after_s = retry_after_s
        self.status = status
        self.parameter = parameter
        self._template = detail
        self._params = params

    def detail_in(self, gettext: Callable[[str], str]) -> str:
        """The detail in another language; in English if that language does not have it."""
        template = gettext(self._template)
        return template % self._params if self._params else template


def body(status: HTTPStatus, detail: str, parameter: str | None = None) -> bytes:
    view = ProblemView(title=status.phrase, status=status.value, detail=detail, parameter=parameter)
    return view.model_dump_json(exclude_none=True).encode()


def checked_query(allowed: Collection[str] = (), many: Collection[str] = ()) -> dict[str, str]:
    """The query's parameters. Raises Problem for one that is unknown here or given twice.

    many: those that may be given more than once.
    """
    check(request.args.lists(), allowed, many)
    return request.args.to_dict()


def check(
    given: Iterable[tuple[str, list[str]]],
    allowed: Collection[str] = (),
    many: Collection[str] = (),
) -> None:
    """The same for parameters that come from elsewhere: each name with its values."""
    for name, values in given:
        if name in many:
            continue
        if name not in allowed:
            every = ", ".join((*allowed, *many))
            detail = (
                marked("unknown query parameter %(name)s; allowed: %(every)s")
                if every
                else marked("unknown query parameter %(name)s; there are none here")
            )
            raise Problem(HTTPStatus.BAD_REQUEST, detail, name, name=shown(name), every=every)
        if len(values) > 1:
            detail = marked("query parameter %(name)s is given twice")
            raise Problem(HTTPStatus.BAD_REQUEST, detail, name, name=shown(name))


def checked_key(text: str) -> tuple[str, str]:
    """Node and name of the sensor that a query parameter names. Raises Problem."""
    node, _, sensor = text.partition("/")
    try:
        return checked_id("node", node), checked_id("sensor", sensor)
    except ContractError:
        detail = marked("sensor %(key)s: allowed is NODE/SENSOR, such as pi-1/aula")
        raise Problem(HTTPStatus.BAD_REQUEST, detail, "sensor", key=shown(text)) from None


def not_allowed(name: str, value: str, allowed: Iterable[str]) -> Problem:
    """A query parameter has another value than those few that it may have."""
    detail = marked("%(name)s %(value)s: allowed are %(allowed)s")
    return Problem(
        HTTPStatus.BAD_REQUEST,
        detail,
        name,
        name=name,
        value=shown(value),
        allowed=", ".join(allowed),
    )


def unknown_sensor(node: str, sensor: str) -> Problem:
    """No sensor has that name."""
    detail = marked("no sensor %(key)s is known")
    return Problem(HTTPStatus.NOT_FOUND, detail, key=shown(f"{node}/{sensor}"))


def failure() -> Problem:
    """What is said of an error that nobody expected."""
    detail = marked("the gateway failed at this; its log says more")
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def register(app: Flask, as_page: Callable[[Problem], Response]) -> None:
    """Make `app` answer every error with a problem."""
    app.extensions["problem_page"] = as_page
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _fault)


def _problem(problem: Problem) -> Response:
    status = problem.status
    response = None
    if _wants_page():
        try:
            response = current_app.extensions["problem_page"](problem)
        except Exception:
            # Perhaps by the same fault. It must not hide what was wrong first.
            log.exception("%s %s: the page that says so failed", status.value, shown(request.path))
    if response is None:
        said = body(status, problem.detail, problem.parameter)
        response = Response(said, content_type=MEDIA_TYPE)
    response.status_code = status.value
    response.cache_control.no_store = True
    if not NO_PAGES.match(request.path):
        response.vary.add("Accept")
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def _wants_page() -> bool:
    """Of what takes anything, as curl does, nobody knows that he reads HTML."""
    accepted = request.accept_mimetypes
    as_json = max(accepted.quality(MEDIA_TYPE), accepted.quality("application/json"))
    return not NO_PAGES.match(request.path) and accepted.quality("text/html") > as_json


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    if status is HTTPStatus.NOT_FOUND:
        detail = marked("there is nothing at %(path)s")
        return _problem(Problem(status, detail, path=shown(request.path)))
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = marked("%(method)s is not possible here; allowed: %(allowed)s")
        response = _problem(Problem(status, detail, method=request.method, allowed=allowed))
        response.headers["Allow"] = allowed
        return response
    return _problem(Problem(status, error.description or status.phrase))


def _fault(error: Exception) -> Response:
    log.error("%s %s failed", request.method, shown(request.path), exc_info=error)
    return _problem(failure())
