"""What a person reads or hears: cause, since when, what is safe, what to do. Pure.

An SMS is kept within 160 letters of the GSM alphabet where its words allow, less the room for the code to answer with.
Names of days and months are of ``[notify] language``; what happened is said as the alert says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from hub.alerts.model import Alert
from hub.notify.settings import SEVERITIES, Kind

SMS_LETTERS = 160
REPLY = "\nReply {code} ack"
REPLY_LETTERS = len(REPLY.format(code="123456"))
SPEECH_MOST = 450
LISTED = 10
"""Alerts that a push message names one by one."""
HEAD_MOST = 110
PLAIN_LETTERS = 60
"""A longer title has details that an SMS can do without."""
TITLE_MOST = 250
DAYS = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "fr": ("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."),
    "de": ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    "el": ("Δευ", "Τρί", "Τετ", "Πέμ", "Παρ", "Σάβ", "Κυρ"),
}
MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "fr": ("janv.", "févr.", "mars", "avril", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
    "de": ("Jan", "Feb", "März", "Apr", "Mai", "Juni", "Juli", "Aug", "Sept", "Okt", "Nov", "Dez"),
    "el": ("Ιαν", "Φεβ", "Μαρ", "Απρ", "Μαΐ", "Ιουν", "Ιουλ", "Αυγ", "Σεπ", "Οκτ", "Νοε", "Δεκ"),
}
UNDER = 5
"""Alerts under a cause that a push message names."""
_BEFORE = {"worse": "Worse, ", "again": "Again, ", "reminder": "Still "}
_SPOKEN = {"worse": "It got worse: ", "again": "Once more: ", "reminder": "Nobody has acknowledged it yet: "}
_FIRST = {"worse": "It got worse.", "again": "It was over and is so again.", "reminder": "Nobody has acknowledged it."}
_GSM = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "°": " ", "«": '"',
                      "»": '"', "\u00a0": " ", "\u202f": " ", "ê": "e", "ç": "c", "â": "a", "î": "i", "ô": "o",
                      "û": "u", "ë": "e", "ï": "i", "œ": "oe"})


class Told(Struct, frozen=True):
    """One alert in a message."""

    alert: Alert
    what: str
    children: int = 0
    over: bool = False
    """Over, or seen by somebody, before this could be told."""
    late: bool = False
    """It waited for a digest."""
    under: tuple[str, ...] = ()
    """Titles of some of the children."""


class Style(Struct, frozen=True):
    """For whom and when."""

    kind: Kind
    zone: ZoneInfo
    now_us: int
    language: str = "en"
    place: str = "Hutkeeper"
    page: str = ""
    """Address of the alerts page; '' when browsers elsewhere cannot reach it."""


class Text(Struct, frozen=True):
    title: str
    body: str


def clock(t_us: int, style: Style) -> str:
    """``20:14 CET``; another day's with its date."""
    at, now = (datetime.fromtimestamp(t / 1e6, UTC).astimezone(style.zone) for t in (t_us, style.now_us))
    day = ""
    if at.date() != now.date():
        day = f"{DAYS[style.language][at.weekday()]} {at.day} {MONTHS[style.language][at.month - 1]} "
    return f"{day}{at:%H:%M %Z}"


def lasted(from_us: int, to_us: int) -> str:
    minutes = max(0, to_us - from_us) // 60_000_000
    if minutes < 1:
        return "less than a minute"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def compose(told: Sequence[Told], style: Style, *, total: int | None = None, since_us: int | None = None) -> Text:
    """One message of all these. ``total``: of a digest that a cap made, all alerts since ``since_us``."""
    if total is None and len(told) == 1 and not told[0].late:
        one = told[0]
        if style.kind == "modem":
            return Text("", _sms(one, style))
        if style.kind == "announcer":
            return Text("", speech(one, style))
        return _push(one, style)
    head = _head(told, style, total, since_us)
    names = _names(told, style)
    if style.kind == "modem":
        return Text("", fitted(head, names))
    if style.kind == "announcer":
        return Text("", f"{head} {' '.join(f'{name}.' for name in names[:3])}"[:SPEECH_MOST])
    body = [head, *(f"- {name}" for name in names[:LISTED])]
    if len(names) > LISTED:
        body.append(f"and {grouped(len(names) - LISTED)} more.")
    if style.page:
        body.append(f"All of them: {style.page}")
    return Text(_title(told, style, total), "\n".join(body))


