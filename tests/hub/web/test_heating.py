"""The heating page without a script: what it shows, what its forms send, by a real broker."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from agent.testing.broker import Broker
from hub.web.heating import mark
from tests.hub.web.lab import PROFILE_WEEK, SCHEDULE, Answer, Client, Devices, Obedient, Web, events, heater, stamp
from tests.waiting import until

PATH = "/heating/heat/heater"


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    heater(devices, "heat")
    until("the heater", lambda: web.hut.tree.device("heat"))
    return web


@pytest.fixture
def device(broker: Broker) -> Iterator[Obedient]:
    with Obedient(broker.port, "heat") as device:
        yield device


def do(client: Client, **fields: str) -> Answer:
    return client.post(f"{PATH}/do", fields, Accept="application/json")


def test_the_page_says_what_is_so_and_why(ruling: Web, devices: Devices) -> None:
    vera = ruling.login("vera")
    page = html.unescape(vera.get("/heating").text)
    for words in ("19.6", "20.5", "on: 19.6 °C is below 20.5 °C, comfort of work_week until 22:30", "Heat is wanted",
                  "Relay on", "45 % of full power", "The week"):
        assert words in page, words
    assert "<button" not in page.partition("<main")[2]  # a viewer commands nothing
    assert 'href="/heating"' in vera.get("/").text
    devices.send("homie/5/heat/$state", "")
    until("gone", lambda: ruling.hut.tree.device("heat") is None)
    assert 'href="/heating"' not in vera.get("/").text
    assert "No heater yet" in vera.get("/heating").text and vera.get(PATH).status == 404


def test_it_is_a_heater_by_its_shape_and_odd_values_break_nothing(ruling: Web, devices: Devices) -> None:
    heater(devices, "odd", "Odd", levels="[1]", schedule="{", setpoint_c="NaN", room_temperature_c="", relay="maybe",
           mode="\N{FIRE}", next_change="soon", action="<b>")
    heater(devices, "odd2", "Odd 2", levels='{"forced": {"until": 7}, "base": 3}',
           schedule='{"profiles": {"a": 1, "b": {"calendar": {"mon": 1}}}, "holidays": "x"}', profile="a")
    until("both", lambda: ruling.hut.tree.device("odd2"))
    anna = ruling.login("anna")
    assert anna.get("/heating").status == 200
    for path in ("/heating/odd/heater", "/heating/odd2/heater", "/heating/odd2/heater?profile=b",
                 "/api/v1/status?device=odd", "/device/odd"):
        assert anna.get(path).status == 200, path
    assert "no schedule that could be read" in anna.get("/heating/odd/heater").text


def test_quick_actions(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    assert do(otto, do="warmer").status == do(otto, do="off").status == 200
    until("off", lambda: ruling.hut.tree.device("heat").value("heater", "mode") == "off")
    page = otto.get("/heating").text
    assert 'value="auto"' in page and 'value="warmer"' not in page
    assert do(otto, do="auto").status == 200
    assert device.asked == [("heater", "setpoint-c", 21.0), ("heater", "mode", "off"), ("heater", "mode", "auto")]
    assert do(otto, do="explode").status == 400


def test_comfort_until_in_the_zone_of_the_viewer(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    assert do(otto, do="comfort", until="", zone="").json["error"].startswith("Say until when")
    assert do(otto, do="comfort", until="2026-01-01T00:00", zone="").status == 400  # over already
    at = stamp(-3600 * 5)[:16]  # UTC
    assert do(otto, do="eco", until=at, zone="UTC").status == 200
    assert device.asked == [("heater", "levels", {"forced": {"setpoint_c": 18.5, "until": f"{at}:00+00:00"}})]
    # the same wall clock in Kiritimati is 14 h earlier, and so over
    assert do(otto, do="eco", until=at, zone="Pacific/Kiritimati").status == 400
    assert do(otto, do="eco", until=at, zone="../etc/passwd").status in (200, 400)


def test_levels_and_the_end_of_an_override(ruling: Web, devices: Devices, device: Obedient) -> None:
    otto = ruling.login("otto")
    at = stamp(-86400 * 3)[:16]
    assert do(otto, do="exceptional", profile="frost", until=at, zone="UTC").status == 200
    assert do(otto, do="base", profile="frost").status == 200
    assert do(otto, do="supplementary", profile="nothing", until=at, zone="UTC").status == 400
    forced = {"base": {"profile": "frost"}, "supplementary": None, "exceptional": None,
              "forced": {"setpoint_c": 22, "until": stamp(-3600)}}
    devices.send("homie/5/heat/heater/levels", json.dumps(forced))
    until("the override", lambda: "22 °C" in otto.get("/heating").text)
    answer = otto.post(f"{PATH}/do", {"do": "end", "level": "forced"})
    assert answer.status == 303 and answer.headers["Location"].startswith("/heating?note=")
    assert device.asked == [
        ("heater", "levels", {"exceptional": {"profile": "frost", "until": f"{at}:00+00:00"}}),
        ("heater", "levels", {"base": {"profile": "frost"}}), ("heater", "levels", {"forced": None})]
    assert do(otto, do="end", level="base").status == 400


def test_holidays(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    fields = {"from": "2027-02-01", "to": "2027-02-08", "profile": "frost"}
    assert do(otto, do="holiday", **fields).status == 200
    assert do(otto, do="holiday", **{**fields, "to": "2027-01-01"}).status == 400
    assert do(otto, do="holiday", **{**fields, "to": ""}).status == 400
    sent = device.asked[0][2]["holidays"]
    assert sent == [*SCHEDULE["holidays"], fields] and len(device.taken) == 1
    until("it", lambda: fields["from"] in (ruling.hut.tree.device("heat").value("heater", "schedule") or ""))
    assert do(otto, do="no-holiday", **{**fields, "from": "1999-01-01"}).status == 400
    assert do(otto, do="no-holiday", **fields).status == 200
    assert device.asked[-1][2]["holidays"] == SCHEDULE["holidays"]


# --- the week ------------------------------------------------------------------------------------------------


def week_form(page: str, **changes: str) -> dict[str, str]:
    """The fields of the week's form as a browser without a script would send them."""
    form = page[page.index('<form class="week"'):]
    form = form[:form.index("</form>")]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and name[1] != "_form":
            fields[name[1]] = html.unescape(value[1]) if value else ""
    return {**fields, "do": "save", **changes}


