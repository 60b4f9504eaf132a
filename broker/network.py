"""The thread that serves one paho client's socket, by paho's calls for external loops.

paho's own thread does the same with select(), once for every packet. That is too dear for a gateway
that takes in thousands a second, and worse: select() knows no file number above 1023, and a gateway
with a thousand open pages would not get its broker back after a restart. See docs/adr/0004.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client

from broker.buffered import BufferedSocket
from broker.worker import Worker

log = logging.getLogger(__name__)

# paho looks after keep-alive and lost connections when it is asked to, at the least this often.
LOOK_EVERY_S = 1.0
# Above this rate, rest before the next look: then one look finds many packets, and not one each.
BUSY_PACKETS_PER_S, MEASURED_OVER_S, REST_S = 1000, 0.05, 0.005


class NetworkLoop:
    """Connects, serves, and connects again, until it is stopped.

    connect: makes one attempt; raises OSError. on_failure: hears of it, or of what ended a
    connection that was up. delay_s: how long to wait
    before the next. on_look: about once a second, while connected. All are called in the loop's
    thread. restful: rest under load, for those who take in many messages and for whom a few
    milliseconds do not matter.
    """

    def __init__(
        self,
        client: Client,
        *,
        connect: Callable[[], None],
        on_failure: Callable[[Exception], None],
        delay_s: Callable[[], float],
        on_look: Callable[[], None],
        restful: bool = False,
    ) -> None:
        self._client = client
        self._connect = connect
        self._on_failure = on_failure
        self._delay_s = delay_s
        self._on_look = on_look
        self._restful = restful
        self._woken, self._waker = socket.socketpair()
        self._worker = Worker("mqtt", self._attempt, wake=self.wake)

    def start(self) -> None:
        self._waker.setblocking(False)
        self._worker.start()

    def wake(self) -> None:
        """There is something to write."""
        if threading.current_thread() is not self._worker.thread:
            with contextlib.suppress(OSError):  # it is told already, or has ended
                self._waker.send(b"!")

    def stop(self, timeout_s: float) -> None:
        """Write what is queued, and end."""
        self._worker.stop(timeout_s)
        if not self._worker.alive:
            self._woken.close()
            self._waker.close()

    @property
    def alive(self) -> bool:
        return self._worker.alive

    def _attempt(self) -> None:
        """One connection, from the first packet to the last, and the wait before the next."""
        try:
            self._connect()
            self._serve()
        except Exception as error:
            # paho turns what a network does into return codes; what a broker sends may still be
            # what nobody expects, and is no reason to wait less for the next.
            if not isinstance(error, OSError):
                log.exception("the connection to the broker failed")
            self._on_failure(error)
        if not self._worker.stopping.is_set():
            self._worker.stopping.wait(self._delay_s())

    def _serve(self) -> None:
        """Until the connection is gone, or all is said after `stop`."""
        client = self._client
        looked_s = measured_s = time.monotonic()
        packets, busy = 0, False
        while isinstance(sock := client.socket(), BufferedSocket):
            writing = client.want_write()
            if self._worker.stopping.is_set() and not writing:
                return
            readable, writable = self._wait(sock.fileno(), writing)
            if readable:
                packets += self._read(sock)
            if writable or client.want_write():
                client.loop_write()
            now_s = time.monotonic()
            if now_s - looked_s >= LOOK_EVERY_S:
                looked_s = now_s
                client.loop_misc()
                self._on_look()
            if now_s - measured_s >= MEASURED_OVER_S:
                busy = packets >= BUSY_PACKETS_PER_S * (now_s - measured_s)
                packets, measured_s = 0, now_s
            if busy and self._restful and not sock.more:
                time.sleep(REST_S)

    def _wait(self, fd: int, writing: bool) -> tuple[bool, bool]:
        poll = select.poll()
        poll.register(fd, select.POLLIN | (select.POLLOUT if writing else 0))
        poll.register(self._woken, select.POLLIN)
        events = dict(poll.poll(LOOK_EVERY_S * 1000))
        if self._woken.fileno() in events:
            self._woken.recv(4096)
        seen = events.get(fd, 0)
        return bool(seen & ~select.POLLOUT), bool(seen & select.POLLOUT)

    def _read(self, sock: BufferedSocket) -> int:
        """Take in what is there. Returns how many packets that were."""
        packets = sock.fill()
        while sock.pending():
            packets += 1
            if self._client.loop_read() != MQTT_ERR_SUCCESS:
                break
        return packets
