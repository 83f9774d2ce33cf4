"""A page of a logged-in browser, for the tests in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.hub.web.lab import PASSWORD

SIZES = {"phone": (390, 844), "desktop": (1280, 800)}


class Tab:
    """A page of a logged-in browser; ``errors`` collects what the console complains about."""

    def __init__(self, context: Any, url: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.url = url
        self.errors: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))

    def login(self, name: str = "anna") -> None:
        self.page.goto(f"{self.url}/login")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("main button")
        self.page.wait_for_url(f"{self.url}/")

    def goto(self, path: str) -> Any:
        return self.page.goto(self.url + path, wait_until="load")


@contextmanager
def opening(chromium: Any, url: str, who: str = "otto") -> Iterator[Callable[..., Tab]]:
    """``open_tab(size, scheme, name, **context_of)`` gives a logged-in page; all of them are closed at the end."""
    contexts = []

    def open_(size: str = "desktop", scheme: str = "light", name: str = who, **context_of: Any) -> Tab:
        width, height = SIZES[size]
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **context_of)
        contexts.append(context)
        tab = Tab(context, url)
        tab.login(name)
        return tab

    try:
        yield open_
    finally:
        for context in contexts:
            context.close()
