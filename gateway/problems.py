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
    """Raised by a view to answer with this problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        parameter: str | None = None,
        *,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.status = status
        self.detail = detail
        self.parameter = parameter


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
            every = (*allowed, *many)
            known = f"allowed: {', '.join(every)}" if every else "there are none here"
            detail = f"unknown query parameter {shown(name)}; {known}"
            raise Problem(HTTPStatus.BAD_REQUEST, detail, name)
        if len(values) > 1:
            raise Problem(
                HTTPStatus.BAD_REQUEST, f"query parameter {shown(name)} is given twice", name
            )


def checked_key(text: str) -> tuple[str, str]:
    """Node and name of the sensor that a query parameter names. Raises Problem."""
    node, _, sensor = text.partition("/")
    try:
        return checked_id("node", node), checked_id("sensor", sensor)
    except ContractError:
        detail = f"sensor {shown(text)}: allowed is NODE/SENSOR, such as pi-1/aula"
        raise Problem(HTTPStatus.BAD_REQUEST, detail, "sensor") from None


def failure() -> Problem:
    """What is said of an error that nobody expected."""
    detail = "the gateway failed at this; its log says more"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def register(app: Flask, as_page: Callable[[ProblemView], Response]) -> None:
    """Make `app` answer every error with a problem."""
    app.extensions["problem_page"] = as_page
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _fault)


def _answer(status: HTTPStatus, detail: str, parameter: str | None = None) -> Response:
    response = None
    if _wants_page():
        view = ProblemView(
            title=status.phrase, status=status.value, detail=detail, parameter=parameter
        )
        try:
            response = current_app.extensions["problem_page"](view)
        except Exception:
            # Perhaps by the same fault. It must not hide what was wrong first.
            log.exception("%s %s: the page that says so failed", status.value, shown(request.path))
    if response is None:
        response = Response(body(status, detail, parameter), content_type=MEDIA_TYPE)
    response.status_code = status.value
    response.cache_control.no_store = True
    if not NO_PAGES.match(request.path):
        response.vary.add("Accept")
    return response


def _wants_page() -> bool:
    """Of what takes anything, as curl does, nobody knows that he reads HTML."""
    accepted = request.accept_mimetypes
    as_json = max(accepted.quality(MEDIA_TYPE), accepted.quality("application/json"))
    return not NO_PAGES.match(request.path) and accepted.quality("text/html") > as_json


def _problem(problem: Problem) -> Response:
    response = _answer(problem.status, problem.detail, problem.parameter)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    if status is HTTPStatus.NOT_FOUND:
        return _answer(status, f"there is nothing at {shown(request.path)}")
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        response = _answer(status, f"{request.method} is not possible here; allowed: {allowed}")
        response.headers["Allow"] = allowed
        return response
    return _answer(status, error.description or status.phrase)


def _fault(error: Exception) -> Response:
    log.error("%s %s failed", request.method, shown(request.path), exc_info=error)
    return _problem(failure())
