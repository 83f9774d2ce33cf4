"""Sensor to page over the state plane, against a bare publish-subscribe round trip of the same run.

``house_pulse`` reports CLOCK_MONOTONIC, one clock for all processes of a machine; a reader of the device page's
event stream notes when the value arrives. The bare round trip: one paho client publishes at QoS 1 to another.
"""

from __future__ import annotations

import http.client
import queue
import re
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import paho.mqtt.client as mqtt

from tests.bench.figures import Figure
from tests.house import BIN, House, until

ROUNDS = 5
PULSES = 40
WARM_UP = 5
PASSWORD = "a long walk by the river"


def session_cookie(house: House) -> str:
    """Log in as the first admin, as a browser does."""
    said = subprocess.run([str(BIN / "hutkeeper-hub"), "user", "first-code", "--config", str(house.hub_toml)],
                          capture_output=True, text=True, timeout=30, check=True).stdout
    code = re.search(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4}\b", said)
    assert code, said
    web = http.client.HTTPConnection("127.0.0.1", house.web, timeout=10)
    web.request("GET", "/login")
    page = web.getresponse()
    cookie = (page.getheader("Set-Cookie") or "").split(";")[0]
    token = re.search(r'name="_form" value="([^"]+)"', page.read().decode())
    assert token
    form = {"_form": token.group(1), "code": code.group(), "name": "bench", "password": PASSWORD, "again": PASSWORD}
    web.request("POST", "/login/first", urlencode(form), {
        "Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie, "Origin": house.url})
    answer = web.getresponse()
    answer.read()
    assert answer.status in (302, 303), answer.status
    return (answer.getheader("Set-Cookie") or "").split(";")[0]


def sensor_to_page_ms(house: House, cookie: str, count: int) -> list[float]:
    """Milliseconds from the plugin's reading to its arrival in an open event stream."""
    web = http.client.HTTPConnection("127.0.0.1", house.web, timeout=30)
    web.request("GET", "/events/device/pulse", headers={"Cookie": cookie})
    stream = web.getresponse()
    assert stream.status == 200, stream.status
    took: list[float] = []
    while len(took) < count + WARM_UP:
        line = stream.readline()
        arrived = time.monotonic_ns()
        value = re.search(rb'"v-pulse-sent-ns":\["(\d+)"', line)
        if value:
            took.append((arrived - int(value.group(1))) / 1e6)
    web.close()
    return took[WARM_UP:]


def round_trip_ms(port: int, count: int) -> list[float]:
    """Milliseconds from a bare publish at QoS 1 to the message at a bare subscriber."""
    arrived: queue.Queue[tuple[int, int]] = queue.Queue()
    ready = threading.Event()
    reader = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    reader.on_message = lambda client, userdata, message: arrived.put((time.monotonic_ns(), int(message.payload)))
    reader.on_subscribe = lambda *_: ready.set()
    writer = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    for client in (reader, writer):
        client.connect("127.0.0.1", port)
        client.loop_start()
    reader.subscribe("bench/pulse", qos=1)
    assert ready.wait(10)
    took = []
    for _ in range(count + WARM_UP):
        time.sleep(0.05)
        writer.publish("bench/pulse", str(time.monotonic_ns()), qos=1)
        now, sent = arrived.get(timeout=10)
        took.append((now - sent) / 1e6)
    for client in (reader, writer):
        client.disconnect()
        client.loop_stop()
    return took[WARM_UP:]


def measure() -> list[Figure]:
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder, House(Path(folder)) as house:
        house.start_hub()
        house.start_agent("pulse", '[plugins.pulse]\nuse = "house_pulse"\nrate_hz = 3.0\n')
        until("a stored sample", lambda: [row for row in house.ledger("pulse") if row["stored"]], 60, every_s=1)
        cookie = session_cookie(house)
        for _ in range(ROUNDS):
            ours.append(statistics.median(sensor_to_page_ms(house, cookie, PULSES)))
            bare.append(statistics.median(round_trip_ms(house.mqtt, PULSES)))
    return [Figure("sensor to page, p50 against a bare round trip", ours, bare, "ms", 5.0)]


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
