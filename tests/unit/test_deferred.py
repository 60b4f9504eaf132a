"""A module that is put off, each time in a new interpreter: this one has loaded most already."""

from __future__ import annotations

import subprocess
import sys

from tests.support import REPOSITORY


def run(*lines: str) -> str:
    program = "\n".join(("import sys; from broker.deferred import defer", *lines))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return done.stdout


def test_it_is_loaded_by_its_use_and_not_by_its_import() -> None:
    assert run(
        "defer('wsgiref.util')",
        "import wsgiref.util",
        "from wsgiref import util",
        "print(sys.modules['wsgiref.util'].__spec__)",
        "print(wsgiref.util.guess_scheme({}), util.guess_scheme({}))",
        "print(sys.modules['wsgiref.util'].__spec__.name)",
    ).splitlines() == ["None", "http http", "wsgiref.util"]


def test_what_is_known_does_not_load_it_and_becomes_what_it_is() -> None:
    assert run(
        "defer('ssl', SSLError=KeyError)",
        "import ssl",
        "from ssl import SSLError",
        "print(SSLError, '_ssl' in sys.modules)",
        "print(ssl.SSLContext, ssl.SSLError)",
    ).splitlines() == [
        "<class 'KeyError'> False",
        "<class 'ssl.SSLContext'> <class 'ssl.SSLError'>",
    ]


def test_what_it_does_not_have_is_an_attribute_error() -> None:
    assert run(
        "defer('this_is_no_module'); defer('colorsys')",
        "import colorsys, this_is_no_module",
        "print(hasattr(colorsys, 'nothing'), hasattr(colorsys, 'rgb_to_hsv'))",
        "try: this_is_no_module.x",
        "except ImportError as error: print(error)",
    ).splitlines() == ["False True", "No module named 'this_is_no_module'"]


def test_what_is_loaded_already_stays() -> None:
    assert run("import colorsys; defer('colorsys'); print(colorsys.__name__)") == "colorsys\n"
