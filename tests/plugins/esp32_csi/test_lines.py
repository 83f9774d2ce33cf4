"""The codec alone: every dialect, real recordings, pieces of any size, damage. B53: nothing half is accepted."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridges.esp32_csi import (
    DIALECTS,
    BadLine,
    CsiRow,
    Header,
    LineDecoder,
    Other,
    layout_of,
    parse_line,
    write_row,
)
from plugins.esp32_csi.simulate import Room
from tests.plugins.esp32_csi import damage, recordings

ROWS = [row for _, row in Room(2).rows(100, 0.12, lambda t: True)]
with_recordings = pytest.mark.skipif(not recordings.HERE, reason=recordings.MISSING)


def decode(data: bytes, step: int | None = None) -> list[object]:
    decoder = LineDecoder()
    step = step or len(data) or 1
    events: list[object] = []
    for at in range(0, len(data), step):
        events += decoder.feed(data[at : at + step])
    return events + list(decoder.finish())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("values", [106, 128, 256, 384])
def test_every_dialect_gives_back_what_was_written(dialect: str, values: int) -> None:
    row = ROWS[0]
    sent = CsiRow(dialect=dialect, mac="a0:b1:c2:d3:e4:f5", rssi_dbm=-61, noise_floor_dbm=-94, channel=6,
                  secondary_channel=1, agc_gain=21, fft_gain=-3, device_us=4_294_967_290, sequence=65_536,
                  first_word_invalid=True, values=(row.values * 3)[:values])
    [got] = decode(write_row(sent))
    assert isinstance(got, CsiRow)
    assert (got.dialect, got.mac, got.rssi_dbm, got.channel) == (dialect, "a0:b1:c2:d3:e4:f5", -61, 6)
    assert got.values == sent.values and got.device_us == sent.device_us and got.noise_floor_dbm == -94
    if "agc_gain" in DIALECTS[dialect]:
        assert (got.agc_gain, got.fft_gain) == (21, -3)
    if "secondary_channel" in DIALECTS[dialect]:
        assert got.secondary_channel == 1


def test_the_imaginary_part_comes_first() -> None:
    """ESP-IDF's Wi-Fi guide: each sub-carrier is two signed bytes, "imaginary part first"."""
    row = CsiRow(dialect="esp_csi", mac="", values=[3, 4, -5, 12])
    assert row.channel_state() == [complex(4, 3), complex(12, -5)]
    assert [abs(value) for value in row.channel_state()] == [5.0, 13.0]


def test_the_polar_frame_is_53_magnitudes_then_53_phases_of_sub_carriers_6_to_58() -> None:
    row = ROWS[0]
    row.values[20:24] = [3, 4, 0, -7]  # sub-carriers 10 and 11
    [frame] = decode(write_row(row, "polar"))
    assert isinstance(frame, CsiRow) and frame.polar and frame.mac == "" and frame.subcarriers == 53
    assert frame.magnitudes[4:6] == [5.0, 7.0] and frame.magnitudes[26] == 0.0, "32 is the direct current: always 0"
    assert frame.phases_rad[4] == pytest.approx(math.atan2(3, 4), abs=1e-3)
    assert frame.phases_rad[5] == pytest.approx(math.pi, abs=1e-3), "pi prints as 3.142, a little more than it is"
    assert 26 not in layout_of(frame).used and len(layout_of(frame).used) == 52
    assert frame.channel_state()[4] == pytest.approx(complex(4, 3), abs=0.01)


def test_polar_frames_need_no_line_end_and_come_in_the_post_of_the_second_board_too() -> None:
    frames = [write_row(row, "polar").strip() for row in ROWS]
    assert [type(event) for event in decode(b"".join(frames), 97)] == [CsiRow] * len(frames)
    decoder = LineDecoder()
    assert [type(e) for e in decoder.feed(frames[0])] == [CsiRow], "told at once, not with the next frame"
    [posted] = decode(b'{"payload":"' + frames[1] + b'"}')
    assert isinstance(posted, CsiRow) and posted == decode(frames[1])[0]


