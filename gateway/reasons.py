"""What an edge says is wrong, in the reader's language.

On the wire it is English, for whoever reads the topics. Here are the edge's own words, with places
for what it fills in; what is not among them (another version's edge, an error of some library)
stays as it is.
"""

from __future__ import annotations

from functools import lru_cache
from re import split

from gateway.catalogue import LANGUAGES, SOURCE_LANGUAGE, catalogue, marked

DEPTH = 3  # a reason in a reason in a reason
KEPT = 256  # a fault says the same for hours, to every visitor

# Before a reason, and a colon: edge.sensors.base.Cause.
CAUSES = (
    marked("timeout"),
    marked("checksum"),
    marked("undecodable"),
    marked("stale"),
    marked("range"),
    marked("slip"),
    marked("io"),
)
# After a file or a device, and a colon: what Linux, SQLite and Python say.
ERRORS = (
    marked("No such file or directory"),
    marked("No such device"),
    marked("No such device or address"),
    marked("Permission denied"),
    marked("Operation not permitted"),
    marked("Read-only file system"),
    marked("No space left on device"),
    marked("Disk quota exceeded"),
    marked("File too large"),
    marked("Input/output error"),
    marked("Device or resource busy"),
    marked("Connection timed out"),
    marked("Is a directory"),
    marked("Not a directory"),
    marked("Invalid argument"),
    marked("Too many open files"),
    marked("Cannot allocate memory"),
    marked("database disk image is malformed"),
    marked("file is not a database"),
    marked("database or disk is full"),
    marked("disk I/O error"),
    marked("unable to open database file"),
    marked("attempt to write a readonly database"),
    marked("another process uses it"),
    marked("empty; expected is the header %(header)s"),
    marked("no whole frame in it"),
    marked("invalid literal for int() with base 10: %(value)s"),
)
SENTENCES = (
    # edge/sampler.py
    marked("no reading yet"),
    marked("no two readings agree"),
    marked("the driver failed: %(error)s"),
    marked(
        "no reading %(num)s times in a row (%(reason)s): look at power and wiring,"
        " or take its power away for a moment"
    ),
    # edge/frame.py, edge/sensors/limits.py
    marked("wrong sum"),
    marked("five zero bytes: the line or the sensor is broken"),
    marked("not a %(model)s reading: is it another model?"),
    marked("not a %(model)s reading"),
    # edge/sensors/iio.py
    marked("the kernel's driver may still hold an earlier value"),
    marked(
        "the kernel's driver answered with a value that it kept: does another program read"
        " this sensor?"
    ),
    marked("interrupted between temperature and humidity"),
    marked("the kernel's driver refused the frame"),
    marked(
        "the kernel's driver refused %(num)s frames in a row (EIO). It does so for ever with a"
        " DHT11 that sends tenths, unless the Raspberry Pi kernel is of November 2024 or later, and"
        " with any DHT11 below 0 °C: update the kernel, or take the dtoverlay=dht11 line out of"
        " /boot/firmware/config.txt, reboot and use the driver gpio, which reads both. If that fails"
        " too, the line is noisy: a shorter wire, a pull-up of 4.7 kΩ"
    ),
    marked("the kernel's driver misreads a DHT11 below 4 %%: use the driver gpio"),
    marked("the sensor did not answer, or broke off"),
    marked("%(device)s has vanished: was the dtoverlay removed? Reboot, and see `dmesg`"),
    marked(
        "%(file)s may not be read by this user: sysfs files are mode 0644; look at the mounts and"
        " the security profile of this process"
    ),
    marked(
        "no dht11 device below %(folder)s: add the line dtoverlay=dht11,gpiopin=3 to"
        " /boot/firmware/config.txt (gpiopin: the GPIO of the data wire) and reboot"
    ),
    marked("several dht11 devices: choose by the option device, from %(known)s"),
    marked("no dht11 device %(device)s: there is %(known)s"),
    marked("more than one dht11 device %(device)s: there is %(known)s"),
    # edge/sensors/gpio.py
    marked("not open"),
    marked("closed while reading"),
    marked("no whole answer"),
    marked("there is no %(path)s; %(seen)s"),
    marked("no GPIO chip is labelled %(labels)s; %(seen)s"),
    marked("here: %(found)s; choose by the option chip"),
    marked("none that this user may open"),
    marked(
        "no %(path)s: this is no Raspberry Pi, or a container that was not given the device node"
        " (--device /dev/gpiochip0); the driver iio needs none"
    ),
    marked("%(path)s has no GPIO %(pin)s: set the option pin (BCM number)"),
    marked(
        "GPIO %(pin)s is held by %(holder)s, the kernel's driver: use the driver iio, or take its"
        " dtoverlay line out of /boot/firmware/config.txt and reboot"
    ),
    marked(
        "GPIO %(pin)s is held by %(holder)s: another brisa edge reads this sensor; stop it, or"
        " choose another pin"
    ),
    marked(
        "GPIO %(pin)s is held by %(holder)s: stop that, or choose another pin (option pin; see"
        " `gpioinfo`)"
    ),
    marked("another program"),
    marked(
        "this user may not open %(path)s: add it to the group %(group)s (sudo usermod -aG %(same)s"
        " $USER, then log in again), or use the driver iio, which needs no rights"
    ),
    marked("the Python package gpiod is not installed (%(error)s): pip install 'gpiod>=2'"),
    marked("the Python package gpiod is older than 2: pip install 'gpiod>=2'"),
    # edge/sensors/adafruit.py
    marked("no answer in %(num)s tries"),
    marked("%(name)s is not installed (%(error)s). On a Pi: %(command)s"),
    marked(
        "Adafruit_DHT: %(error)s On a Pi 2, 3, 4 or Zero 2 set the option platform=pi, on a Pi 1 or"
        " Zero platform=pi1; run as root or in the group gpio. It does not work on a Pi 5: use the"
        " driver iio or gpio there"
    ),
    # edge/sensors/replay.py, edge/capture.py
    marked("closed while waiting for the next frame"),
    marked("%(file)s, after line %(line)s: not text in UTF-8"),
    marked("%(file)s, line %(line)s: %(value)s: expected is %(allowed)s"),
    marked("the header %(header)s"),
    marked("a time in µs, a comma, and 0 or 1"),
    marked("a time in µs, as 1234 or 1234.5"),
    marked("a time not before %(time)s"),
    # edge/journal.py, edge/journal_file.py, edge/journal_format.py
    marked("readings are kept in memory only: %(file)s: %(error)s"),
    marked(
        "the journal was damaged (%(error)s) and set aside as %(name)s; readings that were not"
        " sent by then may be lost"
    ),
    marked("it is no journal, and was left alone; choose another BRISA_JOURNAL"),
    marked("not even one page"),
    marked("its log cannot be read"),
    marked("its log is broken"),
    marked("its state cannot be read"),
    marked("not a journal, or one of another version of brisa"),
    marked("a stream without a name"),
    marked("an impossible row: %(error)s"),
    marked("a row that is not what was written"),
    marked("it is not open"),
)
JOURNAL_TOO = "; the journal was damaged ("  # the second of two that the journal says at once


