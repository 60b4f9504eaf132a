"""Static files at an address that changes with their content, so that browsers keep them for ever.

The version is in the path and not in the query, so that a module's own `import "./…"` has it too.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, request

from broker.contract import shown
from gateway.problems import Problem, checked_query
from gateway.rendering import takes_gzip

FOREVER = "public, max-age=31536000, immutable"
# Those that Python does not know everywhere, or not as browsers want them.
TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css", ".png": "image/png"}


class Asset(NamedTuple):
    """A file as it is sent."""

    plain: bytes
    compressed: bytes  # empty where that would not be smaller
    content_type: str


class Assets:
    """The files of one folder, read once."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.name: _read(path) for path in sorted(folder.iterdir())}
        whole = hashlib.sha256()
        for name, asset in self._files.items():
            whole.update(name.encode() + b"\0" + asset.plain)
        self.version = whole.hexdigest()[:12]

    def register(self, app: Flask) -> None:
        app.jinja_env.globals["asset"] = self.url
        app.add_url_rule("/static/<version>/<name>", view_func=self.send)

    def url(self, name: str) -> str:
        """Raises KeyError for a file that there is not."""
        self._files[name]
        return f"/static/{self.version}/{name}"

    def send(self, version: str, name: str) -> Response:
        """Of another version too, for a page that was opened before an update; then not for ever."""
        checked_query()
        asset = self._files.get(name)
        if asset is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"there is nothing at {shown(request.path)}")
        packed = bool(asset.compressed) and takes_gzip()
        response = Response(asset.compressed if packed else asset.plain)
        response.content_type = asset.content_type
        response.headers["Vary"] = "Accept-Encoding"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Cache-Control"] = FOREVER if version == self.version else "no-cache"
        response.set_etag(self.version, weak=True)
        response.make_conditional(request)
        return response


def _read(path: Path) -> Asset:
    plain = path.read_bytes()
    packed = gzip.compress(plain, 9, mtime=0)
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    text = kind.startswith("text/") or path.suffix == ".svg"
    return Asset(
        plain,
        packed if len(packed) < len(plain) * 0.9 else b"",
        f"{kind}; charset=utf-8" if text else kind,
    )
