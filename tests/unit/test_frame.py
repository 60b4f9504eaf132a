from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.encode import TIMINGS, Timing, edges, frame_bytes, summed, wrong_sum
from edge.frame import Edge, Frame, Model, answer, decode, measurement
from edge.sensors.base import Cause, NoReading
from tests.unit.lines import jittered, sampled, with_glitches, without

ROOM = frame_bytes(24.4, 46.4, Model.DHT22)
COLD = frame_bytes(-7.8, 70.3, Model.DHT22)
repeatable = settings(derandomize=True, deadline=None, max_examples=60)
frames = st.binary(min_size=4, max_size=4).map(summed)
models = st.sampled_from(Model)


def line(*data: bytes, model: Model = Model.DHT22, jitter_us: int = 1, seed: int = 1) -> list[Edge]:
    return list(edges(data, TIMINGS[model], jitter_us=jitter_us, seed=seed))


def timed(timing: Timing, *data: bytes) -> list[Edge]:
    return list(edges(data, timing))


def bytes_of(found: list[Frame]) -> list[bytes]:
    return [frame.data for frame in found]


# Captures


def test_a_frame_starts_with_the_fall_of_the_response() -> None:
    (frame,) = decode(line(ROOM, jitter_us=0))
    assert frame == Frame(520_044, ROOM)


def test_a_frame_with_a_wrong_sum_comes_out_and_says_so() -> None:
    found = decode(line(ROOM, wrong_sum(ROOM), COLD))
    assert bytes_of(found) == [ROOM, wrong_sum(ROOM), COLD]
    assert [frame.checksum_ok for frame in found] == [True, False, True]


@pytest.mark.parametrize("rate_hz", [100e3, 200e3, 250e3, 1e6, 12e6, 24e6])
@pytest.mark.parametrize("bit_low_us", [46, 50, 54, 80])
@pytest.mark.parametrize("one_us", [68, 70, 74, 78])
@pytest.mark.parametrize("zero_us", [22, 26, 30])
def test_sensors_of_all_timings_are_read_at_all_sample_rates(
    rate_hz: float, bit_low_us: float, one_us: float, zero_us: float
) -> None:
    timing = Timing(1_000, 30, 80, 80, bit_low_us, bit_low_us + 12, zero_us, one_us, 50)
    for phase in (0.0, 0.3, 0.7):
        seen = sampled(timed(timing, ROOM, COLD), rate_hz, phase)
        assert bytes_of(decode(seen)) == [ROOM, COLD]


@pytest.mark.parametrize("host_low_us", [800, 1_000, 18_000, 50_000])
@pytest.mark.parametrize("release_us", [13, 20, 40, 75, 200])
def test_any_start_pulse_will_do(host_low_us: float, release_us: float) -> None:
    timing = Timing(host_low_us, release_us, 80, 80, 50, 50, 26, 70, 50)
    found = decode(timed(timing, ROOM))
    assert bytes_of(found) == [ROOM]
    assert found[0].start_us == pytest.approx(500_000 + host_low_us + release_us, abs=2)


def test_without_a_high_before_the_response_the_frame_starts_at_the_first_edge_to_be_seen() -> None:
    whole = line(ROOM, jitter_us=0)
    assert decode(without(whole, {2, 3})) == [Frame(whole[4][0], ROOM)]


@repeatable
@given(data=frames, model=models, rate_hz=st.floats(100e3, 24e6), phase=st.floats(0, 1))
def test_what_is_encoded_decodes_at_any_sample_rate(
    data: bytes, model: Model, rate_hz: float, phase: float
) -> None:
    found = decode(sampled(line(data, data, model=model), rate_hz, phase))
    assert bytes_of(found) == [data, data]


@repeatable
@given(data=frames, model=models, seed=st.integers(0, 2**32))
def test_short_glitches_anywhere_change_nothing(data: bytes, model: Model, seed: int) -> None:
    rng = random.Random(seed)
    noisy = with_glitches(line(data, model=model), 0.5, 8.0, rng)
    assert bytes_of(decode(noisy)) == [data]


@repeatable
@given(data=frames, model=models, seed=st.integers(0, 2**32))
def test_edges_that_come_four_microseconds_early_or_late_change_nothing(
    data: bytes, model: Model, seed: int
) -> None:
    rng = random.Random(seed)
    assert bytes_of(decode(jittered(line(data, model=model), 4.0, rng))) == [data]


