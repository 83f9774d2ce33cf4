"""What templates and event streams share: how a time, a number or a state reads, and parts of pages as HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask
from markupsafe import Markup

from hub.fleet.answers import grouped
from hub.web.texts import Texts

DOTS = {"live": "good", "sleeping": "calm", "disconnected": "calm", "init": "calm", "silent": "warn", "ahead": "warn",
        "unknown": "calm", "lost": "bad"}
HEALTH_DOTS = {"ok": "good", "degraded": "warn", "failed": "bad", "disabled": "calm"}


def iso(us: int) -> str:
    """``2026-11-22T03:14:15Z``; what cannot be a date is said as it is."""
    try:
        return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{us} us"


class Parts:
    """Helpers for Jinja. Macros of a template file are called from Python for the event streams."""

    def __init__(self, app: Flask, texts: Texts, now_us: Any, zone: ZoneInfo) -> None:
        self._app = app
        self._zone = zone
        self._t = texts
        self._now_us = now_us
        app.jinja_env.globals.update(
            t=texts, when=self.when, iso=iso, dot=lambda state: DOTS.get(state, "calm"),
            clock_of=self.clock_of, health_dot=lambda health: HEALTH_DOTS.get(health, "calm"), plain=plain,
            grouped=grouped, log_time=self.log_time,
        )
        app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    def ago(self, us: int) -> str:
        age_s = (self._now_us() - us) / 1e6
        if age_s < -1:
            return self._t("page.ahead", age=self._t.duration(-age_s))
        return self._t("page.ago", age=self._t.duration(max(0.0, age_s)))

    def clock_of(self, us: int) -> str:
        """A moment of the house's day; with its date when it is not today."""
        at, today = (datetime.fromtimestamp(t / 1e6, self._zone) for t in (us, self._now_us()))
        return f"{at:%H:%M}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M}"

    def log_time(self, us: int, dated: bool = False) -> str:
        """A moment on the house's clock, to the second."""
        return f"{datetime.fromtimestamp(us / 1e6, self._zone):{'%Y-%m-%d ' if dated else ''}%H:%M:%S}"

    def when(self, us: int | None, none: str = "page.never") -> Markup:
        """A ``<time>`` whose age the page's script keeps counting, in the viewer's zone on hover."""
        if us is None:
            return Markup("<span class=none>{}</span>").format(self._t(none))
        return Markup('<time datetime="{0}" title="{0}" data-us="{1}">{2}</time>').format(iso(us), us, self.ago(us))

    def macro(self, template: str, name: str, *args: Any) -> str:
        """HTML of a macro, escaped as in the page."""
        module = self._app.jinja_env.get_template(template).module
        return str(getattr(module, name)(*args)).strip()


def plain(value: float) -> str:
    """A number as a person writes it: at most six digits that mean something; a counter keeps its last three."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1000:  # a counter: its last digits are what moves
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:.6g}"
