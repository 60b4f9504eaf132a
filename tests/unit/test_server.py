"""The gateway as a process: one clear line if it cannot start, an orderly end if it can."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.problems import ProblemView
from gateway.server import PAGE_THREADS, listen
from tests.databases import Database
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class Process:
    """`python -m gateway`, with a broker that is not there."""

    def __init__(self, *command: str, **variables: str) -> None:
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
            command or [sys.executable, "-m", "gateway"],
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
def running(*command: str, **variables: str) -> Iterator[Process]:
    gateway = Process(*command, **variables)
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


def test_while_draining_who_keeps_a_connection_is_told_to_make_another() -> None:
    with running(BRISA_DRAIN_S="300") as gateway, httpx.Client(timeout=WAIT_S) as viewer:
        gateway.wait_for("the page is at")
        assert "close" not in viewer.get(gateway.url).headers.get("connection", "")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("draining for 300 s")
        eventually(
            "it is told", lambda: viewer.get(gateway.url).headers.get("connection") == "close"
        )
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end()[0] == 0


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(BRISA_PORT=port) as gateway:
            code, errors = gateway.end()
    assert code == 1
    assert errors == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_answer_waits_for_an_acknowledgement_of_what_went_before(host: str) -> None:
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_error_of_the_stream_and_of_the_pages_is_the_same_kind_of_problem() -> None:
    with running() as gateway:
        gateway.wait_for("the page is at")
        for path in ("/api/v1/stream", "/api/v1/sensors", "/"):
            response = httpx.post(gateway.url + path, timeout=WAIT_S)
            assert response.status_code == 405
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(response.headers.get_list("Date")) == 1


def patched(statement: str) -> tuple[str, ...]:
    """A command: the gateway, with something in it changed."""
    main = "from gateway.__main__ import main; raise SystemExit(main())"
    return sys.executable, "-c", f"{statement}\n{main}"


def limited(option: str, files: int) -> tuple[str, ...]:
    """A command: the gateway, with a limit of open files."""
    return "bash", "-c", f"ulimit {option} {files} && exec {sys.executable} -m gateway"


def all_of(client: socket.socket) -> bytes:
    """What comes until it is closed."""
    return b"".join(iter(lambda: client.recv(4096), b""))


def metric(gateway: Process, name: str) -> float:
    lines = httpx.get(f"{gateway.url}/metrics", timeout=WAIT_S).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_a_stream_that_nobody_reads_does_not_keep_the_process() -> None:
    endless = patched(
        "import gateway.server, gateway.stream\n"
        "gateway.server.STOP_WITHIN_S = 1\n"
        "gateway.stream._retry = lambda: b':' + b'x' * 50_000_000 + b'\\n\\n'"
    )
    with running(*endless) as gateway:
        gateway.wait_for("the page is at")
        with socket.create_connection(("127.0.0.1", gateway.port)) as unread:
            unread.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert unread.recv(1)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.end()[0] == 0


def test_more_idle_connections_than_files_keep_nobody_out_and_are_not_logged() -> None:
    with running(*limited("-n", 256)) as gateway, ExitStack() as opened:
        gateway.wait_for("open files are limited to 256")
        gateway.wait_for("the page is at")
        with httpx.stream("GET", f"{gateway.url}/api/v1/stream", timeout=WAIT_S) as stream:
            assert stream.status_code == 200
            for _ in range(300):
                opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), WAIT_S))
            assert "not connected" in httpx.get(f"{gateway.url}/readyz", timeout=WAIT_S).text
            assert metric(gateway, "brisa_gateway_viewers") == 1
        gateway.process.send_signal(signal.SIGTERM)
        code, errors = gateway.end()
    assert (code, "Too many open files" in errors) == (0, False)
    assert len(errors.splitlines()) < 10


def test_the_soft_limit_of_open_files_is_raised_for_the_viewers() -> None:
    with running(*limited("-Sn", 128), BRISA_MAX_VIEWERS="500") as gateway:
        gateway.wait_for("the page is at")
        assert metric(gateway, "process_max_fds") >= 700


def test_a_connection_without_a_whole_request_is_closed_and_an_open_stream_is_not() -> None:
    hasty = patched("from gateway.connection import Connection; Connection.request_within_s = 1")
    whole, part = b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /text HTTP/1.1\r\n"
    with running(*hasty) as gateway, ExitStack() as opened:
        gateway.wait_for("the page is at")
        stream = opened.enter_context(
            httpx.stream("GET", f"{gateway.url}/api/v1/stream", timeout=WAIT_S)
        )
        assert stream.status_code == 200
        for sent in (b"", part, whole, whole + part):
            client = socket.create_connection(("127.0.0.1", gateway.port), WAIT_S)
            opened.enter_context(client).sendall(sent)
            assert all_of(client).count(b"200 OK") == sent.count(whole)
        assert metric(gateway, "brisa_gateway_viewers") == 1


@pytest.mark.parametrize(("variables", "configured"), [(("REPLICAS_NAME",), True), ((), False)])
def test_gateways_are_counted_by_the_name_that_is_set(
    variables: tuple[str, ...], configured: bool
) -> None:
    with running(**{f"BRISA_{name}": "127.0.0.1" for name in variables}) as gateway:
        gateway.wait_for("the page is at")
        eventually("it has looked the name up", lambda: replicas(gateway)["count"] == 1)
        assert replicas(gateway)["configured"] is configured


def replicas(gateway: Process) -> dict[str, object]:
    said = httpx.get(f"{gateway.url}/api/v1/system", timeout=WAIT_S).json()
    found: dict[str, object] = said["gateway"]["replicas"]
    return found


def test_probes_answer_though_every_thread_of_pages_waits_for_a_database(sqlite: Database) -> None:
    hangs = patched(
        "import sys, threading, gateway.past, gateway.server\n"
        "from gateway.history import store\n"
        "gateway.past.AT_ONCE = gateway.server.PAGE_THREADS\n"
        "def hang(self):\n"
        "    print('hangs in', threading.current_thread().name, file=sys.stderr, flush=True)\n"
        "    threading.Event().wait()\n"
        "store.Store.read = store.Store.check = hang"
    )
    page = b"GET /sensors/pi-1/dht11 HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(*hangs, **sqlite.env) as gateway, ExitStack() as opened:
        gateway.wait_for("the page is at")
        for _ in range(PAGE_THREADS):
            client = socket.create_connection(("127.0.0.1", gateway.port), WAIT_S)
            opened.enter_context(client).sendall(page)
            gateway.wait_for("hangs in WSGI")
        assert httpx.get(f"{gateway.url}/healthz", timeout=WAIT_S).text == "ok\n"
        assert "not connected" in httpx.get(f"{gateway.url}/readyz", timeout=WAIT_S).text


def test_probes_answer_though_500_clients_ask_for_pages_and_read_none() -> None:
    slow = patched(
        "import time\nfrom gateway.board import Board\n"
        "Board.views = lambda self: time.sleep(1) or []"
    )
    pages = b"GET /kiosk HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    with running(*slow) as gateway, ExitStack() as opened:
        gateway.wait_for("the page is at")
        for _ in range(500):
            client = socket.create_connection(("127.0.0.1", gateway.port), WAIT_S)
            opened.enter_context(client).sendall(pages)
        for _ in range(3):
            assert httpx.get(f"{gateway.url}/healthz", timeout=WAIT_S).text == "ok\n"


def test_a_log_record_whose_message_is_no_text_is_logged() -> None:
    talks = patched(
        "import logging, gateway.server as server\n"
        "started = server.Server.startup\n"
        "async def startup(self, sockets=None):\n"
        "    await started(self, sockets)\n"
        "    logging.getLogger('uvicorn.error').error(OSError('no text'))\n"
        "server.Server.startup = startup"
    )
    with running(*talks) as gateway:
        gateway.wait_for("no text")
        gateway.process.terminate()
        code, errors = gateway.end()
    assert (code, "Traceback" in errors) == (0, False)


def test_a_signal_ends_the_process_also_where_the_stream_cannot_be_closed() -> None:
    fails = patched(
        "from gateway.stream import Stream\n"
        "async def close(self): raise ValueError('not closed')\n"
        "Stream.close = close"
    )
    with running(*fails) as gateway:
        gateway.wait_for("the page is at")
        gateway.process.terminate()
        code, errors = gateway.end()
    assert (code, "not closed" in errors) == (1, True)


def test_what_is_not_http_is_a_problem_too() -> None:
    with running() as gateway:
        gateway.wait_for("the page is at")
        with socket.create_connection(("127.0.0.1", gateway.port), WAIT_S) as client:
            client.sendall(b"nonsense\r\n\r\n")
            head, _, body = all_of(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert ProblemView.model_validate_json(body).status == 400


def test_all_sensors_are_answered_on_the_loop_as_flask_answers_one() -> None:
    with running() as gateway, httpx.Client(timeout=WAIT_S) as client:
        gateway.wait_for("the page is at")
        url = f"{gateway.url}/api/v1/sensors"
        found = client.get(url)
        assert (found.status_code, found.json()["sensors"]) == (200, [])
        by_flask = client.get(f"{gateway.url}/api/v1/sensors/a/b", params={"x": "1"})
        wrong = client.get(url, params={"x": "1"})
        assert (wrong.status_code, wrong.content) == (400, by_flask.content)
        assert {*wrong.headers} == {*by_flask.headers}
        again = client.get(url, headers={"If-None-Match": found.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head(url)
        assert (head.content, head.headers["ETag"]) == (b"", found.headers["ETag"])
        assert head.headers["Content-Length"] == found.headers["Content-Length"]
