"""What every measurement needs: a broker, processes and what they cost, environments of peers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from broker.local import mosquitto_path, prepare
from tests.support import REPOSITORY, Process, eventually, free_port

SENSORS_PER_NODE = 200
NODES = tuple(f"node-{number}" for number in range(5))
SENSORS = SENSORS_PER_NODE * len(NODES)
DROPPED = "$SYS/broker/publish/messages/dropped"
# Compiled files are kept, as in an installation: without them a start parses every module, and
# what that takes stays with the process.
PLAIN = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONUNBUFFERED": "1"}


class BenchError(RuntimeError):
    """A measurement cannot be made; the text is one line that says why."""


def say(text: str) -> None:
    print(f"  {text}", flush=True)


@dataclass(frozen=True)
class Broker:
    """A running Mosquitto with the configuration that we ship; the viewer may also read $SYS."""

    port: int
    state: Path
    process: Process
    drops: Process | None = None

    def password(self, user: str) -> str:
        return (self.state / "credentials" / user).read_text(encoding="utf-8").strip()

    def env(self, user: str) -> dict[str, str]:
        """What a process of ours needs to connect as `user`."""
        return {
            "BRISA_BROKER_URL": f"mqtt://{user}@127.0.0.1:{self.port}",
            "BRISA_BROKER_PASSWORD_FILE": str(self.state / "credentials" / user),
        }

    def subscriber(self, *arguments: str) -> list[str]:
        """The command line of a mosquitto_sub."""
        login = ["-u", "viewer", "-P", self.password("viewer")]
        return ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), *login, *arguments]

    def dropped(self) -> int:
        """QoS 0 messages that Mosquitto threw away since it started, for all subscribers."""
        time.sleep(2.2)  # it says so once a second
        return int(self.drops.lines[-1]) if self.drops else 0


@contextlib.contextmanager
def mosquitto() -> Iterator[Broker]:
    """Mosquitto, as `python -m broker` would start it."""
    if mosquitto_path() is None:
        raise BenchError("mosquitto is not on PATH: apt-get install mosquitto mosquitto-clients")
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as folder:
        state, port = Path(folder) / "broker", free_port()
        prepare("mosquitto", state, port, ["gateway", "recorder", "viewer", *NODES])
        with (state / "acl").open("a", encoding="utf-8") as acl:
            acl.write("\nuser viewer\ntopic read $SYS/#\n")
        (state / "conf.d" / "bench.conf").write_text("sys_interval 1\n", encoding="utf-8")
        with Process(mosquitto_path() or "", "-c", "mosquitto.conf", cwd=state) as process:
            eventually("mosquitto listens", lambda: _listens(port))
            broker = Broker(port, state, process)
            # All the time: Mosquitto says it only when it changes, and forgets it after a minute.
            with Process(*broker.subscriber("-t", DROPPED)) as drops:
                drops.wait_for(r"^\d+$")
                yield replace(broker, drops=drops)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def python(*arguments: str, env: Mapping[str, str] | None = None) -> Process:
    """A Python process of ours."""
    return Process(sys.executable, *arguments, env={**PLAIN, **(env or {})})


@contextlib.contextmanager
def gateway(broker: Broker, env: Mapping[str, str] | None = None) -> Iterator[tuple[Process, int]]:
    """The gateway as shipped, ready, and its port."""
    port = free_port()
    listen = {"BRISA_HOST": "127.0.0.1", "BRISA_PORT": str(port)}
    with python("-m", "gateway", env={**broker.env("gateway"), **listen, **(env or {})}) as process:
        eventually("the gateway is ready", lambda: fetch(port, "/readyz"))
        yield process, port


@contextlib.contextmanager
def open_page(port: int) -> Iterator[None]:
    """A reader of the gateway's stream."""
    url = f"http://127.0.0.1:{port}/api/v1/stream"
    command = ["curl", "--silent", "--no-buffer", "--output", "/dev/null", url]
    with subprocess.Popen(command) as viewer:
        try:
            yield
        finally:
            viewer.kill()


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return bytes(answer.read())


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, all its threads."""
    return time.clock_gettime((~pid << 3) | 2)  # Linux's per-process clock, in nanoseconds


def settled_cpu_s(pid: int, quiet_s: float = 0.6, patience_s: float = 60.0) -> float:
    """Processor time when the process has nothing left to do (a tick now and then apart)."""
    deadline_s = time.monotonic() + patience_s
    before = cpu_s(pid)
    while time.monotonic() < deadline_s:
        time.sleep(quiet_s)
        now = cpu_s(pid)
        if now - before < 0.03 * quiet_s:
            return now
        before = now
    raise BenchError(f"process {pid} was still busy after {patience_s:g} s")


def memory_mb(pid: int) -> dict[str, float]:
    """VmRSS, RssAnon and RssFile in megabytes of 1,000,000 bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) * 1024 / 1e6
    return found


def environment(name: str, probe: str) -> Path:
    """The bin folder of a peer's own virtual environment, made once from its locked requirements.

    probe: a program that must be there. Raises BenchError.
    """
    lock = REPOSITORY / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "brisa" / f"{name}-{digest}"
    if not (folder / "bin" / probe).exists():
        say(f"{name}: an environment of its own in {folder}")
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
        _run(*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(lock))
    return folder / "bin"


def _run(*command: str) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        last = (result.stderr or result.stdout).strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(command[:4])} … failed: {' '.join(last)}")


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, and the lowest and highest where there are several."""
    middle = form(statistics.median(values))
    return middle if len(values) < 2 else f"{middle} ({form(min(values))}–{form(max(values))})"
