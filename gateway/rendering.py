"""How each page is answered: its language, its frame's values, its ETag, and compressed."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, Response, render_template, request

from gateway import locale
from gateway.board import Board
from gateway.catalogue import LANGUAGES
from gateway.client_texts import client_texts
from gateway.history.sentences import WORDS
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS

# Less is not worth the time, nor what a browser's first packets hold anyway.
COMPRESS_FROM_BYTES = 1400
COMPRESSIBLE = {"text/html", "application/json", "text/plain", "application/manifest+json"}
LEVEL = 5
MAX_COMPRESSED_BYTES = 4_000_000


def register(app: Flask) -> None:
    app.jinja_env.globals.update(client_texts=client_texts, with_query=with_query, marks=WORDS)
    app.after_request(compress)


def page(
    template: str,
    board: Board,
    here: str,
    *,
    begins_at: str = "",
    remember: bool = True,
    **values: Any,
) -> Response:
    """A whole page from its template; `remember`: what the reader has chosen in its address.

    begins_at: the event that its stream goes on from; empty: the stream has to send all sensors.
    """
    html = rendered(template, board, here, begins_at=begins_at, **values)
    return answer(html.encode(), remember=remember)


def answer(html: bytes, packed: bytes = b"", *, remember: bool) -> Response:
    """With a page that has been made; `packed`: the same compressed, for those who take it."""
    response = locale.speak(Response(html), remember=remember)
    if packed:
        response.vary.add("Accept-Encoding")
        if takes_gzip():
            response.set_data(packed)
            response.headers["Content-Encoding"] = "gzip"
    response.cache_control.no_cache = True
    response.add_etag(weak=True)
    response.make_conditional(request)
    return response


def rendered(template: str, board: Board, here: str, **values: Any) -> str:
    """The HTML alone, with what its frame needs."""
    choice = locale.current()
    return render_template(
        template,
        here=here,
        language=choice.language,
        units=choice.units,
        languages=LANGUAGES,
        settings={
            "language": choice.language,
            "locale": choice.tag,
            "units": choice.units,
            "lateAfter": LATE_AFTER_INTERVALS,
            "defaultInterval": DEFAULT_INTERVAL_S,
        },
        feed=board.feed,
        feed_ever_up=board.feed_version > 0,
        **values,
    )


def with_query(**changes: str | None) -> str:
    """The page's address with some of its query changed; None takes a parameter off."""
    # Language and unit are remembered: an address that is shared leaves them to its reader.
    asked: Mapping[str, str | None] = {
        **{name: value for name, value in request.args.items() if name not in locale.COOKIES},
        **changes,
    }
    kept = {name: value for name, value in asked.items() if value is not None}
    path = quote(request.path)
    return f"{path}?{urlencode(kept, safe='/:')}" if kept else path


def takes_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0


def packed(body: bytes) -> bytes:
    """Compressed; empty where that is not worth it."""
    return gzip.compress(body, LEVEL, mtime=0) if worthwhile(len(body)) else b""


def worthwhile(length: int) -> bool:
    """Is an answer of so many bytes compressed?"""
    return COMPRESS_FROM_BYTES <= length <= MAX_COMPRESSED_BYTES


def compress(response: Response) -> Response:
    """What is text and not small, for those who take it. A file that is streamed stays as it is."""
    if (
        response.mimetype not in COMPRESSIBLE
        or response.is_streamed
        or "Content-Encoding" in response.headers
    ):
        return response
    if not worthwhile(response.content_length or 0):
        return response
    response.vary.add("Accept-Encoding")
    if not takes_gzip():
        return response
    etag, _ = response.get_etag()
    if etag is not None:  # other bytes, the same meaning
        response.set_etag(etag, weak=True)
    if response.status_code != HTTPStatus.NOT_MODIFIED:  # which has only the headers
        response.set_data(packed(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
    return response
