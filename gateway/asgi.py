"""What is answered on the event loop, without Flask and without a thread: ASGI's types and answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

from broker.contract import shown
from gateway import problems
from gateway.headers import SECURITY_HEADERS
from gateway.problems import Problem

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD")


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


_SECURITY = _raw(SECURITY_HEADERS)


class Answer(NamedTuple):
    """A whole answer; the server leaves the body out where the method is HEAD."""

    status: HTTPStatus
    headers: Mapping[str, str]
    body: bytes = b""


def endpoint(answer: Callable[[Scope], Awaitable[Answer]]) -> ASGI:
    """An application that sends what `answer` returns, or the Problem that it raises."""

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            given = await answer(scope)
        except Problem as problem:
            given = refusal(problem)
        except Exception:
            log.exception("%s %s failed", scope["method"], shown(scope["path"]))
            given = refusal(problems.failure())
        await respond(send, given)

    return application


def query(scope: Scope, *allowed: str) -> dict[str, str]:
    """The query's parameters. Raises Problem for a wrong one, and for a method that only changes."""
    if scope["method"] not in METHODS:
        detail = f"{scope['method']} is not possible here; allowed: {', '.join(METHODS)}"
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail)
    if not scope["query_string"]:
        return {}
    given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    problems.check(given.items(), allowed)
    return {name: values[0] for name, values in given.items()}


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    found = (value for key, value in scope["headers"] if key == name)
    value = next(found, None)
    return None if value is None else str(value.decode("latin-1"))


async def respond(send: Send, answer: Answer) -> None:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    if answer.status is HTTPStatus.NOT_MODIFIED:
        del headers["Content-Length"]
    await send(head(answer.status, headers))
    await send(body(answer.body, last=True))


def refusal(problem: Problem) -> Answer:
    headers = {"Content-Type": problems.MEDIA_TYPE, "Cache-Control": "no-store"}
    if problem.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(METHODS)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    said = problems.body(problem.status, problem.detail, problem.parameter)
    return Answer(problem.status, headers, said)


async def redirect_to_no_slash(scope: Scope, _receive: Receive, send: Send) -> None:
    """To the same address without the slashes at its end; for any method.

    Two slashes at the beginning would name another host: only one is kept.
    """
    location = quote("/" + scope["path"].strip("/"))
    if scope["query_string"]:
        location += "?" + scope["query_string"].decode("latin-1")
    await respond(send, Answer(HTTPStatus.PERMANENT_REDIRECT, {"Location": location}))


def head(status: HTTPStatus, headers: Mapping[str, str]) -> Message:
    raw = [*_SECURITY, *_raw(headers)]
    return {"type": "http.response.start", "status": status.value, "headers": raw}


def body(data: bytes, *, last: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": not last}
