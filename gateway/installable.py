"""`/manifest.webmanifest`: what a phone needs to keep the page among its applications."""

from __future__ import annotations

import json

from flask import Blueprint, Response
from flask_babel import gettext

from gateway import locale
from gateway.assets import Assets


def blueprint(assets: Assets) -> Blueprint:
    pages = Blueprint("installable", __name__)

    @pages.get("/manifest.webmanifest")
    def manifest() -> Response:
        choice = locale.choose()
        body = {
            "id": "/",
            "name": f"brisa · {gettext('Temperature and humidity')}",
            "short_name": "brisa",
            "lang": choice.tag,
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": "#f2f5f4",
            "theme_color": "#0b6670",
            "icons": [
                {"src": assets.url("icon.svg"), "sizes": "any", "type": "image/svg+xml"},
                *(
                    {
                        "src": assets.url(f"icon-{px}.png"),
                        "sizes": f"{px}x{px}",
                        "type": "image/png",
                    }
                    for px in (192, 512)
                ),
                {
                    "src": assets.url("icon-maskable.png"),
                    "sizes": "512x512",
                    "type": "image/png",
                    "purpose": "maskable",
                },
            ],
            "shortcuts": [
                {"name": gettext("Wall screen"), "url": "/kiosk"},
                {"name": gettext("System"), "url": "/system"},
            ],
        }
        text = json.dumps(body, ensure_ascii=False)
        response = Response(text, content_type="application/manifest+json; charset=utf-8")
        response.cache_control.no_cache = True
        return locale.speak(response)

    return pages
