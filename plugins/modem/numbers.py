"""Telephone numbers: one form for each, and none of them whole in a log. Pure."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\+?[0-9*#]{3,20}\Z")


def normal(number: str, country: str = "") -> str:
    """``0033 6 12-34`` and, with ``country`` "+33", ``06 12 34`` in the form ``+33...``; letters stay as they are."""
    bare = re.sub(r"[\s().\-/]", "", number)
    if not _NUMBER.match(bare):
        return number.strip()
    if bare.startswith("00") and len(bare) > 6:
        return "+" + bare[2:]
    if country and bare.startswith("0") and len(bare) > 6:
        return country + bare[1:]
    return bare


def dialable(number: str) -> bool:
    return re.fullmatch(r"\+?[0-9]{3,15}", number) is not None


def redacted(number: str) -> str:
    """The last three digits: enough to know which of one's own it is."""
    return "…" + number[-3:] if len(number) > 3 else "…"