def _title(told: Sequence[Told], style: Style, total: int | None) -> str:
    """What somebody sees on a locked telephone: the worst of them by its name."""
    wrong = [one for one in told if not (one.over or one.what == "resolved")]
    if not wrong:
        return f"{style.place}: over: {_count(told)}"
    if total is not None or any(one.late for one in told):
        return f"{style.place}: {_count(told)}"
    worst = max(wrong, key=lambda one: SEVERITIES.index(one.alert.severity)).alert
    return f"{style.place}: {worst.severity}: {_short(worst.title)}, and {grouped(len(told) - 1)} more"


def test(style: Style, channel: str) -> Text:
    words = f"Test of the channel {channel}, {clock(style.now_us, style)}. Nothing is wrong."
    return Text(f"{style.place}: test", words) if style.kind == "url" else Text("", words)


def grouped(n: int) -> str:
    return f"{n:,}"


def _push(one: Told, style: Style) -> Text:
    """The title is not said again: push and mail show both, and for what has no title Apprise puts it in front."""
    alert = one.alert
    if one.what == "resolved":
        lines = [_over(one, style)]
        title = f"{style.place}: over: {alert.title}"
    else:
        before = _BEFORE.get(one.what, "").lower()
        title = f"{style.place}: {before}{alert.severity}: {alert.title}"
        lines = [_FIRST[one.what]] if one.what in _FIRST else []
        lines.append(f"Since {clock(alert.since_us, style)}.")
        if alert.kept:
            lines.append(f"Safe: {_sentence(alert.kept)}")
        if alert.do and alert.do != "none":
            lines.append(f"What to do: {_sentence(alert.do)}")
        if one.children:
            lines.append(_under(one))
    if len(title) > TITLE_MOST:
        lines.insert(0, alert.title)
        title = f"{title[:TITLE_MOST - 1]}…"
    return Text(title, "\n".join(lines))


def _under(one: Told) -> str:
    more = one.children - len(one.under)
    if not one.under:
        return f"{_more(one.children)} listed under it."
    if more > 0:
        return f"{_more(one.children)} listed under it: {'; '.join(one.under)}; and {grouped(more)} more."
    return f"{_more(one.children)} listed under it: {'; '.join(one.under)}."


def _sms(one: Told, style: Style) -> str:
    alert = one.alert
    if one.what == "resolved":
        return fit([f"Over: {_short(alert.title)}.", _span(one, style)])
    do = f"Do: {_sentence(alert.do)}" if alert.do and alert.do != "none" else ""
    kept = f"Safe: {_sentence(alert.kept)}" if alert.kept else ""
    under = f"{_more(one.children)} under it." if one.children else ""
    found: list[str] = []
    for title in _shorter(alert.title):
        head = f"{_BEFORE.get(one.what, '')}{alert.severity}: {_short(title)} since {clock(alert.since_us, style)}."
        head = head[0].upper() + head[1:]
        parts = [head]
        for part in (do, kept, under):  # what to do comes first when there is no room for all
            if part and len(" ".join([*parts, part]).translate(_GSM)) <= SMS_LETTERS - REPLY_LETTERS:
                parts.append(part)
        if len(parts) > len(found):
            found = sorted(parts, key=[head, kept, do, under].index)
    return fit(found)


def _shorter(title: str) -> Iterator[str]:
    """The title, and while it is long without the last of its details: what is safe and what to do say more."""
    yield title
    while len(title) > PLAIN_LETTERS and ": " in title:
        title = title.rpartition(": ")[0]
        yield title


