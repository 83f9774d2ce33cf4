"""Event streams: 50 open pages and no thread left behind, a cap with a way round it, a reader that stops reading."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.testing.broker import Broker
from tests.hub.web.lab import Client, Devices, Web, events
from tests.waiting import until


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.is_alive()}


def busy(web: Web) -> int:
    """Worker threads of the server that are at a connection."""
    pool = web.server.requests
    return len(pool._threads) - pool.idle


def test_50_open_pages_leave_no_thread_behind(web: Web, devices: Devices) -> None:
    """Figure of FEATURES: 50 open pages, 0 leaked threads after close."""
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    client = web.login("vera")
    before = threads()
    for _ in range(2):
        with ExitStack() as stack:
            streams = [stack.enter_context(client.stream("/events/fleet")) for _ in range(25)]
            streams += [stack.enter_context(client.stream("/events/device/bc-power")) for _ in range(25)]
            readers = [events(stream) for stream in streams]
            assert all(next(reader) for reader in readers)
            assert web.hut.streams.open == 50 and web.hut.feed.readers == 50
            devices.send("homie/5/bc-power/$state", "lost")
            devices.send("homie/5/bc-power/$state", "ready")
            assert all(next(reader) for reader in readers)
            assert client.get("/").status == 200  # there is room for ordinary requests
        until("0 streams", lambda: web.hut.streams.open == 0)
        until("0 busy threads", lambda: busy(web) == 0)
        assert web.hut.feed.readers == 0
        assert threads() == before


@pytest.fixture
def small(tmp_path: Path, broker: Broker) -> Iterator[Web]:
    with Web(tmp_path, broker.port, streams=2) as web:
        web.people()
        web.synced()
        yield web


def test_above_the_cap_a_page_is_told_503_and_may_poll(small: Web, devices: Devices) -> None:
    devices.device("bc-power")
    until("the device", lambda: small.hut.tree.device("bc-power"))
    client = small.login("vera")
    with ExitStack() as stack:
        for _ in range(2):
            assert stack.enter_context(client.stream("/events/fleet")).status == 200
        refused = client.get("/events/fleet")
        assert refused.status == 503 and refused.headers["Retry-After"] == "10"
        polled = client.get("/poll/fleet", X_Background="1").json
        assert "bc-power" in polled["rows"] and polled["all"] == ["bc-power"]
    until("0 streams", lambda: small.hut.streams.open == 0)
    with client.stream("/events/fleet") as again:
        assert again.status == 200


def test_a_stream_beats_tells_when_to_retry_and_numbers_its_events(web: Web, devices: Devices) -> None:
    client = web.login("vera")
    with client.stream("/events/fleet") as response:
        lines = iter(response.readline, b"")
        assert next(lines) == b"retry: 2000\n"
        assert any(line == b": still here\n" for line in lines)
    with client.stream("/events/fleet") as response:
        number = next(line for line in iter(response.readline, b"") if line.startswith(b"id: "))[4:].strip().decode()
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    with client.stream(f"/events/fleet?since={number}") as response:
        event = next(events(response))
        assert "all" not in event  # it goes on, and is not told everything anew
    with client.stream("/events/fleet?since=other-9") as response:
        assert next(events(response))["all"] == ["bc-power"]


def test_a_reader_that_stops_reading_is_given_up(web: Web, devices: Devices) -> None:
    """Its socket fills, the send runs into its timeout, the thread comes back; others are not held up."""
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power") and web.hut.tree.device("bc-power").state == "ready")
    web.server.timeout = 1
    client = web.login("vera")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", web.port))
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        deaf.sendall(f"GET /events/device/bc-power HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
        until("the stream", lambda: web.hut.streams.open == 1)
        text = "x" * 8000

        def flooded() -> bool:
            for n in range(20):
                devices.send("homie/5/bc-power/main-meter/tariff", f"{n}{text}")
                devices.send("homie/5/bc-power/$log/warn", f"{n}{text}", retain=False)
            return web.hut.streams.open == 0

        until("the deaf reader given up", flooded, 60)
    until("0 busy threads", lambda: busy(web) == 0)
    assert client.get("/").status == 200


def test_nobody_without_a_session_gets_a_stream(web: Web) -> None:
    assert Client(web.port).get("/events/fleet").status == 303
    assert Client(web.port).get("/events/fleet", X_Background="1").status == 401
