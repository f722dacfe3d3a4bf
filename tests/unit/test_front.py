"""The embedded broker's front cuts optional fields off a response, and touches nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.front import without_tags

TAG = b"\x07\x03abc"  # number 7, three bytes


def unsigned(value: int) -> bytes:
    """A variable-length unsigned integer, written from the protocol's definition."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def response(keys: int, tags: int, tags_of_each: int = 0) -> bytes:
    """Correlation id 5, no error, the keys, a throttle time of 9 ms, the tagged fields."""
    each = b"".join(struct.pack(">hhh", key, 0, 9) + unsigned(tags_of_each) + TAG * tags_of_each for key in range(keys))
    return struct.pack(">ih", 5, 0) + unsigned(keys + 1) + each + struct.pack(">i", 9) + unsigned(tags) + TAG * tags


@given(st.integers(0, 300), st.integers(0, 200), st.integers(0, 3))
def test_the_closing_tags_go_and_the_rest_stays(keys: int, tags: int, tags_of_each: int):
    """Whatever a broker tags its response with, the same response without comes out."""
    assert without_tags(response(keys, tags, tags_of_each)) == response(keys, 0, tags_of_each)


@pytest.mark.parametrize("length", [0, 6, 7, 20])
def test_a_response_that_ends_early_is_refused(length: int):
    """It is not made up for: the connection ends."""
    with pytest.raises(IndexError):
        without_tags(response(3, 1)[:length])
