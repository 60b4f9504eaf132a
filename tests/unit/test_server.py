"""The gateway as a process: one clear line if it cannot start, an orderly end if it can."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class Process:
    """`python -m gateway`, with a broker that is not there."""

    def __init__(self, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("BRISA_")}
        environ |= {
            "BRISA_HOST": "127.0.0.1",
            "BRISA_PORT": str(self.port),
            "BRISA_BROKER_URL": f"mqtt://127.0.0.1:{free_port()}",
            "BRISA_LOG_FORMAT": "text",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env=environ | variables,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return
        pytest.fail(f"it ended before it said {text!r}")

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors


@contextmanager
def running(**variables: str) -> Iterator[Process]:
    gateway = Process(**variables)
    try:
        yield gateway
    finally:
        gateway.process.kill()
        gateway.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_with_a_hint_and_the_process_with_0(number: signal.Signals) -> None:
    with running() as gateway:
        gateway.wait_for("the page is at http://127.0.0.1:")
        ready = httpx.get(f"{gateway.url}/readyz", timeout=WAIT_S)
        assert (ready.status_code, "not connected" in ready.text) == (503, True)
        assert httpx.get(gateway.url, timeout=WAIT_S).status_code == 200
        with httpx.stream("GET", f"{gateway.url}/api/v1/stream", timeout=WAIT_S) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("retry: ")
            assert "event: state" in (next(lines), next(lines))
            gateway.process.send_signal(number)
            assert [line for line in lines if line][-1].startswith("retry: ")
        code, errors = gateway.end()
        assert (code, "Traceback" in errors) == (0, False)


def test_while_draining_it_serves_but_is_not_ready_and_a_second_signal_ends_it() -> None:
    with running(BRISA_DRAIN_S="300") as gateway:
        gateway.wait_for("the page is at")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("draining for 300 s")
        ready = httpx.get(f"{gateway.url}/readyz", timeout=WAIT_S)
        assert (ready.status_code, "draining" in ready.text) == (503, True)
        assert httpx.get(gateway.url, timeout=WAIT_S).status_code == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end()[0] == 0


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(BRISA_PORT=port) as gateway:
            code, errors = gateway.end()
    assert code == 1
    assert errors == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_an_error_of_the_stream_and_of_the_pages_is_the_same_kind_of_problem() -> None:
    with running() as gateway:
        gateway.wait_for("the page is at")
        for path in ("/api/v1/stream", "/api/v1/sensors", "/"):
            response = httpx.post(gateway.url + path, timeout=WAIT_S)
            assert response.status_code == 405
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(response.headers.get_list("Date")) == 1
