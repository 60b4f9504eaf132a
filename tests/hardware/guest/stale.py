"""In the guest: ask the kernel's driver again and again, as no sampler would; say what came out.

Prints one JSON list: of the brisa driver's answers, `ok T H` or the cause; in between, as `raw …`,
what the kernel's own file says to whoever does not know its traps.
"""

import json
import time
from pathlib import Path

from edge.sensors.base import NoReading
from edge.sensors.registry import create

RAW = Path("/sys/bus/iio/devices/iio:device0/in_temp_input")
heard: list[str] = []


def ask() -> str:
    try:
        got = sensor.read()
    except NoReading as error:
        return str(error.cause)
    return f"ok {got.temperature_c:g} {got.humidity_pct:g}"


def hear_until(wanted: str) -> None:
    """Ask every 50 ms, three seconds long at the most."""
    for _ in range(60):
        answer = ask()
        if heard[-1:] != [answer]:
            heard.append(answer)
        if answer == wanted:
            return
        time.sleep(0.05)


def raw() -> str:
    try:
        return f"raw {RAW.read_text().strip()}"
    except OSError as error:
        return f"raw error {error.errno}"


sensor = create("iio", model="dht11")
sensor.open()
hear_until("undecodable")
heard.append(raw())  # 0, though nothing was ever read
hear_until("ok 10 60")
hear_until("undecodable")
heard.append(raw())  # the value before
hear_until("ok 20 50")
time.sleep(2.1)
heard.append(raw())  # another program's read, an EIO of which our driver knows nothing
hear_until("ok 24 41")
sensor.close()
print(json.dumps(heard))
