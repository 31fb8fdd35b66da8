"""The value that says which offsets have ended, against a plain set (R14)."""

import hypothesis.strategies as st
from hypothesis import given

from forebay.backends.settled import SPAN, Settled

LOW = st.integers(0, 40)
BITS = st.binary(max_size=12)


def offsets(low, bits):
    first = low - low % 8
    return set(range(low)) | {first + n for n in range(8 * len(bits)) if first + n >= low and bits[n // 8] & 0x80 >> n % 8}


@given(LOW, BITS | st.sampled_from([b"\xff", b"\xff\xff\x80", b"\0\0", b"\x1f\xff\0"]))
def test_it_says_what_the_bits_say_in_its_shortest_form(low, bits):
    found = Settled.of(low, bits)
    ended = offsets(low, bits)
    assert {n for n in range(200) if found.has_ended(n)} == ended
    assert found.low == min(set(range(201)) - ended)
    assert found.first == found.low - found.low % 8
    assert found.end == max(found.low, (max(ended, default=0) // 8 + 1) * 8 if found.ended else 0)
    assert not found.ended.endswith(b"\0")
    assert Settled.of(found.low, found.ended) == found


def test_it_tells_of_no_more_than_its_span():
    found = Settled.of(3, b"\xef" + bytes(SPAN // 8) + b"\xff")
    assert found == Settled(3, b"\x0f")
    assert not found.has_ended(8 + SPAN)
    assert Settled.of(0, b"\x7f" + b"\xff" * (SPAN // 4)).end == SPAN
