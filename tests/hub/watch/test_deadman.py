"""B71: the dead man's ping against a real HTTP server that answers well, badly, late or not at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hub import settings as hub_settings
from hub.settings import SettingsError
from hub.watch.deadman import DeadMan, Word
from hub.watch.settings import Heartbeat, shown

SECRET = "2f1c3a52-9c1e-4b5e"


class Outside:
    """Somebody who is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.status = 200
        self.hangs = threading.Event()
        self.hangs.set()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                outside.hangs.wait(10)
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                outside.calls.append((self.command, self.path, body))
                self.send_response(outside.status)
                if outside.status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{SECRET}"


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.hangs.set()
    outside.server.shutdown()
    outside.server.server_close()


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_B71_it_calls_while_all_moves_and_is_silent_when_not(outside: Outside) -> None:
    clock = Clock()
    man = DeadMan(Heartbeat(url=outside.url), outside.url, monotonic_s=clock)
    assert man.step() is None  # nobody has said yet that anything works
    for _ in range(10 * 60):
        man.say(Word(clock.now_s, True))
        man.step()
        clock.now_s += 1
    assert len(outside.calls) == 10 and {call[:2] for call in outside.calls} == {("GET", f"/{SECRET}")}
    for _ in range(10 * 60):  # ingest stands still: notify itself lives
        man.say(Word(clock.now_s, False))
        assert man.step() is None
        clock.now_s += 1
    man.say(Word(clock.now_s, True))
    assert man.step() is True
    clock.now_s += 61  # notify hangs: its last word was a good one
    assert man.step() is None and len(outside.calls) == 11


def test_critical_trouble_of_the_hub_is_said_at_once_and_its_end_too(outside: Outside) -> None:
    clock = Clock()
    man = DeadMan(Heartbeat(url=outside.url), outside.url, monotonic_s=clock)
    for at, trouble in ((0, ""), (5, "the hub's disk has 20 MiB free"), (6, "the hub's disk has 20 MiB free"), (9, "")):
        clock.now_s = 1000.0 + at
        man.say(Word(clock.now_s, True, trouble))
        man.step()
    assert outside.calls == [("GET", f"/{SECRET}", ""), ("POST", f"/{SECRET}/fail", "the hub's disk has 20 MiB free"),
                             ("GET", f"/{SECRET}", "")]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refusal_backs_off_and_never_tells_the_secret(
    outside: Outside, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    outside.status = status
    man = DeadMan(Heartbeat(url=outside.url), outside.url, monotonic_s=clock, wall_us=lambda: 7)
    with caplog.at_level(logging.INFO):
        for _ in range(600):
            man.say(Word(clock.now_s, True))
            man.step()
            clock.now_s += 1
    assert 10 <= len(outside.calls) <= 18  # 2, 4, 8, 16, 32, then every 60 s, each a little off
    assert man.failing_since_us == 7 and f"answer {status}" in man.error
    outside.status = 200
    clock.now_s += 80
    man.say(Word(clock.now_s, True))
    assert man.step() is True and man.failing_since_us is None
    assert SECRET not in caplog.text + man.error + shown(outside.url) and "not taken" in caplog.text


def test_one_that_does_not_answer_holds_up_nobody(outside: Outside) -> None:
    outside.hangs.clear()
    man = DeadMan(Heartbeat(url=outside.url, timeout_s=1.0), outside.url)
    man.start()
    for _ in range(3):
        man.say(Word(man._now(), True))  # never waits
    outside_is_slow = threading.Event()
    while man.failing_since_us is None:
        man.say(Word(man._now(), True))
        assert not outside_is_slow.wait(0.05)
    assert "no answer in time" in man.error
    man.stop()
    man.join(5)
    assert not man.is_alive()


def test_where_nobody_listens_or_the_name_is_not_known() -> None:
    for url, said in (("http://127.0.0.1:9/x", "ConnectionRefusedError"), ("http://no.such.host.invalid/x", "name")):
        man = DeadMan(Heartbeat(url=url), url, monotonic_s=Clock())
        man.say(Word(1000.0, True))
        assert man.step() is False and said in man.error


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('[heartbeat]\nurl_file = "beat.url"\nevery_s = 30\n')
    (tmp_path / "beat.url").write_text("https://hc-ping.com/abc\n")
    loaded = hub_settings.load(path).heartbeat
    assert loaded.read() == "https://hc-ping.com/abc" and loaded.every_s == 30
    for bad, said in (('url = "ftp://x/secret1"', "url"), ('url = "https://"', "url"), ("every_s = 1", "every_s"),
                      ('url = "http://a/b"\nurl_file = "c"', "url_file"), ('urll = "http://a/b"', "url")):
        path.write_text(f"[heartbeat]\n{bad}\n")
        with pytest.raises(SettingsError, match=said) as error:
            hub_settings.load(path)
        assert "secret1" not in str(error.value) and len(str(error.value).splitlines()) == 1
    assert hub_settings.Settings().heartbeat.read() is None
