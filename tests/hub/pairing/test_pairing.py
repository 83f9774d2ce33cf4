"""Pairing end to end: the real command against a real HTTPS server, wrong turns first, then the real broker."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography import x509
from flask import Flask, Response, request

from agent.wire import pairing as wire
from hub import ca, pairing
from hub.broker import Keeper
from hub.broker import plan as broker_plan
from tests.hub.broker.conftest import needs_mosquitto
from tests.hub.broker.mqtt import Client
from tests.hub.pairing.conftest import Box, Hub, serve

Boxes = Callable[..., Box]
Closing = list[Callable[[], None]]


def post(hub: Hub, path: str, value: Any) -> tuple[int, Any]:
    """A request as an attacker would write it."""
    address = urlsplit(hub.url)
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", address.port, timeout=30, context=context)
    try:
        connection.request("POST", path, value if isinstance(value, bytes) else json.dumps(value))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def move_expiry(hub: Hub, seconds: float) -> None:
    registry = pairing.Registry(hub.settings.hub.data_dir)
    book = registry.read()
    for code in book.codes:
        code.expires_s += seconds
    ca.write(registry.path, msgspec.json.encode(book), 0o600)


def wrong(code: str) -> str:
    """The same code with another last character."""
    return code[:-1] + ("0" if code[-1] != "0" else "1")


@needs_mosquitto
def test_paired_devices_reach_the_broker_and_only_their_own_topics(
    hub: Hub, box: Boxes, closing: Closing, tmp_path: Path
) -> None:
    """The whole way, and B39/B79's matrix: what a certificate may write and read on the real broker."""
    lines: list[str] = []
    keeper = Keeper(broker_plan(hub.settings), lines.append)
    keeper.start()
    closing.append(keeper.stop)
    a, b = box("garden", 'inputs = ["attic/main-meter/power_w"]\n'), box("attic")
    for one, name in ((a, "garden"), (b, "attic")):
        ran = one.pair(hub.url, hub.code(), "--json")
        assert ran.code == 0, ran.err
        assert ran.json["device"] == name and ran.json["hub"] == "Test house" and ran.json["hints"] == []
    assert (a.tls[2].stat().st_mode & 0o777, a.tls[2].parent.joinpath("request.pem").exists()) == (0o600, False)
    mqtt = tomllib.loads(a.toml.read_text())["mqtt"]
    assert mqtt == {"host": "127.0.0.1", "port": hub.settings.broker.tls_port, "ca": str(a.tls[0]),
                    "cert": str(a.tls[1]), "key": str(a.tls[2])}
    keeper.watch()  # the rights of garden's input
    port = hub.settings.broker.tls_port
    with Client(hub.settings.broker.port, "hub") as middle, Client(port, "any", tls=a.tls) as garden, \
            Client(port, "attic", tls=b.tls) as attic:
        middle.subscribe("#")
        middle.subscribe("homeassistant/#")
        for n, (topic, allowed) in enumerate((
            ("homie/5/{}/$state", True), ("homie/5/{}/main-meter/power", True), ("hutkeeper/1/{}/records", True),
            ("hutkeeper/1/{}/reported", True), ("hutkeeper/1/{}/response/log", True),
            ("hutkeeper/1/{}/live/main-meter", True), ("homeassistant/device/{}/main-meter/config", True),
            ("hutkeeper/1/{}/receipt", False), ("hutkeeper/1/{}/desired", False),
            ("hutkeeper/1/{}/request/log", False), ("hutkeeper/1/hub/$state", False), ("homeassistant/status", False),
            ("elsewhere", False), ("homie/5/hub/$state", False), ("cmnd/lamp/POWER", True), ("weather/x", False),
            ("zigbee2mqtt/lamp/set", False),
        )):
            payload = f"from garden {n}".encode()
            answer = garden.publish(topic.format("garden"), payload)
            assert answer == ("Success" if allowed else "Not authorized"), topic
            if "{}" in topic:
                assert garden.publish(topic.format("attic"), payload) == "Not authorized", topic
            if allowed:
                middle.wait_for(topic.format("garden"), payload)
        # reading: a foreign subscription is granted and delivers nothing (Mosquitto), so look at what comes
        garden.subscribe("#")
        garden.subscribe("homeassistant/#")
        mine = ["homie/5/garden/x/y/set", "hutkeeper/1/garden/receipt", "hutkeeper/1/garden/request/log",
                "hutkeeper/1/garden/desired", "hutkeeper/1/hub/$state", "homeassistant/status",
                "homeassistant/device/garden/x/config", "homie/5/garden/x/y", "zigbee2mqtt/lamp", "weather/x"]
        foreign = ["homie/5/attic/x/y/set", "homie/5/attic/x/y", "hutkeeper/1/attic/receipt",
                   "hutkeeper/1/attic/request/log", "hutkeeper/1/attic/desired", "hutkeeper/1/attic/live/other",
                   "homeassistant/device/attic/x/config", "elsewhere", "cmnd/lamp/POWER"]
        for topic in [*mine, *foreign]:
            middle.publish(topic, b"look")
        assert attic.publish("cmnd/lamp/POWER", b"ON") == "Not authorized", "granted to garden alone"
        assert attic.publish("hutkeeper/1/attic/live/main-meter", b"12 W") == "Success"
        assert garden.wait_for("hutkeeper/1/attic/live/main-meter") == b"12 W"  # its declared input, sent last
        assert {topic for topic, payload in garden.got if payload == b"look"} == set(mine)
    print("\n".join(lines))


