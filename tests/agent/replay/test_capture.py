"""The transcript's format: what is read, what is refused with its line, and that nothing is lost in writing it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.replay.capture import CaptureError, Entry, escape, is_transcript, parse_transcript, unescape

TEXT = b"""# Main meter, garage, 2026-11-02
> 0.000 hex:f8 04 00
< 0.041 \\x02\\nADCO 1\\r\\\\
< 1.5

# a comment in between
< 2 T=1
"""


def test_a_transcript_is_read_line_by_line() -> None:
    assert is_transcript(TEXT)
    assert parse_transcript(TEXT) == [
        Entry(True, 0.0, b"\xf8\x04\x00", 2), Entry(False, 0.041, b"\x02\nADCO 1\r\\", 3), Entry(False, 1.5, b"", 4),
        Entry(False, 2.0, b"T=1", 7)]


@pytest.mark.parametrize("data", [b"", b"# Frame 1\nb'\\x02'\n", b"\x1b\x1b\x1b\x1b\x01\x01", b"/ISK5\\2M550T-1012\r\n",
                                  b"# only a comment\n", b"< 1.0 \x00binary"])
def test_raw_captures_are_not_taken_for_transcripts(data: bytes) -> None:
    assert not is_transcript(data)


@pytest.mark.parametrize("text, error", [
    ("# c\n< 1 ok\nnonsense", "t:3: expected '< SECONDS PAYLOAD'"),
    ("< 2 a\n< 1 b", "t:2: 1 s is before the line above"),
    ("< 1 \\q", "t:1: \\q is no escape"),
    ("< 1 \\x4", "t:1: \\x takes two hex digits"),
    ("< 1 hex:abc", "t:1: hex: takes pairs"),
    ("# nothing", "t: no line with '<' or '>'"),
])
def test_a_wrong_line_is_named(text: str, error: str) -> None:
    with pytest.raises(CaptureError, match=f"^{__import__('re').escape(error)}"):
        parse_transcript(text.encode(), "t")


@given(st.binary(max_size=200))
def test_any_bytes_can_be_written_and_read_back(data: bytes) -> None:
    assert unescape(escape(data)) == data
    assert parse_transcript(f"< 1.5 {escape(data)}\n".encode())[0].data == data
