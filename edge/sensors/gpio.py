"""A sensor on a GPIO line, through libgpiod 2: edges with the kernel's time stamps, decoded here.

For a DHT11 that sends tenths where the kernel's driver does not take them, and for whoever may
open /dev/gpiochip* but not change the boot configuration. One process, no child, and the line is
held only from `open` to `close` (the kernel frees it if we die).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.frame import Model, answer, measurement
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken

# The GPIO header's controller, from Pi Zero to Pi 5. By label, since its number changes with
# kernels and boards.
LABELS = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")
CONSUMER = "brisa"
START_PULSE_S = 0.018  # a DHT11 wants 18 ms, a DHT22 1 to 20 ms
ANSWER_S = 0.020  # the longest answer, an AM2301's, takes 9 ms
EVENTS = 256  # an answer has 85 edges, an AM2301's 133; when full, the kernel drops the oldest
_MIN_INTERVAL_S = {Model.DHT11: 1.0, Model.DHT22: 2.0}  # datasheets


class GpioSensor:
    """A sensor on one line of a GPIO chip.

    pin: BCM number. chip: a label, or a path such as /dev/gpiochip0; None: the header's.
    sleep: waits for seconds, as `time.sleep`.
    """

    driver = "gpio"
    paces_itself = False

    def __init__(
        self,
        *,
        model: Model,
        pin: int = 3,
        chip: str | None = None,
        dev_root: Path = Path("/dev"),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.model = model
        self.source = model
        self.min_interval_s = _MIN_INTERVAL_S[model]
        self._pin = pin
        self._chip = chip
        self._dev_root = dev_root
        self._sleep = sleep
        self._request: Any = None

    def open(self) -> None:
        gpiod = _gpiod()
        path = self._find_chip(gpiod)
        try:
            self._request = gpiod.request_lines(
                str(path),
                consumer=CONSUMER,
                config={self._pin: _settings(gpiod)["idle"]},
                event_buffer_size=EVENTS,
            )
        except (OSError, ValueError) as error:
            raise SensorBroken(self._why_not(gpiod, path, error)) from error

    def read(self) -> Measurement:
        request = self._request
        if request is None:
            raise NoReading(Cause.IO, "not open")
        gpiod = _gpiod()
        try:
            edges = self._ask(gpiod, request)
        except gpiod.RequestReleasedError as error:  # `close`, by another thread
            raise NoReading(Cause.IO, "closed while reading") from error
        except OSError as error:
            self.close()
            raise SensorBroken(f"GPIO {self._pin}: {error.strerror}") from error
        return measured(edges, self.model)

    def close(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _ask(self, gpiod: Any, request: Any) -> list[tuple[float, int]]:
        """Send a start pulse; the edges that follow it, in µs."""
        settings, pin = _settings(gpiod), self._pin
        request.reconfigure_lines({pin: settings["low"]})
        self._sleep(START_PULSE_S)
        released_ns = time.monotonic_ns()  # the clock of the events; drops what is left of before
        request.reconfigure_lines({pin: settings["listen"]})
        # The kernel keeps the events: sleeping leaves the processor to it while they come.
        self._sleep(ANSWER_S)
        events = request.read_edge_events(EVENTS) if request.wait_edge_events(0) else []
        request.reconfigure_lines({pin: settings["idle"]})
        return [
            (event.timestamp_ns / 1000, int(event.event_type is event.Type.RISING_EDGE))
            for event in events
            if event.timestamp_ns >= released_ns
        ]

    def _find_chip(self, gpiod: Any) -> Path:
        """The chip's device node. Raises SensorBroken."""
        if self._chip is not None and "/" in self._chip:
            path = Path(self._chip)
            if not path.exists():
                raise SensorBroken(f"there is no {path}; {_seen(self._labels(gpiod))}")
            return path
        nodes = sorted(self._dev_root.glob("gpiochip*"))
        if not nodes:
            raise SensorBroken(
                f"no {self._dev_root}/gpiochip*: this is no Raspberry Pi, or a container that was"
                " not given the device node (--device /dev/gpiochip0); the driver iio needs none"
            )
        wanted = LABELS if self._chip is None else (self._chip,)
        labels = dict(self._labels(gpiod))
        for path, label in labels.items():
            if label in wanted:
                return path
        denied = [path for path in nodes if path not in labels]
        if denied:
            raise SensorBroken(_denied(denied[0]))
        raise SensorBroken(
            f"no GPIO chip is labelled {' or '.join(wanted)}; {_seen(labels.items())}"
        )

    def _labels(self, gpiod: Any) -> Iterator[tuple[Path, str]]:
        """The chips that this user may open, and their labels."""
        for path in sorted(self._dev_root.glob("gpiochip*")):
            try:
                with gpiod.Chip(str(path)) as chip:
                    yield path, chip.get_info().label
            except OSError:
                continue

    def _why_not(self, gpiod: Any, path: Path, error: Exception) -> str:
        """Why the line could not be had, and what to do."""
        code = getattr(error, "errno", None)
        if code == errno.EBUSY:
            return self._busy(_consumer(gpiod, path, self._pin))
        if code in {errno.EACCES, errno.EPERM}:
            return _denied(path)
        if code == errno.EINVAL or isinstance(error, ValueError):
            return f"{path} has no GPIO {self._pin}: set the option pin (BCM number)"
        return f"{path}, GPIO {self._pin}: {error}"

    def _busy(self, holder: str) -> str:
        held = f"GPIO {self._pin} is held by {holder or 'another program'}"
        if holder.startswith("dht11"):
            return (
                f"{held}, the kernel's driver: use the driver iio, or take its dtoverlay line out "
                "of /boot/firmware/config.txt and reboot"
            )
        if holder == CONSUMER:
            return f"{held}: another brisa edge reads this sensor; stop it, or choose another pin"
        return f"{held}: stop that, or choose another pin (option pin; see `gpioinfo`)"