@needs_mosquitto
def test_replacing_a_device_voids_the_old_certificate(hub: Hub, box: Boxes, closing: Closing) -> None:
    keeper = Keeper(broker_plan(hub.settings), lambda _line: None)
    keeper.start()
    closing.append(keeper.stop)
    old, new = box("garden"), box("garden2")
    new.toml.write_text(old.toml.read_text())
    assert old.pair(hub.url, hub.code()).code == 0
    with pytest.raises(pairing.PairingError, match="pair-code --device garden --replace"):
        hub.code("garden")
    ran = new.pair(hub.url, hub.code())
    assert ran.code == 1 and "a device garden is paired already" in ran.err and "--replace" in ran.err
    assert new.pair(hub.url, hub.code("garden", replace=True)).code == 0
    keeper.watch()
    assert keeper.child and not keeper.child.alive  # Keeper.run starts it again
    keeper.start()
    with Client(hub.settings.broker.tls_port, tls=new.tls) as client:
        assert client.publish("homie/5/garden/$state") == "Success"
    with pytest.raises((AssertionError, OSError)):
        Client(hub.settings.broker.tls_port, tls=old.tls, wait_s=2)


@needs_mosquitto
def test_the_tls_listener_wants_a_certificate_of_this_hub(
    hub: Hub, box: Boxes, closing: Closing, tmp_path: Path
) -> None:
    keeper = Keeper(broker_plan(hub.settings), lambda _line: None)
    keeper.start()
    closing.append(keeper.stop)
    other = ca.ensure(tmp_path / "other")
    one = box("garden")
    assert one.pair(hub.url, hub.code()).code == 0
    with pytest.raises((AssertionError, OSError)):
        Client(hub.settings.broker.tls_port, tls=(one.tls[0], other.cert_path, other.hub_key_path), wait_s=2)
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(hub.settings.broker.tls_port, tls=(other.ca_path, *one.tls[1:]), wait_s=2)


def test_a_wrong_code_is_refused_on_both_sides_and_five_tries_are_the_end(hub: Hub, box: Boxes) -> None:
    code = hub.code()
    one = box("garden")
    before = one.toml.read_text()
    ran = one.pair(hub.url, wrong(code))
    assert ran.code == 1 and len(ran.err.splitlines()) == 1
    assert "could not prove that it knows the code: the code was mistyped" in ran.err
    ran = one.pair(hub.url, "0000-0000-0000")
    assert ran.code == 1 and "the hub knows no such code" in ran.err
    ran = one.pair(hub.url, code[:8])
    assert ran.code == 1 and "a pairing code has 12 characters, this one has 7" in ran.err
    assert one.toml.read_text() == before and not list(one.toml.parent.glob("tls/*"))
    for _ in range(wire.ATTEMPTS - 1):
        assert one.pair(hub.url, wrong(code)).code == 1
    ran = one.pair(hub.url, code)
    assert ran.code == 1 and "was tried 5 times and is void" in ran.err


