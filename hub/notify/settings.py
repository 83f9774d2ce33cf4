"""``[notify]`` of hub.toml: who is told, by which way, when, and how often at most.

```toml
[notify]
quiet_hours = "22:00-07:00"        # local; critical passes, the rest waits for the morning digest
digest_at = "08:00"
button = "bc-hall/button/pressed"  # a press acknowledges what was told

[[notify.channel]]
name = "push"
url_file = "/etc/hutkeeper/push.url"   # one line, mode 0600: an Apprise URL
[[notify.channel]]
name = "sms"
modem = "bc-watch/sms"                 # <device>/<node>
to = ["+33612345678"]
[[notify.channel]]
name = "voice"
announcer = "bc-salon/voice"

[[notify.ladder.critical]]             # the first step is at once
channels = ["push"]
[[notify.ladder.critical]]
channels = ["sms"]
after_s = 120                          # when nobody has acknowledged
```

Without a ladder: push at once, SMS and speech later, as :func:`Notify.steps` says.
"""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.settings import near
from agent.wire.faults import Severity

Kind = Literal["url", "modem", "announcer"]
Minutes = Annotated[int, Meta(ge=0, le=10_080)]
Count = Annotated[int, Meta(ge=2, le=10_000)]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
_NODE = re.compile(r"[a-z0-9-]+/[a-z0-9_-]+")
_NUMBER = re.compile(r"\+?[0-9]{3,15}")
_CAPS: dict[Kind, tuple[int, int]] = {"url": (30, 300), "modem": (5, 20), "announcer": (10, 100)}
LATER_S: dict[Severity, tuple[int, int]] = {"critical": (120, 300), "error": (1800, 3600)}
"""Without a ladder: seconds until the second and the third way."""