def test_the_level_of_the_first_row_may_be_wrong() -> None:
    assert bytes_of(decode([(0, 0), *line(ROOM)[1:]])) == [ROOM]


def test_rows_that_repeat_the_level_say_nothing() -> None:
    repeated = [row for time_us, level in line(ROOM) for row in [(time_us, level)] * 2]
    assert bytes_of(decode(repeated)) == [ROOM]


def test_a_capture_cut_anywhere_gives_the_whole_frames_and_nothing_else() -> None:
    whole = line(ROOM, COLD)
    for cut in range(1, len(whole)):
        begun = [frame for frame in decode(whole) if frame.start_us > whole[cut][0]]
        assert decode([(whole[cut][0], whole[cut][1]), *whole[cut + 1 :]]) == begun
        ended = decode(whole[:cut])
        assert bytes_of(ended) == [ROOM, COLD][: (cut > 85) + (cut > 85 + 86)]


def test_a_capture_of_nothing_has_no_frame() -> None:
    assert decode([]) == []
    assert decode([(0, 1)]) == []
    assert decode([(0, 1), (5, 0), (20_000, 1)]) == []


def of_bits(bits: str, release_us: int = 44) -> list[Edge]:
    """An answer of any number of bits, from the first row to the closing rise."""
    response_us = 520_000 + release_us
    rows: list[Edge] = [(0, 1), (500_000, 0), (520_000, 1), (response_us, 0)]
    rows.append((response_us + 61, 1))
    time_us = response_us + 61 + 81
    for bit in bits:
        rows += [(time_us, 0), (time_us + 54, 1)]
        time_us += 54 + (73 if bit == "1" else 26)
    return [*rows, (time_us, 0), (time_us + 50, 1)]


@pytest.mark.parametrize("bits", [38, 39, 41, 42, 48, 62, 63, 65, 72])
@pytest.mark.parametrize("each", ["0", "1", "01", "10"])
def test_a_frame_of_any_other_count_of_bits_is_none(bits: int, each: str) -> None:
    slipped = of_bits((each * bits)[:bits])
    assert decode(slipped) == []
    assert decode([*slipped, (900_000, 0), (920_000, 1)]) == []
    assert answer(slipped[2:]) is None
    assert len(decode(of_bits((each * 40)[:40]))) == 1


def long_answer(data: bytes, tail: bytes = bytes(3)) -> list[Edge]:
    """An AM2301's: 64 bits, the last three bytes zero."""
    return of_bits(f"{int.from_bytes(data + tail, 'big'):064b}")


@repeatable
@given(data=frames, rate_hz=st.floats(100e3, 24e6), phase=st.floats(0, 1), seed=st.integers(0))
def test_64_bits_are_five_bytes_and_zeros(
    data: bytes, rate_hz: float, phase: float, seed: int
) -> None:
    whole = long_answer(data)
    assert bytes_of(decode(sampled(whole, rate_hz, phase))) == [data]
    assert bytes_of(decode(jittered(whole, 4.0, random.Random(seed)))) == [data]
    second = [(t + 2_000_000, level) for t, level in whole[1:]]
    assert bytes_of(decode([*whole, *second])) == [data, data]


@pytest.mark.parametrize("bit", range(24))
def test_64_bits_that_do_not_end_in_24_zeros_are_no_frame(bit: int) -> None:
    ones = long_answer(ROOM, (1 << bit).to_bytes(3, "big"))
    assert decode(ones) == []
    assert answer(ones[2:]) is None


@pytest.mark.parametrize("zeros", [*range(1, 24), *range(25, 33)])
def test_40_bits_and_another_count_of_zeros_are_no_frame(zeros: int) -> None:
    bits = f"{int.from_bytes(ROOM, 'big'):040b}" + "0" * zeros
    assert decode([*of_bits(bits), (900_000, 0), (920_000, 1)]) == []
    assert answer(of_bits(bits)[2:]) is None


# 50.8 %, 25.7 °C: bit 24 is a 1, which looks like a response, and the 40 bits after it pass the sum.
MISLEADING = summed(bytes([1, 252, 1, 1]))


