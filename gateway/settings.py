"""The gateway's settings: BRISA_… variables, see `python -m gateway --help`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from broker.settings import BrokerSettings
from gateway.history.settings import URLS, HistoryPassword, HistoryUrl


class GatewaySettings(BrokerSettings):
    """Where the page is, and what bounds it."""

    host: Annotated[str, Field(min_length=1, description="the address to listen on")] = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535, description="the page's port")] = 5000
    max_sensors: Annotated[
        int, Field(ge=1, le=100_000, description="those beyond are counted, not shown")
    ] = 2000
    max_sensors_per_node: Annotated[
        int, Field(ge=1, le=100_000, description="the same, for one node")
    ] = 200
    max_viewers: Annotated[
        int, Field(ge=1, le=100_000, description="open streams; those beyond get a 503")
    ] = 2000
    drain_s: Annotated[
        float,
        Field(
            ge=0,
            le=300,
            description="after SIGTERM, serve on for so long with /readyz failing, so that"
            " nobody is sent here any more",
        ),
    ] = 0.0
    history_url: Annotated[
        HistoryUrl | None,
        Field(description=f"the recorder's: {URLS}; not set: no history is shown"),
    ] = None
    history_password: HistoryPassword = None
    replicas_name: Annotated[
        str,
        Field(
            max_length=253,
            description="a DNS name that has an address for each gateway, to count them by;"
            " not set: only this one is known",
        ),
    ] = ""
    access_log: Annotated[bool, Field(description="a line for each request")] = False
