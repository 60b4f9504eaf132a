"""What is cut out of the stream below paho, and what paho still sees."""

from __future__ import annotations

import itertools
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.buffered import BufferedSocket, Publish

PINGRESP = b"\xd0\x00"
PUBACK = b"\x40\x02\x00\x07"


def publish(topic: bytes, payload: bytes, flags: int = 0) -> bytes:
    """A PUBLISH as MQTT 3.1.1 has it (3.3); QoS 0 unless `flags` say else."""
    body = len(topic).to_bytes(2, "big") + topic + (b"\0\7" if flags & 6 else b"") + payload
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([0x30 | flags]) + length + body


class Line:
    """A connection: what the broker sends, what is handed over, what paho would get."""

    def __init__(self) -> None:
        self.broker, ours = socket.socketpair()
        ours.setblocking(False)
        self.messages: list[tuple[str, bytes, bool]] = []
        self._sizes = itertools.cycle([1, 3, 3, 1, 1])
        self.socket = BufferedSocket(ours, self._take)

    def _take(self, message: Publish) -> None:
        self.messages.append((message.topic, message.payload, message.retain))

    def arrives(self, data: bytes) -> None:
        self.broker.sendall(data)
        self.socket.fill()

    def for_paho(self) -> bytes:
        got = b""
        while self.socket.pending():
            piece = self.socket.recv(next(self._sizes))
            if not piece:
                return got + b"END"
            got += piece
        with pytest.raises(BlockingIOError):
            self.socket.recv(1)
        return got

    def close(self) -> None:
        self.broker.close()
        self.socket.close()


def test_messages_of_qos_0_are_handed_over_and_the_rest_is_paho_s() -> None:
    line = Line()
    other = publish(b"a/b", b"qos 1", flags=2)
    line.arrives(PINGRESP + publish(b"a/b", b"1") + PUBACK + publish(b"c", b"", flags=1) + other)
    assert line.messages == [("a/b", b"1", False), ("c", b"", True)]
    assert line.for_paho() == PINGRESP + PUBACK + other
    line.close()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.just(PINGRESP),
            st.just(PUBACK),
            st.builds(
                publish,
                st.text("abc/", min_size=1, max_size=200).map(str.encode),
                st.binary(max_size=300),
                st.sampled_from([0, 1, 2, 3, 4, 8, 9]),
            ),
        ),
        max_size=20,
    ),
    st.lists(st.integers(1, 200), min_size=1, max_size=30),
)
def test_it_does_not_matter_where_the_network_cuts(packets: list[bytes], cuts: list[int]) -> None:
    whole, split = Line(), Line()
    data = b"".join(packets)
    if data:
        whole.arrives(data)
    at = 0
    for number in range(len(data)):
        size = cuts[number % len(cuts)]
        if data[at : at + size]:
            split.arrives(data[at : at + size])
        at += size
    assert split.messages == whole.messages
    assert split.for_paho() == whole.for_paho()
    assert len(whole.messages) == sum(packet[0] & 0xF6 == 0x30 for packet in packets)
    whole.close()
    split.close()


def test_a_large_message_comes_in_pieces_and_is_handed_over_once() -> None:
    line = Line()
    packet = publish(b"a", bytes(250_000))
    for start in range(0, len(packet), 50_000):
        line.arrives(packet[start : start + 50_000])
    assert [len(payload) for _, payload, _ in line.messages] == [250_000]
    assert line.for_paho() == b""
    line.close()


def test_the_end_comes_after_what_was_before_it() -> None:
    line = Line()
    line.broker.sendall(PINGRESP + publish(b"a", b"last"))
    line.socket.fill()
    line.broker.close()
    line.socket.fill()
    assert line.messages == [("a", b"last", False)]
    assert line.for_paho() == PINGRESP + b"END"
    line.close()


@pytest.mark.parametrize(
    "packet", [b"\x30\x00", b"\x30\x01a", b"\x30\x02\xff\xff", b"\x30\x03\x00\x09a"]
)
def test_a_publish_that_lies_about_its_lengths_harms_nobody(packet: bytes) -> None:
    line = Line()
    line.arrives(packet + publish(b"a", b"after"))
    assert line.messages[-1] == ("a", b"after", False)
    line.close()
