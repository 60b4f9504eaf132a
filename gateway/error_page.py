"""What is wrong, as a page: for who has mistyped an address, or followed an old one."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response
from flask_babel import gettext

from gateway import locale, rendering
from gateway.board import Board
from gateway.problems import Problem


def page(board: Board) -> Callable[[Problem], Response]:
    def as_page(problem: Problem) -> Response:
        # Its language may be what is wrong with the address.
        locale.understood()
        html = rendering.rendered(
            "error.html",
            board,
            "error",
            problem=problem,
            detail=problem.detail_in(gettext),
            heading=_heading(problem.status),
        )
        return locale.speak(Response(html))

    return as_page


def _heading(status: int) -> str:
    text = gettext("This cannot be shown now")
    if status == 404:
        text = gettext("There is nothing here")
    elif status < 500:
        text = gettext("This cannot be asked for")
    return str(text)
