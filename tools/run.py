"""`make run`: broker, edge, recorder and gateway as real processes on this machine, each started
again if it dies.

supervisor keeps them; this only picks the ports, writes its configuration below .run/, and says
when the page is there.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TextIO

from broker import credentials
from broker.local import LOOPBACK
from broker.settings import load as load_settings
from edge.capture import CaptureError, load
from edge.sensors.registry import DRIVERS
from edge.settings import EdgeSettings

REPOSITORY = Path(__file__).resolve().parent.parent

DEMO_NODE = "demo"
PATIENCE_S = 60.0
_claims: list[socket.socket] = []


def main() -> int:
    options = _arguments()
    state = options.state.resolve()
    try:
        sensors = _sensors(options.driver, options.capture, options.model)
        ports = _ports(options.port)
        node = DEMO_NODE if options.driver is None else load_settings(EdgeSettings, {}).node
        lock = _locked(state)
    except ValueError as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    (state / "broker").mkdir(mode=0o700, exist_ok=True)
    _forget(state / "broker")
    # before edge and gateway start, which read theirs at once
    credentials.make(state / "broker" / "credentials", [*credentials.SERVICES, node])
    configuration = state / "supervisord.conf"
    configuration.write_text(_supervisord(state, ports, node, sensors), encoding="utf-8")
    lock.write(f"http://localhost:{ports['page']}")
    lock.flush()
    manager = Manager(configuration)
    threading.Thread(target=_welcome, args=(ports, state, manager), daemon=True).start()
    code = manager.run()
    manager.say("run: stopped" if code == 0 else f"run: the process manager ended with {code}")
    return 1 if manager.failed else code


class Manager:
    """supervisord, started again if it is killed; its programs end with it (see _dies_with_us)."""

    def __init__(self, configuration: Path) -> None:
        self.failed = False
        self._configuration = configuration
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until a signal or `fail` ends it in order. Returns its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BRISA_")}
        # supervisor opens /dev/fd/1 again by its name, which a socket, or a file or terminal of
        # another user, does not allow; a pipe of our own does
        output, end = os.pipe()
        copier = threading.Thread(target=self._copy, args=(output,))
        copier.start()
        while True:
            self._process = subprocess.Popen(
                [
                    *_dies_with_us(),
                    sys.executable,
                    *("-m", "supervisor.supervisord", "-n", "-c", str(self._configuration)),
                ],
                cwd=REPOSITORY,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
                env={**kept, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"},
                stdout=end,
                stderr=end,
            )
            if self._ending:
                self._process.terminate()
            code = self._process.wait()
            if self._ending or code >= 0:
                break
            self.say(f"run: the process manager was killed (signal {-code}); starting it again")
        os.close(end)
        copier.join()
        return code

    def fail(self, text: str) -> None:
        """Say what is wrong, and end everything, with exit code 1."""
        self.failed = True
        self._end()
        with contextlib.suppress(OSError):  # as in `make run 2>&1 | head`
            _write(sys.stderr, f"run: {text}\n".encode())

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self._print(f"{text}\n".encode())

    def _end(self, *_: object) -> None:
        self._ending = True
        if self._process is not None:
            self._process.terminate()

    def _copy(self, output: int) -> None:
        """Copy what the programs print to our standard output, until the last of them has ended."""
        with open(output, "rb", buffering=0) as programs:
            for chunk in iter(lambda: programs.read(65536), b""):
                self._print(chunk)

    def _print(self, data: bytes) -> None:
        try:
            _write(sys.stdout, data)
        except OSError as error:
            # whoever read it is gone, as in `make run | head`
            if not self._ending:
                self.fail(f"cannot write to standard output: {error.strerror}")


def _write(stream: TextIO, data: bytes) -> None:
    """Write at once. Raises OSError where nobody reads it; then all that follows goes nowhere."""
    try:
        stream.buffer.write(data)
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make run", description="brisa on this machine, with replayed sensors."
    )
    parser.add_argument("--port", default="5000", help="of the page [5000]")
    parser.add_argument("--driver", help="read this node's own sensor: iio, gpio or adafruit")
    parser.add_argument("--capture", type=Path, help="a recording (time_us,level) to replay")
    parser.add_argument("--model", default="dht11", help="of the sensor: dht11 or dht22 [dht11]")
    parser.add_argument(
        "--state", type=Path, default=REPOSITORY / ".run", help="for what it writes [.run]"
    )
    return parser.parse_args()


def _sensors(driver: str | None, capture: Path | None, model: str) -> str:
    """BRISA_SENSORS. Raises ValueError for a driver or a recording that is none."""
    if model not in {"dht11", "dht22"}:
        raise ValueError(f"MODEL={model}: allowed are dht11, dht22")
    if driver is not None and capture is not None:
        raise ValueError(f"DRIVER={driver} with CAPTURE={capture}: a recording needs no driver")
    if driver is not None:
        if driver not in DRIVERS:
            raise ValueError(f"DRIVER={driver}: allowed are {', '.join(DRIVERS)}")
        return f"{model}={driver},model={model}"
    if capture is None:
        return "aula=replay,model=dht11;patio=replay,model=dht22"
    try:
        load(str(capture))
    except CaptureError as error:
        raise ValueError(f"CAPTURE: {error}") from None
    except OSError as error:
        raise ValueError(f"CAPTURE={capture}: {error.strerror}") from None
    if any(character in str(capture.resolve()) for character in ",;"):
        raise ValueError(f"CAPTURE={capture}: a path without , and ; is needed")
    return f"capture=replay,model={model},pace=recorded,file={capture.resolve()}"


def _ports(page: str) -> Mapping[str, int]:
    if not page.isdigit() or not 1 <= int(page) <= 65535:
        raise ValueError(f"PORT={page}: must be 1–65535")
    try:
        _bind("0.0.0.0", int(page))
    except PermissionError:
        raise ValueError(
            f"PORT={page}: only root may use it; choose one from 1024 on with make run PORT=…"
        ) from None
    except OSError:
        raise ValueError(f"PORT={page}: taken; choose another with make run PORT=…") from None
    broker = _first_free(1883, pair=False, but=int(page))
    health = _first_free(9101, pair=True, but=int(page))
    return {"page": int(page), "broker": broker, "health": health, "recorder": health + 1}


def _locked(state: Path) -> TextIO:
    """Keep others out of the folder for as long as we live. Raises ValueError."""
    state.mkdir(parents=True, exist_ok=True)
    lock = (state / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ValueError(
            f"another `make run` of this folder shows its page at {lock.read()}: end that first"
        ) from None
    lock.truncate(0)
    return lock


def _dies_with_us() -> list[str]:
    """A prefix for commands that are to end when whoever started them was killed."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def _first_free(port: int, *, pair: bool, but: int) -> int:
    """`port` or the next that is free, and not `but`; `pair`: so is the one after it."""
    wanted = range(port, port + 1 + pair)
    if any(one == but or not _free(LOOPBACK, one) for one in wanted) or not _claim(port):
        return _first_free(port + 2, pair=pair, but=but)
    return port