class _Pattern:
    """A text with places. No regular expression: what comes by MQTT must not make it slow."""

    def __init__(self, message: str) -> None:
        self.message = message
        parts = split(r"%\((\w+)\)s", message)
        self._first, *self._literals = (part.replace("%%", "%") for part in parts[::2])
        self._names = parts[1::2]
        self.weight = sum(map(len, parts[::2]))

    def places(self, text: str) -> dict[str, str] | None:
        """What stands in each place; None if the text is another."""
        if not self._names:
            return {} if text == self._first else None
        if not text.startswith(self._first):
            return None
        at = len(self._first)
        found: dict[str, str] = {}
        for name, literal in zip(self._names, self._literals, strict=True):
            if len(found) < len(self._names) - 1:
                end = text.find(literal, at + 1)
            else:
                end = len(text) - len(literal) if text.endswith(literal) else -1
            if end <= at:
                return None
            found[name], at = text[at:end], end + len(literal)
        return found


# Who says more goes first: some are the beginning of another.
_PATTERNS = sorted(map(_Pattern, SENTENCES), key=lambda pattern: -pattern.weight)
_ERRORS = sorted(map(_Pattern, ERRORS), key=lambda pattern: -pattern.weight)


def reason_in(language: str, text: str) -> tuple[str, str]:
    """What the edge says in that language, if it can be said; and the language that it is in."""
    said = _said(language, text, DEPTH) if language != SOURCE_LANGUAGE else None
    return (text, SOURCE_LANGUAGE) if said is None else (said, language)


def reasons(text: str) -> dict[str, str]:
    """In each language but English that it can be said in."""
    found = {language: reason_in(language, text) for language in LANGUAGES}
    return {language: said for language, (said, of) in found.items() if of != SOURCE_LANGUAGE}


@lru_cache(maxsize=KEPT)
def _said(language: str, text: str, depth: int) -> str | None:
    if not depth:
        return None
    first, both, second = text.partition(JOURNAL_TOO)
    if both:
        memory = _said(language, first, depth - 1)
        damaged = _said(language, JOURNAL_TOO.removeprefix("; ") + second, depth)
        return f"{memory}; {damaged}" if memory and damaged else None
    if text in CAUSES:
        return catalogue(language).gettext(text)
    cause, colon, detail = text.partition(": ")
    if colon and cause in CAUSES:
        said = _said(language, detail, depth - 1)
        return said and f"{catalogue(language).gettext(cause)}: {said}"
    return _matched(language, text, depth, _PATTERNS) or _error(language, text, depth)


def _matched(language: str, text: str, depth: int, patterns: list[_Pattern]) -> str | None:
    for pattern in patterns:
        places = pattern.places(text)
        if places is not None:
            filled = {name: _said(language, of, depth - 1) or of for name, of in places.items()}
            return catalogue(language).gettext(pattern.message) % filled
    return None


def _error(language: str, text: str, depth: int) -> str | None:
    """Of a file or device, if it is named: only an error that is known, or nothing was translated."""
    if said := _matched(language, text, depth, _ERRORS):
        return said
    at = text.find(": ")
    while at > 0:
        said = _matched(language, text[at + 2 :], depth, _ERRORS)
        if said:
            return text[: at + 2] + said
        at = text.find(": ", at + 1)
    return None
