"""How a relay is wired, what its guard holds it to, and what the guard says of it: part of :mod:`agent.api`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class PlainRelay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="driver", tag="plain"):
    """``relay = { driver = "plain", line = "GPIO17" }``: a relay that is on while its line is active, and falls off
    with its power. Normally-open contact; GPIO 9 to 27 of a Pi, which boot with a pull-down."""

    line: str
    """``GPIO17``, ``gpiochip0/17``, or ``sim:<path of a file>`` of a simulated source."""
    active_low: bool = False
    probe_line: str = ""
    """An input that is active while the contact is closed."""
    probe_active_low: bool = False


class LatchingRelay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="driver", tag="latching"):
    """``relay = { driver = "latching", set_line = "GPIO23", reset_line = "GPIO24", probe_line = "GPIO22" }``: a relay
    with two coils that stays where its last pulse put it, also through a crash and a power cut."""

    set_line: str
    reset_line: str
    active_low: bool = False
    pulse_ms: Annotated[int, Meta(ge=20, le=200)] = 100
    """How long a coil has current; never held."""
    probe_line: str = ""
    probe_active_low: bool = False


AnyRelay = PlainRelay | LatchingRelay


class Duty(Struct, frozen=True, kw_only=True):
    """What ``guard`` holds an actuator to, whatever its control loop says (DESIGN section 9).

    ``kind``: ``heat`` is ON only as a lease and OFF when in doubt; ``hold`` stays where it was told (a valve, a lamp),
    also through a restart and a power cut."""

    kind: Literal["heat", "hold"]
    lease_s: float = 30.0
    silence_s: float = 10.0
    """Control that says nothing for so long is dead: OFF."""
    sample_grace_s: float = 120.0
    """OFF at the latest so long after the sample's own max age ran out."""
    max_on_s: float = 4 * 3600.0
    """Longest unbroken ON; then OFF for ``rest_s``, then ON only if control has seen that it heats."""
    rest_s: float = 180.0
    start_rest_s: float = 0.0
    """OFF for so long after the guard's start: it does not know when the relay last moved."""
    frost_s_per_h: float = 0.0
    """Seconds of ON an hour that need no fresh sample (at most 600)."""


class RelayState(Struct, frozen=True, kw_only=True):
    """What ``guard`` last said. ``on`` is None until it has said something."""

    on: bool | None = None
    contact: bool | None = None
    """The probe's word; None without a probe line."""
    why: str = ""
    """Why it is so, in the guard's words ("lease ended: control silent for 10 s")."""
    fault: str = ""
    """E_RELAY_STUCK, E_GPIO ...: one line, or nothing."""
    since_us: int = 0
    """CLOCK_BOOTTIME of the last change of ``on``."""
    heard_us: int = 0
    """CLOCK_BOOTTIME of this word."""