def speech(one: Told, style: Style) -> str:
    """A sentence for the ear: no codes, no zone, no address."""
    alert = one.alert
    if one.what == "resolved":
        return f"It is over: {alert.title}."
    lead = {"critical": "Attention, an alarm.", "error": "Attention."}.get(alert.severity, "A note.")
    since = clock(alert.since_us, style).rsplit(" ", 1)[0]
    words = [lead, f"{_SPOKEN.get(one.what, '')}{alert.title}, since {since}."]
    words += [_sentence(text[0].upper() + text[1:]) for text in (alert.kept, alert.do) if text and text != "none"]
    return " ".join(words)[:SPEECH_MOST]


def _head(told: Sequence[Told], style: Style, total: int | None, since_us: int | None) -> str:
    if total is not None and since_us is not None:
        return (f"{grouped(len(told))} more alerts, {grouped(total)} since {clock(since_us, style)}. "
                "They were held back, so that this stays readable.")
    if any(one.late for one in told):
        over = sum(one.over or one.what == "resolved" for one in told)
        gone = ""
        if over:
            gone = " All are over or seen." if over == len(told) else f" Over or seen: {grouped(over)}."
        return f"{_count(told)} while nobody was to be disturbed.{gone}"
    worst = _worst(told)
    at = min(one.alert.since_us for one in told)
    resolved = sum(one.what == "resolved" for one in told)
    if resolved == len(told):
        return f"{grouped(resolved)} alerts are over, {clock(style.now_us, style)}."
    end = f", {grouped(resolved)} of them over" if resolved else ""
    return f"{_count(told)} since {clock(at, style)}{end}, the worst is {worst}."


def _names(told: Sequence[Told], style: Style) -> list[str]:
    """Worst first, each title once."""
    order = sorted(told, key=lambda one: (one.over or one.what == "resolved", -SEVERITIES.index(one.alert.severity)))
    names: dict[str, None] = {}
    for one in order:
        over = one.over or one.what == "resolved"
        if style.kind == "url":
            word = "over" if over else one.alert.severity
            todo = f" What to do: {_sentence(one.alert.do)}" if not over and one.alert.do not in ("", "none") else ""
            names[f"{word}: {one.alert.title}, since {clock(one.alert.since_us, style)}.{todo}"] = None
        else:
            names[("over: " if over else "") + _short(one.alert.title)] = None
    return list(names)


def fitted(head: str, names: Sequence[str]) -> str:
    """As many names as there is room for."""
    room = SMS_LETTERS - REPLY_LETTERS
    text = head
    for n, name in enumerate(names):
        joined = f"{text} {name};"
        left = len(names) - n - 1
        if len(joined) + (len(f" +{left}") if left else 0) > room:
            return fit([text, f"+{grouped(len(names) - n)}"])
        text = joined
    return fit([text.rstrip(";")])


def fit(parts: Sequence[str]) -> str:
    return " ".join(part for part in parts if part).translate(_GSM).strip()


def _over(one: Told, style: Style) -> str:
    untold = " It could not be told while it lasted." if one.over else ""
    return f"Over since {clock(one.alert.resolved_us or style.now_us, style)}. {_span(one, style)}{untold}"


def _span(one: Told, style: Style) -> str:
    end = one.alert.resolved_us or style.now_us
    return f"It began at {clock(one.alert.since_us, style)} and lasted {lasted(one.alert.since_us, end)}."


def _count(told: Sequence[Told]) -> str:
    return "1 alert" if len(told) == 1 else f"{grouped(len(told))} alerts"


def _worst(told: Sequence[Told]) -> str:
    return max((one.alert.severity for one in told if one.what != "resolved"), key=SEVERITIES.index, default="info")


def _more(n: int) -> str:
    return "1 more is" if n == 1 else f"{grouped(n)} more are"


def _short(title: str) -> str:
    return title if len(title) <= HEAD_MOST else title[: HEAD_MOST - 3] + "..."


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
