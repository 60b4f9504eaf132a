"""Publishes readings from many sensors at a set rate: `python -m bench.publisher PORT CREDENTIALS`.

The packets (MQTT 3.1.1 PUBLISH, QoS 0) are made before; then batches of a few go out on time, one
connection a node, since the broker lets a node write its own topics only. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.processes import NODES, SENSORS, SENSORS_PER_NODE

BATCH = 20


def field(text: bytes) -> bytes:
    """A string as MQTT has it, after its length."""
    return len(text).to_bytes(2, "big") + text


def packet(kind: int, body: bytes) -> bytes:
    """A packet after its header: the length, seven bits a byte, the lowest first."""
    length, left = b"", len(body)
    while left > 127:
        length += bytes([left % 128 | 128])
        left //= 128
    return bytes([kind]) + length + bytes([left]) + body


def connect(port: int, user: str, password: str) -> socket.socket:
    """A connection as `user` that the broker has accepted; it asks for no keep-alive."""
    link = socket.create_connection(("127.0.0.1", port))
    login = field(f"bench-{user}".encode()) + field(user.encode()) + field(password.encode())
    link.sendall(packet(0x10, field(b"MQTT") + bytes([4, 0b1100_0010]) + b"\0\0" + login))
    answer = link.recv(4)
    if answer[3:] != b"\0":
        raise ConnectionError(f"the broker refused {user}: {answer.hex()}")
    return link


def reading(node: str, sensor: int, seq: int, measured_at: datetime) -> bytes:
    """A PUBLISH of a reading as the contract has it."""
    moment = measured_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    temperature_c = 15 + (seq * 7 + sensor) % 200 / 10
    humidity_pct = 30 + (seq * 3 + sensor) % 400 / 10
    payload = (
        f'{{"seq":{seq},"measured_at":"{moment}","clock_synchronised":true,'
        f'"temperature_c":{temperature_c:.1f},"humidity_pct":{humidity_pct:.1f},'
        f'"source":"simulated","stream":"00000000-0000-4000-8000-{sensor:012d}"}}'
    )
    topic = f"brisa/{node}/sensor-{sensor % SENSORS_PER_NODE}/reading"
    return packet(0x30, field(topic.encode()) + payload.encode())


def batches(first_seq: int, rounds: int, rate: float) -> list[tuple[int, bytes]]:
    """A node's number and ready-made packets; in each round every sensor has one."""
    made = []
    began = datetime.now(UTC)
    for seq in range(first_seq, first_seq + rounds):
        measured_at = began + timedelta(seconds=(seq - first_seq) * SENSORS / rate)
        for start in range(0, SENSORS, BATCH):
            node = start // SENSORS_PER_NODE
            packets = [
                reading(NODES[node], sensor, seq, measured_at)
                for sensor in range(start, start + BATCH)
            ]
            made.append((node, b"".join(packets)))
    return made


def flood(links: list[socket.socket], made: list[tuple[int, bytes]], rate: float) -> float:
    """Send each batch when it is due. Returns how many seconds it took."""
    began_s = time.perf_counter()
    due_s, step_s = began_s, BATCH / rate
    for node, data in made:
        wait_s = due_s - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        links[node].sendall(data)
        due_s += step_s
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("credentials", type=Path)
    parser.add_argument("--rate", type=float, default=20_000, help="readings a second, of all")
    parser.add_argument("--rounds", type=int, default=1, help="readings of each sensor")
    parser.add_argument("--first-seq", type=int, default=1)
    options = parser.parse_args()
    made = batches(options.first_seq, options.rounds, options.rate)
    links = [
        connect(options.port, node, (options.credentials / node).read_text().strip())
        for node in NODES
    ]
    took_s = flood(links, made, options.rate)
    ended_s = time.monotonic()
    for link in links:
        link.sendall(packet(0xE0, b""))
        link.close()
    sent = options.rounds * SENSORS
    print(json.dumps({"sent": sent, "rate": sent / took_s, "ended_s": ended_s}))


if __name__ == "__main__":
    main()
