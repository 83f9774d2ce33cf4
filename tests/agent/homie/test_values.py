from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.api import Property
from agent.homie.tree import describe_property
from agent.homie.values import BadValue, Illegal, duration_s, parse_set, payload, utc_us
from tests.agent.homie.homie_controller import format_problem, value_problem

FLOAT = Property(name="x_w", datatype="float")
RANGE = Property(name="x_c", datatype="float", minimum=5, maximum=30, step=0.5, settable=True)
INTEGER = Property(name="n", datatype="integer", minimum=0)
ENUM = Property(name="mode", datatype="enum", options=("off", "Auto"))
TEXT = Property(name="text", datatype="string")
JSON = Property(name="doc", datatype="json")
TIME = Property(name="at", datatype="datetime")
DURATION = Property(name="took", datatype="duration")
BOOLEAN = Property(name="on", datatype="boolean", options=("idle", "motion"))


@pytest.mark.parametrize(
    ("prop", "value", "text"),
    [
        (FLOAT, 0.00001, "0.00001"),
        (FLOAT, 1e22, "10000000000000000000000"),
        (FLOAT, -0.0, "-0.0"),
        (FLOAT, 20, "20"),
        (FLOAT, 19.5, "19.5"),
        (RANGE, 19.7, "19.5"),
        (INTEGER, 7, "7"),
        (INTEGER, 7.0, "7"),
        (BOOLEAN, True, "true"),
        (BOOLEAN, False, "false"),
        (ENUM, "Auto", "Auto"),
        (TEXT, "", "\x00"),
        (TEXT, "a\x00b", "ab"),
        (TEXT, "Küche", "Küche"),
        (JSON, {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'),
        (JSON, [], "[]"),
        (TIME, "2026-11-22T04:00:00+01:00", "2026-11-22T03:00:00.000Z"),
        (TIME, datetime(2026, 11, 22, 5, tzinfo=timezone(timedelta(hours=2))), "2026-11-22T03:00:00.000Z"),
        (DURATION, 90, "PT90S"),
        (DURATION, 0.5, "PT0.5S"),
        (DURATION, "PT1H2M3S", "PT1H2M3S"),
        (DURATION, "P1DT1S", "PT86401.0S"),
    ],
)
def test_payload(prop: Property, value: object, text: str) -> None:
    made = payload(prop, value)  # type: ignore[arg-type]
    assert made == text.encode()
    assert value_problem(describe_property(prop), made) is None


@pytest.mark.parametrize(
    ("prop", "value", "quality"),
    [
        (FLOAT, float("nan"), "not_finite"),
        (FLOAT, float("inf"), "not_finite"),
        (FLOAT, -float("inf"), "not_finite"),
        (FLOAT, "1", "bad"),
        (FLOAT, True, "bad"),
        (FLOAT, None, "bad"),
        (RANGE, 31.0, "out_of_range"),
        (INTEGER, -1, "out_of_range"),
        (INTEGER, 1 << 63, "out_of_range"),
        (INTEGER, 0.5, "bad"),
        (INTEGER, float("nan"), "not_finite"),
        (INTEGER, False, "bad"),
        (BOOLEAN, 1, "bad"),
        (BOOLEAN, "true", "bad"),
        (ENUM, "auto", "bad"),
        (ENUM, ["off"], "bad"),
        (TEXT, 5, "bad"),
        (TEXT, "\ud800", "bad"),
        (JSON, {"a": float("nan")}, "bad"),
        (JSON, "text", "bad"),
        (JSON, {"a": {1, 2}}, "bad"),
        (TIME, "2026-11-22T04:00:00", "bad"),
        (TIME, "yesterday", "bad"),
        (TIME, "2026-13-22T04:00:00Z", "bad"),
        (TIME, 5, "bad"),
        (DURATION, -1, "out_of_range"),
        (DURATION, float("nan"), "not_finite"),
        (DURATION, "P1Y", "bad"),
    ],
)
def test_what_a_controller_must_not_see_is_refused_with_its_quality(
    prop: Property, value: object, quality: str
) -> None:
    with pytest.raises(BadValue) as refused:
        payload(prop, value)  # type: ignore[arg-type]
    assert refused.value.quality == quality
    assert len(str(refused.value).splitlines()) == 1


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.floats(),
        st.integers(),
        st.text(max_size=20),
        st.booleans(),
        st.none(),
        st.dictionaries(st.text(max_size=3), st.floats(), max_size=3),
    )
)
@example(value=-0.0)
def test_no_value_at_all_makes_a_payload_that_a_controller_refuses(value: object) -> None:
    for prop in (FLOAT, RANGE, INTEGER, BOOLEAN, ENUM, TEXT, JSON, TIME, DURATION):
        try:
            made = payload(prop, value)  # type: ignore[arg-type]
        except BadValue:
            continue
        assert made, "an empty payload would delete the topic"
        assert value_problem(describe_property(prop), made) is None


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_as_itself_and_has_no_exponent(value: float) -> None:
    text = payload(FLOAT, value).decode()
    assert float(text) == value
    assert "e" not in text.lower()


