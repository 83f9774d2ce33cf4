"""The page of channels and the link in a message: the real web process, the real loop of notify, a provider."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.testing.broker import Broker
from hub.notify import links
from hub.store import alert_rows
from hub.store import outbox_rows as rows
from tests.hub.notify.lab import Provider, provider
from tests.hub.web.lab import Client, Web
from tests.hub.web.tabs import SIZES, Tab
from tests.hub.web.telling import Notifying
from tests.waiting import until

TOML = """\
public_url = "https://hut.example"
[energy]
timezone = "Europe/Paris"
[notify]
quiet_hours = "03:00-03:01"
[[notify.channel]]
name = "push"
url = "{url}?+Authorization=VerySecretWord"
[[notify.channel]]
name = "sms"
modem = "bc-watch/modem"
to = ["+33612345678", "+33698765432"]
[[notify.channel]]
name = "mail"
url_file = "/nonexistent/mail.url"
"""


@pytest.fixture
def push() -> Iterator[Provider]:
    with provider() as made:
        yield made


def at(folder: Path, broker: Broker, push: Provider, toml: str = TOML) -> Web:
    return Web(folder, broker.port, toml=toml.format(url=push.url("a")))


def test_without_a_channel_it_says_what_to_add(web: Web) -> None:
    page = web.login("vera").get("/channels")
    assert page.status == 200 and "Nobody is told" in page.text and "[[notify.channel]]" in page.text
    said = web.login("anna").post("/channels/push/test", page="/channels")
    assert said.status == 503 and "notify is not running" in said.text


def test_channels(tmp_path: Path, broker: Broker, push: Provider) -> None:
    with at(tmp_path, broker, push) as web, Notifying(web.settings) as notify:
        web.people()
        anna = web.login("anna")
        done = anna.post("/channels/push/test", page="/channels")
        assert done.status == 303
        assert "push: the test was delivered." in anna.get(done.headers["Location"]).text
        assert "Nothing is wrong" in push.texts()[0]
        assert web.login("otto").post("/channels/push/test", page="/channels").status == 403
        assert "no channel &#39;nobody&#39;" in anna.post("/channels/nobody/test", page="/channels").text
        page = web.login("vera").get("/channels").text
        assert 'action="/channels' not in page
        assert "+336…78" in page and "12345678" not in page and "VerySecretWord" not in page
        assert "cannot be used: /nonexistent/mail.url: No such file" in page
        assert "at once push, mail; after 2 min sms; told again every 1 h until somebody acknowledges" in page
        assert "Quiet hours 03:00-03:01: info, warning, error wait for the digest at 08:00" in page
        assert "1 of 30 in 10 min" in page

        notify.troubles.add("Water in the cellar", kept="the valve is shut", do="look at the stopcock")
        until("told", lambda: any("Water" in text for text in push.texts()), timeout_s=30)
        text = next(text for text in push.texts() if text.startswith("Basecamp: critical: Water"))
        word = re.search(r"https://hut\.example/a/([\w-]+)", text)
        assert word is not None
        preview = Client(web.port)
        shown = preview.get(f"/a/{word[1]}").text
        assert "Water in the cellar" in shown and "look at the stopcock" in shown and "without a login" in shown
        assert "Alerts" not in shown and "mail" not in shown, "nothing but its alert"

        def alert() -> alert_rows.Row:
            return next(one for one in alert_rows.open_alerts(web.hut.alerts) if one.title == "Water in the cellar")

        assert alert().state == "open", "a preview of the link acknowledges nothing"
        assert preview.request("POST", f"/a/{word[1]}", "", Origin=preview.origin).status == 400, "no form, no deed"
        assert preview.get(f"/a/{word[1]}x").status == 404
        answer = preview.post(f"/a/{word[1]}", page=f"/a/{word[1]}")
        assert answer.status == 303 and answer.headers["Location"] == f"/a/{word[1]}/done"
        assert alert().state == "acknowledged" and alert().acknowledged_by == "link by push"
        assert "Nobody else is called" in preview.get(f"/a/{word[1]}/done").text
        assert "it is over or was seen already" in preview.get(f"/a/{word[1]}").text
        assert word[1] not in anna.get("/audit").text and "link in a message" in anna.get("/audit").text
        assert all(word[1] not in one.text for one in rows.messages(web.hut.alerts, 100))
        assert word[1] not in web.login("vera").get("/channels").text


def test_pages_have_no_barrier(chromium: Any, tmp_path: Path, broker: Broker, push: Provider) -> None:
    from axe_playwright_python.sync_playwright import Axe

    shots = os.environ.get("HUTKEEPER_SHOTS")
    folder = Path(shots or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    every = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    wrong: list[str] = []
    toml = TOML.replace('public_url = "https://hut.example"\n', "")

    def look(web: Web, name: str, path: str, one: tuple[str, str], login: bool = True) -> None:
        for size, scheme in every if shots else [one]:
            width, height = SIZES[size]
            context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            tab = Tab(context, web.url)
            if login:
                tab.login("anna")
            tab.goto(path)
            tab.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
            found = Axe().run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            wrong.extend([f"{name}-{size}: {wide} px wider than the screen"] if wide > 0 else [])
            wrong.extend(f"{name}: {error}" for error in tab.errors)
            context.close()

    (tmp_path / "0").mkdir()
    with at(tmp_path / "0", broker, push, "") as web:
        web.people()
        look(web, "channels-0", "/channels", ("desktop", "light"))
    with at(tmp_path, broker, push, toml) as web, Notifying(web.settings) as notify:
        web.people()
        for n in range(12):
            notify.troubles.add(f"Trouble number {n}", ("critical", "error", "warning")[n % 3],
                                kept="everything else goes on", do="look at it when there is time")
        until("told", lambda: any("Trouble" in text for text in push.texts()), timeout_s=30)
        until("written", lambda: rows.messages(web.hut.alerts, 1), timeout_s=30)
        look(web, "channels-many", "/channels", ("phone", "dark"))
        [message] = rows.messages(web.hut.alerts, 1)
        word = links.issue(notify.service.db, message.id, web.now_us() + 3_600_000_000)
        look(web, "ack", f"/a/{word}", ("phone", "dark"), login=False)
        look(web, "ack-gone", "/a/there-never-was-one", ("phone", "dark"), login=False) if shots else None
    assert [one for one in wrong if "404" not in one] == []
