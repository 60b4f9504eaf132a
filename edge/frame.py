"""The single-wire frame: pulses to bytes, bytes to a measurement. Pure: no clock, no device.

What a sensor of the family sends, after the host has held the line low and let go of it:

    response low, response high, then 40 times (bit low, bit high), closing low, idle high

An AM2301 sends 64 bits: the same five bytes, then three that are zero. No other length is an
answer, and no other end of the 64: a slip shows in either.

A bit is told by its high: 20 to 30 µs is 0, 65 to 80 µs is 1. The lows say nothing (sensors hold
them for 45 to 95 µs, some longer between bytes), so they serve only to show a missed edge.

Real timings differ from the datasheet, so the limits below are the recorded ones
(shared/data/captures/SOURCE.md) widened by one sample of a 100 kHz analyser on either side. They
stop short of what two pulses become when the edges between them are lost: a low of at least
45 + 20 + 45 µs, a high of at least 23 + 46 + 23 µs. A frame that lost or gained a bit fails by its
count, since the response before the first bit and the idle line after the last are both looked at;
the 8-bit sum alone would let a sixth of such slips through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge.sensors.base import Cause, Measurement, NoReading

Edge = tuple[float, int]  # µs, and the line's level from then on

# Half-way between the longest 0 (30 µs) and the shortest 1 (68 µs) that were recorded. Nothing
# adapts it: a slow rise on a long cable shortens zeros and ones alike, by less than this leaves.
ONE_FROM_US = 49.0
HIGH_MAX_US = 91.0  # an AM2301's 1 of 75 µs, and a glitch beside it
LOW_MIN_US, LOW_MAX_US = 24.0, 105.0
RESPONSE_LOW_MIN_US, RESPONSE_LOW_MAX_US = 35.0, 115.0
RESPONSE_HIGH_MIN_US, RESPONSE_HIGH_MAX_US = 60.0, 115.0
HOST_LOW_MIN_US = 700.0  # the datasheets' shortest start pulse is 800
# Shorter than any pulse of a sensor, and longer than one sample at 100 kHz.
GLITCH_US = 12.0
_BITS = 40
_LENGTHS = (_BITS, 64)  # bits in an answer; those of an AM2301 beyond 40 are 0
_FIRST_BIT = 2  # edges from the fall of the response to the fall of the first bit
# From an answer's first edge to its first bit takes 430 µs at most; the 24 bits by which the two
# lengths differ take at least 1560.
_LEAD_MAX_US = 1000.0


class Model(StrEnum):
    """How a sensor codes its bytes."""

    DHT11 = "dht11"  # whole units and tenths in separate bytes
    DHT22 = "dht22"  # big-endian tenths: AM2301, 2302, 2303, 2320, 2321, 2322 and RHT03 too


# What a model can measure: °C from, to; % from, to. DHT22: the datasheet's. DHT11: the widest of
# its makers' (-20 to 60 °C, where the oldest says 0 to 50), and all of 0 to 100 %, since parts in
# the field go on past the 20 to 90 % that they are specified for; a slip is for plausibility.py.
LIMITS = {Model.DHT11: (-20.0, 60.0, 0.0, 100.0), Model.DHT22: (-40.0, 80.0, 0.0, 100.0)}


@dataclass(frozen=True, slots=True)
class Frame:
    """Five bytes off the line. start_us: when the sensor's response began, in the capture's µs."""

    start_us: float
    data: bytes

    @property
    def checksum_ok(self) -> bool:
        return sum(self.data[:4]) & 0xFF == self.data[4]


def decode(edges: Iterable[Edge]) -> list[Frame]:
    """All whole frames of a capture, also those with a wrong sum.

    The first row is the level at time 0 and no edge; a row that repeats the level is none either.
    A frame whose response began before the capture, or that ends after it, is not whole.
    """
    rows: list[Edge] = []
    for row in edges:
        if not rows or rows[-1][1] != row[1]:
            rows.append(row)
    line = _settled(rows)
    frames = []
    at = 0
    while at + _FIRST_BIT + 2 * _BITS < len(line):
        frame = _frame_at(line, at)
        if frame:
            frames.append(frame)
        at += _FIRST_BIT + 2 * _BITS if frame else 1
    return frames


def answer(events: Iterable[Edge]) -> Frame | None:
    """The frame in one answer's edge events, as the kernel stamps them; None if there is none.

    It counts from the end, since the first edges often come before the kernel looks. Two events
    of one direction mean that one between them was missed: only what follows is used. `start_us`
    is that of the response, or of the first event if the response was missed.
    """
    seen = list(events)
    run: list[Edge] = []
    for event in reversed(seen):
        if run and run[-1][1] == event[1]:
            break
        run.append(event)
    line = _settled(run[::-1])
    if not line:
        return None
    closing = len(line) - 1 - line[-1][1]  # the last fall
    for bits in _LENGTHS:
        first = closing - 2 * bits
        if first < 0 or line[first][0] - seen[0][0] > _LEAD_MAX_US or not _ends(line, closing):
            continue
        data = _data(line, first, bits)
        if data is None or not _response_before(line, first, data):
            continue
        # Five zero bytes are no reading either way, and `measurement` has a better word for them.
        if first <= _FIRST_BIT and any(data) and _may_end_a_longer(data):
            continue
        return Frame(line[max(first - _FIRST_BIT, 0)][0], data)
    return None


def in_range(temperature_c: float, humidity_pct: float, model: Model) -> bool:
    """Can `model` measure this? A NaN it cannot."""
    coldest, hottest, driest, wettest = LIMITS[model]
    return coldest <= temperature_c <= hottest and driest <= humidity_pct <= wettest


def measurement(data: bytes, model: Model) -> Measurement:
    """What five bytes mean.

    Raises NoReading: CHECKSUM for a wrong sum; RANGE for what `model` cannot have measured. Five
    zero bytes have a right sum, but they are what a broken line or driver gives (no sensor of the
    family measures 0 °C in a perfectly dry 0 %), so they are no reading; nor are four bytes of
    ones, which would be 6553.5 %.
    """
    frame = Frame(0.0, data)
    if len(data) != 5:
        raise ValueError(f"{len(data)} bytes: a frame has 5")
    if not frame.checksum_ok:
        raise NoReading(Cause.CHECKSUM, "wrong sum", seen=data.hex(" "))
    if not any(data):
        raise NoReading(Cause.RANGE, "five zero bytes: the line or the sensor is broken")
    tenths = _dht11_tenths(data) if model is Model.DHT11 else _dht22_tenths(data)
    if tenths is None:
        raise _not_of(model, data.hex(" "))
    temperature_c, humidity_pct = tenths[0] / 10, tenths[1] / 10
    if not in_range(temperature_c, humidity_pct, model):
        raise _not_of(model, f"{temperature_c} °C, {humidity_pct} %")
    return Measurement(temperature_c, humidity_pct, data)


def _not_of(model: Model, seen: str) -> NoReading:
    return NoReading(Cause.RANGE, f"not a {model} reading: is it another model?", seen=seen)


def _dht11_tenths(data: bytes) -> tuple[int, int] | None:
    """Tenths of °C and %; None if a byte of tenths holds more than nine.

    Bit 7 of the last byte is the sign on ASAIR's DHT11, a magnitude beside it as on the DHT12
    (github.com/adafruit/DHT-sensor-library/issues/199, github.com/winlinvip/SimpleDHT/issues/51).
    """
    humidity, humidity_tenths, temperature, low = data[:4]
    temperature_tenths = low & 0x7F
    if humidity_tenths > 9 or temperature_tenths > 9:
        return None
    magnitude = temperature * 10 + temperature_tenths
    return (-magnitude if low & 0x80 else magnitude), humidity * 10 + humidity_tenths


def _dht22_tenths(data: bytes) -> tuple[int, int]:
    """Tenths of °C and %.

    The datasheet's negative is a sign bit and a magnitude (0x8064 is -10.0 °C, 0x8000 is 0); some
    sensors send two's complement (0xFF9C; github.com/adafruit/DHT-sensor-library/issues/182).
    Down to -40 °C the two share no code: magnitudes end at 0x8190, complements begin at 0xFE70.
    """
    raw = int.from_bytes(data[2:4], "big")
    humidity = int.from_bytes(data[:2], "big")
    if not raw & 0x8000:
        return raw, humidity
    magnitude = raw & 0x7FFF
    return (raw - 0x10000 if magnitude > 0x4000 else -magnitude), humidity


def _settled(line: Sequence[Edge]) -> list[Edge]:
    """The alternating edges without the pulses that are too short to be a sensor's.

    A run of short pulses between two long ones is judged by the level that most of it has: it is a
    glitch in a pulse, or ringing on an edge, or a 0 that a glitch has cut in pieces.
    """
    kept = list(line[:1])  # the first row's pulse may have begun earlier: its length is not known
    at = 1
    while at < len(line):
        end = at
        while end + 1 < len(line) and _lasts(line, end) < GLITCH_US:
            end += 1
        run_us = line[end][0] - line[at][0]
        turned_us = sum(_lasts(line, pulse) for pulse in range(at, end, 2))
        turned = 2 * turned_us > run_us
        if line[end][1] == line[at][1]:  # the level has changed for good: at one of the two
            kept.append(line[at] if turned or end == at else line[end])
        elif turned and run_us >= GLITCH_US:
            kept += line[at], line[end]
        at = end + 1
    return kept


def _frame_at(line: Sequence[Edge], at: int) -> Frame | None:
    """The frame whose response begins with edge `at`, if one does."""
    first = at + _FIRST_BIT
    low_us = _lasts(line, at)
    if line[at][1] or low_us < RESPONSE_LOW_MIN_US or _bit_before(line, at, 1):
        return None
    if not RESPONSE_HIGH_MIN_US <= _lasts(line, at + 1) <= RESPONSE_HIGH_MAX_US:
        return None
    data = _data_from(line, first)
    if data is None or (_may_end_a_longer(data) and not _host_low_before(line, at)):
        return None
    if low_us <= RESPONSE_LOW_MAX_US:
        return Frame(line[at][0], data) if at else None
    # The host's low runs into the response without a high between them that could be seen: the
    # sensor's first visible edge is the rise. As in `answer`, a slip by one would begin with a 1.
    return Frame(line[at + 1][0], data) if data[0] < 0x80 else None


def _data_from(line: Sequence[Edge], first: int) -> bytes | None:
    """The five bytes of an answer of any length whose first bit begins at the fall `first`."""
    for bits in _LENGTHS:
        closing = first + 2 * bits
        if closing < len(line) and _ends(line, closing):
            return _data(line, first, bits)
    return None


def _data(line: Sequence[Edge], first: int, bits: int) -> bytes | None:
    """The five bytes in `bits` bits from the fall `first` on.

    None if a pulse is no bit's, or a bit after the fortieth is not 0.
    """
    value = 0
    for fall in range(first, first + 2 * bits, 2):
        high_us = _lasts(line, fall + 1)
        if not LOW_MIN_US <= _lasts(line, fall) <= LOW_MAX_US or high_us > HIGH_MAX_US:
            return None
        value = value << 1 | (high_us >= ONE_FROM_US)
    data, zeros = divmod(value, 1 << (bits - _BITS))
    return None if zeros else data.to_bytes(5, "big")


def _may_end_a_longer(data: bytes) -> bool:
    """Can these be the last 40 bits of an AM2301's 64, the last two bytes and the three zeros?

    The 1 before them would look like a response. Where what came before is not known, such bytes
    are no frame; the only readings lost by it are 51.1 % and 76.6 % at exactly 0.0 °C.
    """
    return not any(data[2:])


def _ends(line: Sequence[Edge], closing: int) -> bool:
    """Do the bits end with the fall `closing`, as far as the line was watched?"""
    after = len(line) - 1 - closing
    if after >= 1 and not LOW_MIN_US <= _lasts(line, closing) <= LOW_MAX_US:
        return False
    if after >= 2 and _lasts(line, closing + 1) <= HIGH_MAX_US:
        # One more bit, unless what follows is noise on the idle line.
        return after >= 3 and not LOW_MIN_US <= _lasts(line, closing + 2) <= LOW_MAX_US
    return True


def _response_before(line: Sequence[Edge], first: int, data: bytes) -> bool:
    """Is what was seen before the fall `first` a sensor's response?"""
    if first == 0:
        # Nothing was. Every reading begins with a 0; were this a slip by one bit, the response's
        # high of 80 µs would stand there as a 1.
        return data[0] < 0x80
    if not RESPONSE_HIGH_MIN_US <= _lasts(line, first - 1) <= RESPONSE_HIGH_MAX_US:
        return False
    if first == 1:
        return True
    return _lasts(line, first - 2) >= RESPONSE_LOW_MIN_US and not _bit_before(line, first - 2, 0)


def _bit_before(line: Sequence[Edge], at: int, known_from: int) -> bool:
    """Does a bit end where edge `at` falls? Then no response begins there.

    known_from: the first pulse whose length is known; in a capture the first row's is not.
    """
    if at - 2 < known_from:
        return False
    low_us, high_us = _lasts(line, at - 2), _lasts(line, at - 1)
    return LOW_MIN_US <= low_us <= LOW_MAX_US and high_us <= RESPONSE_HIGH_MAX_US


def _host_low_before(line: Sequence[Edge], at: int) -> bool:
    """Is the last low before the fall `at` seen to be a host's start pulse?"""
    return at > _FIRST_BIT and _lasts(line, at - 2) >= HOST_LOW_MIN_US


def _lasts(line: Sequence[Edge], at: int) -> float:
    """µs from edge `at` to the next."""
    return line[at + 1][0] - line[at][0]
