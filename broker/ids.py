"""What a node or a sensor may be called. Nothing but the standard library, for tools without pydantic."""

from __future__ import annotations

import re

ID_PATTERN = r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
ID_RULE = "1 to 63 of a-z 0-9 . _ -, beginning and ending with a letter or digit"
# Users in broker/acl: a node of such a name would share its topics with the service.
SERVICES = ("gateway", "recorder", "outside", "viewer")
RESERVED_NODES = frozenset(SERVICES)

_ID = re.compile(ID_PATTERN)


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None
