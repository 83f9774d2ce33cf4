"""A notifier on a bench: a real alerts.db, real threads and HTTP, and a clock that the test moves."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hub.alerts.model import Alert, Condition, Event
from hub.live import Feed, LiveClient, LiveTree
from hub.notify.asks import Desk
from hub.notify.commander import Commander
from hub.notify.notifier import Notifier
from hub.notify.part import Hall
from hub.settings import load
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb
from hub.store.reader import Reader
from hub.web.server import connection
from tests.house import House
from tests.waiting import until

S = 1_000_000
EVENING = 1_774_641_600 * S  # 2026-03-27 20:00 UTC, 21:00 in Paris
PARIS = '[energy]\ntimezone = "Europe/Paris"\n'


class Provider:
    """A provider of push messages that takes the JSON of Apprise. By path: /500 refuses, /hang never answers."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, dict[str, Any]]] = []
        self.down = False
        self.hanging = ""
        """What a path holds that is not answered."""
        self.release = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if "hang" in self.path or (provider.hanging and provider.hanging in self.path):
                    provider.release.wait(60)
                    return
                status = 500 if "500" in self.path or provider.down else 200
                try:
                    said = json.loads(body)
                except ValueError:
                    return  # the sender was killed in the middle
                if status == 200:
                    provider.got.append((time.monotonic(), self.path, said))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    def texts(self, path: str = "") -> list[str]:
        """What a telephone shows: the title, and what is below it."""
        return [f"{said['title']}\n{said['message']}" for _, at, said in self.got if path in at]

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class Bench:
    """``house``: commands go over its broker to its agents, by the term of its hub."""

    def __init__(self, folder: Path, toml: str, *, now_us: int = EVENING, house: House | None = None) -> None:
        self.now = now_us
        self._run = Path(tempfile.mkdtemp(prefix="hk-", dir="/tmp"))  # unix sockets need a short path
        path = folder / "hub.toml"
        path.write_text(f'[hub]\nname = "Basecamp"\ndata_dir = "{folder}/data"\nrun_dir = "{self._run}"\n'
                        f"[mqtt]\nhost = '127.0.0.1'\nport = {house.mqtt if house else 1}\n{toml}")
        self.settings = load(path)
        self.db = AlertsDb(self.settings.alerts_db)
        self.desk = Desk(self._run)
        feed = Feed()
        tree = LiveTree(feed)
        client = LiveClient(connection(self.settings), tree, feed)
        self.reader = Reader(house.data / "hub" / "samples.db" if house else self.settings.samples_db)
        self.commander = Commander(client, tree, self.reader)
        self.commander.start()
        self._client = client if house else None
        if self._client is not None:
            self._client.start()
        self.hall = Hall(self.settings, db=self.db, tree=tree, feed=feed, client=client, reader=self.reader,
                         desk=self.desk, commander=self.commander, now_us=lambda: self.now)
        self.seen: list[tuple[int, str]] = []
        self.desk.handlers["alert.acknowledge"] = lambda args, who: self.seen.append((args["id"], who))
        self.notifier = Notifier(self.hall)
        self.notifier.begin()

    def second(self, *events: Event, by_s: float = 1.0, settle: bool = True) -> list[Condition]:
        """One turn of the service, after ``by_s`` of its clock; waits until what left has landed."""
        self.now += round(by_s * S)
        with self.db.writing():
            self.notifier.step(self.now)
            found = list(self.notifier.conditions(self.now))
            self.notifier.take(list(events), self.now)
        self.notifier.after(self.now)
        if settle:
            self.landed()
        return found

    def seconds(self, n: int, by_s: float = 1.0) -> None:
        for _ in range(n):
            self.second(by_s=by_s)

    def landed(self) -> None:
        until("all have landed", lambda: not any(self.notifier.sending.busy(one.channel, one.recipient)
                                                 for one in rows.lanes(self.db)), timeout_s=20)

    def opened(self, n: int = 1, severity: str = "critical", title: str = "Water in the cellar", **more: Any) -> Event:
        return Event("opened", self.alert(n, severity, title, **more), self.now)

    def alert(self, n: int = 1, severity: Any = "critical", title: str = "Water in the cellar", *, state: Any = "open",
              key: str = "", kept: str = "", do: str = "", since_us: int | None = None,
              resolved_us: int | None = None) -> Alert:
        since = self.now if since_us is None else since_us
        return Alert(n, key or f"rule:r{n}", "hub", severity, title, "", kept, do, since, since, self.now, state,
                     resolved_us=resolved_us)

    def sent(self) -> list[rows.Message]:
        return rows.messages(self.db, 10_000)

    def close(self) -> None:
        self.notifier.close()
        self.commander.close()
        if self._client is not None:
            self._client.stop()
        self.reader.close()
        self.desk.close()
        self.db.close()
        shutil.rmtree(self._run, ignore_errors=True)


@contextmanager
def bench(folder: Path, toml: str, **more: Any) -> Iterator[Bench]:
    made = Bench(folder, toml, **more)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def provider() -> Iterator[Provider]:
    made = Provider()
    try:
        yield made
    finally:
        made.close()
