"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.api import zone_of

from .hours import parse_hours

PRIORITIES = ("low", "normal", "high", "alarm")
"""Lowest first."""
NodeId = Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
PLACES = ("wav", "voice", "text")


class AnnouncerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What speaks, through what, and when it may."""

    device: Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^-]")] = "default"
    """The ALSA device, as ``aplay -L`` lists it."""
    voice: Annotated[str, Meta(min_length=1, max_length=300, pattern="^[^-]")] = "en"
    """espeak-ng: ``en``, ``fr``, ``en-us+f3`` (``espeak-ng --voices``); piper: the path of its ``.onnx``."""
    command: tuple[Annotated[str, Meta(max_length=500)], ...] = ()
    """Another program that makes a WAV: its arguments, with ``{wav}`` (where to), ``{voice}`` and ``{text}``; without
    ``{text}`` the text comes on its standard input. Left out: piper for a ``.onnx`` voice, else espeak-ng."""
    words_per_min: Annotated[int, Meta(ge=80, le=450)] = 150
    """espeak-ng only."""
    effect: Literal["none", "radio"] = "none"
    """``radio``: like a handheld radio, by sox."""
    volume_pct: Annotated[int, Meta(ge=0, le=100)] = 30
    """Of full amplitude, until a command says otherwise."""
    quiet_hours: tuple[str, ...] = ()
    """``"22:00-07:00"``, local; also ``"sat,sun 21:00-09:00"`` by the day on which they begin."""
    timezone: str = ""
    """``Europe/Paris``; left out: this machine's."""
    alarms_pass: tuple[Literal["quiet_hours", "lock", "disabled"], ...] = ("quiet_hours",)
    """What does not hold up an announcement of priority ``alarm``."""
    listen: tuple[NodeId, ...] = ()
    """Instances on this device whose ``announcement`` events are spoken."""
    lock_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """How long a key is good."""
    max_chars: Annotated[int, Meta(ge=1, le=5000)] = 500
    max_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    """Longest speech; what would be longer is not played."""
    queue_max: Annotated[int, Meta(ge=1, le=100)] = 20
    good_s: Seconds = 300.0
    """An announcement that could not be spoken within this is not spoken at all, over a restart too."""
    tts_timeout_s: Annotated[float, Meta(gt=0, le=300)] = 30.0
    """A text-to-speech program (with the effect) that takes longer is killed."""
    player_grace_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """The same for a player, after the length of what it plays."""
    cache_dir: Path | None = None
    """Default: ``voice/<id>`` in the agent's data folder."""
    cache_max_mb: Annotated[int, Meta(ge=0, le=10_000)] = 64
    player: Annotated[str, Meta(min_length=1)] = "aplay"
    sox: Annotated[str, Meta(min_length=1)] = "sox"
    alsa_config: str = ""
    """Another ALSA configuration file than the system's."""
    interval_s: Seconds = 60.0
    """How often values are told that do not change."""

    def __post_init__(self) -> None:
        for one in self.quiet_hours:
            parse_hours(one)
        zone_of(self.timezone)
        places = set(re.findall(r"\{([^{}]*)\}", " ".join(self.command)))
        if self.command and "wav" not in places:
            raise ValueError("command: one argument holds {wav}, where the program is to write")
        if unknown := sorted(places - set(PLACES)):
            raise ValueError(f"command: {{{unknown[0]}}}: expected {{wav}}, {{voice}} or {{text}}")
        if self.command and not self.command[0]:
            raise ValueError("command: the first word is the program")
