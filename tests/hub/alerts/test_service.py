"""The real notify service at a real broker: an alert of a device becomes one alert, over a restart too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.testing.broker import Broker as RealBroker
from agent.wire import faults
from hub.alerts.book import Book
from hub.notify import asks
from hub.notify.part import Hall, Part
from hub.notify.parts import make_parts
from hub.notify.service import Service
from hub.settings import Broker, Hub, Settings
from hub.store import alert_rows
from hub.store.alerts_db import AlertsReader
from tests.hub.alerts.house import Ear
from tests.hub.web.lab import Devices
from tests.waiting import until

STUCK = faults.line("E_RELAY_STUCK", relay="the salon's heater", evidence="its meter")


@contextmanager
def notify(settings: Settings) -> Iterator[Ear]:
    ears: list[Ear] = []

    def parts(hall: Hall, book: Book) -> list[Part]:
        ears.append(Ear(hall))
        return [*make_parts(hall, book), *ears]

    service = Service(settings, parts)
    stopping = threading.Event()
    thread = threading.Thread(target=service.run, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield ears[0]
    finally:
        stopping.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def settings(tmp_path: Path, broker: RealBroker) -> Settings:
    return Settings(hub=Hub(data_dir=tmp_path / "data", run_dir=tmp_path / "run"), broker=Broker(port=broker.port))


def test_from_a_device_to_the_book_and_over_a_restart(settings: Settings, broker: RealBroker) -> None:
    reader = AlertsReader(settings.alerts_db)
    with Devices(broker.port) as devices:
        devices.device("salon", "Salon")
        with notify(settings) as ear:
            until("the tree", lambda: ear.hall.client.connected[0] and ear.hall.tree.whole)
            devices.send("homie/5/salon/$alert/relay", STUCK)
            until("the alert", lambda: ear.heard, 10)
            (told,) = ear.heard
            assert (told.what, told.alert.key) == ("opened", "alert:salon:relay")
            assert told.alert.title == "Salon: the salon's heater was told OFF and its meter says it is ON"
        with notify(settings) as ear:
            asks.ask(settings.hub.run_dir, "alert.acknowledge", {"id": told.alert.id}, who="lena")
            until("the event", lambda: ear.heard)
            until("the tree", lambda: ear.hall.client.connected[0] and ear.hall.tree.whole)
            assert [(event.what, event.alert.id, event.who) for event in ear.heard] == [
                ("acknowledged", told.alert.id, "lena")]
            devices.send("homie/5/salon/$alert/relay", "")
            until("it is no more", lambda: any(row.gone_us for row in alert_rows.open_alerts(reader)))
            with pytest.raises(asks.Refused, match="there is no alert 77"):
                asks.ask(settings.hub.run_dir, "alert.acknowledge", {"id": 77}, who="lena")
    reader.close()
