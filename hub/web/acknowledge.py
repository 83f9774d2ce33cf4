"""``/a/<word>``: the link in a message. It shows what is wrong and acknowledges by a button, never by being opened:
programs that make previews of links open them too. It needs no login, and is good for the alerts of its message alone.
"""

from __future__ import annotations

from flask import Blueprint, make_response, redirect, render_template
from msgspec import Struct
from werkzeug.wrappers import Response

from agent.wire.faults import Severity
from hub.notify import asks, links
from hub.notify.settings import SEVERITIES
from hub.store import alert_rows
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.house import Hut

WHO = "link in a message"


class Shown(Struct, frozen=True):
    title: str
    severity: Severity
    since_us: int
    kept: str
    do: str
    state: str


def blueprint(hut: Hut, audit: Audit) -> Blueprint:
    bp = Blueprint("acknowledge", __name__)

    def found(word: str) -> links.Link | None:
        if not hut.settings.notify.ack_link_h:
            return None
        return links.find(hut.alerts, word, hut.now_us())

    def page(word: str, status: int = 200, *, done: bool = False, error: str = "") -> Response:
        link = found(word)
        if link is None:
            return make_response(render_template("ack.html", link=None, alerts=(), error=hut.texts("ack.gone"),
                                                 done=False, word="", some=False), 404)
        alerts = []
        for told in link.alerts:
            row = alert_rows.one(hut.alerts, told.id)
            now = alert_rows.alert(row) if row is not None else told
            alerts.append(Shown(now.title, now.severity, now.since_us, now.kept, now.do, now.state))
        alerts.sort(key=lambda one: -SEVERITIES.index(one.severity))
        return make_response(render_template(
            "ack.html", link=link, alerts=alerts, error=error, done=done, word=word,
            some=any(one.state == "open" for one in alerts)), status)

    @bp.get("/a/<word>")
    @needs("open")
    def show(word: str) -> Response:
        return page(word)

    @bp.post("/a/<word>")
    @needs("open")
    def acknowledge(word: str) -> Response:
        link = found(word)
        if link is None:
            return page(word)
        what = ", ".join(str(one.id) for one in link.alerts)
        try:
            asks.ask(hut.settings.hub.run_dir, "link.acknowledge", {"token": word}, who=WHO)
        except (asks.Refused, asks.Away) as error:
            audit.note("acknowledge", what, result=f"refused: {error}", who=WHO)
            return page(word, 409 if isinstance(error, asks.Refused) else 503, error=str(error))
        audit.note("acknowledge", what, who=WHO)
        return redirect(f"/a/{word}/done", 303)

    @bp.get("/a/<word>/done")
    @needs("open")
    def thanks(word: str) -> Response:
        return page(word, done=True)

    return bp
