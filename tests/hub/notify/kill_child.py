"""A notifier that is killed: its part alone, with a small source of alerts, over and over.

It speaks with its parent by lines: a line in, a fork, its pid out; the fork goes on until it is killed. Alerts come
from a counter that is written in the same transaction, so what was committed is known exactly."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hub.alerts.model import Alert, Event
from hub.live import Feed, LiveClient, LiveTree
from hub.notify.asks import Desk
from hub.notify.channels.url import _library
from hub.notify.commander import Commander
from hub.notify.notifier import Notifier
from hub.notify.part import Hall
from hub.settings import Settings, load
from hub.store.alerts_db import AlertsDb
from hub.store.reader import Reader
from hub.web.server import connection

START_US = 1_774_641_600_000_000
TURN_S = 0.1
TURN_US = 60_000_000
"""A turn is a minute of its clock, so that no cap is reached."""


def live(settings: Settings, most: int) -> None:
    db = AlertsDb(settings.alerts_db)
    feed = Feed()
    tree = LiveTree(feed)
    client = LiveClient(connection(settings), tree, feed)
    reader = Reader(settings.samples_db)
    clock = [int(db.meta("clock") or START_US)]
    hall = Hall(settings, db=db, tree=tree, feed=feed, client=client, reader=reader, desk=Desk(settings.hub.run_dir),
                commander=Commander(client, tree, reader), now_us=lambda: clock[0])
    notifier = Notifier(hall)
    notifier.begin()
    while True:
        now = clock[0] + TURN_US
        with db.writing():
            notifier.step(now)
            n = int(db.meta("n") or 0)
            events = []
            if n < most:
                n += 1
                alert = Alert(n, f"k{n}", "hub", "error", f"Alert {n}.", "", "", "", now, now, now, "open")
                events.append(Event("opened", alert, now))
            notifier.take(events, now)
            db.set_meta("n", str(n).encode())
            db.set_meta("clock", str(now).encode())
        clock[0] = now
        notifier.after(now)
        time.sleep(TURN_S)


def main() -> None:
    settings, most = load(Path(sys.argv[1])), int(sys.argv[2])
    _library().Apprise.instantiate("json://127.0.0.1/")  # its hundred services are loaded once, before the forks
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(0)
            live(settings, int(line) if line.strip().isdecimal() else most)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
