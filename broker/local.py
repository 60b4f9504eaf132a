"""A broker on this machine: the real Mosquitto, or an embedded one from a wheel.

Both get the same users and listen on the loopback only. Mosquitto runs with the configuration and
the ACL of the cluster. The embedded broker (iotcore, which is rumqttd, behind `front`) is for
machines without Mosquitto: it knows passwords but no ACL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker import credentials
from broker.front import V3, V5, Front

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"


class BrokerError(RuntimeError):
    """The broker cannot be started; the text is one line that says why."""


@dataclass(frozen=True)
class Plan:
    """What to start, where; on `port` it speaks MQTT 3.1.1 and 5.

    passwords: by user. host: the address that Mosquitto listens on; empty for all there are.
    """

    kind: str
    state: Path
    port: int
    passwords: Mapping[str, str]
    host: str = LOOPBACK

    def describe(self) -> str:
        where = f"mqtt://USER@{LOOPBACK}:{self.port} (MQTT 3.1.1 and 5)"
        if self.kind == "mosquitto":
            return f"Mosquitto, {where}"
        return f"embedded broker (iotcore), {where}; no ACL, for trying out only"


def mosquitto_path() -> str | None:
    """Mosquitto on PATH; Debian keeps it in /usr/sbin, where a user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def prepare(kind: str, state: Path, port: int, users: Iterable[str]) -> Plan:
    """Write all that the broker needs into `state`. Raises BrokerError and OSError."""
    if kind == "auto":
        kind = "mosquitto" if mosquitto_path() else "embedded"
    if kind == "mosquitto" and not mosquitto_path():
        raise BrokerError("mosquitto is not on PATH: apt-get install mosquitto, or --kind embedded")
    _check_free(port)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = Plan(kind, state, port, credentials.make(state / "credentials", users))
    if kind == "mosquitto":
        _write_mosquitto(plan)
    return plan


def write_for_another(state: Path, passwords: Path, port: int, users: Iterable[str]) -> None:
    """Write what a Mosquitto that somebody else starts in `state` needs. Raises OSError.

    It will listen on all addresses; so it does in a container, whose network is its own.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_mosquitto(Plan("mosquitto", state, port, credentials.make(passwords, users), host=""))


def run(plan: Plan) -> int:
    """Become the broker, or run it until SIGTERM or Ctrl-C. Returns the exit code."""
    if plan.kind == "mosquitto":
        os.chdir(plan.state)
        program = mosquitto_path() or "mosquitto"
        os.execv(program, [program, "-c", "mosquitto.conf"])  # noqa: S606 - its pid is ours
    return asyncio.run(_run_embedded(plan))


async def _run_embedded(plan: Plan) -> int:
    from iotcore import Broker  # noqa: PLC0415 - 14 MB that only this branch needs

    ending, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    ports = dict(zip((V3, V5), _free_ports(2), strict=True))
    configuration = plan.state / "embedded.toml"
    credentials.write_private(configuration, _embedded_config(ports, plan.passwords))
    broker = Broker(config_path=str(configuration))
    broker.start()
    front = Front(plan.passwords, ports, LOOPBACK)
    server = await asyncio.start_server(front.accept, LOOPBACK, plan.port)
    while broker.is_running and server.is_serving() and not ending.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), 0.5)
    server.close()
    broker.stop()
    return 0 if ending.is_set() else 1


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now."""
    with contextlib.ExitStack() as probes:
        taken = [probes.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in taken]


def _check_free(port: int) -> None:
    if not 1 <= port <= 65535:
        raise BrokerError(f"port {port}: allowed are 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise BrokerError(f"port {port} on {LOOPBACK}: {error.strerror}") from None


def _write_mosquitto(plan: Plan) -> None:
    for name in ("mosquitto.conf", "acl"):
        shutil.copyfile(HERE / name, plan.state / name)
    (plan.state / "acl").chmod(0o600)
    (plan.state / "conf.d").mkdir(exist_ok=True)
    (plan.state / "data").mkdir(exist_ok=True)
    credentials.write_hashes(plan.state / "passwords", plan.passwords)
    listener = f"listener {plan.port} {plan.host}".rstrip() + "\n"
    if os.geteuid() == 0:
        # Started by root it would become the user `mosquitto`, who may not enter our folder.
        listener += "user root\n"
    (plan.state / "conf.d" / "listener.conf").write_text(listener, encoding="utf-8")


def _embedded_config(ports: Mapping[int, int], passwords: Mapping[str, str]) -> str:
    users = "".join(f'"{user}" = "{password}"\n' for user, password in passwords.items())
    listeners = "".join(
        f"""
[v{level}.1]
name = "v{level}"
listen = "{LOOPBACK}:{port}"
next_connection_delay_ms = 1
[v{level}.1.connections]
connection_timeout_ms = 10000
max_payload_size = 135168
max_inflight_count = 100
dynamic_filters = true
[v{level}.1.connections.auth]
{users}"""
        for level, port in ports.items()
    )
    return f"""id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 1000
max_segment_size = 10485760
max_segment_count = 4
{listeners}"""
