"""`python -m edge doctor`: what it says of the broker."""

from __future__ import annotations

import json
from typing import Any

from tests.support import RunningBroker, free_port, python


def doctor(**env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    arguments = ("doctor", "--driver", "simulated", "--json")
    with python("-m", "edge", *arguments, env={"BRISA_NODE": "pi-1", **env}) as process:
        code = process.wait()
        said = [json.loads(line) for line in process.lines if line.startswith("{")]
        assert "Traceback" not in process.output
    return code, {one["what"]: one for one in said}


def test_a_broker_that_lets_us_in_works(any_broker: RunningBroker) -> None:
    code, found = doctor(**any_broker.env("pi-1"))
    assert code == 0
    assert found["driver simulated"]["works"]
    assert found["broker"]["works"]
    assert found["broker"]["says"].endswith("as node pi-1")
    assert "clock" in found


def test_a_wrong_password_is_said_with_where_to_look(any_broker: RunningBroker) -> None:
    env = {**any_broker.env("pi-1")}
    del env["BRISA_BROKER_PASSWORD_FILE"]
    code, found = doctor(**env, BRISA_BROKER_PASSWORD="wrong")
    assert code == 1
    assert not found["broker"]["works"]
    assert "check BRISA_BROKER_URL and BRISA_BROKER_PASSWORD_FILE" in found["broker"]["says"]


def test_nobody_there_is_said_by_address() -> None:
    port = free_port()
    code, found = doctor(BRISA_BROKER_URL=f"mqtt://127.0.0.1:{port}")
    assert code == 1
    assert f"127.0.0.1:{port}: Connection refused" in found["broker"]["says"]


def test_the_user_of_another_node_is_pointed_out(any_broker: RunningBroker) -> None:
    code, found = doctor(**any_broker.env("pi-2"))
    assert code == 1
    assert "BRISA_NODE=pi-2" in found["broker"]["says"] or "not authorized" in (
        found["broker"]["says"].lower()
    )


def test_a_setting_that_is_not_allowed_is_said() -> None:
    code, found = doctor(BRISA_BROKER_URL="http://broker")
    assert code == 1
    assert found["broker"]["says"].startswith("BRISA_BROKER_URL=http://broker: ")
