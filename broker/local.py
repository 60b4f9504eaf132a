"""A broker on this machine: the real Mosquitto, or an embedded one from a wheel.

Both get the same users and listen on the loopback only. Mosquitto runs with the configuration and
the ACL of the cluster. The embedded broker (iotcore, which is rumqttd) is for machines without
Mosquitto: it knows passwords but no ACL, and speaks MQTT 3.1.1 and MQTT 5 on two ports.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from broker import credentials
from broker.ending import Ending

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"


class BrokerError(RuntimeError):
    """The broker cannot be started; the text is one line that says why."""


@dataclass(frozen=True)
class Plan:
    """What to start, where. `port` speaks 3.1.1, `port_v5` speaks 5; for Mosquitto they are one.

    host: the address that Mosquitto listens on; empty for all there are.
    """

    kind: str
    state: Path
    port: int
    port_v5: int
    host: str = LOOPBACK

    def describe(self) -> str:
        if self.kind == "mosquitto":
            return f"Mosquitto, mqtt://USER@{LOOPBACK}:{self.port} (MQTT 3.1.1 and 5)"
        return (
            f"embedded broker (iotcore), mqtt://USER@{LOOPBACK}:{self.port} (MQTT 3.1.1: gateway,"
            f" subscribers), mqtt://USER@{LOOPBACK}:{self.port_v5} (MQTT 5: edge); no ACL, for"
            " trying out only"
        )


def mosquitto_path() -> str | None:
    """Mosquitto on PATH; Debian keeps it in /usr/sbin, where a user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def prepare(kind: str, state: Path, port: int, port_v5: int | None, users: Iterable[str]) -> Plan:
    """Write all that the broker needs into `state`. Raises BrokerError and OSError."""
    if kind == "auto":
        kind = "mosquitto" if mosquitto_path() else "embedded"
    if kind == "mosquitto" and not mosquitto_path():
        raise BrokerError("mosquitto is not on PATH: apt-get install mosquitto, or --kind embedded")
    second = port if kind == "mosquitto" else port_v5 or port + 1
    plan = Plan(kind, state, port, second)
    if kind == "embedded" and port == second:
        raise BrokerError(f"port {port}: the embedded broker needs two, for MQTT 3.1.1 and for 5")
    for taken in sorted({plan.port, plan.port_v5}):
        _check_free(taken)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = credentials.make(state / "credentials", users)
    if kind == "mosquitto":
        _write_mosquitto(plan, passwords)
    else:
        credentials.write_private(state / "embedded.toml", _embedded_config(plan, passwords))
    return plan


def write_for_another(state: Path, passwords: Path, port: int, users: Iterable[str]) -> None:
    """Write what a Mosquitto that somebody else starts in `state` needs. Raises OSError.

    It will listen on all addresses; so it does in a container, whose network is its own.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = Plan("mosquitto", state, port, port, host="")
    _write_mosquitto(plan, credentials.make(passwords, users))


def run(plan: Plan) -> int:
    """Become the broker, or run it until SIGTERM or Ctrl-C. Returns the exit code."""
    if plan.kind == "mosquitto":
        os.chdir(plan.state)
        program = mosquitto_path() or "mosquitto"
        os.execv(program, [program, "-c", "mosquitto.conf"])  # noqa: S606 - its pid is ours
    from iotcore import Broker  # noqa: PLC0415 - 14 MB that only this branch needs

    ending = Ending()
    ending.watch()
    broker = Broker(config_path=str(plan.state / "embedded.toml"))
    broker.start()
    while broker.is_running and not ending.wait(0.5):
        pass
    ended_by_itself = not broker.is_running
    broker.stop()
    return 1 if ended_by_itself else 0


def _check_free(port: int) -> None:
    if not 1 <= port <= 65535:
        raise BrokerError(f"port {port}: allowed are 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise BrokerError(f"port {port} on {LOOPBACK}: {error.strerror}") from None


def _write_mosquitto(plan: Plan, passwords: dict[str, str]) -> None:
    for name in ("mosquitto.conf", "acl"):
        shutil.copyfile(HERE / name, plan.state / name)
    (plan.state / "acl").chmod(0o600)
    (plan.state / "conf.d").mkdir(exist_ok=True)
    (plan.state / "data").mkdir(exist_ok=True)
    credentials.write_hashes(plan.state / "passwords", passwords)
    listener = f"listener {plan.port} {plan.host}".rstrip() + "\n"
    if os.geteuid() == 0:
        # Started by root it would become the user `mosquitto`, who may not enter our folder.
        listener += "user root\n"
    (plan.state / "conf.d" / "listener.conf").write_text(listener, encoding="utf-8")


def _embedded_config(plan: Plan, passwords: dict[str, str]) -> str:
    users = "".join(f'"{user}" = "{password}"\n' for user, password in passwords.items())
    listeners = "".join(
        f"""
[{protocol}.1]
name = "{protocol}"
listen = "{LOOPBACK}:{port}"
next_connection_delay_ms = 1
[{protocol}.1.connections]
connection_timeout_ms = 10000
max_payload_size = 135168
max_inflight_count = 100
dynamic_filters = true
[{protocol}.1.connections.auth]
{users}"""
        for protocol, port in (("v4", plan.port), ("v5", plan.port_v5))
    )
    return f"""id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 1000
max_segment_size = 10485760
max_segment_count = 4
{listeners}"""
