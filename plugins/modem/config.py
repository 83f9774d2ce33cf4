"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Number = Annotated[str, Meta(pattern=r"^\+?[0-9]{3,15}$")]


class ModemConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    port: str
    """The stick's port for AT commands, by a name that stays: /dev/serial/by-id/..."""
    baudrate: Annotated[int, Meta(ge=1200, le=921_600)] = 115_200
    """USB sticks ignore it."""
    interval_s: Annotated[float, Meta(ge=1, le=600)] = 20.0
    """How often signal, registration and the SIM's memory are looked at."""
    pin_file: str = ""
    """A file of mode 0600 with the SIM's PIN; empty: the SIM asks for none."""
    allow: tuple[str, ...] = ()
    """Numbers whose SMS are believed; all others are strangers."""
    strangers_text: bool = False
    """Put strangers' texts on the bus too."""
    send_to: tuple[Number, ...] = ()
    """The only numbers that may be sent to; empty: every number."""
    notify_to: tuple[Number, ...] = ()
    """Who gets ``text_message``."""
    country_code: Annotated[str, Meta(pattern=r"^(\+[0-9]{1,3})?$")] = ""
    """``+33``: a number 06... is the same as +336..."""
    letters: Literal["all", "plain"] = "all"
    """``plain``: only letters of the GSM alphabet, the nearest ones: 160 to an SMS instead of 70."""
    max_parts: Annotated[int, Meta(ge=1, le=20)] = 4
    """A text that needs more SMS is refused."""
    reports: bool = True
    """Ask for delivery reports, where ``send`` does not say."""
    per_10_min: Annotated[int, Meta(ge=1, le=100)] = 5
    per_day: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Messages to one number; ``per_10_min`` too."""
    all_per_day: Annotated[int, Meta(ge=1, le=5000)] = 60
    """Messages to all numbers together."""
    digest: bool = True
    """Once there is room again, tell a number how many messages were held back."""
    balance_ussd: Annotated[str, Meta(pattern=r"^([*#][0-9*#]{1,30}#)?$")] = ""
    """``#123#``: asked for the balance every ``balance_every_h``."""
    balance_every_h: Annotated[float, Meta(ge=1, le=720)] = 24.0
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "EUR"
    network_codes: tuple[Annotated[str, Meta(pattern=r"^[0-9]{5,6}$")], ...] = ()
    """``20801``: another network raises an alert; empty: any is right."""
    no_network_min: Annotated[float, Meta(ge=0, le=1440)] = 10.0
    """Without a network for so long raises an alert."""
    code_minutes: Annotated[float, Meta(ge=1, le=1440)] = 60.0
    """How long a code from ``new_code`` is good."""
    answer_commands: bool = True
    """Answer a command with a right code by SMS."""
    reset_command: tuple[str, ...] = ()
    """A program that cuts the stick's power and gives it back, in place of the reset by USB."""