def _claim(port: int) -> bool:
    """Keep it from another `make run` that starts now, for as long as we live."""
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0brisa-run-{port}")  # a name that is no file
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> None:
    """Take the port, and give it back. Raises OSError."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _forget(broker: Path) -> None:
    """What an earlier run retained is not to show up as a sensor of this one."""
    for path in (broker / "data").glob("*"):
        path.unlink()


def _supervisord(state: Path, ports: Mapping[str, int], node: str, sensors: str) -> str:
    passwords = state / "broker" / "credentials"
    recorder = {
        "HISTORY_URL": f"sqlite:///{state / 'history' / 'history.db'}",
        "BROKER_URL": f"mqtt://recorder@{LOOPBACK}:{ports['broker']}",
        "BROKER_PASSWORD_FILE": str(passwords / "recorder"),
        "HEALTH_HOST": LOOPBACK,
        "HEALTH_PORT": str(ports["recorder"]),
    }
    edge = {
        "NODE": node,
        "JOURNAL": str(state / "edge" / f"{node}.db"),
        "SENSORS": sensors,
        "INTERVAL_S": "5",
        "BROKER_URL": f"mqtt://{node}@{LOOPBACK}:{ports['broker']}",
        "BROKER_PASSWORD_FILE": str(passwords / node),
        "HEALTH_HOST": LOOPBACK,
        "HEALTH_PORT": str(ports["health"]),
    }
    gateway = {
        "PORT": str(ports["page"]),
        "HISTORY_URL": recorder["HISTORY_URL"],
        "BROKER_URL": f"mqtt://gateway@{LOOPBACK}:{ports['broker']}",
        "BROKER_PASSWORD_FILE": str(passwords / "gateway"),
    }
    return "\n".join(
        [
            "[supervisord]",
            "nodaemon=true",
            "user=root" if os.geteuid() == 0 else "",
            f"logfile={_escaped(state / 'supervisord.log')}",
            f"pidfile={_escaped(state / 'supervisord.pid')}",
            "loglevel=warn",
            _program(
                1,
                "broker",
                f"broker --port {ports['broker']} --node {node} --state '{_escaped(state / 'broker')}'",
            ),
            _program(2, "recorder", "gateway.history", recorder),
            _program(3, "gateway", "gateway", gateway),
            # the first to end: what it has read by then is stored by the others
            _program(4, "edge", "edge", edge),
        ]
    )


def _program(
    priority: int, name: str, module: str, settings: Mapping[str, str] | None = None
) -> str:
    variables = {"LOG_FORMAT": "text", **(settings or {})}
    prefix = " ".join(_dies_with_us())
    environment = ",".join(f'BRISA_{k}="{_escaped(v)}"' for k, v in variables.items())
    return f"""
[program:{name}]
command={prefix} "{_escaped(sys.executable)}" -m {module}
environment={environment}
priority={priority}
autorestart=true
startsecs=0
startretries=1000000
stopwaitsecs=12
stopsignal=TERM
redirect_stderr=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
"""


def _escaped(value: object) -> str:
    """Escape % since supervisor expands %(…)s everywhere."""
    return str(value).replace("%", "%%")


def _welcome(ports: Mapping[str, int], state: Path, manager: Manager) -> None:
    """Wait for the page, then say where it is."""
    address = f"http://localhost:{ports['page']}"
    deadline_s = time.monotonic() + PATIENCE_S
    answered = False
    while time.monotonic() < deadline_s:
        try:
            urllib.request.urlopen(f"{address}/readyz", timeout=2).close()  # noqa: S310 - ours
            break
        except urllib.error.HTTPError:  # it is there, and not ready
            answered = True
        except (OSError, HTTPException):
            pass
        time.sleep(0.2)
    else:
        late = f"not ready after {PATIENCE_S:g} s; the lines above may say why"
        if answered:
            manager.say(f"run: the page is {late}")
        else:
            manager.fail(f"nothing answers at {address}: {late}")
        return
    password = state / "broker" / "credentials" / "viewer"
    manager.say(
        f"\n  brisa is at {address}   (Ctrl-C ends it)\n"
        f"  subscribers: mosquitto_sub -h {LOOPBACK} -p {ports['broker']} -u viewer"
        f" -P \"$(cat '{password}')\" -t 'brisa/#' -v\n"
    )


if __name__ == "__main__":
    sys.exit(main())
