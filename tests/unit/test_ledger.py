"""The account of a stream against a plain model of it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.history import ledger
from gateway.history.ledger import LOST, Ledger, Room, Row, Taken
from gateway.history.spans import Spans

TOP = 2**63 - 1
numbers = st.integers(1, 25)


def numbers_of(spans: Spans) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


class AgainstAModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.dates: dict[int, int] = {}  # of what is stored
        self.undated: set[int] = set()
        self.lost: set[int] = set()
        self.newest = 0
        self.clock = 0

    @rule(seq=numbers, synchronised=st.booleans())
    def reading(self, seq: int, synchronised: bool) -> None:
        self.clock += 1
        taken = self.ledger.take(seq, synchronised=synchronised)
        self.newest = max(self.newest, seq)
        if seq not in self.dates:
            assert taken is Taken.NEW
            if not synchronised:
                self.undated.add(seq)
        elif synchronised and seq in self.undated:
            assert taken is Taken.DATED
            self.undated.remove(seq)
        else:
            assert taken is Taken.KNOWN
            return
        self.dates[seq] = self.clock
        self.lost.discard(seq)
        self.ledger.date({seq: self.clock})

    @rule(first=numbers, length=st.integers(0, 10))
    def claim(self, first: int, length: int) -> None:
        self.clock += 1
        last = min(first + length, self.newest)
        assert self.ledger.lose(first, last, self.clock)
        self.lost |= set(range(first, last + 1)) - self.dates.keys()
        wanted = self.ledger.neighbours()
        assert wanted <= self.dates.keys()
        self.ledger.date({seq: self.dates[seq] for seq in wanted})

    @rule()
    def restart(self) -> None:
        before = self.ledger.rows()
        self.ledger = Ledger(before, self.newest)
        assert self.ledger.rows() == before

    @invariant()
    def agrees(self) -> None:
        assert numbers_of(self.ledger.stored) == self.dates.keys()
        assert numbers_of(self.ledger.undated) == self.undated
        assert numbers_of(self.ledger.lost) == self.lost
        known = self.dates.keys() | self.lost
        mark = self.ledger.watermark()
        assert set(range(1, mark + 1)) <= known
        assert mark + 1 not in known
        assert self.ledger.newest_seq == self.newest
        assert self.ledger.missing() == self.newest - len(known)
        for row in self.ledger.rows():
            if row.kind == LOST:
                assert row.noted_ms is not None
                assert row.after_ms == self.dates.get(row.first_seq - 1)
                assert row.before_ms == self.dates.get(row.last_seq + 1)
            else:
                assert row[3:] == (None, None, None)


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_losses_that_touch_are_one_gap_and_a_find_divides_it() -> None:
    account = Ledger(newest_seq=10)
    assert account.lose(2, 4, noted_ms=100)
    assert account.lose(1, 6, noted_ms=200)
    assert account.rows() == {Row(LOST, 1, 6, 200)}
    account.take(3, synchronised=True)
    account.date({3: 33})
    lost = {row for row in account.rows() if row.kind == LOST}
    assert lost == {Row(LOST, 1, 2, 200, None, 33), Row(LOST, 4, 6, 200, 33, None)}


def test_the_largest_numbers() -> None:
    account = Ledger()
    assert account.take(TOP, synchronised=False) is Taken.NEW
    assert account.lose(1, TOP, noted_ms=1)
    assert account.lose(TOP + 1, TOP, noted_ms=1)
    assert account.watermark() == TOP
    assert account.missing() == 0
    assert Ledger(account.rows(), TOP).watermark() == TOP


def test_an_account_in_too_many_pieces_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_RANGES", 3)
    account = Ledger()
    assert [account.take(seq, synchronised=True) for seq in (1, 3, 5)] == [Taken.NEW] * 3
    assert account.take(7, synchronised=True) is Taken.REFUSED
    assert 7 not in account.stored
    assert account.newest_seq == 7, "that it exists is known all the same"
    assert account.take(6, synchronised=True) is Taken.NEW, "it makes no new piece"
    assert account.take(4, synchronised=True) is Taken.NEW
    assert account.take(9, synchronised=True) is Taken.NEW, "there is room again"


def test_the_streams_of_a_node_share_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_PIECES", 3)
    room = Room()
    first, second = Ledger(room=room), Ledger(room=room)
    assert [first.take(seq, synchronised=True) for seq in (1, 3, 5, 7)] == [Taken.NEW] * 4
    assert room.pieces == 3
    assert second.take(1, synchronised=True) is Taken.NEW, "the first range of a stream is free"
    assert second.take(3, synchronised=True) is Taken.REFUSED
    assert second.take(2, synchronised=True) is Taken.NEW, "one that makes no piece is stored"
    assert first.take(2, synchronised=True) is Taken.NEW
    assert room.pieces == 2, "a gap was filled: there is room for another"
    assert second.take(4, synchronised=True) is Taken.NEW
    assert room.pieces == 3
    assert second.take(6, synchronised=True) is Taken.REFUSED
    assert Ledger(room=Room()).take(9, synchronised=True) is Taken.NEW, "another node's is its own"


def test_claims_and_finds_are_counted_in_the_nodes_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many as of readings: each honest gap between two of those can be called lost."""
    monkeypatch.setattr(ledger, "MAX_PIECES", 2)
    room = Room()
    account = Ledger(newest_seq=100, room=room)
    assert all(account.lose(seq, seq, noted_ms=1) for seq in (1, 3, 5, 7, 9))
    assert room.pieces == 4, "beside the first"
    assert account.lose(11, 11, noted_ms=1) is False
    assert account.lose(1, 9, noted_ms=1) is False, "four holes, before they join"
    assert account.lose(9, 9, noted_ms=1), "nothing that was not lost before"
    other = Ledger(newest_seq=100, room=room)
    assert other.lose(1, 1, noted_ms=1) is False, "the same node's"
    assert account.take(3, synchronised=True) is Taken.NEW
    assert room.pieces == 3, "what was found is a piece less"
    assert other.lose(1, 1, noted_ms=1)
    assert room.pieces == 3, "the first of a kind is free"
    assert other.lose(3, 3, noted_ms=1)
    assert room.pieces == 4


def test_dates_that_differ_by_turns_take_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_RANGES", 2)
    account = Ledger()
    for seq in range(1, 6):
        assert account.take(seq, synchronised=False) is Taken.NEW
    assert account.take(6, synchronised=True) is Taken.NEW
    assert account.take(7, synchronised=False) is Taken.NEW
    assert account.take(9, synchronised=False) is Taken.REFUSED
    assert 9 not in account.stored
    assert account.take(3, synchronised=True) is Taken.REFUSED, "it would divide a range"
    assert 3 in account.undated
    assert account.take(1, synchronised=True) is Taken.DATED


def test_claims_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_RANGES", 2)
    account = Ledger(newest_seq=100)
    assert all(account.lose(seq, seq, noted_ms=1) for seq in (1, 3, 5, 7))
    assert not account.lose(9, 9, noted_ms=1)
    assert account.lost.total() == 4