def test_a_code_works_once_and_is_typed_as_people_type(hub: Hub, box: Boxes, broker_port: int) -> None:
    code = hub.code()
    assert box("garden").pair(hub.url, code.replace("-", " ").lower().replace("0", "o").replace("1", "l")).code == 0
    ran = box("attic").pair(hub.url, code)
    assert ran.code == 1 and "this code was used already, by garden" in ran.err


def test_an_expired_code_is_refused(hub: Hub, box: Boxes) -> None:
    code = hub.code()
    move_expiry(hub, -wire.VALID_S - 1)
    ran = box("garden").pair(hub.url, code)
    assert ran.code == 1 and "this code is older than 15 minutes" in ran.err and "pair-code" in ran.err


def test_a_code_that_expires_between_hello_and_sign_is_refused(hub: Hub, box: Boxes) -> None:
    code = hub.code()
    hub.app.after_request(lambda answer: (move_expiry(hub, -wire.VALID_S - 1), answer)[1])
    ran = box("garden").pair(hub.url, code)
    assert ran.code == 1 and "this code is older than 15 minutes" in ran.err


def test_a_code_for_one_device_is_refused_to_another(hub: Hub, box: Boxes, broker_port: int) -> None:
    code = hub.code("attic")
    ran = box("garden").pair(hub.url, code)
    assert ran.code == 1 and "this code is for the device attic, and this one calls itself garden" in ran.err
    assert box("attic").pair(hub.url, code).code == 0


def test_a_machine_in_between_with_its_own_ca_gets_nothing(
    hub: Hub, box: Boxes, closing: Closing, broker_port: int, tmp_path: Path
) -> None:
    """It relays everything and puts its own CA into the offer, wishes into the hello, or its certificate last."""
    evil = ca.ensure(tmp_path / "evil")
    change = ""

    def relay(path: str) -> Response:
        body = request.get_data()
        if change == "hello" and path == "hello":
            body = body.replace(b'"inputs":[]', b'"inputs":["attic/main-meter"]')
        status, answer = post(hub, f"/pair/{path}", body)
        if change == "ca" and path == "hello":
            offer = json.loads(answer["offer"])
            answer["offer"] = json.dumps({**offer, "ca": evil.ca_pem})
        if change == "certificate" and path == "sign":
            answer["certificate"] = evil.cert_path.read_text()
        return Response(json.dumps(answer), status)

    app = Flask("between")
    app.add_url_rule("/pair/<path>", view_func=relay, methods=["POST"])
    url = f"https://127.0.0.1:{serve(app, (evil.cert_path, evil.hub_key_path), closing)}"
    for change, words in (
        ("ca", "could not prove that it knows the code"),
        ("hello", "could not prove that it knows the code"),
        ("certificate", "the certificate was changed on its way"),
    ):
        one = box(f"victim-{change}")
        ran = one.pair(url, hub.code())
        assert ran.code == 1 and words in ran.err, ran
        assert not list(one.toml.parent.glob("tls/*"))
    change = ""
    assert box("lucky").pair(url, hub.code(), "--json").code == 0  # a mere relay is harmless: it learns nothing


