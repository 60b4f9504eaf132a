"""The recorder's settings: BRISA_… variables, see `python -m gateway.history --help`."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from broker.settings import FILE_SUFFIX, PREFIX, BrokerSettings

DAY_MS = 86_400_000
_ALLOWED = (
    "allowed are sqlite:///FILE, postgresql://USER@HOST[:PORT]/DATABASE, mysql://… and mariadb://…"
)


def utc_now_ms() -> int:
    return time.time_ns() // 1_000_000


def _history_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; {_ALLOWED}") from None
    if parts.password is not None:
        raise ValueError(f"a password belongs in {PREFIX}HISTORY_PASSWORD{FILE_SUFFIX}")
    named = bool(parts.path.strip("/"))
    if parts.scheme == "sqlite":
        good = named and not parts.netloc and not parts.query
    else:
        good = parts.scheme in {"postgresql", "mysql", "mariadb"} and bool(parts.hostname) and named
    if not good or port == 0 or parts.fragment:
        raise ValueError(_ALLOWED)
    return value


URLS = "sqlite:///FILE, or {postgresql,mysql,mariadb}://USER@HOST[:PORT]/DATABASE"
HistoryUrl = Annotated[str, AfterValidator(_history_url), Field(description=URLS)]
HistoryPassword = Annotated[
    SecretStr | None, Field(description="the database user's password; rather in a file")
]


class HistorySettings(BrokerSettings):
    """Where the history is, and how it is kept."""

    history_url: HistoryUrl = "sqlite:///history.db"
    history_password: HistoryPassword = None
    commit_s: Annotated[
        float,
        Field(ge=0, le=60, description="a reading waits so long for company, then all are written"),
    ] = 1.0
    retention_days: Annotated[
        int,
        Field(
            ge=1,
            le=36500,
            description="raw readings this much older than the newest are removed, while this"
            " machine's clock is synchronised; roll-ups stay",
        ),
    ] = 365
    disk_budget_mb: Annotated[
        int,
        Field(
            ge=10,
            le=10_000_000,
            description="disk space for the history, in MB; when it is used up, the oldest raw"
            " readings are removed, then minutes",
        ),
    ] = 2500
    health_host: Annotated[str, Field(description="where /healthz /readyz /metrics listen")] = (
        "0.0.0.0"
    )
    health_port: Annotated[int, Field(ge=0, le=65535, description="and on which port; 0: none")] = (
        9102
    )

    def keep_from_ms(self) -> int:
        """Raw readings measured before this moment are to go; milliseconds since 1970."""
        return utc_now_ms() - self.retention_days * DAY_MS

    @property
    def secret(self) -> str | None:
        """The database user's password, in the clear."""
        password = self.history_password
        return None if password is None else password.get_secret_value()
