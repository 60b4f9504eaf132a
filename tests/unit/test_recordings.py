"""The decoder and the filter on recordings of real sensors, as they are and damaged."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.slips import passes_sum, slips
from edge.capture import load
from edge.frame import Edge, Frame, Model, _settled, answer, decode, measurement
from edge.plausibility import HUMIDITY_STEP_PCT, TEMPERATURE_STEP_C, Plausibility
from edge.sensors.base import Measurement, NoReading, Sample
from tests.unit.lines import jittered, sampled, with_glitches, without

pytestmark = pytest.mark.captures
FOLDER = Path(
    os.environ.get("BRISA_CAPTURES")
    or Path(__file__).resolve().parents[3] / "shared" / "data" / "captures"
)
EXPECTED = FOLDER / "expected.json"


@dataclass(frozen=True)
class Recording:
    """edges: as recorded. settled: without glitches. frames: those that pass the sum."""

    model: Model
    sample_rate_hz: float
    edges: list[Edge]
    settled: list[Edge]
    frames: list[Frame]
    expected: list[dict[str, Any]]

    def measurements(self) -> list[tuple[float, Measurement]]:
        """At how many seconds, and what."""
        return [(f.start_us / 1e6, measurement(f.data, self.model)) for f in self.frames]


def names() -> list[str]:
    return sorted(json.loads(EXPECTED.read_text())) if EXPECTED.is_file() else ["none"]


@pytest.fixture(params=names())
def recording(request: pytest.FixtureRequest) -> Recording:
    if not EXPECTED.is_file():
        pytest.skip("no recordings: BRISA_CAPTURES names the folder that has expected.json")
    told = json.loads(EXPECTED.read_text())[request.param]
    model = Model.DHT11 if told["model"].startswith("DHT11") else Model.DHT22
    edges = load(str(FOLDER / f"{request.param}.csv"))
    frames = passing(edges)
    return Recording(model, told["sample_rate_hz"], edges, _settled(edges), frames, told["frames"])


def passing(edges: list[Edge]) -> list[Frame]:
    return [frame for frame in decode(edges) if frame.checksum_ok]


def assert_same(found: list[Frame], expected: list[Frame], within_us: float) -> None:
    assert [frame.data for frame in found] == [frame.data for frame in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.start_us == pytest.approx(other.start_us, abs=within_us)


def test_every_capture_has_an_expectation(recording: Recording) -> None:
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(names())
    assert recording.expected


def test_every_expected_frame_comes_out_and_nothing_else_passes(recording: Recording) -> None:
    told = [Frame(each["start_us"], bytes(each["bytes"])) for each in recording.expected]
    assert_same(recording.frames, told, within_us=1)
    for (_, measured), each in zip(recording.measurements(), recording.expected, strict=True):
        assert measured.temperature_c == each["temperature_c"]
        assert measured.humidity_pct == each["humidity_pct"]


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("rate_hz", [100e3, 125e3, 200e3, 250e3, 24e6])
def test_other_sample_rates_change_nothing(
    recording: Recording, rate_hz: float, phase: float
) -> None:
    if rate_hz < 24e6:  # a rate near the recording's own would blur it twice
        rate_hz = min(rate_hz, max(recording.sample_rate_hz / 2, 100e3))
    seen = sampled(recording.edges, rate_hz, phase)
    assert_same(passing(seen), recording.frames, within_us=2e6 / rate_hz)


@pytest.mark.parametrize("seed", range(5))
def test_glitches_and_jitter_change_nothing(recording: Recording, seed: int) -> None:
    rng = random.Random(seed)
    late_us = 2.0 if recording.sample_rate_hz >= 1e6 else 0.0  # a coarse one has its own
    noisy = with_glitches(jittered(recording.settled, late_us, rng), 0.2, 8.0, rng)
    assert_same(passing(noisy), recording.frames, within_us=12)


def test_a_wrong_first_level_changes_nothing(recording: Recording) -> None:
    time_us, level = recording.edges[0]
    assert passing([(time_us, 1 - level), *recording.edges[1:]]) == recording.frames


def of_some_frames(recording: Recording) -> list[Edge]:
    """The recording to the end of its third frame."""
    last_us = recording.frames[:3][-1].start_us + 10_000
    return [edge for edge in recording.settled if edge[0] < last_us]


def test_a_recording_cut_anywhere_gives_its_whole_frames_and_nothing_else(
    recording: Recording,
) -> None:
    edges = of_some_frames(recording)
    whole = passing(edges)
    assert whole == recording.frames[:3]
    for cut in range(1, len(edges)):
        begun = [frame for frame in whole if frame.start_us > edges[cut][0]]
        assert decode(edges[cut:]) == begun
        ended = [frame for frame in whole if ends_whole(edges, frame, cut)]
        assert decode(edges[:cut]) == ended


def ends_whole(edges: list[Edge], frame: Frame, cut: int) -> bool:
    """Is the frame's answer whole in `edges[:cut]`, or cut in an AM2301's where 40 bits would end?"""
    closing = edges.index((frame.start_us, 0)) + 2 + 2 * 40
    next_fall = edges[closing + 2 : closing + 3]
    if next_fall and next_fall[0][0] - edges[closing][0] < 1000:
        return closing < cut <= closing + 2 or closing + 2 * 24 < cut
    return closing < cut


@pytest.mark.parametrize("count", [1, 2, 3])
def test_edges_missed_anywhere_give_no_other_frame(recording: Recording, count: int) -> None:
    edges = of_some_frames(recording)
    whole = {frame.data for frame in passing(edges)}
    for at in range(1, len(edges)):
        for frame in decode(without(edges, set(range(at, at + count)))):
            assert frame.data in whole


def test_a_frame_that_lost_or_gained_a_bit_is_none(recording: Recording) -> None:
    """A slip on the line itself: the structure shows it, whatever the sum says."""
    for frame in recording.frames[:10]:
        edges = [e for e in recording.settled if -60_000 < e[0] - frame.start_us < 20_000]
        at = edges.index((frame.start_us, 0))
        for fall in range(at + 2, at + 82, 2):
            bit = edges[fall : fall + 2]
            lasts_us = edges[fall + 2][0] - edges[fall][0]
            after = [(t - lasts_us, level) for t, level in edges[fall + 2 :]]
            assert passing([*edges[:fall], *after]) == []
            later = [(t + lasts_us, level) for t, level in edges[fall:]]
            assert passing([*edges[:fall], *bit, *later]) == []


def test_an_answer_is_read_from_the_end(recording: Recording) -> None:
    for frame in recording.frames:
        at = recording.settled.index((frame.start_us, 0))
        for missed in range(-1, 3):
            found = answer(recording.settled[at + missed : at + 84])
            assert found is not None
            assert found.data == frame.data


def judged(model: Model, taken: list[tuple[float, Measurement]]) -> tuple[list[Sample], list[Any]]:
    plausibility = Plausibility(model)
    accepted: list[Sample] = []
    discarded: list[Any] = []
    for now_s, measured in taken:
        sample = Sample(measured, now_s, datetime(2026, 1, 1, tzinfo=UTC), True)
        judgement = plausibility.offer(sample)
        accepted += judgement.accepted
        discarded += judgement.discarded
    return accepted, discarded


def test_the_filter_drops_no_true_reading(recording: Recording) -> None:
    taken = recording.measurements()
    accepted, discarded = judged(recording.model, taken)
    assert discarded == []
    assert len(accepted) == (len(taken) if len(taken) > 1 else 0)


def test_the_filter_drops_no_true_reading_when_one_in_five_fails(recording: Recording) -> None:
    taken = recording.measurements()
    rng = random.Random(1)
    some = [each for each in taken if rng.random() < 0.8]
    assert judged(recording.model, some)[1] == []


def test_the_filter_stops_slips_as_it_claims(recording: Recording) -> None:
    """Each frame in turn, slipped in every way that passes the sum, among its true neighbours."""
    taken = recording.measurements()
    slipped_count = passed_count = 0
    for at, (now_s, true) in enumerate(taken):
        before, after = taken[max(at - 3, 0) : at], [(now_s + 2.0, true), (now_s + 7.0, true)]
        lead = [(now_s - 10.0, true), (now_s - 5.0, true)] if len(before) < 2 else before
        elapsed_s = now_s - lead[-1][0]
        for _, data in slips(true.frame or b""):
            if not passes_sum(data):
                continue
            slipped_count += 1
            try:
                slipped = measurement(data, recording.model)
            except NoReading:
                continue
            accepted, _ = judged(recording.model, [*lead, (now_s, slipped), *after])
            if any(one.measurement is slipped for one in accepted):
                passed_count += 1
                within_c = TEMPERATURE_STEP_C.after(elapsed_s) + 1e-6
                within_pct = HUMIDITY_STEP_PCT.after(elapsed_s) + 1e-6
                assert abs(slipped.temperature_c - lead[-1][1].temperature_c) <= within_c
                assert abs(slipped.humidity_pct - lead[-1][1].humidity_pct) <= within_pct
    print(f"{slipped_count} slips pass the sum, {passed_count} of them the filter")
    assert slipped_count > 0
    assert passed_count <= 0.022 * slipped_count
