"""Acting end to end: page, API, Home Assistant and a plain MQTT client command the real heater, announcer and modem;
the pin moves, speech is made, the message is in the air, and a person sees who did what."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator

import pytest

from tests.hub.web.acting import OWNER, PASSWORD, Acting, Assistant, in_hours
from tests.hub.web.lab import Client
from tests.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None or shutil.which("aplay") is None,
                                reason="no speech here: apt install espeak-ng alsa-utils")


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acting]:
    with Acting(tmp_path_factory.mktemp("acting")) as acting:
        yield acting


def test_api_page_and_mqtt_client_move_the_pin_and_are_written_down(acting: Acting) -> None:
    status, told = acting.set("heating", "levels", {"forced": {"setpoint_c": 25, "until": in_hours(2)}})
    assert status == 200, told
    acting.follows("ON at the pin", lambda: acting.levels()[-1] == 1, 40)  # after its rest of 10 s
    acting.follows("the reason", lambda: (acting.mqtt.value("heating", "why") or "").startswith("on: "))
    acting.follows("the action", lambda: acting.mqtt.value("heating", "action") == "heating")

    otto = acting.login()
    assert "forced to 25.0 °C" in otto.get("/heating").text
    answer = otto.post("/heating/home/heating/do", {"do": "off"}, Accept="application/json")
    assert answer.status == 200 and answer.json["text"] == "Done: Mode is now off."
    acting.follows("OFF at the pin", lambda: acting.levels()[-1] == 0)

    acting.mqtt.publish("homie/5/home/heating/mode/set", "auto")
    acting.follows("the mode", lambda: acting.mqtt.value("heating", "mode") != "off")
    acting.mqtt.publish("homie/5/home/heating/setpoint-c/set", "99")
    warned = "homie/5/home/$log/warn"
    acting.follows("the refusal", lambda: "setpoint-c/set: refused" in acting.mqtt.seen.get(warned, ""))

    until("the record", lambda: acting.commanded(who="mqtt", node="heating", property="mode", value="auto"), 30)
    assert acting.commanded(who="otto (web)", node="heating", property="mode", value="off", result="done")
    (forced,) = acting.commanded(who="token:automation (api)", node="heating", property="levels")
    assert forced["value"]["forced"]["setpoint_c"] == 25
    with sqlite3.connect(acting.folder / "hub" / "web.db") as db:
        rows = db.execute("SELECT who, target, result FROM audit WHERE action = 'set'").fetchall()
    assert ("token:automation", "home/heating/levels", "done") in rows and ("otto", "home/heating/mode", "done") in rows
    page = acting.login().get("/device/home").text
    assert "Last commands" in page and re.search(r"<td>mqtt</td><td>heating/mode</td><td[^>]*>auto</td>", page)


def test_speech_and_a_text_message_of_page_api_and_mqtt_reach_their_ends(acting: Acting) -> None:
    otto = acting.login()
    form = {"node": "voice", "text": "Dinner is ready", "priority": "normal"}
    said = otto.post("/device/home/say", form, Accept="application/json")
    assert said.status == 200, said.text
    until("speech", lambda: [one for one in acting.speech.rglob("*.wav") if one.stat().st_size > 10_000], 30)
    form = {"node": "modem", "to": OWNER, "text": "Fenêtre ouverte, 8 € à payer"}
    sent = otto.post("/device/home/send", form, Accept="application/json")
    assert sent.status == 200, sent.text
    until("the SMS", lambda: [one for one in acting.modem.sent if one.to == OWNER], 30)
    assert acting.api("POST", "/announce?service=test&announce=Water")[0] == 200
    assert acting.api("POST", "/send_SMS", {"msisdn": OWNER, "text": "by the API"})[0] == 200
    Assistant(acting.mqtt, "voice", "announce").notify("Somebody is at the door")
    Assistant(acting.mqtt, "modem", "text-message").notify("by Home Assistant")
    wanted = {"by the API", "by Home Assistant", form["text"]}
    until("all SMS", lambda: wanted <= {one.text for one in acting.modem.sent}, 40, found=lambda: acting.modem.sent)
    assert {one.to for one in acting.modem.sent} == {OWNER}
    until("all speech", lambda: len(list(acting.speech.rglob("*.wav"))) >= 3, 30)
    until("the record", lambda: len(acting.commanded(node="modem", result="done")) >= 3, 30)
    # what was said and to whom is written down nowhere
    kept = json.dumps(acting.commanded())
    with sqlite3.connect(acting.folder / "hub" / "web.db") as db:
        kept += repr(db.execute("SELECT * FROM audit").fetchall())
    assert not [words for words in (OWNER, "by the API", "Fenêtre", "by Home Assistant", acting.token, PASSWORD)
                if words in kept]


def test_home_assistants_thermostat_works_both_ways(acting: Acting) -> None:
    climate = Assistant(acting.mqtt, "heating", "climate")
    one = climate.config
    assert one["modes"] == ["off", "auto", "heat"] and one["min_temp"] == 5 and one["max_temp"] == 30
    assert acting.set("heating", "mode", "auto")[0] == 200
    acting.follows("auto", lambda: climate.state("mode") == "auto")
    assert 10 < float(climate.state("current_temperature") or 0) < 30
    assert climate.state("action") in ("idle", "heating")

    climate.command("temperature", 27.5)
    acting.follows("its temperature", lambda: float(climate.state("temperature") or 0) == 27.5)
    acting.follows("heat", lambda: climate.state("mode") == "heat")
    acting.follows("heating", lambda: climate.state("action") == "heating", 40)
    climate.command("mode", "off")
    acting.follows("off", lambda: (climate.state("mode"), climate.state("action")) == ("off", "off"))
    assert acting.levels()[-1] == 0
    climate.command("mode", "auto")
    acting.follows("auto again", lambda: climate.state("mode") == "auto" and climate.state("action") != "off")
    assert set(one["preset_modes"]) == {"work_week", "holiday_week", "frost"}
    for preset in ("frost", "work_week"):
        climate.command("preset_mode", preset)
        acting.follows(preset, lambda preset=preset: climate.state("preset_mode") == preset)
    climate.command("mode", "heat")
    acting.follows("heat by its word", lambda: climate.state("mode") == "heat")
    until_ = acting.follows("its end (B51)", lambda: acting.mqtt.value("heating", "until"))
    assert until_ > in_hours(0)
    climate.command("mode", "auto")
    acting.follows("the end of it", lambda: climate.state("mode") == "auto")


def test_b13_of_two_hubs_one_commands_and_no_command_is_carried_out_twice(acting: Acting) -> None:
    """B13: a second hub with a store of its own at the same broker takes the higher term; the first one refuses."""
    house = acting.house
    second = acting.folder / "second.toml"
    port = house.mqtt
    from agent.testing.broker import free_port

    web = free_port()
    second.write_text(f"""[hub]