@pytest.mark.parametrize(
    ("prop", "data", "value"),
    [
        (RANGE, b"20", 20.0),
        (RANGE, b"20.0", 20.0),
        (RANGE, b"2e1", 20.0),
        (RANGE, b"+20", 20.0),
        (RANGE, b"20.2", 20.0),
        (RANGE, b"20.25", 20.5),
        (RANGE, b"30.1", 30.0),
        (INTEGER, b"0", 0),
        (INTEGER, b"12", 12),
        (BOOLEAN, b"true", True),
        (BOOLEAN, b"false", False),
        (ENUM, b"Auto", "Auto"),
        (TEXT, b"\x00", ""),
        (TEXT, "é".encode(), "é"),
        (JSON, b'{"to":"+33","text":"x"}', {"to": "+33", "text": "x"}),
        (TIME, b"2026-11-22T04:00:00+01:00", "2026-11-22T03:00:00.000Z"),
        (DURATION, b"PT90S", "PT90S"),
    ],
)
def test_set(prop: Property, data: bytes, value: object) -> None:
    assert parse_set(prop, data) == value


@pytest.mark.parametrize(
    ("prop", "data", "says"),
    [
        (RANGE, b"31", "outside 5:30:0.5"),
        (RANGE, b"4.7", "outside"),
        (RANGE, b"nan", "not a number"),
        (RANGE, b"1_0", "not a number"),
        (RANGE, b"inf", "not a number"),
        (RANGE, b" 20", "not a number"),
        (RANGE, b"1e999", "outside"),
        (FLOAT, b"1e999", "range of a double"),
        (INTEGER, b"1.0", "not a whole number"),
        (INTEGER, b"-1", "outside 0:"),
        (INTEGER, b"9" * 40, "not a whole"),
        (BOOLEAN, b"True", "not true or false"),
        (BOOLEAN, b"1", "not true or false"),
        (BOOLEAN, b"motion", "not true"),
        (ENUM, b"auto", "not one of off, Auto"),
        (TEXT, b"a\x00", "zero byte"),
        (TEXT, b"\xff", "UTF-8"),
        (TEXT, b"x" * 17000, "at most 16384"),
        (JSON, b"[", "not JSON"),
        (JSON, b"5", "not an object"),
        (JSON, b'{"a":NaN}', "not JSON"),
        (JSON, b"[" * 4000, "not JSON"),
        (TIME, b"2026-11-22T04:00:00", "zone"),
        (TIME, b"0001-01-01T00:00:00+23:59", "zone"),
        (DURATION, b"90", "not a duration"),
    ],
)
def test_an_illegal_set_is_refused_with_what_would_be_legal(prop: Property, data: bytes, says: str) -> None:
    with pytest.raises(Illegal, match=says) as refused:
        parse_set(prop, data)
    assert len(str(refused.value)) < 200, "foreign text is cut short"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_garbage_raises_our_error_and_no_other(data: bytes) -> None:
    for prop in (FLOAT, RANGE, INTEGER, BOOLEAN, ENUM, TEXT, JSON, TIME, DURATION):
        try:
            value = parse_set(prop, data)
        except Illegal:
            continue
        payload(prop, value)  # what was accepted can be shown


@pytest.mark.parametrize(
    ("prop", "text"),
    [
        (FLOAT, None),
        (RANGE, "5:30:0.5"),
        (INTEGER, "0:"),
        (Property(name="x", datatype="integer", maximum=9.0), ":9"),
        (Property(name="x", datatype="float", minimum=-1e-7), "-0.0000001:"),
        (ENUM, "off,Auto"),
        (BOOLEAN, "idle,motion"),
        (Property(name="x", datatype="float", minimum=0, step=0.5), "0:"),
    ],
)
def test_format(prop: Property, text: str | None) -> None:
    made = describe_property(prop)
    assert made.get("format") == text
    assert format_problem(prop.datatype, made.get("format")) is None


def test_times_are_exact() -> None:
    assert (
        utc_us(1_795_316_400_123_999)
        == datetime.fromtimestamp(1_795_316_400, UTC).strftime("%Y-%m-%dT%H:%M:%S") + ".123Z"
    )
    assert duration_s("P1DT2H3M4.5S") == 86400 + 2 * 3600 + 180 + 4.5
    assert duration_s("P") is duration_s("PT") is duration_s("") is None
    assert json.loads(payload(JSON, {"t": 1.5})) == {"t": 1.5}