@pytest.mark.parametrize("wrong", [
    b"[" + b"1.000," * 104 + b"1.000]", b"[" + b"1.000," * 106 + b"1.000]", b"[" + b"1.000," * 105 + b"x]",
    b"[" + b"1.000," * 105 + b"9.000]", b"[" + b"-1.000," * 105 + b"1.000]", b"[" + b"1.000," * 105 + b"1.00]",
])
def test_a_polar_frame_that_is_not_whole_is_bad(wrong: bytes) -> None:
    [event] = decode(wrong + b"\n")
    assert isinstance(event, BadLine)


@pytest.mark.parametrize("step", [1, 7, 640, 4096])
def test_chunking_does_not_matter(step: int) -> None:
    lines = damage.good_lines(6)
    wire = b"boot\r\n" + b"".join(b"".join(lines[dialect]) for dialect in lines) + lines["esp_csi"][0][:200]
    assert decode(wire, step) == decode(wire)
    assert Counter(type(event) for event in decode(wire)) == {Other: 1, CsiRow: 36, BadLine: 1}


def test_a_header_teaches_columns_that_nobody_knew() -> None:
    columns = "type,seq,mac,rssi,noise_floor,channel,local_timestamp,temperature,len,data"
    line = 'CSI_DATA,7,1a:00:00:00:00:01,-50,-95,11,123456,41.5,4,"[1,2,3,4]"\n'
    assert isinstance(decode(line.encode())[0], BadLine)
    header, row = decode(f"{columns}\n{line}".encode())
    assert isinstance(header, Header) and isinstance(row, CsiRow)
    assert (row.dialect, row.sequence, row.rssi_dbm, row.device_us, row.values) == ("header", 7, -50, 123456,
                                                                                    [1, 2, 3, 4])


def test_values_beyond_eight_bits_are_believed_only_where_they_are_the_rule() -> None:
    """Newer esp-csi multiplies by its gain compensation; a flipped bit does that once, not eight times in a row."""
    wide = ROWS[0]
    wide = CsiRow(dialect="esp_csi", mac=wide.mac, rssi_dbm=-40, noise_floor_dbm=-95, channel=11,
                  values=[300, -200] * 64)
    narrow = write_row(ROWS[1])
    once = decode(narrow + write_row(wide) + narrow)
    assert [type(event) for event in once] == [CsiRow, BadLine, CsiRow]
    assert isinstance(decode(write_row(wide) * 9)[-1], CsiRow)


def test_a_time_stamp_printed_as_signed_is_the_same_time() -> None:
    columns = DIALECTS["esp_csi"]
    fields = write_row(ROWS[0]).split(b",", len(columns) - 1)
    fields[columns.index("local_timestamp")] = b"-2"
    [row] = decode(b",".join(fields))
    assert isinstance(row, CsiRow) and row.device_us == 0xFFFFFFFE


def test_a_cut_line_is_refused_wherever_it_is_cut_B53() -> None:
    for dialect, lines in damage.good_lines(1).items():
        line = lines[0].rstrip()
        end = line.rindex(b"]") if b"]" in line else len(line) - 1
        for at in range(1, end):
            events = decode(line[:at] + b"\n")
            assert not any(isinstance(event, CsiRow) for event in events), (dialect, line[:at])


def test_a_row_cut_by_the_next_one_costs_only_itself_B53() -> None:
    first, second = write_row(ROWS[0]), write_row(ROWS[1])
    bad, good = decode(first[:300] + second)
    assert isinstance(bad, BadLine) and bad.reason == "cut by another row"
    assert isinstance(good, CsiRow) and good.values == ROWS[1].values


def test_a_line_without_end_is_given_up_and_the_next_one_read() -> None:
    events = decode(b"CSI_DATA," + b"1," * 40_000 + b"\n" + write_row(ROWS[0]), 4096)
    assert [type(event) for event in events] == [BadLine, CsiRow]


def test_logs_are_no_bad_lines_and_the_tail_of_a_row_is_one() -> None:
    tail = write_row(ROWS[0])[-200:]
    events = decode(b"I (24) boot: ESP-IDF v5.5\nload:0x3fce2820,len:0x14f0\nentry 0x403c8924\n" + tail)
    assert [type(event) for event in events] == [Other, Other, Other, BadLine]


