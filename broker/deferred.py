"""Modules that a library imports, and this process may never need.

paho-mqtt and pydantic import at their top what they use for websockets, proxies, TLS or plugins.
`defer` puts a stand-in where `import` looks first; the module is loaded when it is asked for
something. importlib.util.LazyLoader would load it at the second `import`. See docs/adr/0013.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def defer(name: str, **known: object) -> None:
    """Import the module when one of its attributes is used. Call it before anything else imports it.

    known: attributes that do not load it. They are replaced when it is loaded.
    """
    if name in sys.modules:
        return
    stand_in = ModuleType(name)

    def load(attribute: str) -> object:
        if attribute.startswith("__"):  # `import` and inspect ask for these
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        module = importlib.import_module(name)
        vars(stand_in).update(vars(module))
        return getattr(module, attribute)

    vars(stand_in).update(known, __getattr__=load)
    sys.modules[name] = stand_in
    package, _, last = name.rpartition(".")
    if package:
        setattr(importlib.import_module(package), last, stand_in)
