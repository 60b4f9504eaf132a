"""In the guest: hold a line with the gpio driver, and let `doctor` ask for it, then and after."""

from edge.__main__ import main
from edge.sensors.registry import create

OPTIONS = {"pin": "17", "chip": "sensor-bank"}
DOCTOR = ["doctor", "--driver", "gpio"]
DOCTOR += [word for name, value in OPTIONS.items() for word in ("--option", f"{name}={value}")]

print("exit", main(["doctor", "--option", "pin=4", "--option", "chip=sensor-bank"]))
print("exit", main(["doctor", "--driver", "gpio"]))
sensor = create("gpio", model="dht11", options=OPTIONS)
sensor.open()
sensor.read()
print("exit", main(DOCTOR))
sensor.close()
sensor.close()
print("exit", main(DOCTOR))
