r"""Cutting at b"\n": against the plain definition, over any bytes and any block sizes."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.connectors import lines
from holdfast.connectors.text_file import raw_lines

# Many newlines, few of them, and blocks of many equal lines: the search guesses by density.
BLOCKS = st.one_of(
    st.lists(st.sampled_from([b"\n", b"a", b"\r", b"\x85", b"\n\n", b"b" * 50, b"\n" * 40]), max_size=60).map(b"".join),
    st.lists(st.binary(max_size=30), max_size=60).map(b"\n".join),
    st.tuples(st.integers(0, 400), st.integers(0, 3000), st.integers(0, 400)).map(
        lambda t: b"x\n" * t[0] + b"y" * t[1] + b"\n" * t[2]
    ),
)


def lines_of(raw: bytes) -> list[bytes]:
    """The definition: each line with its newline."""
    found, line = [], b""
    for byte in raw:
        line += bytes([byte])
        if byte == 0x0A:
            found.append(line)
            line = b""
    return [*found, line] if line else found


@given(BLOCKS)
def test_lines_end_at_newlines_and_nowhere_else(raw: bytes) -> None:
    expected = lines_of(raw)
    assert lines.count_lines(raw, 0, len(raw)) == len(expected)
    assert raw_lines(raw) == [line.removesuffix(b"\n") for line in expected]


@given(BLOCKS.filter(bool), st.integers(1, 60), st.data())
def test_a_cut_is_behind_the_whole_lines_that_fit_and_one_at_least(raw: bytes, size: int, data: st.DataObject) -> None:
    expected = lines_of(raw)
    given_before = data.draw(st.integers(0, len(expected) - 1))
    start = len(b"".join(expected[:given_before]))
    ends = itertools.accumulate(map(len, expected[given_before:]))
    fitting = [end for end in ends if end <= size]
    assert lines.cut(raw, start, size) == start + (fitting[-1] if fitting else len(expected[given_before]))


@given(BLOCKS, st.integers(0, 50), st.integers(0, 50), st.sampled_from([0.0, 0.4, 3.0, lines.LINE_BYTES_GUESS]))
@example(b"\n" * 300 + b"x" * 300 + b"\n" * 20, 0, 0, 1.0)
@example(b"x" * 300 + b"\n" * 300, 0, 0, 1.0)
def test_the_search_stays_inside_its_bounds(raw: bytes, start: int, shorter: int, line_bytes: float) -> None:
    stop = max(start, len(raw) - shorter)
    inside = [line for line in lines_of(raw[start:stop]) if line.endswith(b"\n")]
    for count in {0, min(1, len(inside)), len(inside) // 2, len(inside)}:
        assert lines.end_of_lines(raw, count, start, stop, line_bytes) == start + len(b"".join(inside[:count]))
    assert lines.end_of_lines(raw, len(inside) + 1, start, stop, line_bytes) == -1


@given(st.lists(BLOCKS.filter(bool).map(lambda raw: raw.removesuffix(b"\n") + b"\n"), max_size=5), st.data())
def test_lines_given_in_blocks_are_taken_at_any_counts(blocks: list[bytes], data: st.DataObject) -> None:
    given_lines = lines.GivenLines()
    for raw in blocks:
        given_lines.add(raw, len(lines_of(raw)))
    total = given_lines.given
    counts = sorted(data.draw(st.lists(st.integers(0, total), max_size=8)))
    whole, taken = lines_of(b"".join(blocks)), b""
    for count in counts:
        taken += b"".join(given_lines.take(count))
        assert taken == b"".join(whole[:count])
        assert given_lines.taken == count