name = "Second"
data_dir = "{acting.folder}/hub2"
run_dir = "{house.run}/h2"
[mqtt]
host = "127.0.0.1"
port = {port}
[web]
host = "127.0.0.1"
port = {web}
""")
    house.start("hub2", "hutkeeper-hub", "run", "--config", str(second))
    until("the second store", lambda: (acting.folder / "hub2" / "samples.db").exists(), 60)
    token = acting.person(second)
    taken: list[float] = []

    def rules() -> bool:
        value = 20 + 0.1 * (1 + len(taken) % 50)
        status, _ = acting.set("heating", "setpoint_c", round(value, 1), port=web, token=token)
        if status == 200:
            taken.append(round(value, 1))
        return status == 200

    until("the second one to rule", rules, 60)
    status, told = acting.set("heating", "setpoint_c", 29.9)
    assert status == 409 and told["error"].startswith("E_SECOND_HUB"), told
    answer = acting.login().post("/heating/home/heating/do", {"do": "warmer"}, Accept="application/json")
    assert answer.status == 409 and "E_SECOND_HUB" in answer.json["error"]
    assert "another hub is active" in acting.login().get("/").text
    # each of these once: both hubs are asked at the same time, with keys, and the device says what it did
    before = len([one for one in _told(acting, "hub2") if one["property"] == "setpoint_c"])
    for n in range(5):
        for at, secret in ((0, acting.token), (web, token)):
            acting.set("heating", "setpoint_c", 21 + n, port=at, token=secret, **{"Idempotency-Key": f"k{n}"})
    until("the record", lambda: len([one for one in _told(acting, "hub2") if one["property"] == "setpoint_c"])
          >= before + 5, 30)
    values = [one["value"] for one in _told(acting, "hub2") if one["property"] == "setpoint_c"]
    assert all(values.count(21.0 + n) == 1 for n in range(5)) and 29.9 not in values
    assert Client(web).get("/alive").status == 200


def _told(acting: Acting, folder: str) -> list[dict[str, object]]:
    from hub.store.reader import Reader

    reader = Reader(acting.folder / folder / "samples.db")
    try:
        return [sample.value for _, sample in reader.newest("sys", "command", 1000)]
    finally:
        reader.close()