def test_a_week_is_changed_by_plain_forms(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    form = week_form(otto.get(PATH).text, **{"s-0-2": "23:00", "e-0-2": "01:00", "s-5-0": "", "e-5-0": "",
                                             "comfort_c": "21"})
    answer = otto.post(f"{PATH}/schedule", form)
    assert answer.status == 303, answer.text
    ((_, _, sent),) = device.asked
    assert list(sent) == ["profiles"] and list(sent["profiles"]) == ["work_week"]
    profile = sent["profiles"]["work_week"]
    assert profile["calendar"][0] == ["06:00-08:00", "17:00-22:30", "23:00-01:00"] and profile["calendar"][5] == []
    assert profile["calendar"][6] == sorted(PROFILE_WEEK[6])
    assert (profile["comfort_c"], profile["eco_c"], profile["delta_plus_c"]) == (21.0, 18.5, 0.1)


def test_a_wrong_slice_is_said_beside_it_and_what_was_typed_stays(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    answer = otto.post(f"{PATH}/schedule", week_form(otto.get(PATH).text, **{"s-1-2": "22:00", "e-1-2": "25:00"}))
    assert answer.status == 400 and "a time of day as 06:00" in answer.text
    assert 'name="e-1-2" value="25:00"' in answer.text and 'aria-invalid="true"' in answer.text
    for wrong in ({"comfort_c": "50"}, {"comfort_c": ""}, {"eco_c": "21"}):
        assert otto.post(f"{PATH}/schedule", week_form(otto.get(PATH).text, **wrong)).status == 400
    assert device.taken == []


def test_a_long_schedule_is_read_whole(ruling: Web, devices: Devices) -> None:
    """It is made of several commands, each as long as one may be."""
    long: dict[str, Any] = json.loads(json.dumps(SCHEDULE))
    for n in range(8):
        day = [f"{at // 60:02d}:{at % 60:02d}-{at // 60:02d}:{at % 60 + 10:02d}" for at in range(0, 1440, 30)]
        long["profiles"][f"long_{n}"] = {**long["profiles"]["frost"], "calendar": [day] * 7}
    text = json.dumps(long)
    assert len(text) > 32_000
    devices.send("homie/5/heat/heater/schedule", text)
    until("it", lambda: ruling.hut.tree.device("heat").value("heater", "schedule") == text)
    page = ruling.login("otto").get(f"{PATH}?profile=long_7").text
    assert "no schedule that could be read" not in page and 'value="23:30"' in page
    assert "[plugins.heater.profiles.&lt;name&gt;]" in page or "[plugins.heater.profiles." in page


def test_a_week_that_was_changed_meanwhile_is_not_overwritten(ruling: Web, devices: Devices, device: Obedient) -> None:
    otto = ruling.login("otto")
    form = week_form(otto.get(PATH).text, comfort_c="21")
    other: dict[str, Any] = json.loads(json.dumps(SCHEDULE))
    other["profiles"]["work_week"]["eco_c"] = 17
    devices.send("homie/5/heat/heater/schedule", json.dumps(other))
    until("the change", lambda: "17" in (ruling.hut.tree.device("heat").value("heater", "schedule") or ""))
    answer = otto.post(f"{PATH}/schedule", form)
    assert answer.status == 409 and "changed elsewhere" in answer.text and device.taken == []
    assert mark(other["profiles"]["work_week"]) in answer.text
    assert otto.post(f"{PATH}/schedule", week_form(answer.text)).status == 303  # saved again, it is meant
    device.refuse = "schedule: profiles.work_week.eco_c: 18.5 is above comfort_c"
    answer = otto.post(f"{PATH}/schedule", week_form(otto.get(PATH).text))
    assert answer.status == 409 and html.escape(device.refuse) in answer.text


def test_a_day_is_copied_on_the_page_and_sent_when_it_is_saved(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    form = week_form(otto.get(PATH).text, **{"do": "copy", "copy-from": "5", "copy-to": "workdays"})
    answer = otto.post(f"{PATH}/schedule", form)
    assert answer.status == 200 and "not saved yet" in answer.text and device.taken == []
    assert otto.post(f"{PATH}/schedule", week_form(answer.text)).status == 303
    calendar = device.asked[0][2]["profiles"]["work_week"]["calendar"]
    assert calendar[:5] == [["08:00-24:00"]] * 5 and calendar[6] == sorted(PROFILE_WEEK[6])
    assert otto.post(f"{PATH}/schedule", {**form, "copy-to": "9"}).status == 400


def test_an_open_page_is_told_of_the_heater_that_changed_and_no_other(ruling: Web, devices: Devices) -> None:
    heater(devices, "heat2", "Kitchen")
    until("the second", lambda: ruling.hut.tree.device("heat2"))
    vera = ruling.login("vera")
    assert set(vera.get("/poll/heating").json["cards"]) == {"heat-heater", "heat2-heater"}
    with vera.stream("/events/heating") as response:
        told = events(response)
        assert len(next(told)["cards"]) == 2
        devices.send("homie/5/heat2/heater/why", "off: the window is open")
        event = next(told)
        assert list(event["cards"]) == ["heat2-heater"] and "the window is open" in event["cards"]["heat2-heater"]
        devices.send("homie/5/heat/heater/last-update", stamp())
        assert list(next(told)) == ["ages"]  # nothing of the card is drawn anew for a stamp
