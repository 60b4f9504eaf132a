"""Spans against a plain set of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.history.spans import Spans

TOP = 2**63 - 1
numbers = st.integers(1, 40)
ranges = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
steps = st.lists(st.tuples(st.booleans(), ranges), max_size=30)


def numbers_of(spans: Spans) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


def made(changes: list[tuple[bool, tuple[int, int]]]) -> tuple[Spans, set[int]]:
    spans, model = Spans(), set[int]()
    for added, (first, last) in changes:
        if added:
            spans.add(first, last)
            model |= set(range(first, last + 1))
        else:
            spans.remove(first, last)
            model -= set(range(first, last + 1))
    return spans, model


@given(steps, ranges)
def test_it_is_a_set_of_numbers(
    changes: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    spans, model = made(changes)
    assert numbers_of(spans) == model
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(spans)), "touching ranges"
    assert spans.total() == len(model)
    assert [n for n in range(45) if n in spans] == sorted(model)
    holes = spans.missing(*asked)
    assert {n for first, last in holes for n in range(first, last + 1)} == (
        set(range(asked[0], asked[1] + 1)) - model
    )
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(holes))
    assert list(spans) == list(Spans(spans)) == list(Spans(reversed(list(spans))))


@given(steps, numbers)
def test_the_range_around_a_number(
    changes: list[tuple[bool, tuple[int, int]]], number: int
) -> None:
    spans, model = made(changes)
    around = spans.around(number)
    assert (around is not None) == (number in model)
    if around is not None:
        assert around in list(spans)
        assert around[0] <= number <= around[1]


def test_the_end_of_the_numbers() -> None:
    spans = Spans([(1, 3), (TOP - 1, TOP)])
    spans.add(TOP, TOP)
    assert spans.total() == 5
    assert spans.missing(1, TOP) == [(4, TOP - 2)]
    spans.add(4, TOP - 2)
    assert list(spans) == [(1, TOP)]
    assert spans.total() == TOP
    spans.remove(TOP, TOP)
    assert spans.missing(1, TOP) == [(TOP, TOP)]
    assert spans.missing(TOP + 1, TOP) == []


def test_what_is_no_number_is_not_in_it() -> None:
    assert "1" not in Spans([(1, 2)])