@pytest.mark.parametrize("data", [ROOM, COLD, MISLEADING])
def test_a_capture_that_begins_within_64_bits_has_no_frame(data: bytes) -> None:
    whole = long_answer(data)
    for cut in range(4, len(whole)):
        assert decode(whole[cut:]) == []


@pytest.mark.parametrize("bit", ["0", "1"])
@pytest.mark.parametrize("lost", range(5, 87))
def test_a_bit_gained_here_and_two_merged_there_are_no_frame(lost: int, bit: str) -> None:
    """The count is right again; the length of what was merged is no bit's."""
    gained = of_bits(bit * 41)
    merged = without(gained, {lost, lost + 1})
    assert decode(merged) == []
    assert answer(merged[2:]) is None


def test_a_response_that_stands_where_a_bit_should_is_no_bit() -> None:
    """A sensor that takes 80 µs to respond, and loses a bit: 40 pulses after an 80 µs high."""
    assert decode(of_bits("0" * 39, release_us=80)) == []
    assert len(decode(of_bits("0" * 40, release_us=80))) == 1


@repeatable
@given(data=frames, at=st.integers(3, 84), count=st.integers(1, 2))
def test_a_capture_that_lost_edges_never_gives_another_frame(
    data: bytes, at: int, count: int
) -> None:
    whole = line(data)
    found = bytes_of(decode(without(whole, set(range(at, at + count)))))
    assert found in ([], [data])


# One answer, as the kernel's events


def events(data: bytes, model: Model = Model.DHT22) -> list[Edge]:
    """From the rise when the host lets go."""
    return line(data, model=model)[2:]


def test_an_answer_is_read_whole_and_without_its_first_edges() -> None:
    whole = events(ROOM)
    assert len(whole) == 85
    for missed in range(4):
        frame = answer(whole[missed:])
        assert frame == Frame(whole[max(missed, 1)][0], ROOM)


def test_an_answer_whose_last_edge_is_missed_is_read() -> None:
    whole = events(ROOM)
    assert answer(whole[:-1]) == Frame(whole[1][0], ROOM)


def test_an_answer_that_lacks_a_bit_is_none() -> None:
    whole = events(ROOM)
    assert answer(whole[4:]) is None
    assert answer(whole[:-2]) is None
    assert answer(whole[1:-2]) is None
    assert answer([]) is None


