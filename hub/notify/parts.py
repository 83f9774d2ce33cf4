"""All parts of the notify process, in the order of their turn within a second."""

from __future__ import annotations

from hub.alerts.book import Book
from hub.notify.part import Hall, Part
from hub.rules.keeper import Rules


def make_parts(hall: Hall, book: Book) -> list[Part]:
    return [Rules(hall)]