@pytest.mark.parametrize("column, text", [
    ("mac", b"1a:00:00:00:00:0g"), ("rssi", b"-300"), ("rssi", b""), ("channel", b"0"), ("noise_floor", b"12"),
    ("len", b"130"), ("len", b"127"), ("rate", b"1e9"), ("type", b"CSI_DAT0"),
])
def test_a_column_out_of_its_grammar_is_refused(column: str, text: bytes) -> None:
    columns = DIALECTS["esp_csi"]
    fields = write_row(ROWS[0]).split(b",", len(columns) - 1)
    fields[columns.index(column)] = text
    assert isinstance(parse_line(b",".join(fields).strip()), BadLine | Other)


@with_recordings
def test_real_recordings_of_the_csi_tool_are_read_to_the_last_row() -> None:
    folder = recordings.DATA
    expected = {"csi_formats/csikit_esp32_example.csv": 60, "csi_formats/esp32_csi_tool_example.csv": 13,
                "csi_scene/empty_01_full_log.txt": 149, "csi_scene/foil_02.csv": 144}
    for name, count in expected.items():
        events = decode((folder / name).read_bytes(), 1000)
        kinds = Counter(type(event) for event in events)
        assert kinds[CsiRow] == count and kinds[BadLine] == 0, name


@with_recordings
def test_the_nulls_of_real_recordings_are_where_the_layout_says() -> None:
    """No second channel: 0 to 31, then -32 to -1; with one: ascending; both checked on what the chips sent."""
    for name, ascending in (("csi_formats/csikit_esp32_example.csv", False), ("csi_scene/hand_01.csv", True),
                            ("csi_formats/esp32_csi_tool_example.csv", True)):
        rows = [e for e in decode((recordings.DATA / name).read_bytes()) if isinstance(e, CsiRow)]
        assert len({layout_of(row).used for row in rows}) == 1, name
        used = set(layout_of(rows[0]).used)
        usual = [median(abs(row.channel_state()[i]) for row in rows) for i in range(64)]
        assert len(used) >= 51 and min(usual[i] for i in used) >= 2, name
        guard = range(60, 64) if ascending else range(28, 37)
        assert not used & set(guard) and all(usual[i] == 0 for i in guard), name
        assert (32 not in used) if ascending else (0 not in used), name


def test_layouts_by_chip() -> None:
    def used(dialect: str, values: int, second: int | None = 0) -> tuple[int, ...]:
        return layout_of(CsiRow(dialect=dialect, mac="", values=[0] * values, secondary_channel=second)).used

    assert used("esp_csi", 128) == (*range(1, 27), *range(38, 64))
    assert used("esp_csi", 384) == used("esp_csi", 128), "the legacy field comes first, whatever follows"
    assert used("esp_csi", 128, 2) == (*range(6, 32), *range(33, 59))
    assert used("esp_csi_c6", 128, None) == (*range(4, 32), *range(33, 61))
    assert len(used("esp_csi_c6", 256, None)) == 114 and len(used("esp_csi_c6", 106, None)) == 52
    forced = CsiRow(dialect="esp_csi", mac="", values=[0] * 128, secondary_channel=0)
    assert layout_of(forced, "esp32c6").used == used("esp_csi_c6", 128, None)


def test_four_thousand_damaged_lines_raise_nothing_B53() -> None:
    """The long form: ``figures fuzz``, a million lines."""
    seen = Counter(type(event) for _, events in damage.fuzz(4000) for event in events)
    assert seen[BadLine] > 1500 and seen[CsiRow] > 100


@pytest.mark.parametrize("kind", ["cut", "glued"])
@pytest.mark.parametrize("dialect", damage.LINES)
def test_no_cut_line_is_accepted_with_another_content_B53(dialect: str, kind: str) -> None:
    assert damage.measure(dialect, kind, 60).wrong == 0


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_event_or_nothing(data: bytes) -> None:
    for prefix in (b"", b"CSI_DATA,", b"[", b"type,", b'{"payload"'):
        for event in decode(prefix + data):
            assert isinstance(event, CsiRow | BadLine | Other | Header)
