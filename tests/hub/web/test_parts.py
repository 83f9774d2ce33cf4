"""The pure parts: answers, facts, texts, values, pictures, ranges, downloads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from agent.api import Property
from agent.wire import faults
from agent.wire.messages import HubState, NodeDeclaration, PluginDeclaration, Reported
from hub.fleet.answers import House, Problem, from_line, grouped, problems
from hub.fleet.facts import facts, stamp_us
from hub.live import Feed, LiveTree, PropertyInfo
from hub.store.reader import Chart, Sample, SeriesRow
from hub.web.export import csv_lines
from hub.web.pages import plain
from hub.web.ranges import RANGES, BadRange, span
from hub.web.svg import chart_svg, sparkline, ticks
from hub.web.texts import LANGUAGES, Texts
from hub.web.values import shown
from tests.hub.web.lab import description

WEB = Path(__file__).parents[3] / "hub" / "web"
NOW = 1_790_000_000_000_000
UP = House(True, NOW, HubState("ready", 1, "g"), NOW)
T = Texts()


def device(state: str = "ready", **values: str) -> Any:
    import msgspec

    tree = LiveTree(Feed())
    tree.apply("homie/5/a/$state", state.encode(), retained=False, now_us=NOW - 60_000_000)
    tree.apply("homie/5/a/$description", msgspec.json.encode(description("A")), retained=False, now_us=NOW)
    fresh = "2026-09-21T14:13:19Z"
    assert stamp_us(fresh) == NOW - 1_000_000
    sent = {"host/health": "ok", "host/last-update": fresh, "main-meter/health": "ok", "main-meter/last-update": fresh,
            "sys/clock-quality": "synced"}
    sent |= {key.replace("__", "/").replace("_", "-"): value for key, value in values.items()}
    for topic, value in sent.items():
        tree.apply(f"homie/5/a/{topic}", value.encode(), retained=False, now_us=NOW)
    return facts(tree.device("a"), NOW)


def test_a_node_that_speaks_seldom_is_not_silent_and_what_comes_and_goes_never_is() -> None:
    """A gas meter behind a DSMR meter tells its index once an hour; a badge may have left."""
    import msgspec

    def node(id_: str, **fields: Any) -> NodeDeclaration:
        return NodeDeclaration(id_, id_, (Property(name="x", datatype="float", **fields),))

    tree = LiveTree(Feed())
    tree.apply("homie/5/a/$state", b"ready", retained=False, now_us=NOW)
    nodes = {name: {"name": name, "properties": {"x": {"datatype": "float"}}} for name in ("gas", "badge", "power")}
    tree.apply("homie/5/a/$description", msgspec.json.encode({"homie": "5.0", "version": 1, "nodes": nodes}),
               retained=False, now_us=NOW)
    reported = Reported("A", "1", {"m": PluginDeclaration("m", "power_meter", "M", 10.0, (
        node("gas", max_age_s=7200), node("badge", comes_and_goes=True), node("power")))})
    tree.apply("hutkeeper/1/a/reported", msgspec.json.encode(reported), retained=True, now_us=NOW)
    for name in nodes:
        tree.apply(f"homie/5/a/{name}/last-update", b"2026-09-21T14:00:00Z", retained=False, now_us=NOW)
    of = facts(tree.device("a"), NOW)  # type: ignore[arg-type]
    assert {one.id: one.silent for one in of.nodes} == {"gas": False, "badge": False, "power": True}


def told(*devices: Any, house: House = UP, **differences: int) -> list[Problem]:
    return problems(devices, house, differences, [], T, NOW)


def test_a_well_house_has_no_problem() -> None:
    well = device()
    assert well.good and well.state == "live" and told(well) == []


@pytest.mark.parametrize(("values", "state", "said"), [
    ({"state": "lost"}, "lost", "no longer connected"),
    ({"host__health": "failed"}, "live", "plugin This machine failed"),
    ({"host__last_update": "2026-09-21T14:00:00Z"}, "live", "plugin This machine is silent"),
    ({"host__last_update": "2026-09-21T14:00:00Z", "main_meter__last_update": "2026-09-21T14:00:00Z"}, "silent",
     "connected, but no new sample"),
    ({"sys__clock_quality": "unsynced"}, "live", "the clock of this device is not synchronised"),
    ({"sys__outbox_samples": "5000", "sys__outbox_oldest_age_s": "7200"}, "live",
     "5,000 samples wait, the oldest for 2 h"),
    ({"host__last_update": "2027-09-21T14:00:00Z"}, "ahead", "the clock of A is 364 d ahead"),
])
def test_what_is_wrong_is_said_with_what_to_do(values: dict[str, str], state: str, said: str) -> None:
    one = device(**values)
    (problem,) = told(one)
    assert one.state == state and problem.what == said and problem.do
    assert not one.good


def test_a_device_that_was_stopped_on_purpose_is_no_problem() -> None:
    assert told(device("disconnected")) == []


def test_a_ledger_that_does_not_add_up_is_an_error() -> None:
    (problem,) = told(device(), a=-12)
    assert problem.severity == "error" and "-12" in problem.what


def test_one_cause_one_line() -> None:
    down = House(False, NOW - 5_000_000, None, None)
    (problem,) = told(device("lost"), device("lost"), house=down)
    assert problem.code == "E_BROKER_DOWN" and problem.since_us == NOW - 5_000_000
    ten = [Problem("error", "no longer connected", "check", since_us=NOW + n, device=f"d{n}", device_name=f"D{n}")
           for n in range(10)]
    (group,) = grouped(ten)
    assert len(group.devices) == 10 and group.problem.since_us == NOW
    assert len(grouped(ten[:3])) == 3


@pytest.mark.parametrize("code", sorted(faults.FAULTS))
def test_every_fault_line_is_taken_apart_again(code: str) -> None:
    fields = {name: 7 for name in re.findall(r"\{(\w+)", "".join(
        (faults.FAULTS[code].what, faults.FAULTS[code].kept, faults.FAULTS[code].do)))}
    problem = from_line(faults.line(code, NOW, **fields))
    assert problem.code == code and problem.severity == faults.FAULTS[code].severity
    assert problem.since_us == NOW and problem.do == faults.FAULTS[code].do.format(**fields)
    assert "kept:" not in problem.what + problem.kept


def test_any_other_text_is_a_warning() -> None:
    assert from_line("water on the floor") == Problem("warning", "water on the floor", "")


def test_every_text_that_is_asked_for_exists_and_every_text_is_asked_for() -> None:
    sources = "".join(path.read_text() for path in [*WEB.rglob("*.py"), *WEB.rglob("*.html"),
                                                       *WEB.with_name("fleet").rglob("*.py")])
    scripts = "".join(path.read_text() for path in (WEB / "static").glob("*.js"))
    sections = "|".join({key.partition(".")[0] for key in T.keys()})  # noqa: SIM118  a Texts is no dict
    asked = set(re.findall(rf"""\bt(?:exts)?(?:\.get)?\(\s*f?["']((?:{sections})\.[a-z_0-9]+)["'](?! ~)""", sources))
    assert len(asked) > 150 and asked <= T.keys()
    by_script = set(re.findall(r"""text\("(\w+)"|\["(\w+)", \d""", scripts))
    by_script_keys = {f"{section}.{name}" for pair in by_script for name in pair for section in ("page", "units")}
    # made from a word at run time: t("state." ~ device.state)
    families = set(re.findall(r"""["']([a-z]+\.[a-z_]*)["'] ~|f["']([a-z]+\.[a-z_]*)\{""", sources))
    made = tuple(one or two for one, two in families)
    passed_on = set(re.findall(rf"""["']((?:{sections})\.[a-z_0-9]+)["']""", sources))
    unused = {key for key in T.keys() - asked - by_script_keys - passed_on if not key.startswith(made)}
    assert unused == set()


def test_languages_have_the_same_keys_and_fields() -> None:
    field = re.compile(r"\{\w+\}")
    english = tomllib.loads((LANGUAGES / "en.toml").read_text())
    for path in LANGUAGES.glob("*.toml"):
        other = tomllib.loads(path.read_text())
        assert {k: set(v) for k, v in other.items()} == {k: set(v) for k, v in english.items()}, path
        for section, texts in other.items():
            for key, text in texts.items():
                assert set(field.findall(text)) == set(field.findall(english[section][key])), (path, section, key)


@pytest.mark.parametrize(("raw", "datatype", "unit", "said"), [
    ("412", "float", "W", ("412", "W")), ("12841.337", "float", "kWh", ("12841.337", "kWh")),
    ("0.0000123", "float", "A", ("1.23e-05", "A")), ("21474836480", "integer", "B", ("20", "GiB")),
    ("86400", "integer", "s", ("1 d", "")), ("true", "boolean", "", ("yes", "")), ("NaN", "float", "W", ("NaN", "W")),
    ("1e999", "float", "W", ("1e999", "W")), (None, "float", "W", ("–", "")),
    ("x" * 999, "string", "", ("x" * 300 + "…", "")),
    ("-0.0", "float", "W", ("0", "W")),
    ('{"start":"10:00","box":[0.5,1],"clip_bytes":19,"own":{"is_on":true,"why":null}}', "json", "",
     ("start 10:00, box (0.5, 1), clip bytes 19, own (is on yes, why –)", "")),
    ('{"torn', "json", "", ('{"torn', "")), ("[" * 5000, "json", "", ("[" * 300 + "…", "")),
])
def test_how_values_read(raw: str | None, datatype: str, unit: str, said: tuple[str, str]) -> None:
    one = shown(raw, PropertyInfo("p", "P", datatype, unit), T)
    assert (one.text, one.unit) == said


def test_numbers_read_as_people_write_them() -> None:
    assert [plain(n) for n in (1.0, 0.1 + 0.2, 1234.5, 1e15, -273.15, 5e-7)] == [
        "1", "0.3", "1234.5", "1000000000000000.000"[:16], "-273.15", "5e-07"]


def chart(points: list[tuple[int, float]], width: int = 0) -> Chart:
    t, v = [p[0] for p in points], [p[1] for p in points]
    return Chart(t, list(v), [x - 1 for x in v] if width else list(v), [x + 1 for x in v] if width else list(v),
                 [1] * len(t), "minute" if width else "raw", width)


def test_pictures_are_well_formed_and_leave_gaps() -> None:
    minute = 60_000_000
    points = [(NOW + n * minute, float(n % 7)) for n in range(30)] + [(NOW + (n + 100) * minute, 3.0) for n in range(5)]
    for picture in (chart_svg(chart(points, minute), '"><script>'), sparkline(chart(points))):
        root = ElementTree.fromstring(str(picture))
        line = next(e for e in root.iter() if e.get("class") == "line")
        assert (line.get("d") or "").count("M") == 2  # one line on each side of the hole
    assert "<script>" not in str(chart_svg(chart(points), "<script>"))
    assert str(sparkline(chart(points[:1]))) == "" and str(chart_svg(chart([]), "x")) == ""
    ElementTree.fromstring(str(chart_svg(chart([(NOW, 5.0)]), "one point")))


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(-3.2, 4.1) == [-2, 0, 2, 4]
    assert ticks(5, 5) == [5]
    for low, high in ((0.001, 0.0017), (1e6, 3.3e6), (-5e-9, 5e-9)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7 and all(low - 1e-12 <= tick <= high * 1.0000001 for tick in found)


def test_ranges_from_an_hour_to_years() -> None:
    for name, size in RANGES.items():
        one = span({"range": name}, NOW)
        assert one.end_us - one.start_us == size + 1
    assert span({}, NOW).name == "day"
    one = span({"start": "2026-01-01T00:00Z", "end": "2026-01-02T00:00+01:00"}, NOW)
    assert one.end_us - one.start_us == 23 * 3_600_000_000
    for bad in ({"range": "x"}, {"start": "x"}, {"start": "5", "end": "4"}, {"start": "2026-01-01", "end": "x"}):
        with pytest.raises(BadRange):
            span(bad, NOW)


def test_a_spreadsheet_runs_nothing_from_a_download() -> None:
    row = SeriesRow(1, "d", "n", "=cmd", None, "t", "string", None, None, None, False, False, 1, 0, 1, "x", None)
    values = (("=HYPERLINK(1)", None), (-5.5, None), (None, "bad"), (True, None), ({"a": 1}, None))
    text = "".join(csv_lines(row, [[Sample(NOW, value, quality) for value, quality in values]]))
    assert text.splitlines() == [
        "time,'=cmd,quality", "2026-09-21T14:13:20.000000Z,'=HYPERLINK(1),", "2026-09-21T14:13:20.000000Z,-5.5,",
        "2026-09-21T14:13:20.000000Z,,bad", "2026-09-21T14:13:20.000000Z,true,",
        '2026-09-21T14:13:20.000000Z,"{""a"":1}",']


def test_B29_ages_come_from_the_stamp_whatever_its_zone() -> None:
    assert stamp_us("2026-09-21T16:13:19+02:00") == stamp_us("2026-09-21T14:13:19Z") == NOW - 1_000_000
    for bad in ("", "yesterday", "9" * 50, "2026-13-01T00:00Z", "0001-01-01T00:00:00+23:59"):
        assert stamp_us(bad) is None or isinstance(stamp_us(bad), int)