def measured(edges: Sequence[tuple[float, int]], model: Model) -> Measurement:
    """What the edges of one answer mean. Raises NoReading (TIMEOUT, CHECKSUM, RANGE).

    edges: (µs, level after the edge).
    """
    frame = answer(edges)
    if frame is None:
        raise NoReading(Cause.TIMEOUT, "no whole answer", seen=f"{len(edges)} edges")
    return measurement(frame.data, model)


def _gpiod() -> Any:
    """The module of libgpiod; imported here, since other drivers do without it. Raises SensorBroken."""
    try:
        import gpiod  # noqa: PLC0415
    except ImportError as error:
        raise SensorBroken(
            f"the Python package gpiod is not installed ({error}): pip install 'gpiod>=2'"
        ) from error
    if not hasattr(gpiod, "request_lines"):
        raise SensorBroken("the Python package gpiod is older than 2: pip install 'gpiod>=2'")
    return gpiod


def _settings(gpiod: Any) -> dict[str, Any]:
    """What the line is: driven low, listened to, or left to its pull-up."""
    line = gpiod.line
    up = {"direction": line.Direction.INPUT, "bias": line.Bias.PULL_UP}
    return {
        "low": gpiod.LineSettings(
            direction=line.Direction.OUTPUT, output_value=line.Value.INACTIVE
        ),
        "listen": gpiod.LineSettings(edge_detection=line.Edge.BOTH, **up),
        "idle": gpiod.LineSettings(**up),
    }


def _consumer(gpiod: Any, path: Path, pin: int) -> str:
    try:
        with gpiod.Chip(str(path)) as chip:
            return str(chip.get_line_info(pin).consumer)
    except OSError:
        return ""


def _denied(path: Path) -> str:
    try:
        group = path.group()
    except (OSError, KeyError):
        group = "gpio"
    return (
        f"this user may not open {path}: add it to the group {group} (sudo usermod -aG {group} "
        "$USER, then log in again), or use the driver iio, which needs no rights"
    )


def _seen(labels: Iterable[tuple[Path, str]]) -> str:
    found = ", ".join(f"{path} ({label})" for path, label in labels)
    return f"here: {found or 'none that this user may open'}; choose by the option chip"