class Channel(Struct, frozen=True, kw_only=True):
    """``[[notify.channel]]``: one way to people. Exactly one of ``url``, ``url_file``, ``modem``, ``announcer``."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    url: str | None = None
    """An Apprise URL. It holds a secret: better ``url_file``."""
    url_file: Path | None = None
    """A file of mode 0600 that holds the URL."""
    modem: str | None = None
    """``<device>/<node>`` of a modem."""
    to: tuple[str, ...] = ()
    """Telephone numbers."""
    announcer: str | None = None
    """``<device>/<node>`` of an announcer."""
    per_10_min: Count | None = None
    """Messages to one recipient; default 5 by SMS, 30 by push, 10 by speech."""
    per_day: Count | None = None
    """Default 20, 300, 100."""
    timeout_s: Annotated[float, Meta(ge=1, le=120)] = 15.0
    """A provider that does not answer is left after this."""

    def __post_init__(self) -> None:
        given = [key for key in ("url", "url_file", "modem", "announcer") if getattr(self, key) is not None]
        if not given:
            raise ValueError("url_file: missing; a channel has one of url_file, url, modem, announcer")
        if len(given) > 1:
            raise ValueError(f"{given[1]}: a channel is one way only, and {given[0]} is there already")
        for key in ("modem", "announcer"):
            value = getattr(self, key)
            if value is not None and not _NODE.fullmatch(value):
                raise ValueError(f"{key}: {value!r}: expected <device>/<node>, as on the device page")
        if self.modem is not None and not self.to:
            raise ValueError('to: missing; an SMS needs numbers, to = ["+33612345678"]')
        if self.modem is None and self.to:
            raise ValueError("to: only a modem has numbers; the recipient of a URL is in the URL")
        for number in self.to:
            if not _NUMBER.fullmatch(number):
                raise ValueError("to: expected telephone numbers of 3 to 15 digits like +33612345678, no spaces")
        if len(set(self.to)) < len(self.to):
            raise ValueError("to: a number is there twice")
        if self.url is not None and "://" not in self.url:
            raise ValueError("url: expected an Apprise URL like ntfys://ntfy.sh/topic")

    @property
    def kind(self) -> Kind:
        return "modem" if self.modem is not None else "announcer" if self.announcer is not None else "url"

    @property
    def recipients(self) -> tuple[str, ...]:
        """Each has a queue of its own; ``("",)`` where the channel itself knows."""
        return self.to or ("",)

    @property
    def node(self) -> tuple[str, str]:
        """(device, node) of a modem or announcer."""
        device, _, node = (self.modem or self.announcer or "").partition("/")
        return device, node.replace("_", "-")

    @property
    def caps(self) -> tuple[int, int]:
        """Messages to one recipient in 10 minutes and in 24 hours."""
        ten, day = _CAPS[self.kind]
        return self.per_10_min or ten, self.per_day or day


class Step(Struct, frozen=True, kw_only=True):
    """One step of a ladder."""

    channels: tuple[str, ...]
    after_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    """Since the alert, when nobody has acknowledged it by then."""


class Ladder(Struct, frozen=True, kw_only=True):
    """``[[notify.ladder.<severity>]]``; left out: made of the channels that there are."""

    info: tuple[Step, ...] = ()
    warning: tuple[Step, ...] = ()
    error: tuple[Step, ...] = ()
    critical: tuple[Step, ...] = ()


class Notify(Struct, frozen=True, kw_only=True):
    """``[notify]``."""

    channel: tuple[Channel, ...] = ()
    """None: alerts are only shown."""
    ladder: Ladder = Ladder()
    quiet_hours: str = ""
    """``"22:00-07:00"``, local."""
    quiet: tuple[Severity, ...] = ("info", "warning", "error")
    """These severities wait in quiet hours."""
    digest: tuple[Severity, ...] = ("info",)
    """These severities are told in the daily digest only."""
    digest_at: str = "08:00"
    fallback_s: Annotated[int, Meta(ge=10, le=3600)] = 60
    """A critical alert that no channel of a step has accepted within this goes on to the next step."""
    cooldown_min: Minutes = 10
    """The same alert is not told again within this, unless it got worse."""
    reminder_min: Minutes = 60
    """A critical alert that nobody acknowledges is told again so often; 0: never."""
    give_up_h: Annotated[int, Meta(ge=1, le=168)] = 24
    """A message that could not be delivered within this is given up and counted; of what goes on a new one is made."""
    ack_link_h: Annotated[int, Meta(ge=0, le=168)] = 24
    """How long the link in a message acknowledges without a login; 0: messages carry no such link."""
    ack_sms: bool = True
    """SMS carry a one-time code to acknowledge by reply."""
    button: str | None = None
    """``<device>/<node>/<property>``: a boolean that becomes true, or an event, acknowledges what was told."""
    language: Literal["en", "fr", "de", "el"] = "en"
    """Names of days and months in messages."""

    def __post_init__(self) -> None:
        names = [one.name for one in self.channel]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"channel: two are called {name!r}")
        for severity in SEVERITIES:
            before = -1
            for n, step in enumerate(getattr(self.ladder, severity)):
                where = f"ladder.{severity}.{n}"
                if not step.channels:
                    raise ValueError(f"{where}.channels: empty")
                for name in step.channels:
                    if name not in names:
                        raise ValueError(f"{where}.channels: no channel {name!r}{near(name, names)}")
                if n and step.after_s <= before:
                    raise ValueError(f"{where}.after_s: {step.after_s}: each step comes after the one before it")
                before = step.after_s
        if self.quiet_hours:
            hours(self.quiet_hours)
        clock(self.digest_at, "digest_at")
        if "critical" in (*self.quiet, *self.digest):
            raise ValueError(f"{'quiet' if 'critical' in self.quiet else 'digest'}: critical never waits")
        if self.button is not None and not re.fullmatch(r"[a-z0-9-]+(/[a-z0-9_-]+){2}", self.button):
            raise ValueError(f"button: {self.button!r}: expected <device>/<node>/<property>")

    def named(self, name: str) -> Channel | None:
        return next((one for one in self.channel if one.name == name), None)

    def steps(self, severity: Severity) -> tuple[Step, ...]:
        """The ladder of a severity: as it is set, else push at once, then SMS, then speech (of critical and error)."""
        own: tuple[Step, ...] = getattr(self.ladder, severity)
        if own:
            return own
        kinds: tuple[Kind, ...] = ("url", "modem", "announcer")
        ways = [names for kind in kinds if (names := tuple(one.name for one in self.channel if one.kind == kind))]
        if not ways:
            return ()
        later = LATER_S.get(severity, ())
        return tuple(Step(channels=names, after_s=after) for names, after in zip(ways, (0, *later), strict=False))


def clock(text: str, key: str = "quiet_hours") -> time:
    """``"22:00"``. Raises ValueError, one line that begins with ``key``."""
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text.strip())
    if found is None:
        raise ValueError(f"{key}: {text!r}: expected a time like 08:00")
    return time(int(found[1]), int(found[2]))


def hours(text: str) -> tuple[time, time]:
    """``"22:00-07:00"``. Raises ValueError."""
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError(f"quiet_hours: {text!r}: expected two times like 22:00-07:00")
    found = clock(first), clock(last)
    if found[0] == found[1]:
        raise ValueError(f"quiet_hours: {text!r}: begins and ends at the same time")
    return found


def same_number(ours: str, theirs: str) -> bool:
    """``0612345678`` of hub.toml is ``+33612345678`` of the network: only the modem knows the country."""
    one, other = (text.lstrip("+").lstrip("0") for text in (ours, theirs))
    return one == other or (min(len(one), len(other)) >= 8 and (one.endswith(other) or other.endswith(one)))
