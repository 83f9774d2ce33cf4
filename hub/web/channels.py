"""Who is told: every channel with its state, its queue and its limits, the ladder in words, and a test for the admin.

All is read from alerts.db and hub.toml; numbers are shortened, URLs are not shown."""

from __future__ import annotations

import time

from flask import Blueprint, g, make_response, redirect, render_template, request
from msgspec import Struct
from werkzeug.wrappers import Response

from agent.wire.faults import Severity
from hub.notify import asks
from hub.notify.settings import SEVERITIES, Channel
from hub.store import outbox_rows as rows
from hub.store.outbox_rows import Lane, Message
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.house import Hut

SHOWN = 30
TEST_WAIT_S = 5.0
TEN_MIN_US, DAY_US = 600_000_000, 86_400_000_000
EXAMPLE = """\
[[notify.channel]]
name = "push"
# chmod 600, one line: ntfys://ntfy.sh/your-topic
url_file = "/etc/hutkeeper/push.url"
"""


class LaneView(Struct, frozen=True):
    channel: Channel
    recipient: str
    """Shortened."""
    about: str
    fault: str
    lane: Lane | None
    waiting: int
    digest: int
    oldest_us: int | None
    used: tuple[int, int]


class Rung(Struct, frozen=True):
    severity: Severity
    text: str


def short(number: str) -> str:
    return f"{number[:4]}…{number[-2:]}" if len(number) > 7 else number


def lanes(hut: Hut) -> list[LaneView]:
    now = hut.now_us()
    known = {(one.channel, one.recipient): one for one in rows.lanes(hut.alerts)}
    waiting = rows.waiting_counts(hut.alerts)
    under_way: dict[tuple[str, str], list[Message]] = {}
    for one in rows.open_messages(hut.alerts):
        under_way.setdefault((one.channel, one.recipient), []).append(one)
    found = []
    for channel in hut.settings.notify.channel:
        for recipient in channel.recipients:
            key = (channel.name, recipient)
            n, digest, oldest = waiting.get(key, (0, 0, None))
            made = [one.made_us for one in under_way.get(key, ())]
            ages = [one for one in (oldest, *made) if one is not None]
            sent = [at for at, _ in rows.sent_since(hut.alerts, *key, now - DAY_US)]
            lane = known.get(key)
            found.append(LaneView(channel, short(recipient), lane.about if lane is not None else channel.kind,
                                  lane.fault if lane is not None else "", lane,
                                  n - digest + sum(one.n or 1 for one in under_way.get(key, ())), digest,
                                  min(ages, default=None), (sum(at > now - TEN_MIN_US for at in sent), len(sent))))
    return found


def ladder(hut: Hut) -> list[Rung]:
    """In words, the gravest first."""
    t, settings = hut.texts, hut.settings.notify
    found = []
    for severity in reversed(SEVERITIES):
        steps = settings.steps(severity)
        if not steps:
            found.append(Rung(severity, t("channels.nobody")))
        elif severity in settings.digest:
            found.append(Rung(severity, t("channels.digest_only", at=settings.digest_at,
                                          names=", ".join(steps[0].channels))))
        else:
            words = [t("channels.at_once", names=", ".join(steps[0].channels))]
            words += [t("channels.after", age=t.duration(step.after_s), names=", ".join(step.channels))
                      for step in steps[1:]]
            if severity == "critical" and settings.reminder_min:
                words.append(t("channels.reminder", age=t.duration(settings.reminder_min * 60)))
            found.append(Rung(severity, "; ".join(words)))
    return found


def how_ack(hut: Hut) -> str:
    settings = hut.settings.notify
    ways = ["page"]
    if settings.ack_link_h and hut.settings.web.public_url and any(one.kind == "url" for one in settings.channel):
        ways.append("link")
    if settings.ack_sms and any(one.kind == "modem" for one in settings.channel):
        ways.append("sms")
    if settings.button:
        ways.append("button")
    return hut.texts("channels.how_ack", ways=", ".join(hut.texts(f"channels.ack_{way}") for way in ways))


def blueprint(hut: Hut, audit: Audit) -> Blueprint:
    bp = Blueprint("channels", __name__)
    t = hut.texts

    def page(status: int = 200, error: str = "") -> Response:
        settings = hut.settings.notify
        return make_response(render_template(
            "channels.html", lanes=lanes(hut), rungs=ladder(hut), settings=settings, example=EXAMPLE, error=error,
            how_ack=how_ack(hut), messages=list(reversed(rows.messages(hut.alerts, SHOWN))), short=short,
            now_us=hut.now_us(),
            note=hut.notes.get(request.args.get("note", ""), g.caller.name)), status)

    @bp.get("/channels")
    @needs("viewer")
    def channels() -> Response:
        return page()

    @bp.post("/channels/<name>/test")
    @needs("admin")
    def test(name: str) -> Response:
        try:
            made = asks.ask(hut.settings.hub.run_dir, "channel.test", {"name": name}, who=g.caller.name)
        except (asks.Refused, asks.Away) as error:
            audit.note("test channel", name, result=f"refused: {error}")
            return page(409 if isinstance(error, asks.Refused) else 503, str(error))
        audit.note("test channel", name)
        ids = [one for one in made.get("messages", ()) if isinstance(one, int)]
        text, ok = outcome(ids, name)
        return redirect(f"/channels?note={hut.notes.add(g.caller.name, text, ok=ok)}", 303)

    def outcome(ids: list[int], name: str) -> tuple[str, bool]:
        """Of the test, as far as it is known within a few seconds."""
        end = time.monotonic() + TEST_WAIT_S
        while True:
            found = [one for each in ids if (one := rows.message(hut.alerts, each)) is not None]
            bad = next((one.error for one in found if one.error), "")
            if bad:
                return t("channels.tested_bad", name=name, error=bad), False
            if len(found) == len(ids) and all(one.state == "sent" for one in found):
                return t("channels.tested_ok", name=name), True
            if time.monotonic() > end:
                return t("channels.tested_wait", name=name), True
            time.sleep(0.2)

    return bp