@repeatable
@given(data=frames, model=models, seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_an_answer_with_edges_missed_anywhere_is_right_or_none(
    data: bytes, model: Model, seed: int, count: int
) -> None:
    data = summed(bytes([data[0] & 0x7F]) + data[1:4])  # as every reading begins
    whole = events(data, model)
    lost = set(random.Random(seed).sample(range(85), count))
    frame = answer(without(whole, lost))
    assert frame is None or frame.data == data


def test_every_pair_of_missed_edges_is_right_or_none() -> None:
    whole = events(COLD)
    for one in range(85):
        for other in range(one, 85):
            frame = answer(without(whole, {one, other}))
            assert frame is None or frame.data == COLD


def test_an_answer_of_64_bits_is_read_without_its_first_and_its_last_edges() -> None:
    whole = long_answer(ROOM)[2:]
    assert len(whole) == 133
    for missed in range(4):
        assert answer(whole[missed:]) == Frame(whole[max(missed, 1)][0], ROOM)
    assert answer(whole[:-1]) == Frame(whole[1][0], ROOM)
    for cut in range(4, len(whole)):
        assert answer(whole[cut:]) is None
    assert answer(whole[:-2]) is None


@pytest.mark.parametrize("data", [ROOM, COLD, MISLEADING])
def test_every_pair_of_edges_missed_in_64_bits_is_right_or_none(data: bytes) -> None:
    whole = long_answer(data)[2:]
    for one in range(len(whole)):
        for other in range(one, len(whole)):
            frame = answer(without(whole, {one, other}))
            assert frame is None or frame.data == data


def test_two_events_of_one_direction_are_an_edge_missed() -> None:
    whole = events(ROOM)
    whole[40] = (whole[40][0], whole[39][1])
    assert answer(whole) is None


# Bytes


def test_five_real_dht22_bytes() -> None:
    measured = measurement(bytes([2, 191, 128, 78, 143]), Model.DHT22)
    assert (measured.temperature_c, measured.humidity_pct) == (-7.8, 70.3)
    assert measured.frame == bytes([2, 191, 128, 78, 143])


@pytest.mark.parametrize(
    ("raw", "temperature_c"),
    [
        (0x0000, 0.0),
        (0x8000, 0.0),
        (0x8001, -0.1),
        (0x8064, -10.0),
        (0xFF9C, -10.0),
        (0xFFFF, -0.1),
        (0x8190, -40.0),
        (0xFE70, -40.0),
        (0x0320, 80.0),
    ],
)
def test_a_dht22_temperature_is_sign_and_magnitude_or_a_complement(
    raw: int, temperature_c: float
) -> None:
    data = summed(b"\x01\xf4" + raw.to_bytes(2, "big"))
    measured = measurement(data, Model.DHT22)
    assert str(measured.temperature_c) == str(temperature_c)  # -0.0 == 0.0, and is no reading


@pytest.mark.parametrize(
    ("four", "temperature_c", "humidity_pct"),
    [
        ((41, 0, 24, 0), 24.0, 41.0),
        ((42, 0, 31, 4), 31.4, 42.0),
        ((95, 5, 10, 0x81), -10.1, 95.5),
        ((20, 0, 0, 0x80), 0.0, 20.0),
        ((0, 0, 60, 0), 60.0, 0.0),
    ],
)
def test_a_dht11_gives_units_tenths_and_a_sign(
    four: tuple[int, ...], temperature_c: float, humidity_pct: float
) -> None:
    measured = measurement(summed(bytes(four)), Model.DHT11)
    assert str(measured.temperature_c) == str(temperature_c)
    assert measured.humidity_pct == humidity_pct


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("four", [bytes(4), b"\xff" * 4])
def test_all_zeros_and_all_ones_are_no_reading(four: bytes, model: Model) -> None:
    with pytest.raises(NoReading) as caught:
        measurement(summed(four), model)
    assert caught.value.cause is Cause.RANGE


@pytest.mark.parametrize(
    ("model", "four"),
    [
        (Model.DHT22, (0x01, 0xF4, 0x03, 0x21)),  # 80.1 °C
        (Model.DHT22, (0x01, 0xF4, 0x81, 0x91)),  # -40.1 °C
        (Model.DHT22, (0x01, 0xF4, 0xFE, 0x6F)),  # -40.1 °C, in two's complement
        (Model.DHT22, (0x03, 0xE9, 0x00, 0xF4)),  # 100.1 %
        (Model.DHT11, (41, 0, 61, 0)),
        (Model.DHT11, (41, 0, 20, 0x81)),  # -20.1 °C
        (Model.DHT11, (101, 0, 24, 0)),
        (Model.DHT11, (41, 10, 24, 0)),  # ten tenths
        (Model.DHT11, (1, 208, 0, 244)),  # a DHT22's frame
    ],
)
def test_what_a_model_cannot_measure_is_out_of_range(model: Model, four: tuple[int, ...]) -> None:
    with pytest.raises(NoReading) as caught:
        measurement(summed(bytes(four)), model)
    assert caught.value.cause is Cause.RANGE


@pytest.mark.parametrize(
    "frames",
    [
        [(0x41, 0, 0x18, 0, 0x49), (0x42, 0, 0x18, 0, 0x49)],
        [(101, 0, 24, 0, 125), (102, 0, 24, 0, 126)],
        [(41, 10, 24, 0, 75), (41, 11, 24, 0, 76)],
    ],
)
def test_what_differs_from_frame_to_frame_is_in_the_text_and_not_in_the_reason(
    frames: list[tuple[int, ...]],
) -> None:
    errors = []
    for data in frames:
        with pytest.raises(NoReading) as caught:
            measurement(bytes(data), Model.DHT11)
        errors.append(caught.value)
    assert len({error.reason for error in errors}) == 1
    assert len({str(error) for error in errors}) == 2


@pytest.mark.parametrize("model", Model)
def test_a_wrong_sum_is_no_reading(model: Model) -> None:
    with pytest.raises(NoReading, match="41 00 18 00 49") as caught:
        measurement(bytes([0x41, 0, 0x18, 0, 0x49]), model)
    assert caught.value.cause is Cause.CHECKSUM


def test_a_frame_of_four_bytes_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        measurement(bytes(4), Model.DHT11)