def test_who_knows_no_code_gets_nothing_signed(hub: Hub, box: Boxes, broker_port: int) -> None:
    """The requests themselves: bad proofs, a nonce used again, foreign or reserved names, rubbish, too much."""
    garden = box("garden")
    assert garden.pair(hub.url, hub.code()).code == 0
    code = hub.code()
    selector, _ = wire.split(code)

    def csr(name: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                            "-nodes", "-keyout", f"{folder}/k", "-subj", f"/CN={name}", "-out", f"{folder}/r"],
                           check=True, capture_output=True, timeout=60)
            return Path(folder, "r").read_text()

    good = {"v": 1, "code": selector, "device": "attic", "nonce": "A" * 22 + "==", "csr": csr("attic")}
    status, offered = post(hub, "/pair/hello", good)
    assert status == 200
    offer = json.loads(offered["offer"])
    sign = {"nonce": offer["nonce"], "proof": "A" * 43 + "="}
    status, refused = post(hub, "/pair/sign", sign)
    assert status == 403 and "could not prove" in refused["error"]
    status, refused = post(hub, "/pair/sign", sign)
    assert status == 409 and "run the command again" in refused["error"]
    for changed, status in (
        ({"csr": csr("cellar")}, 400), ({"device": "hub", "csr": csr("hub")}, 400), ({"device": "a/b"}, 400),
        ({"device": "#", "csr": csr("#")}, 400), ({"csr": "rubbish"}, 400), ({"nonce": "AA=="}, 400), ({"v": 2}, 400),
        ({"inputs": ["#/+"]}, 400), ({"device": "garden", "csr": csr("garden")}, 409),
        ({"code": "ZZZZ"}, 403), ({"csr": "x" * wire.MAX_BYTES}, 413),
    ):
        got, answer = post(hub, "/pair/hello", {**good, **changed})
        assert got == status and answer["error"], (changed, answer)
    assert post(hub, "/pair/hello", b"[]")[0] == 400
    assert list(pairing.Registry(hub.settings.hub.data_dir).read().devices) == ["garden"]


def test_guessing_is_slowed_per_address(hub: Hub) -> None:
    answers = [post(hub, "/pair/sign", {"nonce": "AA==", "proof": "AA=="})[0] for _ in range(31)]
    assert answers[:30] == [409] * 30 and answers[30] == 429


def test_plain_http_is_for_this_machine_only(hub: Hub, box: Boxes, closing: Closing, broker_port: int) -> None:
    ran = box("garden").pair("http://192.0.2.7:8080", hub.code())
    assert ran.code == 1 and "use https://192.0.2.7:8080" in ran.err
    assert box("garden").pair(f"http://127.0.0.1:{serve(hub.app, None, closing)}", hub.code()).code == 0
    answer = hub.app.test_client().post("/pair/hello", json={}, environ_base={"REMOTE_ADDR": "192.0.2.9"})
    assert answer.status_code == 403 and "https" in answer.json["error"]


def test_an_address_without_a_hub_is_named(hub: Hub, box: Boxes, closing: Closing) -> None:
    one, code = box("garden"), hub.code()
    plain = serve(Flask("something else"), None, closing)
    for url, words in (
        ("https://127.0.0.1:9", "cannot reach https://127.0.0.1:9"),
        (f"http://127.0.0.1:{plain}", "is not a hutkeeper hub"),
        (f"https://127.0.0.1:{plain}", "no https there"), ("ftp://x", "is not the address of a hub"),
        ("https://x:99999", "is not the address of a hub"),
    ):
        ran = one.pair(url, code)
        assert ran.code == 1 and words in ran.err and len(ran.err.splitlines()) == 1, ran


def test_the_hub_keeps_no_code_and_shows_its_key_to_nobody(hub: Hub) -> None:
    code = hub.code()
    _, secret = wire.split(code)
    folder = ca.folder(hub.settings.hub.data_dir)
    assert secret not in (folder / "pairing.json").read_text() and code not in (folder / "pairing.json").read_text()
    for name in ("ca.key", "hub.key", "pairing.json"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_hub_certificate_follows_the_machines_names(tmp_path: Path) -> None:
    first = ca.ensure(tmp_path)
    pem, key = first.cert_path.read_bytes(), first.hub_key_path.read_bytes()
    assert ca.ensure(tmp_path).cert_path.read_bytes() == pem
    again = ca.ensure(tmp_path, ["basecamp.example"])
    assert again.cert_path.read_bytes() != pem and again.hub_key_path.read_bytes() == key
    assert "basecamp.example" in again.hub_names() and "127.0.0.1" in again.hub_names()
    certificate = x509.load_pem_x509_certificate(again.cert_path.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(again.ca_path.read_bytes()))


def test_a_damaged_book_stops_no_broker(hub: Hub) -> None:
    registry = pairing.Registry(hub.settings.hub.data_dir)
    hub.code()
    registry.path.write_bytes(b"\0" * 100)
    with pytest.raises(pairing.PairingError, match="is damaged"):
        registry.reads()
    assert broker_plan(hub.settings).reads() == {}
