"""Recordings as people have them, and as nobody should: messages with stamps, or one clear word."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.replay.capture import CaptureError
from agent.replay.engine import Replay
from plugins.water_meter.plugin import WaterMeter, WaterMeterConfig
from plugins.water_meter.recordings import messages
from tests.plugins.water_meter.leaks import RECORDED

EDGES = [(0.0, b"GPIO17 0"), (1.5, b"GPIO17 1")]
INDEX = [(0.0, b"index 100"), (3600.0, b"index 103.5")]


@pytest.mark.parametrize("text", [
    '{"t": 10, "level": 0}\n{"t": 11.5, "level": true}\n',
    '{"t_us": 10000000, "line": "GPIO17", "level": "0"}\n{"t_us": 11500000, "level": 1}\nnot json\n{"t": "x"}\n',
    "t,level\n10,0\n11.5,1\nx,1\n",
    "# a pause\nt_us;line;level\n10000000;GPIO17;0\n11500000;GPIO17;1\n",
    "t,level\n11.5,1\n10,0\n",  # not in order
])
def test_edges(text: str) -> None:
    assert messages(text.encode(), "GPIO17") == EDGES


@pytest.mark.parametrize("text", [
    "datetime,index_l\n2026-03-02 00:00:00,100\n2026-03-02 01:00:00,103.5\n",
    "date;reading (m3)\n02/03/2026 00:00;0,1\n02/03/2026 01:00;0,1035\n",
    "timestamp\tvolume_l\n2026-03-02T00:00:00Z\t100\n2026-03-02T02:00:00+01:00\t103.5\n",
    "user.key;datetime;meter.reading;diff\na;02/03/2026 00:00:00;100;0\nb;02/03/2026 00:30:00;7;0\n"
    "a;02/03/2026 01:00:00;103.5;3.5\n",
    "time,consumption_l\n0,100\n3600,3.5\n",
])
def test_an_index(text: str) -> None:
    assert messages(text.encode(), "GPIO17") == INDEX
    assert messages(gzip.compress(text.encode()), "GPIO17") == INDEX


@pytest.mark.parametrize("data", [
    b"", b"\xff\xfe\x00", b"\x1f\x8bnothing", b"{", b"a,b\n1,2\n", b"t,level\n", b'{"t": 1e999, "level": 1e999}',
    b'{"t": NaN, "level": 1}', b'{"t": 1, "level": "' + b"[" * 100_000, b"[" * 100_000, b"t,level\n1,1\n1e200,0\n",
    b'{"t": 1, "level": ' + b"[" * 100_000, b't,level\n1,"' + b"x" * 200_000 + b'"\n',
])
def test_B53_what_is_no_recording_is_left_to_the_other_readers(data: bytes) -> None:
    assert messages(data, "GPIO17") is None


pieces = st.one_of(st.binary(max_size=30), st.sampled_from(
    [b"GPIO17 1", b"GPIO17 0", b"index 5", b"index -1", b"index 1e400", b"GPIO17", b" 1", b"< 1 GPIO17 1", b"t,level",
     b'{"t": 3, "level": 0}', b"datetime;reading", b"2026-01-01 00:00:00;5", b"\n"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=30), st.booleans())
def test_B53_no_capture_whatever_ends_in_a_bug(parts: list[bytes], two: bool) -> None:
    config = WaterMeterConfig(second_line="GPIO27" if two else None)
    try:
        told = list(Replay(WaterMeter, config, b"\n".join(parts)).records())
    except CaptureError as error:
        assert "\n" not in str(error)
        return
    assert not [record for record in told if record.get("log") == "error"]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded households (data/water_hourly) are not here")
def test_a_recorded_year_is_replayed() -> None:
    data = RECORDED.read_bytes()
    told = list(Replay(WaterMeter, WaterMeterConfig(drip_l_h=3.0), data).records())
    index = [record["value"] for record in told if record.get("property") == "index_l"]
    assert len(index) > 8000
    assert {record["value"] for record in told if record.get("property") == "leak"} == {"unknown", "none"}
