"""All parts of the notify process, in the order of their turn within a second."""

from __future__ import annotations

from hub.alerts.book import Book
from hub.alerts.devices import Devices
from hub.alerts.hub_side import HubSide
from hub.logbook.gather import Gather
from hub.notify.notifier import Notifier
from hub.notify.part import Hall, Part
from hub.rules.keeper import Rules
from hub.watch.part import Watch


def make_parts(hall: Hall, book: Book) -> list[Part]:
    devices = Devices(hall, book)
    return [devices, HubSide(hall, devices), Watch(hall), Rules(hall), Gather(hall), Notifier(hall)]
