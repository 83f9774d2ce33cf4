"""The older house's calls by their own names: POST with a token, answers as its programs expect them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from agent.testing.broker import Broker
from hub.web.seeds import CHANGING
from tests.hub.web.lab import MODEM, SPEECH, Answer, Client, Devices, Obedient, Web, heater, stamp
from tests.waiting import until


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    heater(devices, "heat")
    devices.device("hall", described=SPEECH, voice__enabled="true", voice__lock_state='{"service": null}')
    devices.device("watch", described=MODEM, modem__state="registered")
    until("all", lambda: all(web.hut.tree.device(one) for one in ("heat", "hall", "watch")))
    return web


@pytest.fixture
def house(broker: Broker) -> Iterator[dict[str, Obedient]]:
    with Obedient(broker.port, "heat") as heat, Obedient(broker.port, "hall") as hall, \
            Obedient(broker.port, "watch") as watch:
        yield {"heat": heat, "hall": hall, "watch": watch}


@pytest.fixture
def secret(ruling: Web) -> str:
    return f"Bearer {ruling.accounts.make_token('scheduler', 'otto', 30, 'command')}"


def call(web: Web, path: str, secret: str, **query: str) -> Answer:
    return Client(web.port).request("POST", f"{path}?{urlencode(query)}", Authorization=secret)


def test_status_says_what_the_older_one_said(ruling: Web) -> None:
    reader = f"Bearer {ruling.accounts.make_token('display', 'vera', 30)}"
    for path in ("/status", "/api/v1/status"):
        told = Client(ruling.port).get(path, Authorization=reader).json
        assert told["temperature"] == 19.6 and told["aimed_temp"] == 20.5 and told["relay_out"] is True
        assert told["base_profile"] == "work_week" and told["suppl_profile"] is None and told["mode"] == "auto"
        assert told["profiles"]["work_week"]["calendar"][0] == ["06:00-08:00", "17:00-22:30"]
    assert Client(ruling.port).get("/status").status == 401


@pytest.mark.parametrize("path", CHANGING)
def test_a_get_changes_nothing_and_says_how(ruling: Web, house: dict[str, Obedient], secret: str, path: str) -> None:
    """SEEDS S3, state changes by unauthenticated GET: none here."""
    for prefix in ("", "/api/v1"):
        for headers in ({}, {"Authorization": secret}):
            answer = Client(ruling.port).get(f"{prefix}{path}?profile=frost&service=x&announce=hi", **headers)
            assert answer.status == 405 and answer.headers["Allow"] == "POST"
            assert "POST with a token" in answer.text and len(answer.text.splitlines()) == 1
    reader = f"Bearer {ruling.accounts.make_token('display', 'vera', 30)}"
    assert call(ruling, path, reader, profile="frost", service="x", announce="hi").status == 403
    assert Client(ruling.port).request("POST", path).status == 401
    assert all(one.taken == [] for one in house.values())


def test_profiles(ruling: Web, house: dict[str, Obedient], secret: str) -> None:
    at = stamp(-86400)
    assert call(ruling, "/set_profile", secret, profile="frost").text == "OK\n"
    assert call(ruling, "/set_base_profile", secret, profile="frost").text == "OK\n"
    assert call(ruling, "/set_suppl_profile", secret, profile="frost", expiration=at).text == "OK\n"
    assert call(ruling, "/set_except_profile", secret, profile="None").text == "OK\n"
    # a plus that nobody encoded
    path = f"/set_except_profile?profile=frost&expiration={at}"
    assert Client(ruling.port).request("POST", path, Authorization=secret).text == "OK\n"
    sent = [(prop, value) for _, prop, value in house["heat"].asked]
    end = sent[2][1]["supplementary"]["until"]
    assert end == f"{at[:19]}Z"
    assert sent == [("levels", {"base": {"profile": "frost"}}), ("levels", {"base": {"profile": "frost"}}),
                    ("levels", {"supplementary": {"profile": "frost", "until": end}}),
                    ("levels", {"exceptional": None}),
                    ("levels", {"exceptional": {"profile": "frost", "until": end}})]
    house["heat"].refuse = "levels.supplementary: there is no profile 'nothing'"
    answer = call(ruling, "/set_suppl_profile", secret, profile="nothing", expiration=at)
    assert answer.status == 409 and answer.text == f"ERROR: {house['heat'].refuse}\n"


def test_b51_a_forced_profile_always_ends(ruling: Web, house: dict[str, Obedient], secret: str) -> None:
    """B51: the older force_confort was forgotten over night."""
    assert call(ruling, "/set_profile", secret, profile="force_confort").text == "OK\n"
    assert call(ruling, "/set_profile", secret, profile="force_eco", expiration=stamp(-13 * 3600)).status == 400
    ((_, prop, value),) = house["heat"].asked
    assert prop == "levels" and value["forced"]["setpoint_c"] == 20.5
    left = datetime.fromisoformat(value["forced"]["until"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)


def test_b51_a_level_without_expiration_is_refused(ruling: Web, house: dict[str, Obedient], secret: str) -> None:
    for query in ({}, {"expiration": "tomorrow"}, {"expiration": stamp(60)}):
        answer = call(ruling, "/set_except_profile", secret, profile="frost", **query)
        assert answer.status == 400 and answer.text.startswith("ERROR: levels.exceptional: until")
    assert call(ruling, "/set_profile", secret).text == "ERROR: the parameter profile is missing\n"
    assert house["heat"].taken == []


@pytest.mark.parametrize("how", ["query", "form", "json"])
def test_parameters_by_query_form_or_json(ruling: Web, house: dict[str, Obedient], secret: str, how: str) -> None:
    fields = {"msisdn": "+33 6 12 34 56 78", "text": "water & <leak>"}
    body, kind = {"query": ("", ""), "form": (urlencode(fields), "application/x-www-form-urlencoded"),
                  "json": (json.dumps(fields), "application/json")}[how]
    path = "/send_SMS" + (f"?{urlencode(fields, quote_via=quote)}" if how == "query" else "")
    headers = {"Content_Type": kind} if kind else {}
    assert Client(ruling.port).request("POST", path, body, Authorization=secret, **headers).text == "OK\n"
    assert house["watch"].asked == [("modem", "send", {"to": "+33612345678", "text": "water & <leak>"})]
    row = ruling.accounts.db.audit_rows(1)[0]
    assert row.who == "token:scheduler" and "336" not in row.detail and "leak" not in row.detail


def test_speech_and_its_lock(ruling: Web, house: dict[str, Obedient], secret: str) -> None:
    hall = house["hall"]
    hall.says = {"lock": {"key": "0123abc", "service": "tts", "expires_s": 60},
                 "say": {"state": "waiting", "before": 2}}
    assert call(ruling, "/lock", secret, service="tts").text == "0123abc\n"
    assert call(ruling, "/announce", secret, service="tts", announce="hello", key="0123abc", volume="40").text == "OK\n"
    assert call(ruling, "/release", secret, service="tts").text == "OK\n"
    assert hall.asked == [("voice", "lock", {"service": "tts"}),
                          ("voice", "say", {"text": "hello", "service": "tts", "volume": 40, "key": "0123abc"}),
                          ("voice", "release", {"service": "tts"})]
    assert all("0123abc" not in row.detail for row in ruling.accounts.db.audit_rows(5))
    hall.refuse = "lock: already locked by service tts, for 41 s more"
    answer = call(ruling, "/lock", secret, service="radio")
    assert answer.status == 409
    assert answer.text == "ERROR: interphone already locked by service tts, for 41 s more\n"
    for query in ({"service": "x"}, {"announce": "x"}, {"service": "x", "announce": "y", "volume": "loud"},
                  {"service": "x", "announce": "y" * 501}):
        assert call(ruling, "/announce", secret, **query).status == 400


def test_a_call_made_again_with_its_key_acts_once(ruling: Web, house: dict[str, Obedient], secret: str) -> None:
    headers = {"Authorization": secret, "Idempotency_Key": "sms-1"}
    for _ in range(3):
        answer = Client(ruling.port).request("POST", "/send_SMS?msisdn=0612345678&text=hi", **headers)
        assert answer.text == "OK\n"
    assert len(house["watch"].taken) == 1
    other = Client(ruling.port).request("POST", "/send_SMS?msisdn=0612345678&text=other", **headers)
    assert other.status == 422 and len(house["watch"].taken) == 1


def test_of_several_it_must_be_said_which(
    tmp_path: Path, broker: Broker, devices: Devices, house: dict[str, Obedient]
) -> None:
    with Web(tmp_path, broker.port, toml='[calls]\nheater = "heat/heater"\n') as web:
        web.people()
        web.synced()
        web.rules(devices)
        heater(devices, "heat")
        heater(devices, "heat2", "Kitchen")
        until("both", lambda: web.hut.tree.device("heat2"))
        secret = f"Bearer {web.accounts.make_token('x', 'otto', 30, 'command')}"
        assert call(web, "/set_profile", secret, profile="frost").text == "OK\n"
        assert len(house["heat"].taken) == 1
        answer = call(web, "/set_profile", secret, profile="frost", node="heater")
        assert answer.status == 404 and "device=heat&node=heater, device=heat2&node=heater" in answer.text
        answer = call(web, "/set_profile", secret, profile="frost", device="attic")
        assert answer.status == 404
        assert answer.text.startswith("ERROR: there is no heater attic/; there are: device=heat&")
        assert call(web, "/announce", secret, service="x", announce="y").text == (
            "ERROR: there is no announcer on any device\n")


# --- the same on the device page -----------------------------------------------------------------------------


def test_the_device_page_speaks_and_texts(ruling: Web, house: dict[str, Obedient]) -> None:
    otto = ruling.login("otto")
    page = otto.get("/device/hall").text
    assert "Speak" in page and "Give it back" not in page and 'action="/device/hall/say"' in page
    assert "Who holds the lock" in page and "/say" not in ruling.login("vera").get("/device/hall").text
    house["hall"].says = {"say": {"state": "waiting", "before": 1}}
    form: dict[str, Any] = {"node": "voice", "text": "Dinner is ready", "priority": "high", "volume": "55"}
    answer = otto.post("/device/hall/say", form)
    assert answer.status == 303
    assert "Taken: 1 before it." in otto.get(answer.headers["Location"].partition("#")[0]).text
    assert house["hall"].asked == [("voice", "say", {"text": "Dinner is ready", "service": "hub", "priority": "high",
                                                     "volume": 55})]
    sms = {"node": "modem", "to": "06 12 34 56 78", "text": "on my way"}
    assert otto.post("/device/watch/send", sms, Accept="application/json").status == 200
    assert house["watch"].asked == [("modem", "send", {"to": "0612345678", "text": "on my way"})]
    for bad in ({"to": "anna"}, {"to": ""}, {"text": " "}):
        assert otto.post("/device/watch/send", {**sms, **bad}, Accept="application/json").status == 400
    assert otto.post("/device/watch/say", form).status == 404
    assert len(house["watch"].taken) == 1
