"""Real processes for tests: started on free ports, waited for by what they say or answer."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import httpx
from pydantic import SecretStr

from broker.settings import BrokerSettings

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"
# No test asserts on time: this is only how long a test waits before it says what did not come.
PATIENCE_S = 60.0
# In an order of its own for each process, so that two that run at once seldom meet.
_PORTS = iter(random.SystemRandom().sample(range(20_000, 32_000), k=12_000))
T = TypeVar("T")


def free_port() -> int:
    """A port that was free a moment ago, and that this process has not given before.

    It is below the range that Linux takes clients' own ports from (32768 and up), so that a broker
    started again does not find its port taken by some connection. bind() to 0 would choose there.
    """
    for port in _PORTS:
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port between 20000 and 32000 is free")


def eventually(what: str, probe: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """Ask until there is an answer that is true; for what can only be polled."""
    deadline = time.monotonic() + patience_s
    last: T | Exception | None = None
    while time.monotonic() < deadline:
        try:
            last = probe()
        except (OSError, AssertionError, httpx.TransportError) as error:
            last = error
        else:
            if last:
                return last
        threading.Event().wait(0.05)
    raise AssertionError(f"{what}: not within {patience_s:g} s; last: {last!r}")


class Process:
    """A program under test; its output is read as it comes."""

    def __init__(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
    ) -> None:
        # whoever does not say where its journal is gets one that is forgotten
        self._state = tempfile.TemporaryDirectory(prefix="brisa-test-", ignore_cleanup_errors=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BRISA_")}
        self.url = ""
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.popen = subprocess.Popen(
            command,
            env={
                **kept,
                "PYTHONUNBUFFERED": "1",
                "XDG_STATE_HOME": self._state.name,
                "BRISA_LOG_FORMAT": "text",
                **(env or {}),
            },
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, patience_s: float = PATIENCE_S) -> str:
        """The next line that matches."""
        deadline = time.monotonic() + patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                line = self._queue.get(timeout=left_s)
            except queue.Empty:
                break
            if line is None:
                raise AssertionError(f"ended before it said {pattern!r}:\n{self.output}")
            if re.search(pattern, line):
                return line
        raise AssertionError(f"did not say {pattern!r}:\n{self.output}")

    def stop(self, number: int = signal.SIGTERM, patience_s: float = PATIENCE_S) -> int:
        """Ask it to end, and return its exit code."""
        self.popen.send_signal(number)
        return self.wait(patience_s)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        code = self.popen.wait(patience_s)
        self._reader.join(patience_s)
        return code

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._reader.join(PATIENCE_S)
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        self._state.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def python(*arguments: str, env: Mapping[str, str] | None = None) -> Process:
    """A command of ours, as `python -m …`."""
    return Process(sys.executable, *arguments, env=env)


@dataclass
class RunningBroker:
    """A broker started by `python -m broker`, and what a client needs to reach it."""

    kind: str
    state: Path
    nodes: Sequence[str]
    port: int = field(default_factory=free_port)
    process: Process | None = None

    def start(self) -> None:
        nodes = [word for node in self.nodes for word in ("--node", node)]
        self.process = python(
            "-m", "broker", "--kind", self.kind, "--port", str(self.port),
            "--state", str(self.state), *nodes,
        )  # fmt: skip
        self.process.wait_for("broker: ")
        eventually(f"port {self.port}", lambda: _answers(self.port))

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.close()

    def stop(self) -> int:
        assert self.process is not None
        code = self.process.stop()
        self.process.close()
        return code

    def password(self, user: str) -> str:
        return (self.state / "credentials" / user).read_text().strip()

    def url(self, user: str) -> str:
        return f"mqtt://{user}@127.0.0.1:{self.port}"

    def settings(self, user: str) -> BrokerSettings:
        return BrokerSettings(
            broker_url=self.url(user),
            broker_password=SecretStr(self.password(user)),
            keepalive_s=5,
            reconnect_s=1,
        )

    def env(self, user: str) -> dict[str, str]:
        return {
            "BRISA_BROKER_URL": self.url(user),
            "BRISA_BROKER_PASSWORD_FILE": str(self.state / "credentials" / user),
        }


def _answers(port: int) -> bool:
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
        return True


@contextlib.contextmanager
def running_broker(kind: str, state: Path, nodes: Sequence[str]) -> Iterator[RunningBroker]:
    broker = RunningBroker(kind, state, nodes)
    broker.start()
    try:
        yield broker
    finally:
        if broker.process is not None:
            broker.process.close()
